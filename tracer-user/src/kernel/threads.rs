//! Following OS threads: their lives through the programs that follow processes, their waits through
//! two programs at the scheduler, which are attached only while somebody's waits are followed.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use aya::Ebpf;
use tracer_common::config::parked_tag;
use tracer_common::ids::{follow, name};
use tracer_common::thread::{Asleep, Sleeper, WaitKey, WaitTotals};

use crate::base::{KTime, Nanos};
use crate::runtime::plan::ProbePlan;
use crate::stream::Mode;

use super::attach::{AttachTarget, Attached, Target};
use super::btf::KernelTypes;
use super::counters::{PlainSleeper, PlainTotals, PlainWaitKey};
use super::load::{Kernel, LoadSettings, map_error};
use super::multi::Instructions;
use super::slot_map::{SlotMap, SlotMapKind};
use super::{KernelError, selftest, sys};

/// The programs and maps for threads.
pub struct Threads {
    /// At the scheduler, or why there are none.
    programs: Result<Vec<OwnedFd>, String>,
    /// Their links, while somebody's waits are followed.
    links: Vec<OwnedFd>,
    sleepers: SlotMap<u32, PlainSleeper>,
    totals: SlotMap<PlainWaitKey, PlainTotals>,
}

/// A sleep that is going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SleepingThread {
    /// Which thread.
    pub tid: u32,
    /// Since when.
    pub since: KTime,
    /// In what.
    pub asleep: Asleep,
}

/// Waits for one thing, added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitTotal {
    /// For what.
    pub key: WaitKey,
    /// How many, how long.
    pub totals: WaitTotals,
}

impl Threads {
    /// Takes the maps and loads the programs, if there is room for what they remember.
    ///
    /// # Errors
    /// If the object has no such map. A program that is refused is told when it is needed.
    pub fn load(
        ebpf: &mut Ebpf,
        settings: &LoadSettings,
        instructions: &Instructions,
        types: Result<&KernelTypes, &String>,
    ) -> Result<Self, KernelError> {
        let programs = match types {
            _ if settings.thread_capacity == 1 => Err("no room was made for them".to_owned()),
            Ok(types) => load_programs(instructions, types),
            Err(why) => Err(why.clone()),
        };
        let sleepers = SlotMapKind {
            name: name::SLEEPERS,
            what: "sleeping threads",
            none: (0, PlainSleeper(Sleeper::default())),
            slot_of: |_, PlainSleeper(entry)| entry.slot,
        };
        let totals = SlotMapKind {
            name: name::WAITS,
            what: "totals of waits",
            none: (PlainWaitKey(WaitKey::default()), PlainTotals(WaitTotals::default())),
            slot_of: |PlainWaitKey(key), _| key.slot,
        };
        Ok(Self {
            programs,
            links: Vec::new(),
            sleepers: SlotMap::take(ebpf, sleepers, settings.thread_capacity)?,
            totals: SlotMap::take(ebpf, totals, settings.totals_capacity)?,
        })
    }

    /// The programs at the scheduler.
    pub fn programs(&self) -> impl Iterator<Item = &OwnedFd> {
        self.programs.iter().flatten()
    }

    fn link(&mut self) -> Result<(), KernelError> {
        let programs =
            self.programs.as_ref().map_err(|why| KernelError::Threads { why: why.clone() })?;
        if self.links.is_empty() {
            // What ends a sleep comes before what begins it, as at the probe sites: but one program
            // does both here, and only adds what it has seen begin.
            let links = programs.iter().map(|program| sys::link_tracepoint(program.as_fd()));
            self.links = links.collect::<io::Result<_>>().map_err(|why| KernelError::Threads {
                why: format!("cannot attach to the scheduler: {why}"),
            })?;
        }
        Ok(())
    }
}

fn load_programs(from: &Instructions, types: &KernelTypes) -> Result<Vec<OwnedFd>, String> {
    if !types.has_threads() {
        return Err("this kernel's types lack a field that is needed".to_owned());
    }
    let ids = types.tracepoints.iter().skip(name::PROCESS_PROGRAMS.len());
    let load = |((program, tracepoint), id): (&(&str, &str), &Option<u32>)| {
        let btf_id = id.ok_or_else(|| format!("this kernel has no tracepoint {tracepoint}"))?;
        from.load(program, sys::ProgramKind::Tracepoint { btf_id })
            .map_err(|(why, log)| format!("the kernel refuses {program}: {why}; {}", log.trim()))
    };
    name::SCHED_PROGRAMS.iter().zip(ids).map(load).collect()
}

