//! The kernel layer on the real kernel: real probes on real Go programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "kernel/hand_plan.rs"]
mod hand_plan;
#[path = "kernel/support.rs"]
mod support;

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use common::{GoProc, Variant, go_build, or_skip};
use loiter::base::Pid;
use loiter::kernel::{
    AttachMethod, AttachTarget, Kernel, KernelError, Kinds, LoadSettings, Method,
};
use loiter::runtime::plan::{Location, Register, SiteKind};
use loiter::stream::decode::RawRecord;
use support::{Tally, Tracer, all_hits, all_lost};
use tracer_common::config::TargetConfig;
use tracer_common::ids::kind;

const GO: &str = "1.27.3";
const METHODS: [AttachMethod; 2] = [AttachMethod::Multi, AttachMethod::PerfEvent];

fn by(attach_method: AttachMethod) -> LoadSettings {
    LoadSettings { attach_method, parked_capacity: 4096, ..LoadSettings::default() }
}

#[test]
fn every_birth_and_death_of_a_known_number_of_goroutines_is_told() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    for method in METHODS {
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
    or_skip!(common::need_bpf());
    for (version, variant) in common::matrix() {
        let binary = match go_build(version, "million", variant) {
            Ok(binary) => binary,
            Err(why) => {
                common::skipped("each_go_version_and_build_mode_tells_lives_and_waits", &why);
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
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    for method in METHODS {
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
    or_skip!(common::need_bpf());
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
    // A reader that is late is woken once for several eighths.
    assert!((2..=40).contains(&woken), "{woken}");
    let fill = tracer.kernel.fill();
    assert!(fill.used < fill.size / 8, "an eighth was left without a wake-up: {fill:?}");
    process.finish();
}

#[test]
fn detaching_and_being_killed_leave_no_probe_behind() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let plan = hand_plan::plan(&binary);
    for method in METHODS {
        let (mut process, _) = GoProc::start_ready(&binary, &[]);
        let before = support::text_under_sites(&process, &plan);
        let mut tracer = Tracer::load(&by(method));
        let attached = tracer.attach(&process, &binary, Kinds::ALL);
        assert!(support::text_under_sites(&process, &plan).iter().all(|code| code[0] == 0xcc));
        let detached = tracer.kernel.detach(attached.slot).unwrap();
        assert_eq!(support::text_under_sites(&process, &plan), before);
        println!("{method:?}: attached in {:?}, detached in {:?}", attached.took, detached.took);
        let programs = support::programs_of(std::process::id());
        assert!(programs.len() >= 5, "{programs:?}");
        drop(tracer);
        support::until("programs are unloaded", || !support::any_is_loaded(&programs));

        let mut child =
            support::TracerProcess::start("a_tracer_that_attaches_and_waits", &process, method);
        child.wait_for("attached");
        assert!(support::text_under_sites(&process, &plan).iter().all(|code| code[0] == 0xcc));
        let programs = support::programs_of(child.pid());
        assert!(programs.len() >= 5, "{programs:?}");
        child.kill();
        support::until("probes of the killed tracer are gone", || {
            support::text_under_sites(&process, &plan) == before
                && !support::any_is_loaded(&programs)
        });
        process.assert_alive();
        process.finish();
    }
}

/// The tracer that the test above kills; not a test of its own.
#[test]
#[ignore = "run by another test"]
fn a_tracer_that_attaches_and_waits() {
    let Some((pid, method)) = support::TracerProcess::orders() else { return };
    let binary = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let mut kernel = Kernel::load(&by(method)).unwrap();
    let target = AttachTarget::executable(pid);
    kernel.attach(&target, &hand_plan::plan(&binary), Kinds::ALL, hand_plan::GO_1_27).unwrap();
    support::TracerProcess::say("attached");
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn attaching_and_detaching_200_times_leaves_a_busy_program_unharmed() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "churn", Variant::Cgo));
    let cycles = std::env::var("LOITER_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let (mut process, said) = GoProc::start_ready(&binary, &[]);
    assert_eq!(said, "cgo=true");
    let plan = hand_plan::plan(&binary);
    let before = support::text_under_sites(&process, &plan);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let (mut attaching, mut detaching) = (Vec::new(), Vec::new());
    let mut tally = Tally::default();
    for cycle in 0..cycles {
        let kinds = if cycle % 3 == 0 { Kinds::LIFECYCLE } else { Kinds::ALL };
        let attached = tracer.attach(&process, &binary, kinds);
        tracer.drain(&mut tally);
        if cycle % 4 == 0 {
            tracer.kernel.set_kinds(attached.slot, Kinds::ALL).unwrap();
            tracer.kernel.set_kinds(attached.slot, Kinds::NONE).unwrap();
        }
        let detached = tracer.kernel.detach(attached.slot).unwrap();
        attaching.push(attached.took);
        detaching.push(detached.took);
        process.assert_alive();
    }
    assert_eq!(support::text_under_sites(&process, &plan), before);
    let rounds: u64 = process.ask("count", "count").parse().unwrap();
    println!(
        "{cycles} cycles: attach {}, detach {}; {rounds} rounds of checked work, {} records",
        support::spread(&mut attaching),
        support::spread(&mut detaching),
        tally.records
    );
    assert!(rounds > 0 && tally.records > 0);
    assert_eq!(tracer.kernel.diagnostics(), 0);
    process.finish();
}

#[test]
fn with_min_wait_only_long_waits_leave_a_record_and_it_tells_all_of_it() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
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
    assert!(of_receiver.clone().count() > 0);
    assert!(of_receiver.clone().all(|wait| wait.waker == ids["sender"]));
}

#[test]
fn min_wait_can_be_changed_while_the_target_runs() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
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
fn what_cannot_be_read_is_counted_and_leaves_no_record() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
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
    or_skip!(common::need_bpf());
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

#[test]
fn parks_that_are_going_on_can_be_asked_for() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
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
    or_skip!(common::need_bpf());
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

/// Loiter's rights in production, without root: CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE.
#[test]
fn three_capabilities_are_enough_and_a_missing_one_is_named() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let said = support::without_root("bpf,perfmon,sys_ptrace", "what_a_tracer_says", &process);
    assert!(said.contains("\nattached\n"), "{said}");
    for (given, missing) in [
        ("perfmon,sys_ptrace", "CAP_BPF missing"),
        ("bpf,sys_ptrace", "CAP_PERFMON missing"),
        ("bpf,perfmon", "CAP_SYS_PTRACE missing"),
    ] {
        let said = support::without_root(given, "what_a_tracer_says", &process);
        assert!(said.contains(missing), "{given}: {said}");
    }
    process.finish();
}

