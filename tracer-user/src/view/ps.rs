//! Which processes can be traced.

use super::WallTime;
use crate::stream::PodInfo;

/// The processes whose tasks can be read, by PID.
#[derive(Clone, PartialEq, Debug)]
pub struct PsView {
    /// By PID.
    pub rows: Vec<PsRow>,
    /// Processes that could not be looked at, for want of rights.
    pub denied: u64,
    /// Processes looked at, all in all.
    pub examined: u64,
}

/// One process.
#[derive(Clone, PartialEq, Debug)]
pub struct PsRow {
    /// PID as loiter sees it.
    pub pid: u32,
    /// `go`; `native` = its tasks are its threads.
    pub runtime: String,
    /// `go1.27.3`; empty where the binary does not say.
    pub runtime_version: String,
    /// Whether it can be traced.
    pub support: Support,
    /// Tasks alive, the runtime's own left out; None where they could not be read.
    pub tasks: Option<u64>,
    /// When the process started.
    pub started: Option<WallTime>,
    /// Container id.
    pub container: Option<String>,
    /// The pod of Kubernetes that it runs in.
    pub pod: Option<PodInfo>,
    /// Path of the executable.
    pub exe: String,
    /// Path of the main package, where the binary says.
    pub package: Option<String>,
    /// Build mode and such, in short words: `pie`, `cgo`, `stripped`, `race`.
    pub traits: Vec<String>,
}

/// Whether a process can be traced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Support {
    /// All of it.
    Full,
    /// With less than everything, for this reason.
    Degraded(String),
    /// Not at all, for this reason.
    None(String),
}

impl Support {
    /// The word used in JSON and text.
    pub const fn word(&self) -> &'static str {
        match self {
            Support::Full => "full",
            Support::Degraded(_) => "degraded",
            Support::None(_) => "none",
        }
    }
}
