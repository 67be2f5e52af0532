//! Births, deaths and losses: every hit leaves a record or is counted as lost.

use std::collections::HashSet;
use std::time::Duration;

use loiter::base::Pid;
use loiter::kernel::{AttachMethod, AttachTarget, Kinds, LoadSettings};
use loiter::runtime::plan::{Location, Register, SiteKind};
use loiter::stream::decode::RawRecord;

use crate::common::{GoProc, Variant, go_build, or_skip};
use crate::support::{Tally, Tracer, all_hits, all_lost};
use crate::{GO, by, hand_plan, methods, support};

#[test]
fn every_birth_and_death_of_a_known_number_of_goroutines_is_told() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    for method in methods() {
        let (mut process, _) = GoProc::start_ready(&binary, &["-n", "20000"]);
        let mut tracer = Tracer::load(&by(method));
        let attached = tracer.attach(&process, &binary, Kinds::LIFECYCLE);
        let mut tally = Tally::default();
        process.tell("run");
        tracer.drain_until(&mut tally, |tally| tally.ended_at_one_site() == 20_000);
        process.wait_for("done");
        let detached = tracer.kernel.detach(attached.slot).unwrap();
        tracer.drain(&mut tally);
        println!("{method:?}: attached in {:?}, detached in {:?}", attached.took, detached.took);
        assert_eq!(tally.born_at_one_site(), 20_000);
        let counters = detached.counters;
        assert_eq!(all_hits(&counters), tally.records);
        assert_eq!(all_lost(&counters), 0);
        assert_eq!(tracer.kernel.diagnostics(), 0);
        process.finish();
    }
}

/// The programs read each version's own layout, at the sites that the planner chose.
#[test]
fn each_go_version_and_build_mode_tells_lives_and_waits() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    for (version, variant) in crate::common::matrix() {
        let binary = match go_build(version, "million", variant) {
            Ok(binary) => binary,
            Err(why) => {
                crate::common::skipped(
                    "each_go_version_and_build_mode_tells_lives_and_waits",
                    &why,
                );
                continue;
            }
        };
        let (mut process, _) = GoProc::start_ready(&binary, &["-n", "2000", "-park"]);
        let (target, plan, config) = support::planned(&process);
        let mut tracer = Tracer::load(&by(AttachMethod::Auto));
        let slot = tracer.kernel.attach(&target, &plan, Kinds::ALL, config).unwrap().slot;
        let mut tally = Tally::default();
        process.tell("run");
        tracer.drain_until(&mut tally, |tally| tally.ended_at_one_site() == 2000);
        process.wait_for("done");
        let counters = tracer.kernel.detach(slot).unwrap().counters;
        tracer.drain(&mut tally);
        let wakers = tally.wakers.iter().filter(|(_, waker)| *waker != 0).count();
        println!(
            "go {version} {}: {} parks, {} runs, {wakers} of {} wake-ups by a goroutine, lost {}, degraded {:?}",
            variant.name(),
            tally.parks,
            tally.runs,
            tally.wakers.len(),
            all_lost(&counters),
            plan.degraded
        );
        assert_eq!((tally.born_at_one_site(), tally.ended_at_one_site()), (2000, 2000));
        assert_eq!(all_hits(&counters), tally.records);
        assert!(tally.parks > 100 && tally.runs >= 2000 && wakers > 100);
        let mut parents: Vec<u64> = tally.births.values().map(|birth| birth.parent).collect();
        parents.sort_unstable();
        let parent = parents[parents.len() / 2];
        assert_eq!(parent == 0, version == "1.19", "parents are kept since 1.21");
        process.finish();
    }
}

