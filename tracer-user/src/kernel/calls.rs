//! Following system calls for their arguments and results: two programs at the tracepoints of a dozen
//! calls, which are attached only while somebody's are followed, since they slow every system call of
//! the host. These tracepoints are found in tracefs alone.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::TracePoint;
use aya::programs::trace_point::TracePointLink;
use tracer_common::call::{CALLS, CallTotals, Calling};
use tracer_common::ids::{follow, name};
use tracer_common::thread::WaitKey;

use crate::stream::{Calls, Mode};

use super::counters::{PlainCallTotals, PlainCalling, PlainWaitKey};
use super::load::{Kernel, LoadSettings, load_for_tracepoints};
use super::slot_map::{SlotMap, SlotMapKind};
use super::{KernelError, sys};

/// The programs' links and their maps.
pub struct CallPrograms {
    /// While somebody's calls are followed.
    links: Vec<TracePointLink>,
    loaded: bool,
    calling: SlotMap<u32, PlainCalling>,
    totals: SlotMap<PlainWaitKey, PlainCallTotals>,
}

/// System calls of one sort and for one thing, added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallTotal {
    /// Which, and for what.
    pub key: WaitKey,
    /// How many, how they ended.
    pub totals: CallTotals,
}

impl CallPrograms {
    /// Takes the maps.
    ///
    /// # Errors
    /// If the object has no such map.
    pub fn load(ebpf: &mut Ebpf, settings: &LoadSettings) -> Result<Self, KernelError> {
        let calling = SlotMapKind {
            name: name::CALLS,
            what: "system calls",
            none: (0, PlainCalling(Calling::default())),
            slot_of: |_, PlainCalling(calling)| calling.slot,
        };
        let totals = SlotMapKind {
            name: name::CALL_TOTALS,
            what: "totals of system calls",
            none: (PlainWaitKey(WaitKey::default()), PlainCallTotals(CallTotals::default())),
            slot_of: |PlainWaitKey(key), _| key.slot,
        };
        let capacity = |of| settings.call_capacity(of);
        Ok(Self {
            links: Vec::new(),
            loaded: false,
            calling: SlotMap::take(ebpf, calling, capacity(settings.thread_capacity))?,
            totals: SlotMap::take(ebpf, totals, capacity(settings.totals_capacity))?,
        })
    }

    fn link(&mut self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        if !self.links.is_empty() {
            return Ok(());
        }
        let events = tracepoints().map_err(|why| KernelError::Calls { why })?;
        if !self.loaded {
            name::CALL_PROGRAMS.iter().try_for_each(|name| load_for_tracepoints(ebpf, name))?;
            self.loaded = true;
        }
        let mut links = Vec::new();
        // What ends a call comes before what begins it: what is seen to begin is seen to end.
        for program in name::CALL_PROGRAMS.iter().rev() {
            let missing = || KernelError::Object { why: format!("it has no program {program}") };
            let attached: &mut TracePoint = ebpf
                .program_mut(program)
                .and_then(|program| program.try_into().ok())
                .ok_or_else(missing)?;
            for (_, call) in CALLS {
                let tracepoint = format!("{program}_{call}");
                if !events.join(&tracepoint).exists() {
                    // Not in this kernel: nobody can call it.
                    continue;
                }
                let link = attached
                    .attach("syscalls", &tracepoint)
                    .and_then(|id| attached.take_link(id))
                    .map_err(|why| KernelError::Calls {
                        why: format!("cannot attach to {tracepoint}: {}", super::load::whole(&why)),
                    })?;
                links.push(link);
            }
        }
        self.links = links;
        Ok(())
    }
}

/// Where tracefs shows the tracepoints of system calls.
///
/// # Errors
/// Why it does not, and the remedy.
pub fn tracepoints() -> Result<PathBuf, String> {
    const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let mounted = TRACEFS.iter().map(Path::new).find(|path| path.join("events").exists());
    let Some(tracefs) = mounted else {
        return Err("their tracepoints are found in tracefs, which is not mounted or may not be read: \
                    run `mount -t tracefs tracefs /sys/kernel/tracing` as root (in a container, mount the \
                    host's there)"
            .to_owned());
    };
    let events = tracefs.join("events/syscalls");
    match fs::metadata(&events) {
        Ok(_) => Ok(events),
        Err(why) => Err(format!(
            "no {}: {why}; this kernel was built without CONFIG_FTRACE_SYSCALLS",
            events.display()
        )),
    }
}

impl Kernel {
    /// Follows the system calls of a slot's threads, too, as long as their waits are
    /// ([`Kernel::set_threads`] with [`Mode::All`]).
    ///
    /// # Errors
    /// If this kernel or this place has no tracepoints for it, or a map cannot be written.
    pub fn follow_calls(&mut self, slot: u16) -> Result<(), KernelError> {
        tracepoints().map_err(|why| KernelError::Calls { why })?;
        let target = self.slots.get_mut(slot).ok_or(KernelError::BadSlot { slot })?;
        target.calls = Calls::Followed;
        let mode = target.threads;
        self.set_threads(slot, mode)
    }

    /// The system calls of a slot's threads that returned, added up; also after its detach, until it is
    /// used again.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn call_totals(&self, slot: u16) -> Result<Vec<CallTotal>, KernelError> {
        let found = self.calls.totals.of_slot(slot)?.into_iter();
        Ok(found.map(|(key, totals)| CallTotal { key: key.0, totals: totals.0 }).collect())
    }

    /// What the kernel part is to be told of a slot's system calls in a mode; attaches the programs
    /// where they are to be followed.
    pub(super) fn calls_flag(&mut self, slot: u16, mode: Mode) -> Result<u32, KernelError> {
        let target = self.slots.get(slot).ok_or(KernelError::BadSlot { slot })?;
        if mode != Mode::All || target.calls == Calls::Left {
            return Ok(0);
        }
        self.calls.link(&mut self.ebpf)?;
        Ok(follow::CALLS)
    }

    /// Takes the programs off if nobody's system calls are followed any more.
    pub(super) fn unlink_calls(&mut self) {
        let follows = |calls, threads| calls == Calls::Followed && threads == Mode::All;
        if !self.slots.in_use().any(|(_, target)| follows(target.calls, target.threads)) {
            self.calls.links.clear();
        }
    }

    /// Forgets the system calls of a slot that go on.
    pub(super) fn forget_calls(&mut self, slot: u16) -> Result<(), KernelError> {
        self.calls.calling.forget(slot)
    }

    /// Forgets the totals of a slot's system calls.
    pub(super) fn forget_call_totals(&mut self, slot: u16) -> Result<(), KernelError> {
        self.calls.totals.forget(slot)
    }

    /// Calls that were not followed because another BPF program was running.
    pub(super) fn missed_calls(&self) -> std::io::Result<u64> {
        let programs = name::CALL_PROGRAMS.iter().filter_map(|name| self.ebpf.program(name));
        let fds = programs.filter_map(|program| program.fd().ok());
        fds.map(|fd| sys::recursion_misses(fd.as_fd())).sum()
    }
}
