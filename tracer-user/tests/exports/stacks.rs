//! Stacks of a moment: pprof profiles read by Go's own tool, folded stacks and flame graphs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use loiter::stream::Mode;

use crate::common::go::go_tool;
use crate::common::loiter::{run, run_json};
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_root, or_skip};
use crate::support::{Recorded, history, hostile, succeed};

fn pprof(args: &[&str], profile: &Path) -> Result<String, String> {
    let go = go_tool(NEWEST_GO)?;
    let output = Command::new(go).args(["tool", "pprof"]).args(args).arg(profile).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// The samples that `-raw` prints: count and ns waited of each.
fn raw_samples(raw: &str) -> Vec<(u64, u64)> {
    let samples = raw.lines().skip_while(|l| !l.starts_with("Samples:")).skip(2);
    let samples = samples.take_while(|l| !l.starts_with("Locations"));
    let numbers = samples.filter_map(|l| {
        let (values, _) = l.split_once(':')?;
        let mut values = values.split_whitespace().map(|v| v.parse::<u64>());
        Some((values.next()?.ok()?, values.next()?.ok()?))
    });
    numbers.collect()
}

#[test]
fn pprof_counts_the_goroutines_of_a_dump_and_their_waits() {
    let recorded = Recorded::new(&history(Mode::All, 0, 4).1);
    let dump = run_json(&["dump", recorded.path.to_str().unwrap(), "--format", "json"]);
    let tasks = dump["tasks"].as_array().unwrap();
    let waited: u64 = tasks.iter().filter_map(|t| t["waited_at_least_ns"].as_u64()).sum();
    let profile = recorded.export("pprof", &[]);
    let raw = or_skip!(pprof(&["-raw"], &profile));
    let samples = raw_samples(&raw);
    assert_eq!(samples.iter().map(|s| s.0).sum::<u64>(), tasks.len() as u64, "{raw}");
    assert_eq!(samples.iter().map(|s| s.1).sum::<u64>(), waited, "{raw}");
    assert!(waited > 0);
    assert!(raw.contains("goroutine/count[dflt] wait/nanoseconds"), "{raw}");
    let top = or_skip!(pprof(&["-top"], &profile));
    assert!(top.contains("Type: goroutine") && top.contains("main.work"), "{top}");
    let traces = or_skip!(pprof(&["-traces", "-sample_index=wait"], &profile));
    assert!(traces.contains("state:  waiting"), "{traces}");
}

#[test]
fn a_profile_has_the_build_id_and_the_programs_own_labels() {
    let recorded = Recorded::new(&hostile());
    let raw = or_skip!(pprof(&["-raw"], &recorded.export("pprof", &[])));
    assert!(raw.contains("cafe0123"), "{raw}");
    assert!(raw.contains("handler:["), "{raw}");
}

#[test]
fn a_profile_of_a_real_process_shows_what_its_own_does() {
    or_skip!(need_root());
    let version = NEWEST_GO;
    let exe = or_skip!(go_build(version, "mutexcrowd", Variant::Default));
    let (process, _) = GoProc::start_ready(&exe, &["-n", "40"]);
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("now.pb.gz");
    let (pid, to) = (process.pid().to_string(), profile.to_str().unwrap());
    succeed(&run(&["dump", &pid, "--format", "pprof", "-o", to]));
    let top = or_skip!(pprof(&["-top", "-cum", "-nodecount=40"], &profile));
    let line = top.lines().find(|l| l.contains("sync.(*Mutex).lockSlow")).unwrap_or_default();
    assert!(line.split_whitespace().any(|n| n == "40" || n == "39"), "{top}");
    assert!(top.contains("Build ID: ") && top.contains("File: mutexcrowd"), "{top}");
    let folded = run(&["dump", &pid, "--format", "folded"]);
    let folded = String::from_utf8(folded.stdout).unwrap();
    assert!(folded.lines().any(|l| l.contains("[sync.Mutex.Lock] ")), "{folded}");
}

fn folded(text: &str) -> BTreeMap<String, u64> {
    let split = |l: &str| l.rsplit_once(' ').map(|(s, n)| (s.to_owned(), n.parse().unwrap()));
    text.lines().map(|l| split(l).unwrap()).collect()
}

#[test]
fn folded_stacks_count_every_goroutine_once() {
    let recorded = Recorded::new(&history(Mode::All, 0, 4).1);
    let dump = run_json(&["dump", recorded.path.to_str().unwrap(), "--format", "json"]);
    let tasks = dump["tasks"].as_array().unwrap();
    let text = std::fs::read_to_string(recorded.export("folded", &[])).unwrap();
    let stacks = folded(&text);
    assert_eq!(stacks.values().sum::<u64>(), tasks.len() as u64, "{text}");
    assert!(
        stacks.keys().any(|s| s.starts_with("main.serve.func1;main.work;") && s.ends_with(']')),
        "{text}"
    );
    let waits = std::fs::read_to_string(recorded.export("folded", &["--weight", "wait"])).unwrap();
    let waited: u64 = tasks.iter().filter_map(|t| t["waited_at_least_ns"].as_u64()).sum();
    assert_eq!(folded(&waits).values().sum::<u64>(), waited);
}

#[test]
fn a_flame_graph_is_whole_and_hostile_names_are_text_in_it() {
    let recorded = Recorded::new(&hostile());
    let svg = std::fs::read_to_string(recorded.export("svg", &[])).unwrap();
    assert!(svg.contains("main.wait_here") && svg.trim_end().ends_with("</svg>"));
    assert!(!svg.contains("<img"), "no name is markup");
    assert!(svg.contains("30 goroutines"), "{svg}");
}

#[test]
fn a_flame_graph_stands_alone_and_draws_every_stack_within_its_callers() {
    let recorded = Recorded::new(&history(Mode::All, 0, 4).1);
    let svg = std::fs::read_to_string(recorded.export("svg", &[])).unwrap();
    for outside in ["https://", "xlink", "@import", "url(", "src="] {
        assert!(!svg.contains(outside), "{outside}");
    }
    // Names of namespaces are no addresses that anything is fetched from.
    let names = ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"];
    let others = names.iter().fold(svg.clone(), |text, name| text.replace(name, ""));
    assert!(!others.contains("http://"), "{others}");
    let text = std::fs::read_to_string(recorded.export("folded", &[])).unwrap();
    let total: u64 = folded(&text).values().sum();
    assert!(svg.contains(&format!("data-at=\"0 {total} 0\"")), "{svg}");
    assert!(svg.contains("main.work\n") && svg.contains("100.0 %"), "{svg}");
    let waits = std::fs::read_to_string(recorded.export("svg", &["--weight", "wait"])).unwrap();
    assert!(waits.contains("Time that goroutines have waited") && waits.contains(" s waited, "));
}