/// Run by the test above.
#[test]
#[ignore = "run by another test"]
fn what_a_tracer_says() {
    let Some((pid, method)) = support::TracerProcess::orders() else { return };
    let said = Kernel::load(&by(method)).and_then(|mut kernel| {
        let binary = std::env::var("LOITER_TEST_BINARY").unwrap();
        let plan = hand_plan::plan(binary.as_ref());
        kernel.attach(&AttachTarget::executable(pid), &plan, Kinds::ALL, hand_plan::GO_1_27)
    });
    support::TracerProcess::say(&said.map_or_else(|e| e.to_string(), |_| "attached".to_owned()));
}

#[test]
fn a_full_map_of_parks_is_counted_exactly() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
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
    or_skip!(common::need_bpf());
    for version in common::go::versions() {
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

#[test]
fn fork_exec_and_exit_of_a_target_are_told() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "churn", Variant::Default));
    let (mut process, _) = GoProc::start_ready(&binary, &["-workers", "1"]);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    assert_eq!(tracer.kernel.process_events_missing(), None);
    let attached = tracer.attach(&process, &binary, Kinds::NONE);
    let mut tally = Tally::default();
    let child: u64 = process.ask("spawn", "spawned").parse().unwrap();
    process.tell("become");
    let has = |tally: &Tally, kind| tally.process.iter().any(|r| r.header().kind == kind);
    tracer.drain_until(&mut tally, |tally| has(tally, kind::EXEC));
    let pid = process.pid();
    process.finish();
    tracer.drain_until(&mut tally, |tally| has(tally, kind::EXIT));
    // os/exec itself forks once more, to see whether pidfds work.
    let [forks @ .., RawRecord::Exec(exec), RawRecord::Exit(exit)] = &tally.process[..] else {
        panic!("{:?}", tally.process)
    };
    let children = forks.iter().map(|record| match record {
        RawRecord::Fork(fork) => fork.value,
        other => panic!("{other:?}"),
    });
    assert!(children.into_iter().any(|tgid| tgid == child), "{forks:?}");
    assert_eq!((exec.header.tgid, exec.header.slot), (pid, attached.slot));
    assert_eq!((exit.header.tgid, exit.value), (pid, 0));
    let counters = tracer.kernel.detach(attached.slot).unwrap().counters;
    assert_eq!((counters.process_hits, counters.submitted), (tally.records, tally.records));
}

