//! What this kernel and these rights allow, as a list of checks.

use crate::base::Pid;
use crate::kernel::privileges::{Tier, would_hold};
use crate::kernel::{
    Confinement, Features, Lockdown, MultiSupport, Obstacle, Sandbox, call_tracepoints,
};
use crate::pipeline::whereabouts;
use crate::target::ContainerRuntime;
use crate::view::doctor::{CheckState, CheckView};

/// Where loiter runs, where it matters.
pub fn surroundings(features: &Features) -> Vec<String> {
    let own = whereabouts::of(Pid(std::process::id()));
    let container = own.container.map(|_| match own.runtime {
        Some(ContainerRuntime::Containerd) => "container of containerd",
        Some(ContainerRuntime::CriO) => "container of CRI-O",
        Some(ContainerRuntime::Docker) => "container of Docker",
        Some(ContainerRuntime::Podman) => "container of Podman",
        None => "container",
    });
    let pod = own.pod.and_then(|pod| Some(format!("pod {}/{}", pod.namespace?, pod.name?)));
    let all = [
        (features.sandbox == Some(Sandbox::GVisor), "gVisor sandbox"),
        (!features.initial_pid_namespace, "PID namespace of a container"),
        (!features.initial_user_namespace, "user namespace"),
        (features.seccomp, "seccomp filter"),
        (matches!(features.confinement, Some(Confinement::AppArmor { .. })), "AppArmor profile"),
        (matches!(features.confinement, Some(Confinement::SeLinux { .. })), "SELinux context"),
        (features.lockdown == Lockdown::Integrity, "lockdown: integrity"),
        (features.lockdown == Lockdown::Confidentiality, "lockdown: confidentiality"),
    ];
    let words = all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word);
    pod.into_iter().chain(container.into_iter().chain(words).map(str::to_owned)).collect()
}

fn check(name: &str, needed_for: &str, state: CheckState) -> CheckView {
    CheckView { name: name.to_owned(), needed_for: needed_for.to_owned(), state }
}

fn ok(detail: impl Into<String>) -> CheckState {
    CheckState::Ok { detail: detail.into() }
}

fn without(instead: &str, remedy: &str) -> CheckState {
    CheckState::Without { instead: instead.to_owned(), remedy: remedy.to_owned() }
}

/// An obstacle's message is "cause; remedy" (or "cause: remedy").
fn missing(obstacle: &Obstacle) -> CheckState {
    let text = obstacle.to_string();
    let (cause, remedy) =
        text.split_once("; ").or_else(|| text.split_once(": ")).unwrap_or((&text, ""));
    CheckState::Missing { cause: cause.to_owned(), remedy: remedy.to_owned() }
}

/// The first obstacle that fits, as a state; else `fine`.
fn unless(
    obstacles: &[Obstacle],
    fits: impl Fn(&Obstacle) -> bool,
    fine: impl FnOnce() -> CheckState,
) -> CheckState {
    obstacles.iter().find(|o| fits(o)).map_or_else(fine, missing)
}

/// Kernel features.
pub fn features(f: &Features) -> Vec<CheckView> {
    let obstacles = f.obstacles();
    let release = unless(
        &obstacles,
        |o| matches!(o, Obstacle::TooOld { .. } | Obstacle::GVisor),
        || ok(format!("Linux {}, 5.15 is the floor", f.kernel.text)),
    );
    let ring = unless(
        &obstacles,
        |o| matches!(o, Obstacle::NoRing { .. } | Obstacle::Refused { .. }),
        || match f.ring_error {
            None => ok("made one"),
            Some(_) => without("nothing with probes works", "see the rights below"),
        },
    );
    let uprobes = unless(
        &obstacles,
        |o| matches!(o, Obstacle::NoUprobes),
        || ok(if f.uprobes { "perf-event uprobes are there too" } else { "" }),
    );
    let multi = match f.multi {
        MultiSupport::Expected => ok("attaches and detaches in milliseconds"),
        MultiSupport::ToBeTried => ok("its filter for one process is tried before it is used"),
        MultiSupport::Absent => without(
            "perf-event uprobes: attaching and detaching take up to a second, and CAP_SYS_ADMIN is needed",
            "Linux 6.6 or later",
        ),
    };
    let btf = if f.btf {
        ok("/sys/kernel/btf/vmlinux")
    } else {
        without("execs, exits and forks are noticed late, by looking", "CONFIG_DEBUG_INFO_BTF")
    };
    vec![
        check("kernel", "attach cookies", release),
        check("scheduler", "waits of threads", scheduler(f)),
        check("system calls", "--syscalls only", system_calls()),
        check("BPF ring buffer", "events", ring),
        check("uprobes", "events", uprobes),
        check("uprobe_multi", "fast attach, fewer rights", multi),
        check("BTF", "exec and exit events", btf),
    ]
}

