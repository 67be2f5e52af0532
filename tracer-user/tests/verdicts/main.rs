//! What loiter says of the programs of workloads/go/leaks: the usual leaks, their fixes, and programs that wait long and are right.
//! All of one Go version run side by side, each under three watches, with the default thresholds.
//!
//! The claims: with events every leak is found and named, as likely or certain; without, it is at least suspect. What is fixed is
//! passed over in silence, and what is only slow gets no more than a suspicion.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod claims;
#[path = "../common/mod.rs"]
mod common;
mod goleak;
mod goleak_row;
mod side_by_side;
mod table;
mod told;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use claims::{Claim, Mode, Row};
use common::busy::stolen;
use common::go::full_matrix;
use common::{NEWEST_GO, OLDEST_GO, Variant, go_build, need_bpf, or_skip};
use side_by_side::{Watched, watch_all};
use told::Confidence;

/// For how long each program is watched: beyond the 90 s after which those that never came back are called leaked, and the 120 s after which a
/// population has grown.
const SECONDS: u64 = 150;

/// The same where input is read: there 180 s and as many more as it takes to lose 20.
const READERS_SECONDS: u64 = 215;

/// Where the host of a virtual machine took one in so many of its processors' seconds, what is wrong is watched again.
const STOLEN: u32 = 50;

/// For how long each program of Go's own suite is watched: none of them waits on purpose.
const GOLEAK_SECONDS: u64 = 45;

/// Pattern and twin of each program; only those whose name contains `LOITER_VERDICT_ONLY`, for trying.
fn programs(exe: &Path) -> Vec<(String, String)> {
    let only = std::env::var("LOITER_VERDICT_ONLY").unwrap_or_default();
    let told = Command::new(exe).arg("list").output().expect("the workload can be started");
    let text = String::from_utf8(told.stdout).expect("names are UTF-8");
    let pair = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    text.lines().filter(|line| line.contains(&only)).filter_map(pair).collect()
}