#[test]
fn a_killed_target_is_told_once_with_its_signal() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "churn", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let attached = tracer.attach(&process, &binary, Kinds::LIFECYCLE);
    let mut tally = Tally::default();
    process.signal(libc::SIGKILL);
    tracer.drain_until(&mut tally, |tally| !tally.process.is_empty());
    drop(process);
    tracer.drain(&mut tally);
    let [RawRecord::Exit(exit)] = tally.process[..] else { panic!("{:?}", tally.process) };
    assert_eq!(exit.value, libc::SIGKILL as u64);
    tracer.kernel.detach(attached.slot).unwrap();
}

#[test]
fn from_inside_a_pid_namespace_events_and_process_events_arrive() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    or_skip!(go_build(GO, "churn", Variant::Default));
    let done = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_tracer_in_a_pid_namespace", "--nocapture"])
        .env("LOITER_TEST_NAMESPACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// Run by the test above in a namespace of its own.
#[test]
#[ignore = "run by another test"]
fn a_tracer_in_a_pid_namespace() {
    if std::env::var_os("LOITER_TEST_NAMESPACE").is_none() {
        return;
    }
    let binary = go_build(GO, "churn", Variant::Default).unwrap();
    let (mut process, _) = GoProc::start_ready(&binary, &["-workers", "1"]);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let attached = tracer.attach(&process, &binary, Kinds::ALL);
    let mut tally = Tally::default();
    process.ask("spawn", "spawned");
    let has = |tally: &Tally, kind| tally.process.iter().any(|r| r.header().kind == kind);
    tracer.drain_until(&mut tally, |tally| tally.births.len() > 50 && has(tally, kind::FORK));
    let pid = process.pid();
    process.signal(libc::SIGKILL);
    drop(process);
    tracer.drain_until(&mut tally, |tally| has(tally, kind::EXIT));
    assert!(tally.process.iter().all(|record| record.header().slot == attached.slot));
    let host_pid = tally.process[0].header().tgid;
    assert_ne!(host_pid, pid, "records carry the host's ids");
    assert!(tally.births.values().all(|birth| birth.header.tgid == host_pid));
}

#[test]
fn modes_can_be_changed_while_the_target_runs() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "churn", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let attached = tracer.attach(&process, &binary, Kinds::LIFECYCLE);
    let mut tally = Tally::default();
    tracer.drain_until(&mut tally, |tally| tally.births.len() > 100);
    assert_eq!((tally.parks, tally.runs), (0, 0));
    let began = Instant::now();
    tracer.kernel.set_kinds(attached.slot, Kinds::ALL).unwrap();
    let to_all = began.elapsed();
    tracer.drain_until(&mut tally, |tally| tally.parks > 100 && tally.runs > 100);
    let began = Instant::now();
    tracer.kernel.set_kinds(attached.slot, Kinds::NONE).unwrap();
    println!("lifecycle -> all in {to_all:?}, all -> none in {:?}", began.elapsed());
    tracer.drain(&mut tally);
    let still = tracer.kernel.counters(attached.slot).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(tracer.kernel.counters(attached.slot).unwrap(), still, "no probe hits any more");
    process.finish();
}

#[test]
fn a_slot_is_not_given_to_another_target_while_its_records_are_in_the_ring() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let mut slots = Vec::new();
    for _ in 0..3 {
        let attached = tracer.attach(&process, &binary, Kinds::NONE.with(SiteKind::Run));
        slots.push(attached.slot);
        tracer.kernel.detach(attached.slot).unwrap();
    }
    slots.dedup();
    assert_eq!(slots.len(), 3);
    process.finish();
}

