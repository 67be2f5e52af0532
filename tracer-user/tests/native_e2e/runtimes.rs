//! Interpreters, virtual machines and thread pools as programs have them, idle and stuck.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::go::workspace;
use crate::common::loiter::{Loiter, run_json};
use crate::common::native::{cxx_program, java_classes, musl_program, tokio_program};
use crate::common::process::GoProc;
use crate::common::{need_root, or_skip};
use crate::programs::{installed, nothing_above_suspect};

/// Debian's own, which has no names but those it exports.
const PYTHON: &str = "/usr/bin/python3";

fn python(name: &str) -> Result<GoProc, String> {
    let script = workspace().join("workloads/native/python/locks.py");
    let script = script.to_str().ok_or("a path that is text")?;
    if !Path::new(PYTHON).is_file() {
        return Err("needs python3 of Debian".to_owned());
    }
    Ok(GoProc::start_ready(Path::new(PYTHON), &[script, name]).0)
}

fn java(name: &str) -> Result<GoProc, String> {
    let java = installed("java")?;
    let classes: PathBuf = java_classes("Locks")?;
    let classes = classes.to_str().ok_or("a path that is text")?;
    Ok(GoProc::start_ready(&java, &["-Xmx64m", "-cp", classes, "Locks", name]).0)
}

fn dump(process: &GoProc) -> Vec<Value> {
    let dump = run_json(&["dump", &process.pid().to_string(), "--format", "json"]);
    dump["tasks"].as_array().unwrap().clone()
}

/// Looks until what is wanted stands: a program says that it is ready a moment before it sleeps.
fn dump_with(process: &GoProc, wanted: impl Fn(&Value) -> bool) -> (Value, Vec<Value>) {
    let mut last = Vec::new();
    for _ in 0..20 {
        last = dump(process);
        if let Some(task) = last.iter().find(|task| wanted(task)) {
            return (task.clone(), last);
        }
    }
    panic!("no such thread: {last:?}")
}

fn finding(process: &GoProc, kind: &str) -> Value {
    let args = ["--events", "none", "--interval", "500ms", "--stuck-after", "2s"];
    let mut watch = Loiter::watch(process.pid(), &args);
    watch.wait_line(kind, |line| line["kind"] == kind && line["change"] != "resolved")
}

/// Each thread of a circle, with the lock it waits for.
fn circle(found: &Value) -> BTreeSet<(u64, String)> {
    let steps = found["evidence"]["cycle"].as_array().unwrap();
    let step = |step: &Value| {
        let lock = step["waits_on"]["address"].as_str().unwrap().to_owned();
        (step["id"].as_u64().unwrap(), lock)
    };
    steps.iter().map(step).collect()
}

#[test]
fn python_locks_without_an_owner_are_named_and_nobody_is_accused() {
    or_skip!(need_root());
    let process = or_skip!(python("lock"));
    let (waiter, _) = dump_with(&process, |task| task["wait_reason"] == "Python lock");
    assert_eq!(waiter["waits_on"]["of"], "python", "{waiter}");
    let found = finding(&process, "blocked-for-ever");
    assert_eq!(found["evidence"]["cycle"].as_array().map_or(0, Vec::len), 0, "{found}");
}

#[test]
fn a_circle_of_python_rlocks_is_certain_and_named_by_their_ids() {
    or_skip!(need_root());
    let process = or_skip!(python("rlock"));
    let said = process.seen().iter().filter_map(|line| {
        let (tid, lock) = line.strip_prefix("waits ")?.split_once(' ')?;
        Some((tid.parse().unwrap(), lock.to_owned()))
    });
    let said: BTreeSet<(u64, String)> = said.collect();
    let found = finding(&process, "deadlock");
    assert_eq!(found["confidence"], "certain", "{found}");
    assert_eq!(found["wait_reason"], "Python RLock", "{found}");
    assert_eq!(circle(&found), said, "{found}");
}

