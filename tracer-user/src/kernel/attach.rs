//! Puts the probes of a plan on one process and takes them off again, kind by kind.
//!
//! Always scoped to one process: containers that share an image share its files, and a probe for
//! all processes would trap in each of them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::maps::PerCpuValues;
use aya::programs::uprobe::{
    UProbe, UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope,
};
use tracer_common::config::{SlotCounters, TargetConfig};
use tracer_common::ids::{Cookie, follow, name};

use crate::base::Pid;
use crate::runtime::plan::{ProbePlan, SiteKind};
use crate::stream::Mode;

use super::binary::Binary;
use super::counters::{PlainCounters, PlainTarget};
use super::load::{Kernel, Method, map_error};
use super::{KernelError, process};

/// Most sites of one target: a plan has some ten; each costs the kernel an entry and the target a
/// private page.
const MOST_SITES: usize = 512;

/// A set of site kinds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// No probes.
    pub const NONE: Kinds = Kinds(0);
    /// Births and deaths.
    pub const LIFECYCLE: Kinds =
        Kinds(1 << SiteKind::Birth.number() | 1 << SiteKind::Death.number());
    /// All of them.
    pub const ALL: Kinds = Kinds((1 << SiteKind::ALL.len()) - 1);

    /// With one kind more.
    #[must_use]
    pub const fn with(self, kind: SiteKind) -> Self {
        Self(self.0 | 1 << kind.number())
    }

    /// Without a kind.
    #[must_use]
    pub const fn without(self, kind: SiteKind) -> Self {
        Self(self.0 & !(1 << kind.number()))
    }

    /// Whether a kind is in it.
    pub const fn contains(self, kind: SiteKind) -> bool {
        self.0 & 1 << kind.number() != 0
    }

    /// The kinds in it.
    pub fn iter(self) -> impl Iterator<Item = SiteKind> {
        SiteKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(SiteKind::word)).finish()
    }
}

/// Which process, and which file in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachTarget {
    /// The process.
    pub pid: Pid,
    /// When it started (`/proc/PID/stat`, field 22), if it must be that very process.
    pub start_ticks: Option<u64>,
    /// The file to probe: `/proc/PID/exe`, one of `/proc/PID/map_files/`, or a path to a file
    /// that the process maps, such as `/proc/PID/root/usr/lib/x.so`.
    pub binary: PathBuf,
}

impl AttachTarget {
    /// The executable of a process.
    pub fn executable(pid: Pid) -> Self {
        let binary = PathBuf::from(format!("/proc/{pid}/exe"));
        Self { pid, start_ticks: process::start_ticks(pid), binary }
    }
}

/// What an attach came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The slot its records carry.
    pub slot: u16,
    /// How.
    pub method: Method,
    /// Number of sites probed.
    pub sites: usize,
    /// How long attaching took.
    pub took: Duration,
}

/// What a detach came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Detached {
    /// How long it took.
    pub took: Duration,
    /// What the slot had counted; final.
    pub counters: SlotCounters,
}

