//! The one language of the model. The recorder writes exactly these; replay reads them back.

use crate::base::{Definition, Frame, FrameId, KTime, Pid, ProcId, ReasonId, StackId, WaitClass};

use super::{Event, GcCycle, LookOutcome, LookSeq, TaskLook};

/// Everything the model eats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A process incarnation begins to be traced.
    ProcessDef(Box<ProcessDef>),
    /// It ends.
    ProcessEnd {
        /// Which.
        process: ProcId,
        /// When it was noticed.
        at: KTime,
        /// How.
        how: EndHow,
    },
    /// A frame gets an id; before its first use.
    NameDef {
        /// The id.
        id: FrameId,
        /// The frame.
        frame: Frame,
    },
    /// A stack gets an id; before its first use, after its frames.
    StackDef {
        /// The id.
        id: StackId,
        /// Innermost first.
        frames: Box<[FrameId]>,
    },
    /// A wait reason gets an id; before its first use.
    ReasonDef {
        /// The id.
        id: ReasonId,
        /// Its class.
        class: WaitClass,
        /// The runtime's own word.
        word: Box<str>,
    },
    /// Something happened.
    Event(Event),
    /// A snapshot begins; all its tasks follow, then its end.
    SnapshotBegin {
        /// Of which process.
        process: ProcId,
        /// Its number.
        look: LookSeq,
        /// When the first read began.
        t0: KTime,
    },
    /// A task of the snapshot that is under way.
    SnapshotTask(Box<TaskLook>),
    /// The snapshot ends. Every event up to `t1` has come before this.
    SnapshotEnd {
        /// Of which process.
        process: ProcId,
        /// Its number.
        look: LookSeq,
        /// When the last read ended.
        t1: KTime,
        /// How it went.
        outcome: LookOutcome,
    },
    /// Something was lost.
    Loss(Loss),
    /// The probes of a process changed.
    ModeChange {
        /// Whose.
        process: ProcId,
        /// From when on: the last probe that came was on, the first that went still was.
        at: KTime,
        /// To what.
        mode: Mode,
        /// Why, in words.
        why: Box<str>,
    },
    /// How much memory a process has.
    Memory {
        /// Which.
        process: ProcId,
        /// When.
        at: KTime,
        /// Resident, bytes.
        rss_bytes: u64,
        /// The tightest limit that its cgroups set, bytes; None = none, or not known.
        limit_bytes: Option<u64>,
    },
    /// A look found more of a garbage collection in the runtime's notes than was told before. Of
    /// those between two looks only the newest is found.
    GcCycle {
        /// Whose.
        process: ProcId,
        /// When the notes were read.
        at: KTime,
        /// The collection.
        cycle: GcCycle,
    },
    /// Ties the two clocks together.
    ClockAnchor {
        /// CLOCK_MONOTONIC.
        mono: KTime,
        /// Nanoseconds since the Unix epoch at the same moment.
        wall_ns: i64,
    },
    /// Time passes, also for a process from which nothing comes.
    Tick(KTime),
}

impl Input {
    /// The moment it speaks of, where it speaks of one.
    pub const fn time(&self) -> Option<KTime> {
        Some(match self {
            Input::Event(event) => event.at,
            Input::SnapshotBegin { t0, .. } => *t0,
            Input::SnapshotEnd { t1, .. } => *t1,
            Input::SnapshotTask(task) => task.t1,
            Input::Loss(loss) => loss.until,
            Input::ModeChange { at, .. }
            | Input::Memory { at, .. }
            | Input::GcCycle { at, .. }
            | Input::ProcessEnd { at, .. }
            | Input::Tick(at) => *at,
            Input::ClockAnchor { mono, .. } => *mono,
            Input::ProcessDef(def) => def.at,
            Input::NameDef { .. } | Input::StackDef { .. } | Input::ReasonDef { .. } => {
                return None;
            }
        })
    }
}

impl From<Definition> for Input {
    fn from(definition: Definition) -> Self {
        match definition {
            Definition::Frame { id, frame } => Input::NameDef { id, frame },
            Definition::Stack { id, frames } => Input::StackDef { id, frames },
            Definition::Reason { id, class, word } => Input::ReasonDef { id, class, word },
        }
    }
}

