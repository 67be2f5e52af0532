//! Waits: `min_wait`, parks under way, and who woke whom.

use std::collections::BTreeSet;
use std::time::Duration;

use loiter::kernel::{AttachMethod, Kinds, LoadSettings};
use tracer_common::config::TargetConfig;

use crate::common::{GoProc, Variant, go_build, or_skip};
use crate::support::{Tally, Tracer, all_hits, all_lost};
use crate::{GO, by, hand_plan, support};

#[test]
fn with_min_wait_only_long_waits_leave_a_record_and_it_tells_all_of_it() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "wakers", Variant::Default));
    let (process, said) = GoProc::start_ready(&binary, &[]);
    let ids = support::ids(&said);
    let min_wait = Duration::from_millis(1);
    let config = TargetConfig { min_wait_ns: min_wait.as_nanos() as u64, ..hand_plan::GO_1_27 };
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let attached = tracer.attach_with(&process, &binary, Kinds::ALL, config);
    let mut tally = Tally::default();
    tracer.drain_until(&mut tally, |tally| tally.waits.len() > 500);
    let counters = tracer.kernel.detach(attached.slot).unwrap().counters;
    tracer.drain(&mut tally);
    process.finish();

    assert_eq!(
        tally.parks + tally.runs + tally.wakers.len() as u64,
        0,
        "only whole waits are told"
    );
    assert_eq!(all_hits(&counters), tally.records + counters.quiet + all_lost(&counters));
    assert_eq!(all_lost(&counters), 0);
    for wait in &tally.waits {
        assert!(wait.header.time_ns - wait.parked_ns >= config.min_wait_ns);
        assert!(
            wait.ready_ns == 0 || (wait.parked_ns..=wait.header.time_ns).contains(&wait.ready_ns)
        );
    }
    let sleeps = tally.waits.iter().filter(|wait| wait.goid == ids["sleeper"]);
    let (mut sleeps, mut wakers): (Vec<_>, Vec<_>) =
        sleeps.map(|w| (Duration::from_nanos(w.header.time_ns - w.parked_ns), w.waker)).unzip();
    wakers.dedup();
    println!("sleeps of 3 ms as told: {}", support::spread(&mut sleeps));
    assert_eq!(wakers, [0], "no goroutine wakes a sleeper");
    assert!(sleeps[sleeps.len() / 2] >= Duration::from_millis(3), "{sleeps:?}");
    let of_receiver = tally.waits.iter().filter(|wait| wait.goid == ids["receiver"]);
    assert!(of_receiver.clone().any(|wait| wait.waker != 0));
    for wait in of_receiver {
        // Not looked for where the goroutine was runnable again early.
        let early = wait.ready_ns - wait.parked_ns < config.min_wait_ns / 2;
        assert_eq!(wait.waker, if early { 0 } else { ids["sender"] }, "{wait:?}");
    }
}

#[test]
fn min_wait_can_be_changed_while_the_target_runs() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "wakers", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let slot = tracer.attach(&process, &binary, Kinds::ALL).slot;
    let mut tally = Tally::default();
    tracer.drain_until(&mut tally, |tally| tally.parks > 200);
    assert!(tally.waits.is_empty());
    tracer.kernel.set_min_wait(slot, 1_000_000).unwrap();
    tracer.drain_until(&mut tally, |tally| tally.waits.len() > 200);
    tracer.kernel.set_min_wait(slot, 0).unwrap();
    tracer.drain(&mut tally);
    let (parks, waits) = (tally.parks, tally.waits.len());
    tracer.drain_until(&mut tally, |tally| tally.parks > parks + 200);
    assert_eq!(tally.waits.len(), waits);
    tracer.kernel.detach(slot).unwrap();
    process.finish();
}

