//! What is in the packages, read by the tools that people install them with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::made::{dist, named, output, stand_in};

/// Packages of a stand-in: their contents, their rights, their sums.
fn packed(into: &Path) {
    dist(&stand_in(into), &[], into);
}

#[test]
fn packages_of_one_binary_are_the_same_bytes_and_hold_what_people_need() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    packed(one.path());
    packed(two.path());
    let sums = |dir: &Path| fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    // The stand-in lies at another place, and names it nowhere.
    assert_eq!(sums(one.path()), sums(two.path()));
    output(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(one.path()));
    is_an_archive(&named(one.path(), ".tar.gz"));
    is_a_bill_of_materials(&named(one.path(), ".cdx.json"));
}

fn is_an_archive(archive: &Path) {
    let names = output(Command::new("tar").arg("-tzf").arg(archive));
    for name in [
        "/loiter\n",
        "/LICENSE-MIT\n",
        "/third-party.txt\n",
        "/man/loiter.1\n",
        "/completions/loiter.bash\n",
    ] {
        assert!(names.contains(name), "{name} is not among {names}");
    }
}

fn is_a_bill_of_materials(path: &Path) {
    let bom: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = bom["components"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut known: BTreeSet<String> = components.iter().map(|it| text(&it["bom-ref"])).collect();
    assert_eq!(known.len(), components.len(), "a reference is there twice");
    known.insert(text(&bom["metadata"]["component"]["bom-ref"]));
    for it in components {
        assert!(!text(&it["licenses"][0]["expression"]).is_empty(), "{it}");
        assert!(!text(&it["version"]).is_empty(), "{it}");
    }
    for from in bom["dependencies"].as_array().unwrap() {
        let to = from["dependsOn"].as_array().unwrap();
        assert!(to.iter().chain([&from["ref"]]).all(|it| known.contains(&text(it))), "{from}");
    }
    let has = |name: &str| components.iter().any(|it| it["name"] == name);
    assert!(has("aya") && has("glibc") && has("rust-std") && !has("proptest"));
}

#[test]
fn bash_completes_commands_and_values() {
    let script = output(&mut crate::common::loiter::command(&["completions", "bash"]));
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={last}\n_loiter loiter \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\"\necho \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            last - 1
        );
        let bash = output(Command::new("bash").args(["--norc", "-c", &ask]));
        bash.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["loiter", "wat"]), ["watch"]);
    assert!(complete(&["loiter", "dump", "--format", "js"]).contains(&"json".to_owned()));
}

#[test]
fn the_version_tells_what_the_build_is_and_what_it_knows() {
    let text = output(&mut crate::common::loiter::command(&["version"]));
    assert_eq!(text, output(&mut crate::common::loiter::command(&["--version"])));
    let told = crate::common::loiter::run_json(&["version", "--format", "json"]);
    assert_eq!(told["schema"], "loiter.version/1");
    let digest = told["object"]["sha256"].as_str().expect("built with the kernel part");
    assert_eq!(digest.len(), 64);
    assert!(text.contains(digest) && text.contains("Go 1.19, 1.21 to 1.27"), "{text}");
    assert!(text.contains(&format!("recordings  format {}", told["recordings"].as_str().unwrap())));
}