/// A process incarnation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessDef {
    /// Its number here.
    pub process: ProcId,
    /// Its PID.
    pub pid: Pid,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22): tells reused PIDs apart.
    pub start_ticks: u64,
    /// When tracing began.
    pub at: KTime,
    /// Path of its executable, as its own mount namespace shows it.
    pub exe: Box<str>,
    /// `go`, …
    pub runtime: Box<str>,
    /// The version the binary states, such as `go1.27.3`.
    pub runtime_version: Box<str>,
    /// What the binary says of its build.
    pub build: BuildInfo,
    /// Container id, where its cgroup names one.
    pub container: Option<Box<str>>,
    /// The pod of Kubernetes that it runs in, where that is sure.
    pub pod: Option<PodInfo>,
    /// Reasons why what is told of this process may be less than complete.
    pub degraded: Box<[Box<str>]>,
}

/// A pod, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct PodInfo {
    /// Its UID.
    pub uid: Option<Box<str>>,
    /// Its name.
    pub name: Option<Box<str>>,
    /// Its namespace.
    pub namespace: Option<Box<str>>,
    /// The name that its manifest gives to the container.
    pub container: Option<Box<str>>,
}

/// What a binary says of its build.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct BuildInfo {
    /// Path of the main package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Box<str>>,
    /// Path of the main module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Box<str>>,
    /// Version of the main module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Box<str>>,
    /// GNU build id or Go build id, in hex or as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<Box<str>>,
    /// Build settings in their order: `-buildmode`, `vcs.revision`, `vcs.modified` and others.
    pub settings: Vec<(Box<str>, Box<str>)>,
}

/// How a process incarnation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndHow {
    /// It exited or was killed.
    Exit,
    /// It replaced its image.
    Exec,
    /// Tracing stopped; it lives on.
    Detached,
}

impl EndHow {
    /// The word used in exports.
    pub const fn word(self) -> &'static str {
        match self {
            EndHow::Exit => "exit",
            EndHow::Exec => "exec",
            EndHow::Detached => "detached",
        }
    }
}

/// Which probes are attached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// None: snapshots only.
    None,
    /// Births and deaths.
    Lifecycle,
    /// Births, deaths, parks, runs, wake-ups.
    All,
}

impl Mode {
    /// All of them, the one that costs nothing first.
    pub const ALL: [Mode; 3] = [Mode::None, Mode::Lifecycle, Mode::All];

    /// The word used on the command line and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::None => "none",
            Mode::Lifecycle => "lifecycle",
            Mode::All => "all",
        }
    }
}

/// Where records were lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LossKind {
    /// The ring was full.
    RingFull,
    /// A kernel map was full.
    MapFull,
    /// The target's memory could not be read by a probe.
    UserRead,
    /// A probe was not run: it was hit inside another BPF program; or a thread that slept was seen to
    /// sleep again, and its run in between was not.
    Recursion,
    /// A record came that makes no sense.
    Malformed,
    /// It was recorded, and the recording is damaged there.
    Recording,
}

impl LossKind {
    /// All kinds, in the order they are shown.
    pub const ALL: [LossKind; 6] = [
        LossKind::RingFull,
        LossKind::MapFull,
        LossKind::UserRead,
        LossKind::Recursion,
        LossKind::Malformed,
        LossKind::Recording,
    ];

    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            LossKind::RingFull => "ring_full",
            LossKind::MapFull => "map_full",
            LossKind::UserRead => "user_read",
            LossKind::Recursion => "recursion",
            LossKind::Malformed => "malformed",
            LossKind::Recording => "recording",
        }
    }
}

/// Something was lost between two moments of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Whose; None = cannot be told.
    pub process: Option<ProcId>,
    /// What sort.
    pub kind: LossKind,
    /// How many records.
    pub count: u64,
    /// Not before this.
    pub since: KTime,
    /// Not after this.
    pub until: KTime,
}
