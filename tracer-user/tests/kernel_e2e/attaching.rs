//! Attaching and detaching: nothing stays behind, nothing is harmed, no wrong file is probed.

use std::time::{Duration, Instant};

use loiter::base::Pid;
use loiter::kernel::{AttachMethod, AttachTarget, Kernel, KernelError, Kinds};
use loiter::runtime::plan::SiteKind;

use crate::common::{GoProc, Variant, go_build, or_skip};
use crate::support::{Tally, Tracer};
use crate::{GO, by, hand_plan, methods, support};

#[test]
fn detaching_and_being_killed_leave_no_probe_behind() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let plan = hand_plan::plan(&binary);
    for method in methods() {
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

        let mut child = support::TracerProcess::start(
            "attaching::a_tracer_that_attaches_and_waits",
            &process,
            method,
        );
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
    or_skip!(crate::common::need_bpf());
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
fn modes_can_be_changed_while_the_target_runs() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
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
    or_skip!(crate::common::need_bpf());
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
    or_skip!(crate::common::need_bpf());
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
