//! The process around the goroutines, and the host around loiter: exec, exit, namespaces, rights.

use std::time::Instant;

use loiter::kernel::{
    AttachMethod, AttachTarget, Kernel, KernelError, Kinds, LoadSettings, Method,
};
use loiter::stream::decode::RawRecord;
use tracer_common::ids::kind;

use crate::common::{GoProc, Variant, go_build, or_skip};
use crate::support::{Tally, Tracer};
use crate::{GO, by, hand_plan, support};

/// Loiter's rights in production, without root: CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE.
#[test]
fn three_capabilities_are_enough_and_a_missing_one_is_named() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let three = ("bpf,perfmon,sys_ptrace", "Multi");
    let said = support::without_root(three, "host::what_a_tracer_says", &process);
    assert!(said.contains("\nattached\n"), "{said}");
    for (given, missing) in [
        ("perfmon,sys_ptrace", "CAP_BPF missing"),
        ("bpf,sys_ptrace", "CAP_PERFMON missing"),
        ("bpf,perfmon", "CAP_SYS_PTRACE missing"),
    ] {
        let said = support::without_root((given, "Multi"), "host::what_a_tracer_says", &process);
        assert!(said.contains(missing), "{given}: {said}");
    }
    process.finish();
}

/// What is left where there is no uprobe_multi.
#[test]
fn perf_events_take_the_administrators_right_besides_and_say_so() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let three = ("bpf,perfmon,sys_ptrace", "PerfEvent");
    let said = support::without_root(three, "host::what_a_tracer_says", &process);
    assert!(
        said.contains("CAP_SYS_ADMIN missing") && said.contains("run loiter as root"),
        "{said}"
    );
    let four = ("bpf,perfmon,sys_ptrace,sys_admin", "PerfEvent");
    let said = support::without_root(four, "host::what_a_tracer_says", &process);
    assert!(said.contains("\nattached\n"), "{said}");
    process.finish();
}

/// Run by the tests above.
#[test]
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
fn from_inside_a_pid_namespace_events_and_process_events_arrive() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(go_build(GO, "churn", Variant::Default));
    let done = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "host::a_tracer_in_a_pid_namespace", "--nocapture"])
        .env("LOITER_TEST_NAMESPACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// Run by the test above in a namespace of its own.
#[test]
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
fn fork_exec_and_exit_of_a_target_are_told() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
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
    or_skip!(crate::common::need_bpf());
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
fn uprobe_multi_of_this_kernel_sees_every_thread() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
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
    or_skip!(crate::common::need_bpf());
    let began = Instant::now();
    let kernel = Kernel::load(&LoadSettings::default()).unwrap();
    println!("loaded in {:?} by {:?}", began.elapsed(), kernel.method());
    assert!(kernel.fill().size == u64::from(LoadSettings::DEFAULT_RING_BYTES));
    for ring_bytes in [0, 100, 4095, 5000, 1 << 31] {
        let settings = LoadSettings { ring_bytes, ..LoadSettings::default() };
        assert!(matches!(Kernel::load(&settings), Err(KernelError::Setting { .. })));
    }
}
