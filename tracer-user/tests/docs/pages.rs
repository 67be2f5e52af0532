//! What the pages refer to is there: commands, options, defaults, files, kinds of findings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use loiter::detect::FindingKind;
use regex::Regex;

use crate::common::go::workspace;
use crate::common::loiter::run;
use crate::messages::MESSAGES;

/// The text of a page.
pub fn read(page: &str) -> String {
    fs::read_to_string(workspace().join(page)).unwrap()
}

/// README and everything in docs/.
pub fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(workspace().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    all.push(workspace().join("README.md"));
    all.sort();
    all
}

fn name(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().display().to_string()
}

/// Blocks and words that are code.
fn code(text: &str) -> Vec<String> {
    let words = Regex::new("`([^`\n]+)`").unwrap();
    let blocks = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned);
    blocks.chain(words.captures_iter(text).map(|found| found[1].to_owned())).collect()
}

/// The help of each command, as far as it was asked for.
#[derive(Default)]
struct Help(BTreeMap<String, Option<String>>);

impl Help {
    fn of(&mut self, command: &str) -> Option<&str> {
        let asked = self.0.entry(command.to_owned()).or_insert_with(|| {
            let output = run(&[command, "--help"]);
            let text = String::from_utf8(output.stdout).unwrap();
            output.status.success().then_some(text)
        });
        asked.as_deref()
    }
}

