//! How model and detectors ask for something: as data. Only the pipeline acts on it.

use crate::base::{KTime, ProcId};

use super::Mode;

/// Why a snapshot is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SnapshotWhy {
    /// Events were lost: the model must heal.
    Loss,
    /// A detector wants a second look before it speaks.
    Recheck,
    /// A task was seen that the model knows nothing about.
    Unknown,
}

/// A wish of the model or a detector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Take a snapshot of this process, not before `not_before`.
    NeedSnapshot {
        /// Whose.
        process: ProcId,
        /// What for.
        why: SnapshotWhy,
        /// Earliest useful time.
        not_before: KTime,
    },
    /// Change the probes of this process.
    SetMode {
        /// Whose.
        process: ProcId,
        /// To what.
        mode: Mode,
    },
}
