//! Our dump of a live process against the process's own `goroutine?debug=2`, and what goroutines
//! wait on against what they say themselves.

#[path = "../common/mod.rs"]
mod common;
mod dump;
mod look;
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
