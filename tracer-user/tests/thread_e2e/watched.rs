//! `loiter watch` on a program that has nothing but threads.

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::{GoProc, or_skip};
use crate::support::{alone, build, values};

/// How many of these waits a summary tells.
fn count_of(summary: &Value, fits: impl Fn(&Value) -> bool) -> i64 {
    let told = summary["thread_waits"].as_array().unwrap().iter().filter(|waits| fits(waits));
    told.filter_map(|waits| waits["count"].as_i64()).sum()
}

#[test]
fn a_watch_tells_lives_and_what_was_waited_for() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, words) = GoProc::start_ready(&binary, &[]);
    let words: Vec<&str> = words.split_whitespace().take(2).collect();
    let arguments = ["--events", "all", "--min-wait", "1ms"];
    let loiter = Loiter::watch(process.pid(), &arguments);
    let said = values(&process.ask("run 2000", "ran"));
    process.ask("spawn 10", "spawned");
    let (code, summary, _) = loiter.interrupt();
    assert_eq!(code, 0, "{summary}");
    assert_eq!(summary["births"], 12, "{summary}");
    assert_eq!(summary["deaths"], 12, "{summary}");
    let own = |waits: &Value| {
        waits["reason"] == "futex wait"
            && words.iter().any(|word| waits["subject"]["value"] == *word)
    };
    let counted = count_of(&summary, own);
    // The kernel's count has those that are no waits of the program's, too: for a page, say.
    let faults = count_of(&summary, |waits| waits["reason"] == "page fault");
    let slept = said["slept"];
    assert!(counted <= slept && slept <= counted + faults, "{said:?} {summary}");
    assert_eq!(summary["lost"]["recursion"], 0, "{summary}");
    process.finish();
}

#[test]
fn a_watch_of_lives_alone_tells_no_waits() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let loiter = Loiter::watch(process.pid(), &[]);
    process.ask("spawn 10", "spawned");
    let (_, summary, _) = loiter.interrupt();
    assert_eq!((&summary["births"], &summary["deaths"]), (&10.into(), &10.into()), "{summary}");
    assert!(summary["thread_waits"].is_null(), "{summary}");
    process.finish();
}
