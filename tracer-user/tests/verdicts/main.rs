//! What loiter says of the programs of workloads/go/leaks: the usual leaks, their fixes, and programs that wait long and are right.
//! All of one Go version run side by side, each under three watches, with the default thresholds.
//!
//! The claims: with events every leak is found and named, as likely or certain; without, it is at least suspect. What is fixed is
//! passed over in silence, and what is only slow gets no more than a suspicion.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod claims;
#[path = "../common/mod.rs"]
mod common;
mod side_by_side;
mod table;
mod told;

use std::path::Path;
use std::process::Command;

use claims::{Claim, Mode, Row};
use common::{GO_VERSIONS, Variant, go_build, need_bpf, or_skip};
use side_by_side::{Watched, watch_all};

/// For how long each program is watched: beyond the 30 s after which a wait is long, and beyond the 60 s that some programs wait on purpose.
const SECONDS: u64 = 75;

/// `LOITER_VERDICT_SECONDS`, for trying.
fn seconds() -> u64 {
    let asked = std::env::var("LOITER_VERDICT_SECONDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// Pattern and twin of each program; only those whose name contains `LOITER_VERDICT_ONLY`, for trying.
fn programs(exe: &Path) -> Vec<(String, String)> {
    let only = std::env::var("LOITER_VERDICT_ONLY").unwrap_or_default();
    let told = Command::new(exe).arg("list").output().expect("the workload can be started");
    let text = String::from_utf8(told.stdout).expect("names are UTF-8");
    let pair = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    text.lines().filter(|line| line.contains(&only)).filter_map(pair).collect()
}

fn verdicts(version: &str) {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(version, "leaks", Variant::Stripped));
    let programs: Vec<Watched> = programs(&exe)
        .into_iter()
        .map(|(pattern, twin)| Watched {
            name: format!("{pattern} {twin}"),
            exe: exe.clone(),
            args: vec![pattern, twin],
            env: Vec::new(),
            modes: Mode::ALL.to_vec(),
        })
        .collect();
    let rows: Vec<Row> = watch_all(&programs, seconds())
        .into_iter()
        .map(|(program, mode, told)| {
            let watched = &programs[program];
            let claim = Claim::of(&watched.args[0], &watched.args[1]);
            Row { name: watched.name.clone(), mode, claim, told }
        })
        .collect();
    println!("go {version}:\n{}", table::verdicts(&rows));
    let wrong: Vec<String> = rows.iter().filter_map(|row| row.check().err()).collect();
    println!("go {version}: {} verdicts, {} wrong", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn leaks_of_the_oldest_go_are_found_and_named_and_their_twins_are_left_alone() {
    verdicts(GO_VERSIONS[0]);
}

#[test]
fn leaks_of_the_newest_go_are_found_and_named_and_their_twins_are_left_alone() {
    verdicts(GO_VERSIONS[GO_VERSIONS.len() - 1]);
}