#[test]
fn parks_that_are_going_on_can_be_asked_for() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "wakers", Variant::Default));
    let (process, said) = GoProc::start_ready(&binary, &[]);
    let ids = support::ids(&said);
    let config = TargetConfig { min_wait_ns: 1_000_000_000_000, ..hand_plan::GO_1_27 };
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let slot = tracer.attach_with(&process, &binary, Kinds::ALL, config).slot;
    support::until("parks", || tracer.kernel.counters(slot).unwrap().hits[2] > 500);
    process.signal(libc::SIGSTOP);
    support::until("the target stands still", || {
        let quiet = tracer.kernel.counters(slot).unwrap().quiet;
        std::thread::sleep(Duration::from_millis(20));
        tracer.kernel.counters(slot).unwrap().quiet == quiet
    });
    let parked = tracer.kernel.parked(slot).unwrap();
    let names: Vec<&str> = ids
        .iter()
        .filter(|(_, id)| parked.iter().any(|task| task.goid == **id))
        .map(|(name, _)| name.as_str())
        .collect();
    println!(
        "parked when the target was stopped: {names:?} and {} more",
        parked.len() - names.len()
    );
    // One or two of the six may have been between two parks.
    assert!(names.len() >= 4, "{parked:?}");
    let last = parked.iter().map(|task| task.since.0).max().unwrap();
    for task in parked.iter().filter(|task| ids["sleeper"] == task.goid) {
        assert!(last - task.since.0 < 1_000_000_000, "a sleep of 3 ms began long ago: {task:?}");
    }
    process.signal(libc::SIGCONT);
    tracer.kernel.detach(slot).unwrap();
    assert_eq!(tracer.kernel.parked(slot).unwrap(), [], "a detached slot remembers nothing");
    process.finish();
}

#[test]
fn ended_goroutines_are_not_remembered() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    let (mut process, _) = GoProc::start_ready(&binary, &["-n", "3000", "-park"]);
    let config = TargetConfig { min_wait_ns: 1, ..hand_plan::GO_1_27 };
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let slot = tracer.attach_with(&process, &binary, Kinds::ALL, config).slot;
    process.ask("run", "done");
    let mut tally = Tally::default();
    tracer.drain_until(&mut tally, |tally| tally.ended_at_one_site() == 3000);
    let parked = tracer.kernel.parked(slot).unwrap();
    assert!(parked.iter().all(|task| !tally.deaths.contains(&task.goid)), "{parked:?}");
    tracer.kernel.detach(slot).unwrap();
    process.finish();
}

#[test]
fn a_full_map_of_parks_is_counted_exactly() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    let (mut process, _) = GoProc::start_ready(&binary, &["-n", "5000", "-park"]);
    let config = TargetConfig { min_wait_ns: 1_000_000_000, ..hand_plan::GO_1_27 };
    let mut tracer = Tracer::load(&LoadSettings { parked_capacity: 16, ..by(AttachMethod::Auto) });
    let attached = tracer.attach_with(&process, &binary, Kinds::ALL, config);
    let mut tally = Tally::default();
    process.ask("run", "done");
    let counters = tracer.kernel.detach(attached.slot).unwrap().counters;
    tracer.drain(&mut tally);
    assert!(counters.lost_map_full > 0, "{counters:?}");
    assert_eq!(all_hits(&counters), tally.records + counters.quiet + all_lost(&counters));
    process.finish();
}

#[test]
fn the_waker_is_the_goroutine_that_did_it_or_unknown() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    for version in crate::common::go::versions() {
        let binary = or_skip!(go_build(version, "wakers", Variant::Default));
        let (process, said) = GoProc::start_ready(&binary, &[]);
        let ids = support::ids(&said);
        let (target, plan, config) = support::planned(&process);
        let mut tracer = Tracer::load(&by(AttachMethod::Auto));
        let slot = tracer.kernel.attach(&target, &plan, Kinds::ALL, config).unwrap().slot;
        let mut tally = Tally::default();
        let woken = |tally: &Tally, who: &str| {
            tally.wakers.iter().filter(|(goid, _)| *goid == ids[who]).count()
        };
        tracer.drain_until(&mut tally, |tally| {
            ["sleeper", "deadline", "receiver", "locker"].iter().all(|who| woken(tally, who) > 100)
        });
        let counters = tracer.kernel.detach(slot).unwrap().counters;
        tracer.drain(&mut tally);
        process.finish();
        assert_eq!(counters.waker_unread, 0);
        let wakers = |who: &str| {
            let of_who = tally.wakers.iter().filter(|(goid, _)| *goid == ids[who]);
            let wakers: BTreeSet<u64> = of_who.map(|(_, waker)| *waker).collect();
            wakers.into_iter().collect::<Vec<_>>()
        };
        println!("go {version}: {} wake-ups, each by whom it should be", tally.wakers.len());
        assert_eq!(wakers("sleeper"), [0], "timers are no goroutine");
        assert_eq!(wakers("deadline"), [0], "read deadlines are no goroutine");
        assert_eq!(wakers("receiver"), [ids["sender"]]);
        assert_eq!(wakers("locker"), [ids["unlocker"]]);
    }
}
