//! Our dump of a live process against the process's own `goroutine?debug=2`, and what goroutines
//! wait on against what they say themselves.

#[path = "../common/mod.rs"]
mod common;
mod dump;
mod hostile;
mod look;
mod real;
mod truth;

use std::collections::BTreeMap;
use std::path::Path;

use common::go::{minor, versions};
use common::{GoProc, Variant, go_build, matrix, or_skip};
use dump::Shown;
use look::{Look, Watched};

/// Least part of the goroutines of the process's own dump that must have stood still.
const LEAST_COMPARED: f64 = 0.95;

/// What a comparison found.
struct Compared {
    same: usize,
    excluded: usize,
    different: Vec<String>,
}

/// Compares the goroutines whose marks are equal before and after the process dumped itself.
fn compare(
    watched: &Watched,
    before: &Look,
    after: &Look,
    own: &BTreeMap<u64, Option<Shown>>,
    minor: u32,
) -> Compared {
    let mut found = Compared { same: 0, excluded: 0, different: Vec::new() };
    for (id, theirs) in own {
        let marks =
            (before.tasks.get(id).and_then(|t| t.mark), after.tasks.get(id).and_then(|t| t.mark));
        let (Some(theirs), (Some(a), Some(b))) = (theirs, marks) else {
            found.excluded += 1;
            continue;
        };
        if a != b {
            found.excluded += 1;
            continue;
        }
        let ours = dump::ours(&watched.names, &after.tasks[id], minor);
        if ours == *theirs {
            found.same += 1;
        } else {
            found.different.push(format!("goroutine {id}\n{}", ours.difference(theirs)));
        }
    }
    // The other way round: nothing of ours is missing in theirs but what the runtime hides.
    for (id, task) in &after.tasks {
        let stood_still =
            before.tasks.get(id).is_some_and(|t| t.mark.is_some() && t.mark == task.mark);
        if stood_still && !task.system && !own.contains_key(id) {
            found.different.push(format!("goroutine {id} is only ours"));
        }
    }
    found
}

fn own_dump(process: &mut GoProc, dir: &Path) -> BTreeMap<u64, Option<Shown>> {
    let path = dir.join("dump");
    process.ask(&format!("dump {}", path.display()), "dumped");
    dump::parse(&std::fs::read_to_string(path).unwrap())
}

fn check_dump(version: &str, variant: Variant) -> Result<(), String> {
    let exe = go_build(version, "zoo", variant)?;
    let (mut process, _) = GoProc::start_ready(&exe, &[]);
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let minor = minor(version).unwrap();
    let mut watched = Watched::attach(process.pid());
    let before = watched.look();
    let own = own_dump(&mut process, dir.path());
    let after = watched.look();
    let found = compare(&watched, &before, &after, &own, minor);
    println!(
        "go {version} {}: {} goroutines in its own dump, {} compared and identical, {} different, {} excluded; look: {:?}",
        variant.name(),
        own.len(),
        found.same,
        found.different.len(),
        found.excluded,
        after.outcome
    );
    assert!(found.different.is_empty(), "{}", found.different.join("\n"));
    assert!(found.same as f64 >= LEAST_COMPARED * own.len() as f64);
    assert!(after.outcome.is_complete() && after.outcome.unsettled == 0);
    process.assert_alive();
    Ok(())
}

#[test]
fn our_dump_is_the_processes_own_dump() {
    for (version, variant) in matrix() {
        or_skip!(check_dump(version, variant));
    }
}

/// What each goroutine waits on, by its own word.
fn check_truth(version: &str) -> Result<(), String> {
    let exe = go_build(version, "zoo", Variant::Stripped)?;
    let (mut process, _) = GoProc::start_ready(&exe, &[]);
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let minor = minor(version).unwrap();
    let truths = truth::ask(&mut process, dir.path());
    let look = Watched::attach(process.pid()).look();
    assert!(truths.len() > 15);
    let wrong: Vec<String> = truths
        .iter()
        .map(|truth| (truth, &look.tasks[&truth.id]))
        .filter(|(truth, task)| !truth.agrees(task, minor))
        .map(|(truth, task)| truth.describe(task))
        .collect();
    println!(
        "go {version}: {} goroutines told what they wait on, {} were found wrong",
        truths.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let late: Vec<f64> =
        truths.iter().filter_map(|truth| truth.noted_late(&look.tasks[&truth.id])).collect();
    println!("go {version}: the runtime noted the start of {} waits", late.len());
    assert!(late.iter().all(|late| (0.0..2.0).contains(late)), "{late:?}");
    assert_eq!(late.is_empty(), minor < 20, "one wait in eight has a start from 1.20 on");
    let locked = look.tasks.values().filter(|t| t.locked_to_thread).count();
    let threads = look.tasks.values().filter(|t| t.locked_to_thread && t.thread.is_some()).count();
    assert!(locked > 0 && threads == locked);
    Ok(())
}

#[test]
fn channels_locks_timers_and_labels_are_those_the_program_names() {
    for version in versions() {
        or_skip!(check_truth(version));
    }
}

/// What stands still is told the same while all around it goroutines are born, run and die, and
/// stacks grow.
fn check_churn(version: &str) -> Result<(), String> {
    const LOOKS: usize = 30;
    let exe = go_build(version, "zoo", Variant::Stripped)?;
    let (mut process, _) = GoProc::start_ready(&exe, &[]);
    let mut watched = Watched::attach(process.pid());
    let still = watched.look();
    process.ask("churn", "ok");
    let (mut seen, mut reread, mut unsettled) = (0, 0, 0);
    for _ in 0..LOOKS {
        let look = watched.look();
        seen += look.outcome.read;
        reread += look.outcome.reread;
        unsettled += look.outcome.unsettled;
        assert_eq!(look.outcome.unreadable, 0);
        assert_eq!(look.outcome.read as usize, look.tasks.len());
        for (id, before) in still.tasks.iter().filter(|(_, t)| t.mark.is_some() && !t.system) {
            let now = &look.tasks[id];
            if now.mark == before.mark {
                assert_eq!(
                    (now.stack, &now.waits_on, now.reason),
                    (before.stack, &before.waits_on, before.reason)
                );
            }
        }
    }
    println!(
        "go {version}: {seen} goroutines in {LOOKS} looks under churn, {reread} read again, {unsettled} never stood still"
    );
    assert!(unsettled * 50 <= seen);
    process.assert_alive();
    Ok(())
}

#[test]
fn what_stands_still_is_told_the_same_while_all_around_it_changes() {
    for version in versions() {
        or_skip!(check_churn(version));
    }
}

/// The only child of a process.
fn child_of(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

#[test]
fn a_process_in_another_pid_namespace_is_read_and_its_threads_have_our_ids() {
    or_skip!(common::need_root());
    let exe = or_skip!(go_build("1.27.3", "zoo", Variant::Stripped));
    let unshare = Path::new("/usr/bin/unshare");
    let arguments = ["--pid", "--mount", "--fork", "--kill-child", exe.to_str().unwrap()];
    let (process, _) = GoProc::start_ready(unshare, &arguments);
    let pid = child_of(process.pid());
    let look = Watched::attach(pid).look();
    let threads: Vec<u32> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    let told: Vec<u32> = look.tasks.values().filter_map(|task| Some(task.thread?.0)).collect();
    assert!(!told.is_empty());
    assert!(told.iter().all(|tid| threads.contains(tid)), "{told:?} are not all of {threads:?}");
}
