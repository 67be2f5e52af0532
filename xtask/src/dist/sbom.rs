//! What is in the binary, for scanners (CycloneDX 1.5), and for people, with the texts their licences ask for.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::crates::Crate;
use super::{Release, files};
use crate::run;

/// What is linked into the binary beside crates.
struct Linked {
    name: &'static str,
    version: String,
    licence: &'static str,
}

/// Rust's own libraries, and the C library, which a static binary brings along.
fn linked() -> Result<Vec<Linked>> {
    let rustc = run::quiet(run::command("rustc").arg("--version"))?;
    let rustc = rustc.split(' ').nth(1).unwrap_or_default().to_owned();
    let libc = run::quiet(run::command("getconf").arg("GNU_LIBC_VERSION"))?;
    let libc = libc.trim().trim_start_matches("glibc ").to_owned();
    Ok(vec![
        Linked { name: "rust-std", version: rustc, licence: "MIT OR Apache-2.0" },
        Linked { name: "glibc", version: libc, licence: "LGPL-2.1-or-later" },
    ])
}

/// The bill of materials.
///
/// # Errors
/// If the compiler or the C library cannot be asked for its version.
pub fn cyclonedx(release: &Release, crates: &[Crate], binary_sha256: &str) -> Result<Vec<u8>> {
    let references: BTreeMap<&str, String> =
        crates.iter().map(|it| (it.id.as_str(), reference(&it.name, &it.version))).collect();
    let own = reference("loiter", &release.version);
    let mut components: Vec<Value> = crates.iter().map(component).collect();
    let mut dependencies: Vec<Value> = crates
        .iter()
        .map(|it| {
            let uses: Vec<&String> =
                it.uses.iter().filter_map(|id| references.get(id.as_str())).collect();
            json!({"ref": reference(&it.name, &it.version), "dependsOn": uses})
        })
        .collect();
    let mut direct: Vec<String> = ["tracer-user", "tracer-ebpf"]
        .iter()
        .filter_map(|name| crates.iter().find(|it| it.name == *name))
        .map(|it| reference(&it.name, &it.version))
        .collect();
    for it in linked()? {
        let name = format!("pkg:generic/{}@{}", it.name, it.version);
        components.push(json!({
            "type": "library", "bom-ref": name, "name": it.name, "version": it.version, "purl": name,
            "scope": "required", "licenses": [{"expression": it.licence}],
        }));
        direct.push(name);
    }
    dependencies.push(json!({"ref": own, "dependsOn": direct}));
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": release.created()?,
            "component": {
                "type": "application", "bom-ref": own, "name": "loiter", "version": release.version, "purl": own,
                "licenses": [{"expression": release.licence}],
                "hashes": [{"alg": "SHA-256", "content": binary_sha256}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    let mut text = serde_json::to_vec_pretty(&bom)?;
    text.push(b'\n');
    Ok(text)
}

/// A package URL: the name of a crate that other tools know.
fn reference(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

fn component(it: &Crate) -> Value {
    let name = reference(&it.name, &it.version);
    let mut component = json!({
        "type": "library", "bom-ref": name, "name": it.name, "version": it.version, "purl": name,
        "description": it.description,
        // What runs in the compiler leaves no code of its own behind.
        "scope": if it.is_macro { "excluded" } else { "required" },
        "licenses": [{"expression": it.licence.replace('/', " OR ")}],
    });
    if !it.is_own() {
        component["hashes"] = json!([{"alg": "SHA-256", "content": it.checksum}]);
    }
    if !it.repository.is_empty() {
        component["externalReferences"] = json!([{"type": "vcs", "url": it.repository}]);
    }
    component
}

/// The licences of others, with their texts: each text once, with the crates that have it.
///
/// # Errors
/// If a crate's directory cannot be read.
pub fn third_party(crates: &[Crate]) -> Result<String> {
    let mut out = String::from(
        "loiter contains the following libraries. It is linked statically with the GNU C library, under the\n\
         LGPL 2.1 or later: loiter's source and `cargo xtask dist` link it with another version of that. Crates\n\
         come from the registry of Rust packages, which has their source, unchanged.\n\n",
    );
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for it in crates.iter().filter(|it| !it.is_own() && !it.is_macro) {
        let _ = writeln!(out, "{} {}: {} {}", it.name, it.version, it.licence, it.repository);
        for path in files::list(&it.dir)?.iter().filter(|path| is_licence(path)) {
            let text = String::from_utf8_lossy(&files::read(path)?).trim().to_owned();
            texts.entry(text).or_default().push(format!("{} {}", it.name, it.version));
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, of)| (of, text)).collect();
    texts.sort();
    for (of, text) in texts {
        let _ = write!(out, "\n{}\n{}\n\n{text}\n", "-".repeat(72), of.join(", "));
    }
    Ok(out)
}

fn is_licence(path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
        .iter()
        .any(|start| name.starts_with(start))
}
