//! A Perfetto trace, read with Perfetto's own schema and compared with the timeline slice by slice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use loiter::base::TaskState;
use loiter::stream::Mode;
use loiter::view::Exactness;
use serde_json::Value;

use crate::common::or_skip;
use crate::common::readers::perfetto_schema;
use crate::support::{Collected, Recorded, history, hostile};

fn read(schema: &Path, trace: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exports/read_trace.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(trace)
        .env("PYTHONPATH", schema)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A slice in words that both sides have.
type Told = (String, u64, u64, String, String, String, String, String);

fn told(of: &Collected) -> BTreeSet<Told> {
    let told = of.slices.iter().map(|s| {
        let reason = of.words.get(&s.reason.0).cloned().unwrap_or_default();
        let reason = if s.state == TaskState::Waiting { reason } else { String::new() };
        let began = if s.began == Exactness::Exact { "exact" } else { "then or earlier" };
        (
            format!("goroutine {}", s.task.number),
            s.since.max(of.from).0,
            s.until.max(s.since.max(of.from)).0,
            s.state.word().to_owned(),
            reason,
            of.sites.get(&s.wait_site.0).cloned().unwrap_or_default(),
            began.to_owned(),
            s.ended.word().to_owned(),
        )
    });
    told.collect()
}

fn read_slices(trace: &Value) -> BTreeSet<Told> {
    let slices = trace["slices"].as_array().unwrap();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let read = slices.iter().map(|s| {
        let arg = |name: &str| text(&s["args"][name]);
        (
            text(&s["track"]),
            s["since"].as_u64().unwrap(),
            s["until"].as_u64().unwrap(),
            arg("state"),
            arg("wait reason"),
            arg("wait site"),
            arg("began"),
            arg("ended"),
        )
    });
    read.collect()
}

#[test]
fn a_perfetto_trace_has_every_slice_of_the_timeline_and_no_other() {
    let schema = or_skip!(perfetto_schema());
    for (mode, loss) in [(Mode::All, 0), (Mode::All, 15), (Mode::None, 0)] {
        let recorded = Recorded::new(&history(mode, loss, 3).1);
        let trace = read(&schema, &recorded.export("perfetto", &[]));
        let timeline = recorded.timeline();
        let (wanted, got) = (told(&timeline), read_slices(&trace));
        assert!(wanted.len() > 20);
        assert_eq!(wanted.difference(&got).next(), None, "missing");
        assert_eq!(got.difference(&wanted).next(), None, "too much");
        assert_eq!(trace["slices"].as_array().unwrap().len(), timeline.slices.len());
        assert_eq!(trace["losses"].as_array().unwrap().len(), timeline.losses.len());
        assert_eq!(trace["findings"].as_array().unwrap().len(), timeline.findings);
    }
}

#[test]
fn a_wake_up_is_an_arrow_from_the_waker_to_the_woken() {
    let schema = or_skip!(perfetto_schema());
    let recorded = Recorded::new(&hostile());
    let trace = read(&schema, &recorded.export("perfetto", &[]));
    let wakes: BTreeSet<(String, String, u64)> = recorded
        .timeline()
        .wakes
        .iter()
        .map(|w| {
            (format!("goroutine {}", w.by.number), format!("goroutine {}", w.woken.number), w.at.0)
        })
        .collect();
    let arrows = trace["flows"].as_array().unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let arrows: BTreeSet<(String, String, u64)> = arrows
        .iter()
        .map(|f| (text(&f["from"]), text(&f["to"]), f["at"].as_u64().unwrap()))
        .collect();
    assert_eq!(arrows, wakes);
    assert_eq!(arrows.len(), 1);
}

#[test]
fn tracks_lie_below_their_spawn_site_and_that_below_the_process() {
    let schema = or_skip!(perfetto_schema());
    let recorded = Recorded::new(&history(Mode::All, 0, 5).1);
    let trace = read(&schema, &recorded.export("perfetto", &[]));
    let tracks: BTreeMap<u64, &Value> = trace["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["uuid"].as_u64().unwrap(), t))
        .collect();
    let parent = |t: &Value| tracks.get(&t["parent"].as_u64().unwrap()).copied();
    let mut tasks = 0;
    for track in tracks.values().filter(|t| t["name"].as_str().unwrap().starts_with("goroutine ")) {
        let site = parent(track).unwrap();
        assert!(
            site["name"] == "main.serve main.go:10"
                || site["name"] == "created at a place not known",
            "{site}"
        );
        assert_eq!(parent(site).unwrap()["pid"], 77);
        tasks += 1;
    }
    assert!(tasks > 10, "{tasks}");
    let counters = trace["counters"].as_object().unwrap();
    for counter in ["tasks waiting", "tasks running", "tasks runnable"] {
        assert!(counters[counter].as_u64().unwrap() > 1, "{counters:?}");
    }
    assert_eq!(trace["clocks"], serde_json::json!([1, 3]));
}

#[test]
fn hostile_names_are_names_in_a_trace_too() {
    let schema = or_skip!(perfetto_schema());
    let recorded = Recorded::new(&hostile());
    let trace = read(&schema, &recorded.export("perfetto", &[]));
    let text = trace.to_string();
    assert!(text.contains("onerror"), "the name is there");
    assert!(!text.contains('\u{202e}') && !text.contains("\\u001b"), "and cannot steer a terminal");
    assert!(trace["counters"]["resident memory"].as_u64() == Some(1));
}
