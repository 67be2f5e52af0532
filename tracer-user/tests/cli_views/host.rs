//! Views of the machine and of what can be traced on it.

use loiter::view::doctor::{
    CheckState, CheckView, DoctorView, PlanGapView, SiteView, TargetPlanView,
};
use loiter::view::ps::{PsRow, PsView, Support};

use super::*;

pub fn ps() -> PsView {
    let row = |pid, version: &str, support, tasks, exe: &str| PsRow {
        pid,
        runtime: "go".into(),
        runtime_version: version.into(),
        support,
        tasks,
        started: Some(WallTime(NOW.0 - 86_400_000_000_000)),
        container: None,
        pod: None,
        exe: exe.into(),
        package: None,
        traits: vec!["stripped".into()],
    };
    PsView {
        rows: vec![
            row(811, "go1.24.11", Support::Full, Some(31), "/usr/bin/etcd"),
            PsRow {
                container: process().container,
                pod: None,
                ..row(4242, "go1.27.3", Support::Full, Some(23_041), "/srv/orders/bin/orders")
            },
            row(
                52_011,
                "go1.28",
                Support::None(
                    "Go 1.28 is not known; --assume-go 1.27 reads it as if it were 1.27".into(),
                ),
                None,
                "/opt/a/very/long/path/to/some/program/that/does/not/fit/bin/gateway",
            ),
        ],
        denied: 3,
        examined: 214,
    }
}

fn check(name: &str, needed_for: &str, state: CheckState) -> CheckView {
    CheckView { name: name.into(), needed_for: needed_for.into(), state }
}

pub fn doctor() -> DoctorView {
    let ok = |detail: &str| CheckState::Ok { detail: detail.into() };
    let site = |kind: &str,
                mode,
                function: &str,
                offset,
                instruction: &str,
                location: &str,
                why: &str,
                hits| SiteView {
        kind: kind.into(),
        mode,
        function: function.into(),
        address: 0x46_1000 + offset,
        file_offset: 0x6_1000 + offset,
        function_offset: Some(offset),
        instruction: instruction.into(),
        location: location.into(),
        why: why.into(),
        hits: Some(hits),
        cost_per_hit: Nanos(2_400),
    };
    DoctorView {
        kernel: "5.15.0-113-generic".into(),
        machine: "x86_64".into(),
        surroundings: vec!["a container".into()],
        features: vec![
            check("BTF", "types of this kernel", ok("/sys/kernel/btf/vmlinux")),
            check("ring buffer", "events", ok("")),
            check(
                "uprobe_multi",
                "attaching many probes at once",
                CheckState::Without {
                    instead: "perf-event uprobes: attaching takes longer".into(),
                    remedy: "Linux 6.6 or later".into(),
                },
            ),
        ],
        rights: vec![
            check("CAP_BPF", "loading the kernel part", ok("effective")),
            check(
                "CAP_SYS_PTRACE",
                "reading the target's memory",
                CheckState::Missing {
                    cause: "not in the effective set".into(),
                    remedy: "run as root, or add SYS_PTRACE to the container's capabilities".into(),
                },
            ),
        ],
        target: Some(TargetPlanView {
            process: process(),
            tasks: Some(1_250),
            look_took: Some(Nanos::from_millis(12)),
            sleeps: None,
            sites: vec![
                site(
                    "birth",
                    Mode::Lifecycle,
                    "runtime.newproc.func1",
                    0x36,
                    "call runtime.runqput",
                    "rbx",
                    "it has the new g in a register, and the kernel emulates calls",
                    2_400,
                ),
                site(
                    "death",
                    Mode::Lifecycle,
                    "runtime.gdestroy",
                    0xa,
                    "push rbp",
                    "rax",
                    "the first instruction on every path that the kernel emulates",
                    2_399,
                ),
                site(
                    "park",
                    Mode::All,
                    "runtime.park_m",
                    0xa,
                    "push rbp",
                    "rax",
                    "the first instruction on every path that the kernel emulates",
                    90_000,
                ),
            ],
            degraded: vec![PlanGapView {
                kind: "park".into(),
                reason: "runtime.gopark is inlined into 3 functions: parks there are not seen"
                    .into(),
            }],
            measured_for: Some(Nanos::from_secs(2)),
        }),
    }
}