#[test]
fn every_command_and_option_that_is_shown_exists() {
    let call = Regex::new(
        r"(?:^|[ $/'(])loiter(?: (?:--?[a-z-]+ ?(?:/host)?))* ?([a-z]+)((?: +[^ |#;&>)`]+)*)",
    )
    .unwrap();
    let long = Regex::new(r"^\[?(--[a-z][a-z-]+)").unwrap();
    let (mut help, mut wrong, mut seen) = (Help::default(), Vec::new(), 0);
    for page in documents() {
        for line in code(&fs::read_to_string(&page).unwrap()) {
            // Before it may stand what starts it in a pod.
            let line = line.split_once(" -- /").map_or(&*line, |(_, started)| started);
            let Some(found) = call.captures(line) else { continue };
            let (command, rest) = (&found[1], &found[2]);
            // What a program that is checked is given is its own.
            let rest = rest.split(" -- ").next().unwrap_or_default();
            if is_no_call(line, command) {
                continue;
            }
            seen += 1;
            let Some(text) = help.of(command) else {
                wrong.push(format!("{}: no command {command}: {line}", name(&page)));
                continue;
            };
            for option in
                rest.split(' ').filter_map(|word| Some(long.captures(word)?[1].to_owned()))
            {
                if !text.contains(&option) {
                    wrong.push(format!("{}: {command} has no {option}: {line}", name(&page)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "only {seen} commands were understood");
}

/// Lines in which `loiter` is a name: of a file, a package, a unit, an image.
fn is_no_call(line: &str, command: &str) -> bool {
    let others = ["install ", "setcap ", "systemctl ", "journalctl ", "kubectl -n loiter create"];
    others.iter().any(|other| line.contains(other)) && !line.contains("/loiter ")
        || line.contains(&format!("man loiter-{command}"))
        || line.contains("go test")
        || MESSAGES.iter().any(|(message, _)| *message == line)
}

#[test]
fn every_option_that_is_named_is_one_of_some_command() {
    let text: String = [
        "watch", "diagnose", "dump", "record", "report", "export", "diff", "check", "doctor", "ps",
        "freeze",
    ]
    .map(|command| String::from_utf8(run(&[command, "--help"]).stdout).unwrap())
    .concat();
    let option = Regex::new(r"^(--[a-z][a-z-]+)").unwrap();
    // Of other programs: container engines, cargo, the kernel's tools, Go's.
    let others = [
        "--userns",
        "--check",
        "--security-opt",
        "--cap-add",
        "--cap-drop",
        "--target",
        "--profile",
        "--help",
        "--version",
        "--perf-basic-prof",
        "--image",
    ];
    let mut wrong = Vec::new();
    for page in documents() {
        for word in code(&fs::read_to_string(&page).unwrap()) {
            let Some(found) = option.captures(&word) else { continue };
            if !text.contains(&found[1]) && !others.contains(&&found[1]) {
                wrong.push(format!("{}: no command has {}", name(&page), &found[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_default_that_is_told_is_the_default() {
    let help = String::from_utf8(run(&["watch", "--help"]).stdout).unwrap();
    let default = |option: &str| {
        let at = help.find(&format!("      {option} ")).unwrap_or_else(|| panic!("no {option}"));
        let rest = &help[at..];
        let start = rest.find("[default: ").unwrap() + "[default: ".len();
        rest[start..].split(']').next().unwrap().to_owned()
    };
    let row = Regex::new("(?m)^\\| (`--[^|]+) \\| ([^|]+) \\|").unwrap();
    let mut seen = 0;
    for found in row.captures_iter(&read("docs/flight-recorder.md")) {
        let options = found[1].split(", ").map(|option| option.trim_matches('`'));
        for (option, told) in options.zip(found[2].split(", ").filter(|told| !told.contains('-'))) {
            if !told.trim().is_empty() && option != "--trigger" {
                assert_eq!(default(option), told.trim(), "{option}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 6, "{seen}");
    for (page, option, words) in [
        ("docs/daemon.md", "--settle", "`--settle` (500 ms)"),
        ("docs/daemon.md", "--max-targets", "`--max-targets` (200, "),
        ("docs/metrics.md", "--otlp-every", "every 15 s (`--otlp-every`)"),
        ("docs/on-call.md", "--stuck-after", "30 s (`--stuck-after`)"),
        ("docs/how-it-works.md", "--budget", "`--budget 1%`"),
        ("README.md", "--budget", "`--budget 1%`"),
    ] {
        let default = default(option);
        let (number, unit) =
            default.split_at(default.find(|c: char| !c.is_ascii_digit()).unwrap_or(default.len()));
        assert!(read(page).contains(words), "{page}: {words}");
        assert!(
            words.contains(&format!("{number} {unit}")) || words.contains(&default),
            "{page} says {words}, the default is {default}"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)# ]*)(?:#([^) ]+))?\)").unwrap();
    let mut wrong = Vec::new();
    for page in documents() {
        for found in link.captures_iter(&fs::read_to_string(&page).unwrap()) {
            let to = &found[1];
            if to.contains("://") {
                continue;
            }
            let file = if to.is_empty() { page.clone() } else { page.parent().unwrap().join(to) };
            if !file.exists() {
                wrong.push(format!("{}: {to}", name(&page)));
                continue;
            }
            let Some(anchor) = found.get(2) else { continue };
            let text = fs::read_to_string(&file).unwrap();
            let titles = text.lines().filter(|line| line.starts_with('#')).map(anchor_of);
            if !titles.into_iter().any(|title| title == anchor.as_str()) {
                wrong.push(format!("{}: {to}#{}", name(&page), anchor.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As the usual renderers make it of a heading.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_readme_has_every_kind_of_finding() {
    let readme = read("README.md");
    let section = readme.split("### Findings").nth(1).unwrap().split("###").next().unwrap();
    let row = Regex::new("(?m)^\\| `([a-z-]+)` \\|").unwrap();
    let told: std::collections::BTreeSet<String> =
        row.captures_iter(section).map(|found| found[1].to_owned()).collect();
    let all = std::iter::successors(Some(FindingKind::Stuck), |kind| after(*kind));
    let kinds: std::collections::BTreeSet<String> =
        all.map(|kind| kind.word().to_owned()).collect();
    assert_eq!(told, kinds);
    assert!(kinds.iter().all(|kind| read("docs/json.md").contains(&format!("`{kind}`"))));
}

/// The next kind: a new one has to be put here, or this is not compiled.
fn after(kind: FindingKind) -> Option<FindingKind> {
    Some(match kind {
        FindingKind::Stuck => FindingKind::Crowd,
        FindingKind::Crowd => FindingKind::Leak,
        FindingKind::Leak => FindingKind::Growth,
        FindingKind::Growth => FindingKind::BlockedForEver,
        FindingKind::BlockedForEver => FindingKind::Hog,
        FindingKind::Hog => FindingKind::Starved,
        FindingKind::Starved => FindingKind::Deadlock,
        FindingKind::Deadlock => FindingKind::LockHeld,
        FindingKind::LockHeld => FindingKind::PoolBlocked,
        FindingKind::PoolBlocked => FindingKind::LostWakeup,
        FindingKind::LostWakeup => return None,
    })
}

#[test]
fn the_table_of_exports_has_the_formats_that_the_command_takes() {
    let help = String::from_utf8(run(&["export", "--help"]).stdout).unwrap();
    let of_help = Regex::new("(?m)^ +- ([a-z]+): ").unwrap();
    let formats =
        help.split("--format <FORMAT>\n").nth(1).unwrap().split("\n\n      --").next().unwrap();
    let mut formats: Vec<&str> =
        of_help.captures_iter(formats).map(|found| found.get(1).unwrap().as_str()).collect();
    let page = read("docs/exports.md");
    let row = Regex::new("(?m)^\\| `([a-z]+)` \\| a (?:time|moment) \\|").unwrap();
    let mut told: Vec<&str> =
        row.captures_iter(&page).map(|found| found.get(1).unwrap().as_str()).collect();
    formats.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, formats);
}

#[test]
fn the_configuration_that_is_shown_is_one_that_is_taken() {
    let page = read("docs/daemon.md");
    let block: String = page
        .lines()
        .skip_while(|line| !line.starts_with("    all = true"))
        .take_while(|line| line.starts_with("    ") || line.is_empty())
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known.toml");
    fs::write(&known, "").unwrap();
    let file = dir.path().join("loiter.toml");
    fs::write(&file, block.replace("/etc/loiter/known.toml", &known.to_string_lossy())).unwrap();
    let output = run(&["watch", "--check-config", "--config", &file.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(block.contains("[[target]]"), "{block}");
}
