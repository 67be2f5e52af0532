//! The probe plan: which instructions to probe and where the task is at each, as data. Runtimes
//! make plans from the binary alone; `kernel` attaches them; `doctor` shows them. May use: object.

use std::fmt;

pub use crate::object::disasm::{Emulated, Register};

/// What a probe at a site tells; the kernel part's `ids::site`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SiteKind {
    /// A task was created.
    Birth,
    /// A task ends.
    Death,
    /// A task parks.
    Park,
    /// A task starts to run.
    Run,
    /// A task is made runnable.
    Ready,
}

impl SiteKind {
    /// All kinds.
    pub const ALL: [SiteKind; 5] =
        [SiteKind::Birth, SiteKind::Death, SiteKind::Park, SiteKind::Run, SiteKind::Ready];

    /// The number the kernel part knows it by.
    pub const fn number(self) -> u8 {
        use tracer_common::ids::site;
        match self {
            SiteKind::Birth => site::BIRTH,
            SiteKind::Death => site::DEATH,
            SiteKind::Park => site::PARK,
            SiteKind::Run => site::RUN,
            SiteKind::Ready => site::READY,
        }
    }

    /// The word used in text and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            SiteKind::Birth => "birth",
            SiteKind::Death => "death",
            SiteKind::Park => "park",
            SiteKind::Run => "run",
            SiteKind::Ready => "ready",
        }
    }
}

/// Where the task's address is when the probe hits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Location {
    /// In a register.
    Register(Register),
    /// At `[rsp + 8 * words]`.
    Stack {
        /// Below 128.
        words: u8,
    },
}

impl Location {
    /// The byte that goes into the attach cookie (`tracer_common::ids::loc`).
    pub const fn encode(self) -> u8 {
        match self {
            Location::Register(r) => r as u8,
            Location::Stack { words } => tracer_common::ids::loc::STACK | words,
        }
    }
}

/// One probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// What it tells.
    pub kind: SiteKind,
    /// The function it lies in.
    pub function: Box<str>,
    /// Virtual address in the file, as linked.
    pub address: u64,
    /// Offset in the file: what uprobes are attached by.
    pub file_offset: u64,
    /// The instruction there.
    pub instruction: Emulated,
    /// Its bytes in the file: before attaching they are compared with those in the file that is
    /// about to be probed.
    pub bytes: Box<[u8]>,
    /// The instruction as a disassembler prints it.
    pub text: Box<str>,
    /// Where the task is.
    pub location: Location,
    /// Why this instruction: for people.
    pub why: Box<str>,
}

/// Why a plan sees less than everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Degradation {
    /// Which site kind is affected.
    pub kind: SiteKind,
    /// What is missed and why, in words.
    pub reason: Box<str>,
}

/// The probes for one binary.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProbePlan {
    /// In order of kind, then address.
    pub sites: Vec<Site>,
    /// What these sites do not see.
    pub degraded: Vec<Degradation>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Register(r) => f.write_str(&format!("{r:?}").to_lowercase()),
            Location::Stack { words } => write!(f, "[rsp+{:#x}]", u32::from(*words) * 8),
        }
    }
}
