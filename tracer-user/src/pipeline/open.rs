//! Opens a process: which runtime it has, where its tasks are, how to probe it. The only place of
//! the pipeline that names a runtime. What has none that is known has threads.

mod binaries;
pub mod native;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tracer_common::config::{NO_OFFSET, TargetConfig};

use crate::base::{FrameId, KTime, Nanos, Pid, ProcId, ReasonId};
use crate::kernel::AttachTarget;
use crate::runtime::go::layout::Layout;
use crate::runtime::go::snapshot::{LookContext, SnapshotError, Snapshotter};
use crate::runtime::go::{DetectError, Detector, GoProgram, HostedAs, locate_known, plan, reasons};
use crate::runtime::link::{LookError, Looks, RecordNames};
use crate::runtime::native::names::{CreatorCode, NativeNames};
use crate::runtime::native::snapshot::ThreadSnapshotter;
use crate::runtime::native::spawn::SpawnSites;
use crate::runtime::plan::{ProbePlan, Site};
use crate::stream::{Input, LookOutcome, LookSeq, ProcessDef};
use crate::symbolize::go::GoSymbolizer;
use crate::symbolize::native::NativeSymbolizer;
use crate::symbolize::{SharedInterner, Symbolizer as _};
use crate::target::{LiveMem, MemoryGauge, PidFd, ReadError};

use super::clock;
use super::identity::{Fate, Identity};
use super::ingest::Names;
use super::settings::{GoMinor, TargetSettings, Threads};
use super::whereabouts;
use binaries::Binaries;

/// An opened process.
pub struct Opened {
    /// What it is.
    pub def: ProcessDef,
    /// Takes looks at its tasks.
    pub looks: Box<dyn Looks>,
    /// Tells how much memory it has.
    pub memory: MemoryGauge,
    /// Becomes readable when it exits.
    pub exit: PidFd,
    /// For probing it.
    pub probing: Probing,
}

/// What is needed to follow an opened process, and to name what it does.
pub struct Probing {
    target: AttachTarget,
    runtime: Box<str>,
    threads: Threads,
    names: SharedInterner,
    sites: Option<SiteProbing>,
    /// For the code of a process without a known runtime.
    native: Option<NativeSymbolizer>,
}

/// What is needed to probe the code of an opened process.
pub struct SiteProbing {
    program: GoProgram,
    symbolizer: GoSymbolizer,
    names: SharedInterner,
    binaries: Binaries,
}

/// Opens a process.
///
/// # Errors
/// If there is none, or it may not be read.
pub fn open(settings: &TargetSettings, process: ProcId) -> anyhow::Result<Opened> {
    Opener::new(settings.assume_go, SharedInterner::default(), Natives::Opened)
        .open(settings, process)
}

/// What becomes of a process without a runtime that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Natives {
    /// Its tasks are its threads.
    Opened,
    /// It is refused.
    Refused,
}

/// Opens processes one after the other, and remembers what it learned of their files. What is told
/// of all of them has names of one interner.
#[derive(Clone)]
pub struct Opener {
    assume_go: Option<GoMinor>,
    detector: Detector,
    names: SharedInterner,
    natives: Natives,
    binaries: Binaries,
    plans_ahead: bool,
}

impl Opener {
    /// One that knows nothing yet.
    pub fn new(assume_go: Option<GoMinor>, names: SharedInterner, natives: Natives) -> Self {
        let detector = match assume_go {
            Some(minor) => Detector::new().assuming(minor.0),
            None => Detector::new(),
        };
        let binaries = Binaries::default();
        Self { assume_go, detector, names, natives, binaries, plans_ahead: false }
    }

    /// Plans probes as soon as a process is opened, so that nobody has to wait for that later.
    #[must_use]
    pub fn planning_ahead(mut self) -> Self {
        self.plans_ahead = true;
        self
    }