/// Of one version, in these modes; in all of them with `LOITER_MATRIX=full`. More watches at once would keep two processors so
/// busy that the programs themselves stand still.
fn verdicts(version: &str, modes: &[Mode]) {
    let modes = if full_matrix() { &Mode::ALL[..] } else { modes };
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(version, "leaks", Variant::Stripped));
    let mut programs: Vec<Watched> = programs(&exe)
        .into_iter()
        .map(|(pattern, twin)| Watched {
            seconds: if pattern.contains("websocket") { READERS_SECONDS } else { SECONDS },
            name: format!("{pattern} {twin}"),
            exe: exe.clone(),
            args: vec![pattern, twin],
            env: Vec::new(),
            modes: modes.to_vec(),
            obeys: false,
            watch_args: &[],
        })
        .collect();
    // The longest first: all end at about the same time.
    programs.sort_by_key(|program| std::cmp::Reverse(program.seconds));
    let (stolen_before, began) = (stolen(), Instant::now());
    let mut rows = rows_of(&programs);
    println!("go {version}:\n{}", table::verdicts(&rows));
    let taken = stolen().saturating_sub(stolen_before);
    let cpus = std::thread::available_parallelism().expect("there is one").get();
    let all = began.elapsed() * u32::try_from(cpus).expect("not that many");
    let wrong: BTreeSet<String> =
        rows.iter().filter(|row| row.check().is_err()).map(|row| row.name.clone()).collect();
    // Nobody inside can tell a program that its host does not let run from one that stands still.
    if !wrong.is_empty() && taken * STOLEN > all {
        println!(
            "the host took {taken:?} of {all:?} of processor time; again, by themselves: {wrong:?}"
        );
        programs.retain(|program| wrong.contains(&program.name));
        rows.retain(|row| !wrong.contains(&row.name));
        let again = rows_of(&programs);
        println!("{}", table::verdicts(&again));
        rows.extend(again);
    }
    let wrong: Vec<String> = rows.iter().filter_map(|row| row.check().err()).collect();
    println!("go {version}: {} verdicts, {} wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Watches the programs, and says what was claimed and told of each.
fn rows_of(programs: &[Watched]) -> Vec<Row> {
    let mut rows = Vec::new();
    for outcome in watch_all(programs) {
        let watched = &programs[outcome.program];
        let claim = Claim::of(&watched.args[0], &watched.args[1]);
        let row =
            |(mode, told)| Row { name: watched.name.clone(), mode, claim: claim.clone(), told };
        rows.extend(outcome.said.into_iter().map(row));
    }
    rows
}

/// Go's own leak suite in every mode of `modes`.
fn goroutine_leak_suite(version: &str, modes: &[Mode]) {
    or_skip!(need_bpf());
    let only = std::env::var("LOITER_VERDICT_ONLY").unwrap_or_default();
    let mut cases = or_skip!(goleak::cases(version));
    cases.retain(|case| case.name.contains(&only));
    let programs: Vec<Watched> = cases
        .iter()
        .map(|case| Watched {
            name: case.name.clone(),
            exe: case.exe.clone(),
            args: vec![case.name.clone()],
            env: case.env(),
            modes: modes.to_vec(),
            obeys: true,
            watch_args: &[],
            seconds: GOLEAK_SECONDS,
        })
        .collect();
    let outcomes = watch_all(&programs);
    let mut rows = Vec::new();
    for outcome in &outcomes {
        for (mode, said) in &outcome.said {
            rows.push(goleak_row::Row::new(
                &cases[outcome.program],
                *mode,
                said,
                &outcome.own_dump,
            ));
        }
    }
    println!(
        "go {version}, src/runtime/testdata/testgoroutineleakprofile:\n{}",
        goleak_row::table(&rows)
    );
    let wrong: Vec<String> = rows.iter().filter_map(|row| row.check().err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn leaks_of_the_oldest_go_are_found_and_named_and_their_twins_are_left_alone() {
    verdicts(OLDEST_GO, &[Mode::Lifecycle]);
}

#[test]
fn leaks_of_the_newest_go_are_found_and_named_and_their_twins_are_left_alone() {
    verdicts(NEWEST_GO, &[Mode::All, Mode::None]);
}

#[test]
fn the_leaks_that_gos_own_suite_expects_are_found_at_their_lines() {
    let modes = if full_matrix() { &Mode::ALL[..] } else { &[Mode::All, Mode::None] };
    goroutine_leak_suite(NEWEST_GO, modes);
}

#[test]
#[ignore = "takes minutes and says little more than that of the newest Go: `cargo xtask soak` runs it"]
fn the_leaks_that_the_suite_of_an_older_go_expects_are_found_too() {
    goroutine_leak_suite("1.26.6", &Mode::ALL);
}

/// Programs of every kind of wait.
const UNDER_A_BUDGET: [&str; 3] = ["send-full-buffer", "context-done", "mutex-never-unlocked"];

/// Beyond the 90 s after which those that never came back are called leaked.
const BUDGET_SECONDS: u64 = 100;

#[test]
fn where_the_budget_takes_the_probes_off_leaks_are_found_and_their_twins_are_left_alone() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "leaks", Variant::Stripped));
    let of = |(name, twin): (String, String)| Watched {
        name: format!("{name} {twin}"),
        exe: exe.clone(),
        // 4 000 births a second cost more than a hundredth of a processor.
        args: vec!["-noise".to_owned(), "400".to_owned(), name, twin],
        env: Vec::new(),
        modes: vec![Mode::Budget],
        obeys: false,
        watch_args: &[],
        seconds: BUDGET_SECONDS,
    };
    let programs: Vec<Watched> = programs(&exe)
        .into_iter()
        .filter(|(name, _)| UNDER_A_BUDGET.contains(&name.as_str()))
        .map(of)
        .collect();
    let mut rows = Vec::new();
    let (mut changed, mut moments) = (0, 0);
    for outcome in watch_all(&programs) {
        let watched = &programs[outcome.program];
        let claim = Claim::of(&watched.args[2], &watched.args[3]);
        for (mode, told) in outcome.said {
            let said = told.as_ref().expect("a watch ends with its summary");
            changed += u64::from(said.changes > 0);
            moments += u64::from(said.moments);
            rows.push(Row { name: watched.name.clone(), mode, claim: claim.clone(), told });
        }
    }
    println!("{}", table::verdicts(&rows));
    println!(
        "{} programs, {changed} with changes of the probes, {moments} with moments",
        rows.len()
    );
    let wrong: Vec<String> = rows.iter().filter_map(|row| row.check().err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(changed, rows.len() as u64, "probes that never come off test nothing");
}

/// A page: 85 records.
const SMALL_RING: &[&str] = &["--ring-size", "4KiB"];

/// Beyond the 30 s after which a wait is long.
const LOSS_SECONDS: u64 = 45;

#[test]
fn with_a_ring_too_small_for_the_load_nothing_false_is_told_and_what_is_told_says_that_records_were_lost()
 {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "leaks", Variant::Stripped));
    let patterns = ["send-full-buffer", "context-done"];
    let twins = ["leak", "fixed", "slow"];
    let program = |name: &str, twin: &str| Watched {
        name: format!("{name} {twin}"),
        exe: exe.clone(),
        args: ["-noise", "1000", name, twin].map(str::to_owned).to_vec(),
        env: Vec::new(),
        modes: vec![Mode::All, Mode::Lifecycle],
        obeys: false,
        watch_args: SMALL_RING,
        seconds: LOSS_SECONDS,
    };
    let programs: Vec<Watched> =
        patterns.iter().flat_map(|name| twins.map(|twin| program(name, twin))).collect();
    let outcomes = watch_all(&programs);
    let mut wrong = Vec::new();
    for outcome in outcomes {
        let watched = &programs[outcome.program];
        for (mode, said) in outcome.said {
            let said = said.expect("a watch ends with its summary");
            let head = format!("{} ({})", watched.name, mode.word());
            let surest = said.surest(|_| true);
            let verdict = surest.map_or("-", |told| told.confidence.word());
            println!("{head:40} {:>9} records lost, {verdict}", said.lost);
            if said.lost == 0 {
                wrong.push(format!("{head}: nothing was lost: this tests nothing"));
            }
            let leaks = matches!(Claim::of(&watched.args[2], &watched.args[3]), Claim::Leaks(_));
            if !leaks && surest.is_some_and(|told| told.confidence > Confidence::Suspect) {
                wrong.push(format!("{head}: {verdict}, but it does not leak"));
            }
            if watched.args[3] == "fixed" && surest.is_some() {
                wrong.push(format!("{head}: {verdict}, but it is mended"));
            }
            let silent = said.told.iter().find(|t| !t.reasons.iter().any(|r| r.contains("lost")));
            if let Some(told) = silent {
                wrong.push(format!("{head}: no word of the loss: {:?}", told.reasons));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