#[test]
fn with_a_ring_of_one_page_hits_equal_records_plus_losses_exactly() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    for method in methods() {
        let (mut process, _) = GoProc::start_ready(&binary, &["-n", "50000", "-park"]);
        let mut tracer = Tracer::load(&LoadSettings { ring_bytes: 4096, ..by(method) });
        let attached = tracer.attach(&process, &binary, Kinds::ALL);
        let mut tally = Tally::default();
        process.tell("run");
        let done = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| process.wait_for("done"));
            while !waiter.is_finished() {
                tracer.drain(&mut tally);
                tracer.wait();
            }
            waiter.join()
        });
        done.unwrap();
        let counters = tracer.kernel.detach(attached.slot).unwrap().counters;
        tracer.drain(&mut tally);
        let lost = all_lost(&counters);
        println!(
            "{method:?}: {} hits, {} records, {lost} lost",
            all_hits(&counters),
            tally.records
        );
        assert!(lost > 0, "the ring was never full: this shows nothing");
        assert_eq!(all_hits(&counters), tally.records + lost);
        assert_eq!(counters.submitted, tally.records);
        assert_eq!(tracer.kernel.missed().unwrap(), loiter::kernel::Missed::default());
        // Losses up to the last record are located; those after it show in the counters alone.
        assert!(u64::from(tally.last_lost) <= lost && tally.loss_steps > 0);
        process.finish();
    }
}

#[test]
fn the_reader_is_woken_at_each_eighth_of_the_ring_and_not_for_each_record() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    // 20 000 births and deaths are 20 000 * (72 + 48) bytes in the ring: 2.3 MiB, 18 eighths.
    let (mut process, _) = GoProc::start_ready(&binary, &["-n", "20000"]);
    let settings = LoadSettings { ring_bytes: 1 << 20, ..by(AttachMethod::Auto) };
    let mut tracer = Tracer::load(&settings);
    let attached = tracer.attach(&process, &binary, Kinds::LIFECYCLE);
    let mut tally = Tally::default();
    process.tell("run");
    let mut woken = 0u64;
    while tracer.woken(Duration::from_secs(2)) {
        woken += 1;
        tracer.drain(&mut tally);
    }
    process.wait_for("done");
    let counters = tracer.kernel.detach(attached.slot).unwrap().counters;
    println!("woken {woken} times for {} records, {} lost", tally.records, all_lost(&counters));
    // A reader that is late is woken once for several eighths, and takes what comes meanwhile with them.
    assert!((1..=40).contains(&woken), "{woken}");
    let fill = tracer.kernel.fill();
    assert!(fill.used < fill.size / 8, "an eighth was left without a wake-up: {fill:?}");
    process.finish();
}

#[test]
fn what_cannot_be_read_is_counted_and_leaves_no_record() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "wakers", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut plan = hand_plan::plan(&binary);
    for site in plan.sites.iter_mut().filter(|site| site.kind == SiteKind::Run) {
        // The second argument of execute, a bool: no address.
        site.location = Location::Register(Register::Rbx);
    }
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let target = AttachTarget::executable(Pid(process.pid()));
    let kinds = Kinds::NONE.with(SiteKind::Run);
    let slot = tracer.kernel.attach(&target, &plan, kinds, hand_plan::GO_1_27).unwrap().slot;
    support::until("hits", || tracer.kernel.counters(slot).unwrap().hits[3] > 100);
    let counters = tracer.kernel.detach(slot).unwrap().counters;
    let mut tally = Tally::default();
    tracer.drain(&mut tally);
    assert_eq!((counters.lost_user_read, tally.records), (counters.hits[3], 0));
    process.finish();
}

#[test]
fn a_value_on_the_stack_is_found() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "churn", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut plan = hand_plan::plan(&binary);
    for site in plan.sites.iter_mut().filter(|site| site.kind == SiteKind::Death) {
        // Before the push of gdestroy the return address is on top.
        site.location = Location::Stack { words: 0 };
    }
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let target = AttachTarget::executable(Pid(process.pid()));
    let kinds = Kinds::NONE.with(SiteKind::Death);
    let slot = tracer.kernel.attach(&target, &plan, kinds, hand_plan::GO_1_27).unwrap().slot;
    let mut values = HashSet::new();
    support::until("a record", || {
        tracer.kernel.drain(10_000, |record| match record {
            RawRecord::Death(task) => drop(values.insert(task.g)),
            other => panic!("{other:?}"),
        });
        !values.is_empty()
    });
    tracer.kernel.detach(slot).unwrap();
    let callers = hand_plan::range(&binary, "runtime.goexit0");
    assert!(values.iter().all(|address| callers.contains(address)), "{values:x?} {callers:x?}");
    process.finish();
}
