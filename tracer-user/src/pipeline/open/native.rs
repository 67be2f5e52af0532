//! Opens a process whose tasks are its threads: any program that has no runtime of its own.

use std::path::PathBuf;

use crate::base::{KTime, Pid, ProcId, Registers};
use crate::kernel::{AttachTarget, ThreadRegisters};
use crate::object::elf::Image;
use crate::pipeline::identity::{Fate, Identity};
use crate::pipeline::settings::Threads;
use crate::pipeline::whereabouts;
use crate::runtime::link::{LookError, Looks};
use crate::runtime::native::snapshot::{
    LookContext, ReadRegisters, SnapshotError, ThreadSnapshotter,
};
use crate::stream::{BuildInfo, Input, LookOutcome, LookSeq, ProcessDef};
use crate::symbolize::SharedInterner;
use crate::symbolize::native::NativeSymbolizer;
use crate::target::{FileAt, LiveMem, MemoryGauge, PidFd, ReadError, TargetError};

use super::{Opened, Probing};

/// What such a process's runtime is called.
pub const RUNTIME: &str = "native";

/// Opens it.
///
/// # Errors
/// If it may not be read.
pub(super) fn open(
    pid: Pid,
    (process, at): (ProcId, KTime),
    exit: PidFd,
    names: &SharedInterner,
) -> anyhow::Result<Opened> {
    let stat = crate::target::stat(pid)?;
    let exe = crate::target::exe_link(pid)?;
    let names = names.clone();
    let symbols = NativeSymbolizer::default();
    let native = Some(symbols.sharing());
    let snapshotter = ThreadSnapshotter::new(process, pid, symbols, registers(pid))?;
    let looks = NativeLooks {
        snapshotter,
        mem: LiveMem::open(pid)?,
        identity: Identity::of(pid, stat.start_ticks),
        names: names.clone(),
    };
    let (container, pod) = whereabouts::named(pid);
    let def = ProcessDef {
        process,
        pid,
        start_ticks: stat.start_ticks,
        at,
        exe: exe.path.to_string_lossy().into(),
        runtime: RUNTIME.into(),
        runtime_version: Box::default(),
        build: BuildInfo { build_id: build_id(pid), ..BuildInfo::default() },
        container,
        pod,
        degraded: Box::default(),
    };
    let target = AttachTarget {
        pid,
        start_ticks: Some(stat.start_ticks),
        binary: PathBuf::from(format!("/proc/{pid}/exe")),
    };
    let threads = Threads::Read;
    let probing = Probing { target, runtime: RUNTIME.into(), threads, names, sites: None, native };
    Ok(Opened { def, looks: Box::new(looks), memory: MemoryGauge::of(pid), exit, probing })
}

/// Reads registers where the kernel allows it; else stacks are walked from what `/proc` tells, and
/// may be short.
pub(super) fn registers(pid: Pid) -> Option<Box<dyn ReadRegisters>> {
    match ThreadRegisters::of(pid) {
        Ok(registers) => Some(Box::new(FromKernel(registers))),
        Err(why) => {
            tracing::info!("no registers of threads, so stacks may be short: {why}");
            None
        }
    }
}

struct FromKernel(ThreadRegisters);

impl ReadRegisters for FromKernel {
    fn read(&mut self) -> Vec<Registers> {
        self.0.read().unwrap_or_default()
    }
}

fn build_id(pid: Pid) -> Option<Box<str>> {
    let file = FileAt::exe(pid).ok()?;
    Image::parse(&file).ok()?.build_ids(&file).gnu
}

/// Looks at the threads of a process.
struct NativeLooks {
    snapshotter: ThreadSnapshotter,
    mem: LiveMem,
    identity: Identity,
    names: SharedInterner,
}

impl Looks for NativeLooks {
    fn look(
        &mut self,
        look: LookSeq,
        clock: &dyn Fn() -> KTime,
        sink: &mut dyn FnMut(Input),
    ) -> Result<LookOutcome, LookError> {
        let mut context = LookContext { look, clock, interner: &self.names, sink };
        let found = self.snapshotter.look(&self.mem, &mut context);
        match (self.identity.fate(), found) {
            (Fate::Gone, _) => Err(LookError::Gone),
            (Fate::Replaced, _) => Err(LookError::OtherImage),
            (Fate::Same, Ok(outcome)) => Ok(outcome),
            (Fate::Same, Err(why)) => Err(look_error(why)),
        }
    }
}

/// Why threads could not be looked at.
pub(super) fn look_error(why: SnapshotError) -> LookError {
    match why {
        SnapshotError::Read(ReadError::Gone) | SnapshotError::Target(TargetError::Gone { .. }) => {
            LookError::Gone
        }
        why => LookError::Failed(why.to_string()),
    }
}

/// A look that had two parts. The first tells of the process as a whole.
pub(super) fn added(first: LookOutcome, second: LookOutcome) -> LookOutcome {
    LookOutcome {
        listed: first.listed.saturating_add(second.listed),
        read: first.read.saturating_add(second.read),
        unreadable: first.unreadable.saturating_add(second.unreadable),
        reread: first.reread.saturating_add(second.reread),
        unsettled: first.unsettled.saturating_add(second.unsettled),
        truncated: first.truncated.saturating_add(second.truncated),
        took: first.took,
        bytes: first.bytes.saturating_add(second.bytes),
        vitals: first.vitals,
    }
}
