//! The rights that tracing takes, in two tiers, and giving up all others.
//!
//! Verified by tests/e2e_contain: with nothing but the first tier a target is attached to, read,
//! re-attached after a change of mode, and followed through an exec; without any one of them it is not.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::AttachMethod;
use super::features::{Features, MultiSupport};

/// Which rights this kernel asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// uprobe_multi, Linux 6.6 and later.
    UprobeMulti,
    /// Perf-event uprobes, which are reserved to administrators.
    PerfEvents,
}

/// A right, and what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Right {
    /// Its name, such as `CAP_BPF`.
    pub name: &'static str,
    /// What loiter does with it.
    pub needed_for: &'static str,
}

/// Needed in either tier.
const COMMON: [Right; 3] = [
    Right { name: "CAP_BPF", needed_for: "loading the kernel part" },
    Right { name: "CAP_PERFMON", needed_for: "attaching it" },
    Right { name: "CAP_SYS_PTRACE", needed_for: "reading the target's memory" },
];
/// Needed for perf-event uprobes besides.
const ADMIN: Right = Right { name: "CAP_SYS_ADMIN", needed_for: "perf-event uprobes" };

impl Tier {
    /// The one that fits this kernel.
    pub fn of(features: &Features) -> Self {
        match features.multi {
            MultiSupport::Expected | MultiSupport::ToBeTried => Tier::UprobeMulti,
            MultiSupport::Absent => Tier::PerfEvents,
        }
    }

    /// The rights it takes.
    pub fn rights(self) -> Vec<Right> {
        match self {
            Tier::UprobeMulti => COMMON.to_vec(),
            Tier::PerfEvents => COMMON.into_iter().chain([ADMIN]).collect(),
        }
    }
}

/// What is kept of what is held: the tier's rights; access to files of other users (recordings, the
/// kubelet's), links to mapped files that have no name any more, and ports below 1024 for metrics.
fn kept(multi: MultiSupport) -> CapabilitySet {
    let all = CapabilitySet::BPF
        | CapabilitySet::PERFMON
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::CHECKPOINT_RESTORE
        | CapabilitySet::NET_BIND_SERVICE;
    match multi {
        MultiSupport::Expected => all,
        // Perf events may be what works.
        MultiSupport::ToBeTried | MultiSupport::Absent => all | CapabilitySet::SYS_ADMIN,
    }
}

/// What this process holds from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Names of the capabilities.
    pub names: Vec<String>,
    /// How many were given up.
    pub given_up: u32,
}

/// What would be held after [`give_up_the_rest`].
///
/// # Errors
/// If the kernel does not tell.
pub fn would_hold(features: &Features) -> io::Result<Held> {
    let now = rustix::thread::capabilities(None)?.permitted;
    Ok(held(now, now & kept(features.multi)))
}

/// Gives up what tracing does not need, for good: also a program that this process might execute
/// gets nothing back. For the calling thread and those it makes later, so to be called before there are any.
///
/// # Errors
/// If the kernel refuses; what was given up by then stays so.
pub fn give_up_the_rest(release: MultiSupport) -> io::Result<Held> {
    rustix::thread::set_no_new_privs(true)?;
    let before = rustix::thread::capabilities(None)?;
    let keep = before.permitted & kept(release);
    if before.effective.contains(CapabilitySet::SETPCAP) {
        for one in CapabilitySet::all().iter().filter(|one| !keep.contains(*one)) {
            // One that this kernel does not know cannot be held either.
            let _unknown = rustix::thread::remove_capability_from_bounding_set(one);
        }
    }
    let sets = CapabilitySets {
        effective: before.effective & keep,
        permitted: keep,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(held(before.permitted, keep))
}

fn held(before: CapabilitySet, keep: CapabilitySet) -> Held {
    let names = keep.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    let given_up = before.bits().count_ones().saturating_sub(keep.bits().count_ones());
    Held { names, given_up }
}

/// Whether uprobe_multi is there and wanted, as far as the release tells.
pub fn support_for(attach: AttachMethod) -> MultiSupport {
    match attach {
        AttachMethod::PerfEvent => MultiSupport::Absent,
        AttachMethod::Auto | AttachMethod::Multi => super::features::multi_of_this_release(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tiers_differ_by_the_administrators_right() {
        let names = |tier: Tier| tier.rights().iter().map(|r| r.name).collect::<Vec<_>>();
        assert_eq!(names(Tier::UprobeMulti), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]);
        assert_eq!(names(Tier::PerfEvents).last(), Some(&"CAP_SYS_ADMIN"));
        assert!(!kept(MultiSupport::Expected).contains(CapabilitySet::SYS_ADMIN));
        assert!(kept(MultiSupport::ToBeTried).contains(CapabilitySet::SYS_ADMIN));
    }

    #[test]
    fn what_is_held_is_told_by_the_names_of_the_manual() {
        let all = CapabilitySet::all();
        let told = held(all, CapabilitySet::BPF | CapabilitySet::SYS_PTRACE);
        assert_eq!(told.names, ["CAP_SYS_PTRACE", "CAP_BPF"]);
        assert_eq!(told.given_up, all.bits().count_ones() - 2);
    }
}