/// The probes of one kind on one process; dropping them takes them off.
#[derive(Debug)]
enum Attachment {
    Multi(#[expect(dead_code, reason = "held to keep the link")] OwnedFd),
    PerfEvent(#[expect(dead_code, reason = "held to keep the links")] Vec<UProbeLink>),
}

/// Offsets and cookies of the sites of one kind.
#[derive(Clone, Default, Debug)]
struct Sites {
    offsets: Vec<u64>,
    cookies: Vec<u64>,
}

/// What is kept for a slot in use.
#[derive(Debug)]
pub struct Target {
    pub(super) pid: Pid,
    /// None where only threads are followed.
    binary: Option<Binary>,
    /// Which events of its threads are followed.
    pub(super) threads: Mode,
    sites: BTreeMap<SiteKind, Sites>,
    attachments: BTreeMap<SiteKind, Attachment>,
    config: TargetConfig,
}

impl Target {
    pub(super) fn new(pid: Pid, binary: Option<Binary>, config: TargetConfig) -> Self {
        Self {
            pid,
            binary,
            threads: Mode::None,
            sites: BTreeMap::new(),
            attachments: BTreeMap::new(),
            config,
        }
    }

    /// How births of its threads carry stacks: code whose runtime is known has frame pointers, by
    /// which the kernel walks it; other code is to be unwound from what lies on the stack.
    pub(super) const fn birth_stacks(&self) -> u32 {
        if self.binary.is_some() { 0 } else { follow::STACKS }
    }
}

impl Kernel {
    /// Puts the probes of `kinds` on a process.
    ///
    /// The bytes under every site of the plan are compared with the plan's first, in the very file
    /// that is then probed. `config` says where the fields of its tasks are and `min_wait`.
    ///
    /// # Errors
    /// If the file differs from the plan, the process is gone or is another one by now, a kind has
    /// no site, all slots are taken, or the kernel refuses. Nothing is left attached.
    pub fn attach(
        &mut self,
        target: &AttachTarget,
        plan: &ProbePlan,
        kinds: Kinds,
        config: TargetConfig,
    ) -> Result<Attached, KernelError> {
        let began = Instant::now();
        let pid = target.pid;
        if !config.is_readable() {
            return Err(KernelError::Layout(config));
        }
        if plan.sites.len() > MOST_SITES {
            return Err(KernelError::TooManySites { sites: plan.sites.len(), most: MOST_SITES });
        }
        let binary = Binary::open(pid, &target.binary)?;
        binary.check(plan)?;
        let new = Target::new(pid, Some(binary), config);
        let slot =
            self.take_slot(target, new, plan, |kernel, slot| kernel.set_kinds(slot, kinds))?;
        Ok(Attached {
            slot,
            method: self.method(),
            sites: kinds.iter().map(|kind| self.site_count(slot, kind)).sum(),
            took: began.elapsed(),
        })
    }

    /// Gives a process a slot and does with it what makes it followed.
    ///
    /// # Errors
    /// As [`Kernel::attach`]. Nothing is left attached.
    pub(super) fn take_slot(
        &mut self,
        target: &AttachTarget,
        new: Target,
        plan: &ProbePlan,
        follow: impl FnOnce(&mut Self, u16) -> Result<(), KernelError>,
    ) -> Result<u16, KernelError> {
        let pid = target.pid;
        let read = self.ring().read_position();
        let slot = self.slots.take(read, new).ok_or_else(|| KernelError::NoSlot {
            in_use: self.slots.in_use().count(),
            waiting: self.slots.waiting(),
        })?;
        let done = self.prepare(slot, plan).and_then(|()| follow(self, slot));
        let done = done.and_then(|()| match target.start_ticks {
            Some(start) if process::start_ticks(pid) != Some(start) => {
                Err(KernelError::Gone { pid })
            }
            _ => Ok(()),
        });
        match done {
            Ok(()) => Ok(slot),
            Err(why) => {
                let _undone = self.detach(slot);
                Err(why)
            }
        }
    }

    /// Clears what the slot's last owner left, and tells the kernel part of the new one.
    fn prepare(&mut self, slot: u16, plan: &ProbePlan) -> Result<(), KernelError> {
        let index = u32::from(slot);
        let cpus = self.counters.get(&index, 0).map_err(map_error(name::COUNTERS))?.len();
        let zero = PerCpuValues::try_from(vec![PlainCounters(SlotCounters::default()); cpus])
            .map_err(|source| KernelError::System { what: "counting the CPUs", source })?;
        self.counters.set(index, zero, 0).map_err(map_error(name::COUNTERS))?;
        self.lost.set(index, 0u64, 0).map_err(map_error(name::LOST))?;
        let follows_process = self.process_programs().is_ok();
        self.forget_totals(slot)?;
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        for (index, site) in (0u16..).zip(&plan.sites) {
            let sites = target.sites.entry(site.kind).or_default();
            sites.offsets.push(site.file_offset);
            let cookie = Cookie::new(slot, site.kind.number(), site.location.encode(), index);
            sites.cookies.push(cookie.0);
        }
        let config = PlainTarget(target.config);
        self.targets.set(index, config, 0).map_err(map_error(name::TARGETS))?;
        if follows_process {
            self.tgids.insert(target.pid.0, index, 0).map_err(map_error(name::TGIDS))?;
        }
        Ok(())
    }

    /// Makes exactly these kinds attached.
    ///
    /// # Errors
    /// If a kind has no site or the kernel refuses: the kinds to go are gone then, and of those to
    /// come some may be there; [`Kernel::attached_kinds`] tells.
    pub fn set_kinds(&mut self, slot: u16, kinds: Kinds) -> Result<(), KernelError> {
        let attached = self.attached_kinds(slot)?;
        let off: Vec<SiteKind> = attached.iter().filter(|kind| !kinds.contains(*kind)).collect();
        let on: Vec<SiteKind> = kinds.iter().filter(|kind| !attached.contains(*kind)).collect();
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        let removed: Vec<Attachment> =
            off.iter().filter_map(|kind| target.attachments.remove(kind)).collect();
        take_off(removed);
        if on.contains(&SiteKind::Run) || on.contains(&SiteKind::Park) {
            // What ended unseen must not end now.
            self.forget_parked(slot)?;
        }
        // What ends something comes before what begins it: who is seen to park is seen to be made
        // runnable and to run, who is seen to be born is seen to end.
        on.into_iter().rev().try_for_each(|kind| self.put_on(slot, kind))
    }

    /// The kinds attached now.
    ///
    /// # Errors
    /// If the slot is not in use.
    pub fn attached_kinds(&self, slot: u16) -> Result<Kinds, KernelError> {
        let target = self.slots.get(slot).ok_or(KernelError::BadSlot { slot })?;
        Ok(target.attachments.keys().fold(Kinds::NONE, |kinds, kind| kinds.with(*kind)))
    }

    /// Changes from which length on waits leave a record; 0 = each park, wake-up and run leaves one.
    ///
    /// # Errors
    /// If the slot is not in use or the map cannot be written.
    pub fn set_min_wait(&mut self, slot: u16, min_wait_ns: u64) -> Result<(), KernelError> {
        self.forget_parked(slot)?;
        self.forget_sleepers(slot)?;
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        target.config.min_wait_ns = min_wait_ns;
        let config = PlainTarget(target.config);
        self.targets.set(u32::from(slot), config, 0).map_err(map_error(name::TARGETS))
    }

    /// Takes all probes off and gives the slot back. Once this returns, no program runs for it;
    /// records that are still in the ring carry its number, and it is not used again before they
    /// were drained.
    ///
    /// # Errors
    /// If the slot is not in use, or its maps cannot be read; the probes are off all the same.
    pub fn detach(&mut self, slot: u16) -> Result<Detached, KernelError> {
        let began = Instant::now();
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        let pid = target.pid;
        take_off(std::mem::take(&mut target.attachments).into_values().collect());
        if let Ok(owner) = self.tgids.get(&pid.0, 0)
            && owner & follow::SLOT == u32::from(slot)
        {
            // Removed by the kernel part itself if the process has just exited.
            let _gone = self.tgids.remove(&pid.0);
        }
        let forgotten = self.forget_parked(slot).and(self.unfollow_threads(slot));
        let end = self.ring().end_position();
        self.slots.retire(slot, end);
        forgotten?;
        Ok(Detached { took: began.elapsed(), counters: self.counters(slot)? })
    }

    fn site_count(&self, slot: u16, kind: SiteKind) -> usize {
        let sites = self.slots.get(slot).and_then(|target| target.sites.get(&kind));
        sites.map_or(0, |sites| sites.offsets.len())
    }

    fn put_on(&mut self, slot: u16, kind: SiteKind) -> Result<(), KernelError> {
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        let pid = target.pid;
        let sites = target.sites.get(&kind).ok_or(KernelError::NoSites { kind })?;
        let binary = target.binary.as_ref().ok_or(KernelError::NoSites { kind })?;
        let attachment = match &self.multi {
            Some(programs) => programs
                .link(kind, &binary.c_path(), &sites.offsets, &sites.cookies, pid.0)
                .map(Attachment::Multi)
                .map_err(|source| KernelError::Attach { pid, kind, source })?,
            None => {
                let program = name::SITE_PROGRAMS.get(usize::from(kind.number()));
                let program = program.and_then(|name| self.ebpf.program_mut(name));
                let program = program.and_then(|program| <&mut UProbe>::try_from(program).ok());
                let program = program.ok_or_else(|| KernelError::Object {
                    why: format!("no program for {kind:?}"),
                })?;
                by_perf_events(program, kind, binary, sites, pid)?
            }
        };
        target.attachments.insert(kind, attachment);
        Ok(())
    }
}

fn by_perf_events(
    program: &mut UProbe,
    kind: SiteKind,
    binary: &Binary,
    sites: &Sites,
    pid: Pid,
) -> Result<Attachment, KernelError> {
    let scope =
        NonZeroU32::new(pid.0).map(UProbeScope::OneProcess).ok_or(KernelError::Gone { pid })?;
    let path = binary.path();
    let mut links = Vec::new();
    for (offset, cookie) in sites.offsets.iter().zip(&sites.cookies) {
        let location = UProbeAttachLocation::AbsoluteOffset(*offset);
        let point = UProbeAttachPoint { location, cookie: Some(*cookie) };
        let link = program
            .attach(point, &path, scope)
            .and_then(|id| program.take_link(id))
            .map_err(|error| KernelError::Attach { pid, kind, source: as_io(&error) })?;
        links.push(link);
    }
    Ok(Attachment::PerfEvent(links))
}

/// The system call's error inside aya's.
fn as_io(error: &(dyn std::error::Error + 'static)) -> std::io::Error {
    let mut cause = Some(error);
    while let Some(one) = cause {
        let code = one.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if let Some(code) = code {
            return std::io::Error::from_raw_os_error(code);
        }
        cause = one.source();
    }
    std::io::Error::other(error.to_string())
}

/// Takes probes off: side by side, since the kernel waits for running programs once per link and
/// these waits overlap.
fn take_off(mut attachments: Vec<Attachment>) {
    /// Threads at a time.
    const SIDE_BY_SIDE: usize = 32;
    while !attachments.is_empty() {
        let left = attachments.len().saturating_sub(SIDE_BY_SIDE);
        std::thread::scope(|scope| {
            for attachment in attachments.drain(left..) {
                // Where no thread is to be had the closure is dropped here, and the probes with it.
                let _thread =
                    std::thread::Builder::new().spawn_scoped(scope, move || drop(attachment));
            }
        });
    }
}

impl Drop for Kernel {
    /// Everything would go anyway, but one after the other.
    fn drop(&mut self) {
        let attachments = self.slots.drain().flat_map(|target| target.attachments.into_values());
        take_off(attachments.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_a_set() {
        assert_eq!(Kinds::LIFECYCLE.iter().collect::<Vec<_>>(), [SiteKind::Birth, SiteKind::Death]);
        assert_eq!(Kinds::ALL.iter().count(), 5);
        let without = Kinds::ALL.without(SiteKind::Ready);
        assert!(!without.contains(SiteKind::Ready) && without.contains(SiteKind::Run));
        assert_eq!(without.with(SiteKind::Ready), Kinds::ALL);
    }
}
