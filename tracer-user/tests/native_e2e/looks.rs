//! What one look shows of threads.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::go::{Variant, go_build};
use crate::common::loiter::run_json;
use crate::common::native::c_program;
use crate::common::process::GoProc;
use crate::common::{need_root, or_skip};

/// Promised is a second of a release build; this build is optimised less, and other tests run
/// beside it.
const MANY_WITHIN: Duration = Duration::from_secs(10);

fn dump(pid: u32, args: &[&str]) -> Value {
    let pid = pid.to_string();
    let mut all = vec!["dump", &pid, "--format", "json"];
    all.extend(args);
    run_json(&all)
}

fn tasks(dump: &Value) -> &[Value] {
    dump["tasks"].as_array().unwrap()
}

#[test]
fn each_thread_is_shown_with_its_call_its_stack_and_what_it_waits_on() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    let (process, _) = GoProc::start_ready(&exe, &["cond"]);
    let dump = dump(process.pid(), &[]);
    assert_eq!(dump["process"]["runtime"], "native");
    assert_eq!(tasks(&dump).len(), 5);
    let main = tasks(&dump).iter().find(|t| t["id"] == process.pid()).unwrap();
    assert_eq!(
        (&main["wait_reason"], &main["waits_on"]["futex"]),
        (&"thread join".into(), &"join".into())
    );
    let workers = || tasks(&dump).iter().filter(|t| t["id"] != process.pid());
    for worker in workers() {
        assert_eq!((&worker["kind"], &worker["state"]), (&"thread".into(), &"waiting".into()));
        assert_eq!(worker["wait_reason"], "condition variable", "{worker}");
        assert_eq!(worker["wait_site"]["function"], "wants_signal", "{worker}");
        assert_eq!(worker["start"]["function"], "wants_signal", "{worker}");
    }
    let one = workers().next().unwrap();
    assert!(workers().all(|w| w["waits_on"]["address"] == one["waits_on"]["address"]));
}

#[test]
fn thousands_of_threads_are_read_at_once() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    let (process, _) = GoProc::start_ready(&exe, &["many", "5000"]);
    let began = Instant::now();
    let all = dump(process.pid(), &[]);
    let took = began.elapsed();
    println!("a dump of 5001 threads took {took:?}, {} ns of it the look", all["look"]["took_ns"]);
    assert_eq!(tasks(&all).len(), 5001);
    assert!(all["look"]["complete"].as_bool().unwrap());
    assert!(took < MANY_WITHIN, "{took:?}");
}

#[test]
fn a_thread_that_ends_while_it_is_read_is_no_error_and_has_no_wrong_name() {
    or_skip!(need_root());
    let exe = or_skip!(c_program("locks"));
    let (process, _) = GoProc::start_ready(&exe, &["churn"]);
    let mut ever = BTreeSet::new();
    for _ in 0..20 {
        let some = dump(process.pid(), &[]);
        assert_eq!(
            (&some["look"]["unreadable"], &some["look"]["complete"]),
            (&0.into(), &true.into())
        );
        for task in tasks(&some) {
            ever.insert(task["id"].as_u64().unwrap());
            // None where it moved: then nothing is said of its stack.
            if let Some(start) = task["start"]["function"].as_str() {
                assert!(["main", "churns", "brief"].contains(&start), "{task}");
            }
        }
    }
    assert!(ever.len() > 20, "{ever:?}");
}

#[test]
fn a_go_program_shows_its_threads_where_they_are_asked_for() {
    or_skip!(need_root());
    let version = crate::common::go::versions().last().unwrap();
    let exe = or_skip!(go_build(version, "zoo", Variant::Default));
    let (process, _) = GoProc::start_ready(&exe, &[]);
    let kinds = |dump: &Value| {
        let count = |kind: &str| tasks(dump).iter().filter(|t| t["kind"] == kind).count();
        (count("goroutine"), count("thread"))
    };
    let (goroutines, none) = kinds(&dump(process.pid(), &[]));
    assert!(goroutines > 0 && none == 0);
    let (_, threads) = kinds(&dump(process.pid(), &["--threads", "--system"]));
    assert!(threads > 1, "{threads}");
}