#[test]
fn an_idle_pool_and_event_loop_of_python_wait_by_nature() {
    or_skip!(need_root());
    let process = or_skip!(python("idle"));
    nothing_above_suspect(process.pid(), "python");
    let (main, all) = dump_with(&process, |task| task["idle"] == "Python event loop");
    let files = main["waits_on"]["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file["kind"] == "listener"), "{main}");
    let workers = all.iter().filter(|task| task["idle"] == "Python queue worker").count();
    assert_eq!(workers, 4, "{all:?}");
}

#[test]
fn who_waits_for_the_lock_of_the_python_interpreter_is_told_as_that() {
    or_skip!(need_root());
    let process = or_skip!(python("gil"));
    let (waiter, _) = dump_with(&process, |task| task["wait_reason"] == "Python GIL");
    assert_eq!(waiter["waits_on"]["of"], "python-gil", "{waiter}");
}

#[test]
fn a_circle_of_java_monitors_is_found_with_the_names_of_its_threads() {
    or_skip!(need_root());
    let process = or_skip!(java("deadlock"));
    let found = finding(&process, "deadlock");
    assert_eq!(found["wait_reason"], "Java monitor", "{found}");
    let in_circle = circle(&found);
    assert_eq!(in_circle.len(), 2, "{found}");
    let mut names: Vec<String> = dump(&process)
        .iter()
        .filter(|task| in_circle.iter().any(|(tid, _)| task["id"] == *tid))
        .map(|task| task["labels"].to_string())
        .collect();
    names.sort();
    assert!(names[0].contains("transfer-a") && names[1].contains("transfer-b"), "{names:?}");
}

#[test]
fn idle_pools_of_java_wait_by_nature() {
    or_skip!(need_root());
    let process = or_skip!(java("idle"));
    nothing_above_suspect(process.pid(), "java");
    let (_, all) = dump_with(&process, |task| task["idle"] == "parked Java thread");
    assert!(all.iter().any(|task| task["idle"] == "Java VM worker"), "{all:?}");
}

#[test]
fn an_idle_node_names_its_loop_and_its_workers() {
    or_skip!(need_root());
    let node = or_skip!(installed("node"));
    let script = "require('fs').stat('/', () => console.log('ready')); setInterval(() => {}, 1e9)";
    let (process, _) = GoProc::start_ready(&node, &["-e", script]);
    let (_, all) = dump_with(&process, |task| task["idle"] == "libuv event loop");
    assert!(all.iter().all(|task| task["idle"].is_string()), "{all:?}");
}

#[test]
fn code_that_node_compiles_has_the_names_of_its_map() {
    or_skip!(need_root());
    let node = or_skip!(installed("node"));
    // Waits in a call of its own, so that JavaScript's functions are on the stack.
    let script = "function waits_for_a_child() { \
                  require('child_process').execSync('echo; exec sleep 600', {stdio: 'pipe'}) } \
                  console.log('ready'); waits_for_a_child()";
    // It writes a log beside the map, into the directory it is started in.
    let log = ["--no-logfile-per-isolate", "--logfile=/dev/null"];
    let args = ["--perf-basic-prof", "--interpreted-frames-native-stack", log[0], log[1]];
    let (process, _) = GoProc::start_ready(&node, &[&args[..], &["-e", script]].concat());
    let named = |task: &Value| task["frames"].to_string().contains("waits_for_a_child");
    let (main, _) = dump_with(&process, named);
    let map = format!("/tmp/perf-{}.map", process.pid());
    std::fs::remove_file(map).unwrap();
    assert_eq!(main["id"], process.pid(), "{main}");
}

#[test]
fn a_pool_of_cpp_is_idle_at_its_queue_and_blocked_behind_its_lock() {
    or_skip!(need_root());
    let exe = or_skip!(cxx_program("pools"));
    let (idle, _) = GoProc::start_ready(&exe, &["idle"]);
    let workers = |all: &[Value]| all.iter().filter(|t| t["idle"] == "worker queue").count();
    let (_, all) = dump_with(&idle, |task| task["idle"] == "worker queue");
    assert_eq!(workers(&all), 4, "{all:?}");
    let (blocked, _) = GoProc::start_ready(&exe, &["blocked"]);
    let held = finding(&blocked, "lock-held");
    assert_eq!((&held["count"], &held["wait_reason"]), (&3.into(), &"rwlock read".into()));
    assert_eq!(held["wait_site"]["function"], "read_table", "{held}");
    let holder = held["evidence"]["objects"][0]["object"]["holder"].as_u64();
    let all = dump(&blocked);
    let sleeper = all.iter().find(|task| task["id"].as_u64() == holder).unwrap();
    assert_eq!(sleeper["wait_site"]["function"], "rewrite_table", "{sleeper}");
}

#[test]
fn a_tokio_worker_without_work_is_idle_and_one_in_a_blocking_call_is_not() {
    or_skip!(need_root());
    let exe = or_skip!(tokio_program());
    let (idle, _) = GoProc::start_ready(&exe, &["idle"]);
    let (_, all) = dump_with(&idle, |task| task["idle"] == "Tokio event loop");
    let workers = all.iter().filter(|task| task["idle"] == "Tokio worker").count();
    assert_eq!(workers, 2, "{all:?}");
    let (blocked, _) = GoProc::start_ready(&exe, &["blocked"]);
    let (stuck, _) = dump_with(&blocked, |task| task["wait_reason"] == "mutex");
    assert!(stuck["idle"].is_null(), "{stuck}");
    let site = stuck["wait_site"]["function"].as_str().unwrap();
    assert!(site.contains("blocks_a_worker"), "{stuck}");
}

#[test]
fn a_mutex_of_musl_is_known_by_its_own_layout() {
    or_skip!(need_root());
    let exe = or_skip!(musl_program());
    let (process, _) = GoProc::start_ready(&exe, &["abba2"]);
    let (waiter, _) = dump_with(&process, |task| task["wait_reason"] == "mutex");
    let lock = waiter["waits_on"]["address"].as_str().unwrap();
    assert!(process.seen().iter().any(|line| line.ends_with(lock)), "{waiter}");
}