/// Waits of threads are told at the scheduler.
fn scheduler(f: &Features) -> CheckState {
    /// Since then the tracepoint says in what state a thread goes out.
    const FLOOR: (u32, u32) = (5, 18);
    let instead = "looks alone: births, deaths and waits between two looks are not seen";
    if !f.btf {
        without(instead, "CONFIG_DEBUG_INFO_BTF")
    } else if f.kernel.number < FLOOR {
        without(instead, "Linux 5.18 or later")
    } else {
        ok(
            "each sleep of a followed thread costs it less than a microsecond, a system call that does not sleep nothing",
        )
    }
}

/// System calls are told at tracepoints of their own.
fn system_calls() -> CheckState {
    match call_tracepoints() {
        Ok(_) => ok(
            "only while asked for: each system call of every process of the host then takes about 0.03 us longer, those that are followed 0.7",
        ),
        Err(why) => without(&format!("no --syscalls: {why}"), ""),
    }
}

/// Rights.
pub fn rights(f: &Features) -> Vec<CheckView> {
    let one = |has: bool, name: &str, needed_for: &str| {
        let state = if has {
            ok("effective")
        } else {
            CheckState::Missing {
                cause: format!("{name} is not among the effective capabilities"),
                remedy: format!("run as root, or add {name}"),
            }
        };
        check(name, needed_for, state)
    };
    let c = f.capabilities;
    let admin = if c.sys_admin() {
        ok("effective")
    } else if f.multi == MultiSupport::Absent {
        missing(&Obstacle::PerfEventNeedsAdmin)
    } else {
        without("uprobe_multi, which does not need it", "")
    };
    let mut all = vec![
        one(c.bpf(), "CAP_BPF", "loading the kernel part"),
        one(c.perfmon(), "CAP_PERFMON", "attaching it"),
        one(c.sys_ptrace(), "CAP_SYS_PTRACE", "reading the target's memory"),
        check("CAP_SYS_ADMIN", "perf-event uprobes only", admin),
        tier(f),
    ];
    if !f.initial_user_namespace {
        all.push(check("user namespace", "eBPF", missing(&Obstacle::UserNamespace)));
    }
    if f.yama.is_some() {
        let state = unless(&f.obstacles(), |o| matches!(o, Obstacle::Yama), || ok("allows it"));
        all.push(check("Yama", "reading the target's memory", state));
    }
    all.extend(f.confinement.as_ref().map(confined));
    if !f.initial_pid_namespace {
        let instead = "only processes in this PID namespace are seen";
        let remedy = "hostPID: true shows all of a node's; shareProcessNamespace: true a pod's to its sidecar";
        all.push(check("PID namespace", "seeing the target", without(instead, remedy)));
    }
    all
}

/// Which rights this kernel asks for, and what a watch holds of those it is given.
fn tier(f: &Features) -> CheckView {
    let names: Vec<&str> = Tier::of(f).rights().iter().map(|right| right.name).collect();
    let kept = would_hold(f).map_or_else(
        |why| format!("what is held is not known: {why}"),
        |held| match held.given_up {
            0 => "nothing else is held".to_owned(),
            1 => "a watch gives up 1 other".to_owned(),
            n => format!("a watch gives up {n} others"),
        },
    );
    let tier = match Tier::of(f) {
        Tier::UprobeMulti => "uprobe_multi",
        Tier::PerfEvents => "perf events",
    };
    check("tier", "least privilege", ok(format!("{tier}: {}; {kept}", names.join(", "))))
}

/// What a security module may forbid is known only once it is tried.
fn confined(by: &Confinement) -> CheckView {
    match by {
        Confinement::AppArmor { profile } => check(
            "AppArmor",
            "reading the target's memory",
            without(
                &format!(
                    "under the profile {profile} only processes of the same profile can be read, as a rule"
                ),
                "appArmorProfile: type: Unconfined",
            ),
        ),
        Confinement::SeLinux { context } => check(
            "SELinux",
            "eBPF, and reading the target's memory",
            without(&format!("what the policy allows to {context}"), "seLinuxOptions: type: spc_t"),
        ),
    }
}