impl Kernel {
    /// Follows the threads of a process that has no probes: [`Mode::Lifecycle`] births and deaths,
    /// [`Mode::All`] waits of at least `min_wait` too (0 = each sleep and each run).
    ///
    /// # Errors
    /// If this kernel has no programs for it, the process is gone or is another one by now, or all
    /// slots are taken. Nothing is left attached.
    pub fn attach_threads(
        &mut self,
        target: &AttachTarget,
        mode: Mode,
        min_wait: Nanos,
    ) -> Result<Attached, KernelError> {
        let began = Instant::now();
        let config =
            tracer_common::config::TargetConfig { min_wait_ns: min_wait.0, ..selftest::NO_LAYOUT };
        let new = Target::new(target.pid, None, config);
        let none = ProbePlan::default();
        let slot =
            self.take_slot(target, new, &none, |kernel, slot| kernel.set_threads(slot, mode))?;
        Ok(Attached { slot, method: self.method(), sites: 0, took: began.elapsed() })
    }

    /// Makes exactly these events of the slot's threads followed.
    ///
    /// # Errors
    /// If this kernel has no programs for it, or a map cannot be written.
    pub fn set_threads(&mut self, slot: u16, mode: Mode) -> Result<(), KernelError> {
        if mode != Mode::None
            && let Err(why) = self.process_programs()
        {
            return Err(KernelError::Threads { why: why.to_owned() });
        }
        if mode == Mode::All {
            self.threads.link()?;
        }
        let calls = self.calls_flag(slot, mode)?;
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        let before = std::mem::replace(&mut target.threads, mode);
        let (pid, stacks) = (target.pid, target.birth_stacks());
        if self.process_programs().is_ok() {
            let value = u32::from(slot) | flags(mode, stacks) | calls;
            self.tgids.insert(pid.0, value, 0).map_err(map_error(name::TGIDS))?;
        }
        if before == Mode::All && mode != Mode::All {
            self.quiesce_threads(slot)?;
        }
        Ok(())
    }

    /// The sleeps of a slot's threads that are going on and were seen to begin. Threads that were woken
    /// are left out, and so is an entry that changes while it is read: its thread was running just now.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn sleeping(&self, slot: u16) -> Result<Vec<SleepingThread>, KernelError> {
        let whole =
            |entry: &Sleeper| entry.since_ns != 0 && entry.tag == parked_tag(entry.since_ns);
        let found = self.threads.sleepers.of_slot(slot)?;
        let sleeps = |entry: &&Sleeper| whole(entry) && !entry.is_woken();
        let now = found.iter().map(|(_, PlainSleeper(entry))| entry).filter(sleeps);
        Ok(now
            .map(|entry| SleepingThread {
                tid: entry.tid,
                since: KTime(entry.since_ns),
                asleep: entry.asleep,
            })
            .collect())
    }

    /// The waits of a slot's threads that ended, short ones too, added up by what they were for; also
    /// after its detach, until it is used again.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn wait_totals(&self, slot: u16) -> Result<Vec<WaitTotal>, KernelError> {
        let found = self.threads.totals.of_slot(slot)?.into_iter();
        Ok(found.map(|(key, totals)| WaitTotal { key: key.0, totals: totals.0 }).collect())
    }

    /// Ends following the threads of a slot whose entry in `TGIDS` is gone.
    pub(super) fn unfollow_threads(&mut self, slot: u16) -> Result<(), KernelError> {
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        match std::mem::replace(&mut target.threads, Mode::None) {
            Mode::None => Ok(()),
            Mode::Lifecycle => {
                wait_for_running_programs();
                Ok(())
            }
            Mode::All => self.quiesce_threads(slot),
        }
    }

    /// Once this returns, no program begins or ends a sleep of the slot any more.
    fn quiesce_threads(&mut self, slot: u16) -> Result<(), KernelError> {
        if !self.slots.in_use().any(|(_, target)| target.threads == Mode::All) {
            self.threads.links.clear();
        }
        self.unlink_calls();
        // No program adds an entry after this one, and none writes a record after the next.
        wait_for_running_programs();
        self.forget_sleepers(slot)?;
        self.forget_calls(slot)?;
        wait_for_running_programs();
        Ok(())
    }

    /// Forgets all sleeps of a slot.
    pub(super) fn forget_sleepers(&mut self, slot: u16) -> Result<(), KernelError> {
        self.threads.sleepers.forget(slot)
    }

    /// Forgets the totals of a slot.
    pub(super) fn forget_totals(&mut self, slot: u16) -> Result<(), KernelError> {
        self.threads.totals.forget(slot)
    }
}

/// What the kernel part is told of a mode.
const fn flags(mode: Mode, stacks: u32) -> u32 {
    match mode {
        Mode::None => 0,
        Mode::Lifecycle => follow::LIVES | stacks,
        Mode::All => follow::LIVES | follow::WAITS | stacks,
    }
}

/// Waits until every program that runs now has ended: they run inside RCU read-side sections, and
/// this membarrier waits for a grace period.
fn wait_for_running_programs() {
    /// include/uapi/linux/membarrier.h, `MEMBARRIER_CMD_GLOBAL`.
    const GLOBAL: libc::c_int = 1;
    /// A program takes microseconds.
    const FAR_LONGER: Duration = Duration::from_millis(50);
    // SAFETY: three integers.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if done != 0 {
        // Not to be had with nohz_full CPUs, or in some sandboxes.
        std::thread::sleep(FAR_LONGER);
    }
}
