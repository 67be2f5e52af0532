//! Garbage collections as loiter finds them in the runtime's notes, against what the program itself says of
//! them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::go::{full_matrix, versions};
use common::loiter::{Loiter, run_json};
use common::{GoProc, NEWEST_GO, Variant, go_build, need_root, or_skip};
use loiter::base::KTime;
use loiter::record::{Item, Recording};
use loiter::stream::{GcCycle, Input};

/// The collections of a recording, and the offset of the wall clock.
fn collections(path: &std::path::Path) -> (Vec<GcCycle>, i128) {
    let (mut cycles, mut offset) = (Vec::new(), 0);
    let mut items = Recording::open(path).unwrap().items();
    while let Some(item) = items.next_item().unwrap() {
        let Item::Inputs(inputs) = item else { panic!("a gap") };
        for input in inputs {
            match input {
                Input::GcCycle { cycle, .. } => cycles.push(cycle),
                Input::ClockAnchor { mono, wall_ns } => {
                    offset = i128::from(wall_ns) - i128::from(mono.0);
                }
                _ => {}
            }
        }
    }
    (cycles, offset)
}

/// Waits until a collection that ended then, in ns since the Unix epoch, is in the recording.
fn recorded(path: &std::path::Path, end: i128, what: &str) -> GcCycle {
    let give_up = Instant::now() + Duration::from_secs(120);
    loop {
        let (cycles, offset) = collections(path);
        let near = |at: KTime| (i128::from(at.0) + offset - end).abs() < 20_000_000;
        if let Some(cycle) = cycles.iter().find(|cycle| cycle.end.is_some_and(near)) {
            return *cycle;
        }
        assert!(Instant::now() < give_up, "{what}: none ended at {end}: {offset} {cycles:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn found_as_told(version: &str, variant: Variant) {
    let what = format!("{version} {}", variant.name());
    let exe = or_skip!(go_build(version, "collector", variant));
    let (mut target, _) = GoProc::start_ready(&exe, &[]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gc.loiter");
    let pid = target.pid().to_string();
    let args = ["record", &pid, "-o", path.to_str().unwrap(), "--events", "none"];
    let looks = ["--interval", "100ms", "--format", "jsonl"];
    let mut recorder = Loiter::start(&[&args[..], &looks[..]].concat());
    recorder.wait_message("watching");
    for n in [1, 3, 1] {
        let answer = target.ask(&format!("gc {n}"), "collected");
        let numbers = answer.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let [end, pause] = numbers.collect::<Vec<_>>()[..] else { panic!("{answer}") };
        let cycle = recorded(&path, i128::from(end), &what);
        let (mark, mark_end) = (cycle.mark.unwrap(), cycle.mark_end.unwrap());
        let stood = mark.since(cycle.stop).0 + cycle.end.unwrap().since(mark_end).0;
        // From 1.22 on the runtime counts from when it begins to stop until it has started all again.
        assert!(stood > 0 && stood.abs_diff(pause) < 20_000_000, "{what}: {stood} of {pause}");
    }
    recorder.interrupt();
    target.finish();
    let (cycles, _) = collections(&path);
    assert!(cycles.len() <= 12, "{what}: a cycle is told when it is news: {cycles:?}");
    let life = ["report", path.to_str().unwrap(), "--task", "1", "--format", "jsonl"];
    let life = run_json(&life);
    let events = life["events"].as_array().unwrap();
    assert!(events.iter().any(|e| e["event"] == "stopped"), "{life}");
}

#[test]
fn collections_are_found_where_and_as_long_as_the_program_says() {
    or_skip!(need_root());
    for version in versions() {
        found_as_told(version, Variant::Stripped);
    }
    let others = [Variant::Pie, Variant::ExternalPie, Variant::Race, Variant::Debug];
    let short = if full_matrix() { &others[..] } else { &others[..1] };
    for variant in short {
        found_as_told(NEWEST_GO, *variant);
    }
}