#[test]
fn another_file_than_the_plan_was_made_from_is_refused() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let other = or_skip!(go_build(GO, "churn", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    let target = AttachTarget::executable(Pid(process.pid()));
    let plan = hand_plan::plan(&other);
    let refusal = tracer.kernel.attach(&target, &plan, Kinds::ALL, hand_plan::GO_1_27).unwrap_err();
    println!("{refusal}");
    assert!(matches!(refusal, KernelError::Changed { .. }), "{refusal}");

    let mut stale = target.clone();
    stale.start_ticks = Some(1);
    let plan = hand_plan::plan(&binary);
    let refusal = tracer.kernel.attach(&stale, &plan, Kinds::ALL, hand_plan::GO_1_27).unwrap_err();
    assert!(matches!(refusal, KernelError::Gone { .. }), "{refusal}");
    assert_eq!(support::text_under_sites(&process, &plan)[0][0], plan.sites[0].bytes[0]);

    let pid = process.pid();
    process.finish();
    let gone = tracer.kernel.attach(&target, &plan, Kinds::ALL, hand_plan::GO_1_27).unwrap_err();
    assert!(matches!(gone, KernelError::Gone { .. }), "{gone}");
    assert_eq!(gone.to_string(), format!("process {pid} exited meanwhile"));
}

#[test]
fn uprobe_multi_of_this_kernel_sees_every_thread() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let mut kernel = Kernel::load(&by(AttachMethod::Auto)).unwrap();
    if kernel.method() == Method::Multi {
        let began = Instant::now();
        assert!(kernel.try_multi().unwrap());
        println!("self-test in {:?}", began.elapsed());
    }
}

#[test]
fn loading_is_quick_and_settings_out_of_range_are_refused() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let began = Instant::now();
    let kernel = Kernel::load(&LoadSettings::default()).unwrap();
    println!("loaded in {:?} by {:?}", began.elapsed(), kernel.method());
    assert!(kernel.fill().size == u64::from(LoadSettings::DEFAULT_RING_BYTES));
    for ring_bytes in [0, 100, 4095, 5000, 1 << 31] {
        let settings = LoadSettings { ring_bytes, ..LoadSettings::default() };
        assert!(matches!(Kernel::load(&settings), Err(KernelError::Setting { .. })));
    }
}

/// What the target pays: its own CPU time a round trip of ping-pong, with and without probes.
#[test]
#[ignore = "measures; run it alone: cargo test --test kernel_e2e -- --ignored what_a_hit_costs --nocapture"]
fn what_a_hit_costs() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let mut process = GoProc::start_with(&binary, &[], &[("GOMAXPROCS", "1")]);
    process.wait_for("ready");
    let one = |kind| (format!("{kind:?}"), Kinds::NONE.with(kind), 0);
    let cases = [
        ("none".to_owned(), Kinds::NONE, 0),
        one(SiteKind::Park),
        one(SiteKind::Run),
        one(SiteKind::Ready),
        ("all".to_owned(), Kinds::ALL, 0),
        ("all, min_wait 10 ms".to_owned(), Kinds::ALL, 10_000_000),
    ];
    let mut costs: Vec<Vec<(f64, f64)>> = vec![Vec::new(); cases.len()];
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    for _ in 0..5 {
        for ((_, kinds, min_wait_ns), costs) in cases.iter().zip(&mut costs) {
            let config = TargetConfig { min_wait_ns: *min_wait_ns, ..hand_plan::GO_1_27 };
            let attached = tracer.attach_with(&process, &binary, *kinds, config);
            costs.push(support::cost_a_round(&mut tracer, &mut process, attached.slot));
            tracer.kernel.detach(attached.slot).unwrap();
            tracer.drain(&mut Tally::default());
        }
    }
    let mut bare = 0.0;
    for ((name, _, _), costs) in cases.iter().zip(&mut costs) {
        costs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (cost, hits) = costs[costs.len() / 2];
        if hits == 0.0 {
            bare = cost;
        }
        let a_hit = (cost - bare) / hits.max(1.0);
        let (least, most) = (costs[0].0, costs[costs.len() - 1].0);
        println!(
            "{name:22} {cost:6.0} ns a round ({least:.0}-{most:.0}), {hits:.2} hits, {a_hit:4.0} ns a hit"
        );
    }
    process.finish();
}