    /// Opens a process.
    ///
    /// # Errors
    /// If there is none, or it may not be read.
    pub fn open(&mut self, settings: &TargetSettings, process: ProcId) -> anyhow::Result<Opened> {
        let at = clock::now();
        // Before anything else is read, so that what is read is that incarnation's or nothing.
        let exit = PidFd::open(settings.pid)?;
        match self.detector.detect(settings.pid) {
            Ok(program) => {
                let opened = self.open_go(settings, program, (process, at), exit)?;
                if self.plans_ahead
                    && let Some(sites) = &opened.probing.sites
                {
                    // Who puts the probes on is told why there are none.
                    let _told_later = sites.plan();
                }
                Ok(opened)
            }
            // Who names a version of Go takes it for a Go program: that it is none is the answer.
            Err(DetectError::NotGo { .. })
                if self.assume_go.is_none() && self.natives == Natives::Opened =>
            {
                native::open(settings.pid, (process, at), exit, &self.names)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn open_go(
        &self,
        settings: &TargetSettings,
        program: GoProgram,
        (process, at): (ProcId, KTime),
        exit: PidFd,
    ) -> anyhow::Result<Opened> {
        let pid = settings.pid;
        let identity = Identity::of(pid, program.stat.start_ticks);
        let mem = LiveMem::open(pid)?;
        let located = locate_known(&mem, &program, self.binaries.table(&program).as_ref())
            .with_context(|| {
                format!("process {pid} ({}) cannot be read", program.path.display())
            })?;
        self.binaries.keep_table(&program, &located.table);
        let names = self.names.clone();
        let symbolizer = || GoSymbolizer::new(vec![located.table.clone()], located.layout.rules());
        let probing_symbolizer = symbolizer();
        let threads = match settings.threads {
            Threads::Left => None,
            Threads::Read => {
                let symbols = NativeSymbolizer::with_go(symbolizer());
                Some(ThreadSnapshotter::new(process, pid, symbols, native::registers(pid))?)
            }
        };
        let def = define(&program, process, at);
        let looks = GoLooks {
            snapshotter: Snapshotter::new(process, pid, located),
            threads,
            mem,
            identity,
            names: names.clone(),
        };
        let target = AttachTarget {
            pid,
            start_ticks: Some(program.stat.start_ticks),
            binary: binary_path(&program),
        };
        let runtime = program.version.clone();
        let sites = SiteProbing {
            program,
            symbolizer: probing_symbolizer,
            names: names.clone(),
            binaries: self.binaries.clone(),
        };
        let threads = settings.threads;
        let probing = Probing { target, runtime, threads, names, sites: Some(sites), native: None };
        let memory = MemoryGauge::of(pid);
        Ok(Opened { def, looks: Box::new(looks), memory, exit, probing })
    }
}

/// The path under which the kernel finds the file: links of `/proc` stay right when the name of
/// the file is gone or means another one in loiter's mount namespace.
fn binary_path(program: &GoProgram) -> PathBuf {
    match program.hosted_as {
        HostedAs::Executable => PathBuf::from(format!("/proc/{}/exe", program.stat.pid)),
        HostedAs::SharedObject => program.file.fd_path(),
    }
}

fn define(program: &GoProgram, process: ProcId, at: KTime) -> ProcessDef {
    let pid = program.stat.pid;
    let (container, pod) = whereabouts::named(pid);
    ProcessDef {
        process,
        pid,
        start_ticks: program.stat.start_ticks,
        at,
        exe: program.path.to_string_lossy().into(),
        runtime: "go".into(),
        runtime_version: program.version.clone(),
        build: program.build.clone(),
        container,
        pod,
        degraded: program.degraded.clone().into(),
    }
}

impl Probing {
    /// The process.
    pub const fn pid(&self) -> Pid {
        self.target.pid
    }

    /// Process and file to attach to.
    pub const fn target(&self) -> &AttachTarget {
        &self.target
    }

    /// Whether its threads are followed.
    pub const fn threads(&self) -> Threads {
        self.threads
    }

    /// Names for records of this process.
    pub fn record_names(&self) -> Names {
        match &self.sites {
            Some(sites) => sites.record_names(),
            None => {
                let code = self.creator_code();
                let threads = Box::new(NativeNames::new(self.names.clone(), code));
                Names { tasks: None, threads }
            }
        }
    }

    fn creator_code(&self) -> CreatorCode {
        match (&self.native, LiveMem::open(self.pid())) {
            (Some(symbols), Ok(mem)) => CreatorCode::Native(Box::new(SpawnSites::new(
                self.pid(),
                Box::new(mem),
                symbols.sharing(),
            ))),
            _ => CreatorCode::Unknown,
        }
    }

    /// The version of the runtime as the binary states it, or what it is where it has none.
    pub fn runtime_version(&self) -> &str {
        &self.runtime
    }

    /// How to probe its code; None if it has no runtime whose code is known.
    pub const fn sites(&self) -> Option<&SiteProbing> {
        self.sites.as_ref()
    }

    /// Definitions of ids given out since the last call: to be fed before their first use.
    pub fn take_defs(&self) -> Vec<Input> {
        self.names.take_definitions().into_iter().map(Input::from).collect()
    }
}

impl SiteProbing {
    /// The probes for this binary.
    ///
    /// # Errors
    /// If its code is not what the runtime's should be.
    pub fn plan(&self) -> anyhow::Result<Arc<ProbePlan>> {
        self.binaries.plan(&self.program, || self.make_plan())
    }

    fn make_plan(&self) -> anyhow::Result<ProbePlan> {
        let GoProgram { image, file, layout, .. } = &self.program;
        let failed = || format!("no probes can be planned for process {}", self.program.stat.pid);
        let table = plan::linked_table(image, file, layout).with_context(failed)?;
        let program = plan::GoProgram { image, source: file, table: &table, layout };
        plan::plan(&program).with_context(failed)
    }

    /// Where a site lies in its function, from the function's start.
    pub fn function_offset(&self, site: &Site) -> Option<u64> {
        let address = site.address.wrapping_add(self.program.bias);
        let table = self.symbolizer.tables().first()?;
        address.checked_sub(table.find(address)?.entry())
    }

    /// What the kernel part must know of the tasks' layout.
    pub const fn config(&self, min_wait: Nanos) -> TargetConfig {
        config(self.program.layout, min_wait)
    }

    fn record_names(&self) -> Names {
        let code =
            GoSymbolizer::new(self.symbolizer.tables().to_vec(), self.program.layout.rules());
        Names {
            tasks: Some(self.task_names()),
            threads: Box::new(NativeNames::new(
                self.names.clone(),
                CreatorCode::Runtime(Box::new(code)),
            )),
        }
    }

    fn task_names(&self) -> Box<dyn RecordNames> {
        Box::new(GoNames {
            symbolizer: GoSymbolizer::new(
                self.symbolizer.tables().to_vec(),
                self.program.layout.rules(),
            ),
            layout: self.program.layout,
            names: self.names.clone(),
            sites: hashbrown::HashMap::default(),
            starts: hashbrown::HashMap::default(),
            reasons: [None; 256],
        })
    }
}

const fn config(layout: &Layout, min_wait: Nanos) -> TargetConfig {
    let g = &layout.g;
    TargetConfig {
        min_wait_ns: min_wait.0,
        g_goid: g.goid,
        g_parent: match g.parent_goid {
            Some(offset) => offset,
            None => NO_OFFSET,
        },
        g_gopc: g.gopc,
        g_startpc: g.startpc,
        g_waitreason: g.waitreason,
        g_tracking_seq: g.tracking_seq,
        g_m: g.m,
        m_curg: layout.m.curg,
    }
}

/// Looks at a Go process.
struct GoLooks {
    snapshotter: Snapshotter,
    threads: Option<ThreadSnapshotter>,
    mem: LiveMem,
    identity: Identity,
    names: SharedInterner,
}

impl Looks for GoLooks {
    fn look(
        &mut self,
        look: LookSeq,
        clock: &dyn Fn() -> KTime,
        sink: &mut dyn FnMut(Input),
    ) -> Result<LookOutcome, LookError> {
        let found = self.both(look, clock, sink);
        // Also after a look that went well: what was read may have been another image's.
        match (self.identity.fate(), found) {
            (Fate::Gone, _) => Err(LookError::Gone),
            (Fate::Replaced, _) => Err(LookError::OtherImage),
            (Fate::Same, found) => found,
        }
    }
}

impl GoLooks {
    /// Goroutines and, where they are asked for, threads, as one look.
    fn both(
        &mut self,
        look: LookSeq,
        clock: &dyn Fn() -> KTime,
        sink: &mut dyn FnMut(Input),
    ) -> Result<LookOutcome, LookError> {
        if let Some(threads) = &mut self.threads {
            threads.warm_up(&self.mem, &self.names, clock).map_err(native::look_error)?;
        }
        let mut end = None;
        let mut held = |input: Input| match input {
            Input::SnapshotEnd { .. } => end = Some(input),
            other => sink(other),
        };
        let mut context = LookContext { look, clock, interner: &self.names, sink: &mut held };
        let mut outcome =
            self.snapshotter.look(&self.mem, &mut context).map_err(|why| match why {
                SnapshotError::Read(ReadError::Gone) => LookError::Gone,
                why => LookError::Failed(why.to_string()),
            })?;
        if let Some(threads) = &mut self.threads {
            let found = threads.read(&self.mem, &self.names, clock).map_err(native::look_error)?;
            outcome = native::added(outcome, found.tell(sink));
        }
        if let Some(Input::SnapshotEnd { process, look, t1, .. }) = end {
            let now = if self.threads.is_some() { clock() } else { t1 };
            outcome.took = Nanos(outcome.took.0.saturating_add(now.since(t1).0));
            sink(Input::SnapshotEnd { process, look, t1: now, outcome });
        }
        Ok(outcome)
    }
}

/// Names for the numbers in records of a Go process. Remembers what it resolved, so that an event
/// costs a look-up and never waits for a look that has the names.
struct GoNames {
    symbolizer: GoSymbolizer,
    layout: &'static Layout,
    names: SharedInterner,
    sites: hashbrown::HashMap<u64, FrameId, foldhash::fast::RandomState>,
    starts: hashbrown::HashMap<u64, FrameId, foldhash::fast::RandomState>,
    reasons: [Option<ReasonId>; 256],
}

/// Most addresses remembered in each of the two tables.
const MAX_REMEMBERED: usize = 1 << 18;

impl RecordNames for GoNames {
    fn spawn_site(&mut self, pc: u64) -> FrameId {
        if let Some(&known) = self.sites.get(&pc) {
            return known;
        }
        let id = self.names.with(|names| self.symbolizer.spawn_site(pc, names));
        if self.sites.len() < MAX_REMEMBERED {
            self.sites.insert(pc, id);
        }
        id
    }

    fn start(&mut self, pc: u64) -> FrameId {
        if let Some(&known) = self.starts.get(&pc) {
            return known;
        }
        let id = self.names.with(|names| self.symbolizer.start(pc, names));
        if self.starts.len() < MAX_REMEMBERED {
            self.starts.insert(pc, id);
        }
        id
    }

    fn reason(&mut self, number: u8) -> ReasonId {
        let Some(known) = self.reasons.get_mut(usize::from(number)) else {
            return ReasonId::UNKNOWN;
        };
        if let Some(id) = known {
            return *id;
        }
        let id = reasons::Reason::of(self.layout, number).map_or(ReasonId::UNKNOWN, |reason| {
            self.names.with(|names| names.reason(reason.class, reason.word))
        });
        *known = Some(id);
        id
    }
}
