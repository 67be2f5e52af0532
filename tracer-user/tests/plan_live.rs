//! Plans on running programs: what the probes count is what the programs did, exactly, and the
//! programs live on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "plan/support.rs"]
mod support;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use common::go::{full_matrix, minor, versions};
use common::{GoProc, Variant, go_build, or_skip};
use loiter::base::Pid;
use loiter::kernel::{AttachTarget, Kernel, Kinds, LoadSettings};
use loiter::runtime::plan::SiteKind;
use loiter::stream::decode::RawRecord;
use support::Program;
use tracer_common::config::{NO_OFFSET, SlotCounters, TargetConfig};

/// Longest wait for events that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of one goroutine.
#[derive(Default)]
struct Life {
    gopc: u64,
    births: u32,
    deaths: u32,
    parks: u32,
    runs: u32,
    readies: u32,
}

/// All goroutines that were seen, by their number.
#[derive(Default)]
struct Lives {
    by_goid: HashMap<u64, Life>,
    records: u64,
}

impl Lives {
    fn life(&mut self, goid: u64) -> &mut Life {
        self.by_goid.entry(goid).or_default()
    }

    fn add(&mut self, record: RawRecord) {
        self.records += 1;
        match record {
            RawRecord::Birth(birth) => {
                let life = self.life(birth.goid);
                life.births += 1;
                life.gopc = birth.gopc;
            }
            RawRecord::Death(task) => self.life(task.goid).deaths += 1,
            RawRecord::Park(park) => self.life(park.goid).parks += 1,
            RawRecord::Run(task) => self.life(task.goid).runs += 1,
            RawRecord::Ready(ready) => self.life(ready.goid).readies += 1,
            _ => {}
        }
    }

    /// Those that were born at the place where most were.
    fn busiest(&self) -> Vec<&Life> {
        let mut places: HashMap<u64, Vec<&Life>> = HashMap::new();
        for life in self.by_goid.values().filter(|life| life.births > 0) {
            places.entry(life.gopc).or_default().push(life);
        }
        places.into_values().max_by_key(Vec::len).unwrap_or_default()
    }
}

fn config(program: &Program) -> TargetConfig {
    let layout = program.layout;
    TargetConfig {
        min_wait_ns: 0,
        g_goid: layout.g.goid,
        g_parent: layout.g.parent_goid.unwrap_or(NO_OFFSET),
        g_gopc: layout.g.gopc,
        g_startpc: layout.g.startpc,
        g_waitreason: layout.g.waitreason,
        g_tracking_seq: layout.g.tracking_seq,
        g_m: layout.g.m,
        m_curg: layout.m.curg,
    }
}

/// Has the program run once under the probes of its plan, until `expected` goroutines of one place
/// have ended.
fn watch(version: &str, path: &Path, args: &[&str], expected: usize) -> (Lives, SlotCounters) {
    let program = Program::open(version, path);
    let plan = program.plan().unwrap();
    let (mut process, _) = GoProc::start_ready(path, args);
    let mut kernel = Kernel::load(&LoadSettings::default()).unwrap();
    let target = AttachTarget::executable(Pid(process.pid()));
    let attached = kernel.attach(&target, &plan, Kinds::ALL, config(&program)).unwrap();
    let mut lives = Lives::default();
    process.tell("run");
    process.wait_for("done");
    let end = Instant::now() + PATIENCE;
    loop {
        while kernel.drain(100_000, |record| lives.add(record)).more {}
        if lives.busiest().iter().filter(|life| life.deaths > 0).count() >= expected {
            break;
        }
        assert!(Instant::now() < end, "{version}: {} records came", lives.records);
        std::thread::sleep(Duration::from_millis(5));
    }
    let counters = kernel.detach(attached.slot).unwrap().counters;
    while kernel.drain(100_000, |record| lives.add(record)).more {}
    process.finish();
    assert_eq!(counters.lost_user_read, 0, "{version}: a probe had no goroutine at hand");
    assert_eq!(counters.lost_ring_full, 0);
    assert_eq!(counters.hits.iter().sum::<u64>(), lives.records);
    (lives, counters)
}

fn cases() -> Vec<(&'static str, Variant)> {
    if full_matrix() {
        return common::matrix();
    }
    let stripped = |version: &&'static str| (*version, Variant::Stripped);
    let mut cases: Vec<_> = versions().iter().map(stripped).collect();
    cases.extend([("1.19", Variant::Debug), ("1.27.3", Variant::Race), ("1.27.3", Variant::Pie)]);
    cases
}

#[test]
fn a_known_number_of_goroutines_is_born_parks_runs_and_ends_as_often_as_it_did() {
    const N: usize = 2_000;
    or_skip!(common::need_bpf());
    for (version, variant) in cases() {
        let path = or_skip!(go_build(version, "million", variant));
        let (lives, counters) = watch(version, &path, &["-n", "2000", "-park"], N);
        let workers = lives.busiest();
        println!(
            "{version} {variant:?}: hits {:?}, {} goroutines",
            counters.hits,
            lives.by_goid.len()
        );
        assert_eq!(workers.len(), N, "{version} {variant:?}");
        for life in workers {
            assert_eq!((life.births, life.deaths), (1, 1), "{version} {variant:?}");
            // Who parks is made ready once for it, and runs once more; preemption may add runs.
            assert!(life.runs > life.parks, "{} runs, {} parks", life.runs, life.parks);
            assert_eq!(life.parks, life.readies, "{version} {variant:?}");
        }
        let twice = lives.by_goid.values().filter(|life| life.births > 1 || life.deaths > 1);
        assert_eq!(twice.count(), 0, "{version} {variant:?}");
    }
}

#[test]
fn coroutines_are_born_and_end_though_no_go_statement_makes_them() {
    const N: usize = 1_000;
    or_skip!(common::need_bpf());
    let known = |version: &&&str| minor(version) >= Some(23);
    for version in versions().iter().filter(known) {
        let path = or_skip!(go_build(version, "coroutines", Variant::Default));
        let (lives, counters) = watch(version, &path, &["-n", "1000"], N);
        let coroutines = lives.busiest();
        println!("{version}: hits {:?}", counters.hits);
        assert_eq!(coroutines.len(), N, "{version}");
        assert!(coroutines.iter().all(|life| (life.births, life.deaths) == (1, 1)), "{version}");
    }
}

#[test]
fn ends_are_counted_once_where_a_profile_inlined_them_into_one_of_two_ways_to_end() {
    or_skip!(common::need_bpf());
    let path = or_skip!(go_build("1.27.3", "spawner", Variant::Default));
    let plan = Program::open("1.27.3", &path).plan().unwrap();
    let deaths = plan.sites.iter().filter(|site| site.kind == SiteKind::Death);
    let functions: Vec<&str> = deaths.map(|site| &*site.function).collect();
    assert_eq!(functions, ["runtime.goexit0", "runtime.gdestroy"]);
    assert_eq!(plan.degraded, []);

    let (lives, _) = watch("1.27.3", &path, &["-n", "1000"], 1_000);
    let born = lives.by_goid.values().filter(|life| life.births > 0);
    let once = born.filter(|life| (life.births, life.deaths) == (1, 1)).count();
    assert_eq!(once, 2_000, "1 000 goroutines and 1 000 coroutines");
    assert!(lives.by_goid.values().all(|life| life.deaths <= 1));
}
