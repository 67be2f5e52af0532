//! The JSON that programs rely on: the keys that docs/json.md promises are there, in every object,
//! also where there is nothing to tell.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod cli_views;

use std::io;

use cli_views as views;
use loiter::output::{Change, json};
use loiter::stream::{ChannelState, WaitsOn};
use loiter::view::TaskView;
use serde_json::{Value, json};

fn value(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Value {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1, "one line");
    serde_json::from_slice(&out).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn dump_of(tasks: &[&TaskView]) -> Value {
    value(|out| json::write_dump(out, &views::dump(), tasks))
}

fn sorted<const N: usize>(mut keys: [&str; N]) -> [&str; N] {
    keys.sort_unstable();
    keys
}

#[test]
fn a_dump_has_its_keys_in_every_task() {
    let dump = views::dump();
    let all: Vec<&TaskView> = dump.tasks.iter().collect();
    let shown = dump_of(&all);
    assert_eq!(shown["schema"], "loiter.dump/1");
    assert_eq!(keys(&shown), sorted(["schema", "process", "taken_at", "look", "tasks"]));
    assert_eq!(
        keys(&shown["process"]),
        sorted(["pid", "exe", "runtime", "runtime_version", "build", "container", "degraded"])
    );
    for task in shown["tasks"].as_array().unwrap() {
        assert_eq!(
            keys(task),
            sorted([
                "kind",
                "id",
                "state",
                "wait_reason",
                "wait_class",
                "waited_ns",
                "waited_at_least_ns",
                "parent",
                "system",
                "created_by",
                "start",
                "frames",
                "wait_site",
                "waits_on",
                "labels",
                "stack_bytes",
                "thread",
                "locked_to_thread",
            ])
        );
        for frame in task["frames"].as_array().unwrap() {
            assert_eq!(keys(frame), sorted(["function", "file", "line", "inlined"]));
        }
    }
}

#[test]
fn an_exact_wait_is_also_a_lower_bound() {
    let dump = views::dump();
    let all: Vec<&TaskView> = dump.tasks.iter().collect();
    let shown = dump_of(&all);
    let of = |id: u64| shown["tasks"].as_array().unwrap().iter().find(|t| t["id"] == id).unwrap();
    assert_eq!(of(17)["waited_ns"], Value::Null);
    assert_eq!(of(17)["waited_at_least_ns"], 217_000_000_000_u64);
    assert_eq!(of(40)["waited_ns"], 1_500_000_000_u64);
    assert_eq!(of(40)["waited_at_least_ns"], 1_500_000_000_u64);
    assert_eq!(of(1)["waited_at_least_ns"], Value::Null);
}

#[test]
fn frames_are_those_of_gos_own_dump_in_its_order() {
    let dump = views::dump();
    let shown = dump_of(&[&dump.tasks[2]]);
    let frames = shown["tasks"][0]["frames"].as_array().unwrap();
    let functions: Vec<&str> = frames.iter().map(|f| f["function"].as_str().unwrap()).collect();
    assert_eq!(
        functions,
        [
            "example.com/shop/orders/internal/bus.(*Bus).send",
            "example.com/shop/orders/internal/bus.(*Bus).Publish",
            "main.(*Service).handle.func1"
        ]
    );
    assert_eq!(frames[0]["inlined"], true);
    assert_eq!(frames[1]["inlined"], false);
}

#[test]
fn what_a_task_waits_on_has_a_kind_and_addresses_as_strings() {
    let dump = views::dump();
    let on = |task: &TaskView| dump_of(&[task])["tasks"][0]["waits_on"].clone();
    assert_eq!(
        on(&dump.tasks[2]),
        json!({"kind": "channels", "channels": [{"address": "0xc0000a8060", "capacity": 100, "length": 100, "closed": false, "carries": "values"}]})
    );
    let lock = dump.tasks.iter().find(|t| t.id == 40).unwrap();
    assert_eq!(
        on(lock),
        json!({"kind": "lock", "lock": "mutex", "address": "0xc000123450", "held": null})
    );
    let nil = ChannelState {
        address: 0,
        capacity: 0,
        length: 0,
        closed: false,
        carries: loiter::stream::Carries::Unknown,
    };
    let nil = TaskView { waits_on: WaitsOn::Channels([nil].into()), ..lock.clone() };
    assert_eq!(on(&nil)["channels"][0]["address"], Value::Null);
    assert_eq!(on(&dump.tasks[0]), Value::Null);
}

#[test]
fn a_label_that_is_there_twice_is_told_once() {
    let twice = vec![("a".into(), "1".into()), ("a".into(), "2".into()), ("b".into(), "3".into())];
    let task = TaskView { labels: twice, ..views::dump().tasks[2].clone() };
    let mut out = Vec::new();
    json::write_dump(&mut out, &views::dump(), &[&task]).unwrap();
    assert!(String::from_utf8(out).unwrap().contains(r#""labels":{"a":"1","b":"3"}"#));
}

#[test]
fn a_running_task_has_no_wait_reason_even_if_the_runtime_left_the_last_one() {
    let dump = views::dump();
    let running = dump.tasks.iter().find(|t| t.id == 51).unwrap();
    assert!(!running.wait_reason.is_empty());
    assert_eq!(dump_of(&[running])["tasks"][0]["wait_reason"], Value::Null);
}

#[test]
fn a_finding_has_its_keys_and_its_evidence() {
    for (finding, change) in [(views::stuck(), Change::Opened), (views::crowd(), Change::Resolved)]
    {
        let shown = value(|out| json::write_finding(out, &finding, change));
        assert_eq!(shown["schema"], "loiter.finding/1");
        assert_eq!(shown["change"], change.word());
        assert_eq!(
            keys(&shown),
            sorted([
                "schema",
                "finding_id",
                "change",
                "at",
                "first_seen",
                "kind",
                "confidence",
                "process",
                "spawn_site",
                "task_kind",
                "wait_site",
                "wait_reason",
                "tasks",
                "count",
                "oldest_wait_ns",
                "advice",
                "expired",
                "evidence",
            ])
        );
        assert_eq!(
            keys(&shown["evidence"]),
            sorted([
                "reasons",
                "wait_class",
                "oldest_wait_exact",
                "youngest_wait_ns",
                "youngest_wait_exact",
                "waits",
                "unchanged_looks",
                "objects",
                "object_count",
                "last_waker",
                "site",
                "ancestors",
                "growth",
                "stack_bytes",
                "stack",
                "labels",
            ])
        );
    }
}

#[test]
fn a_summary_names_every_kind_of_loss_also_those_that_did_not_happen() {
    let shown = value(|out| json::write_summary(out, &views::quiet_summary()));
    assert_eq!(shown["schema"], "loiter.summary/1");
    assert_eq!(
        shown["lost"],
        json!({"ring_full": 0, "map_full": 0, "user_read": 0, "recursion": 0, "malformed": 0, "recording": 0})
    );
    for key in
        ["births", "deaths", "alive", "findings", "ended", "watched_ns", "idle", "spawn_sites"]
    {
        assert!(keys(&shown).contains(&key), "{key}");
    }
}

#[test]
fn a_dump_of_many_tasks_needs_no_memory_for_its_text() {
    /// Counts, and keeps nothing.
    struct Counting(u64);
    impl io::Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            assert!(bytes.len() <= 64 << 10, "written in pieces, as they are met");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let dump = views::dump();
    let many: Vec<&TaskView> = std::iter::repeat_n(&dump.tasks[2], 20_000).collect();
    let mut out = Counting(0);
    json::write_dump(&mut out, &dump, &many).unwrap();
    assert!(out.0 > 20_000 * 500);
}

/// Collects the keys of an object and of all within it; those that the target chooses are left out.
fn all_keys(value: &Value, into: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                into.insert(key.clone());
                if !matches!(key.as_str(), "settings" | "labels") {
                    all_keys(inner, into);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all_keys(item, into)),
        _ => {}
    }
}

#[test]
fn every_key_is_documented() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (docs, _examples) = docs.split_once("\n## Examples").unwrap();
    let dump = views::dump();
    let all: Vec<&TaskView> = dump.tasks.iter().collect();
    let mut keys = std::collections::BTreeSet::new();
    all_keys(&dump_of(&all), &mut keys);
    all_keys(&value(|out| json::write_finding(out, &views::stuck(), Change::Opened)), &mut keys);
    all_keys(&value(|out| json::write_summary(out, &views::summary())), &mut keys);
    all_keys(&value(|out| json::write_ps(out, &views::ps())), &mut keys);
    all_keys(&value(|out| json::write_doctor(out, &views::doctor())), &mut keys);
    let missing: Vec<&String> = keys
        .iter()
        .filter(|k| !docs.contains(&format!("`{k}`")) && !docs.contains(&format!("\"{k}\"")))
        .collect();
    assert!(missing.is_empty(), "docs/json.md says nothing of {missing:?}");
}
