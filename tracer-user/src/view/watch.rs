//! What is told while a process is watched, as it happens.

use crate::base::Nanos;
use crate::stream::{LossKind, Mode};

use super::delivery::DeliveryView;
use super::{FindingView, SummaryView, WallTime};

/// Takes what a watch or diagnosis has to tell, in the order in which it happens. None of these may
/// block for long: they run between two looks.
pub trait WatchSink {
    /// A finding is new.
    ///
    /// # Errors
    /// If it cannot be told to anybody any more (the reader has gone); the watch then ends.
    fn opened(&mut self, finding: &FindingView) -> std::io::Result<()>;

    /// A finding that was told before has changed enough to be told again.
    ///
    /// # Errors
    /// As [`WatchSink::opened`].
    fn updated(&mut self, finding: &FindingView) -> std::io::Result<()>;

    /// A finding that was told before is over; the view is the last that was known.
    ///
    /// # Errors
    /// As [`WatchSink::opened`].
    fn resolved(&mut self, finding: &FindingView) -> std::io::Result<()>;

    /// Something about the tracing itself.
    fn notice(&mut self, notice: &Notice);

    /// Something about the tracing of one process of many.
    fn notice_of(&mut self, who: &Who, notice: &Notice);

    /// One process of many is watched no more.
    ///
    /// # Errors
    /// As [`WatchSink::opened`].
    fn ended(&mut self, summary: &SummaryView) -> std::io::Result<()>;
}

/// A process, as far as its name goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// PID as loiter sees it.
    pub pid: u32,
    /// Path of the executable; empty if it is not known.
    pub exe: String,
}

/// Something about the tracing itself, for the person who watches.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// The first complete list of tasks is there.
    Attached {
        /// When.
        at: WallTime,
        /// PID.
        pid: u32,
        /// `go1.27.3`
        runtime_version: String,
        /// Which probes are attached.
        mode: Mode,
        /// How many.
        probes: u32,
        /// Tasks found, the runtime's own left out.
        tasks: u64,
        /// From the command to the first complete list.
        took: Nanos,
    },
    /// One of a known number of looks was taken (`diagnose`).
    Looked {
        /// Its number, from 1.
        number: u32,
        /// Of how many.
        of: u32,
        /// Tasks found.
        tasks: u64,
        /// How long the look took.
        took: Nanos,
    },
    /// Other probes are attached than before.
    ModeChanged {
        /// When.
        at: WallTime,
        /// Now.
        mode: Mode,
        /// Why, in words.
        why: String,
    },
    /// All events are followed for a moment now and then, since they cost too much for long.
    Sampled {
        /// When the first moment began.
        at: WallTime,
        /// How long one is.
        moment: Nanos,
        /// From the beginning of one to that of the next.
        every: Nanos,
        /// Why, in words.
        why: String,
    },
    /// Records were lost since the last notice of this kind.
    Lost {
        /// When it was noticed.
        at: WallTime,
        /// What sort.
        kind: LossKind,
        /// How many.
        count: u64,
    },
    /// A snapshot has made good for lost records.
    Healed {
        /// When.
        at: WallTime,
    },
    /// Less than everything will be told, and why.
    Degraded {
        /// In words.
        reason: String,
    },
    /// The flight recorder keeps what it has.
    Freezing {
        /// When.
        at: WallTime,
        /// Why.
        why: String,
        /// Where.
        path: String,
    },
    /// What the flight recorder keeps is complete.
    Frozen {
        /// When.
        at: WallTime,
        /// Where.
        path: String,
        /// Its bytes.
        bytes: u64,
        /// Triggers that came too soon after another one since the last such notice.
        held_back: u64,
    },
    /// Metrics are told.
    Metrics {
        /// `http` or `https`.
        scheme: &'static str,
        /// Where.
        address: String,
        /// Who may read them, in words.
        readers: &'static str,
    },
    /// What became of what was sent elsewhere, at the end of a watch of many.
    Delivered {
        /// To whom, and how much.
        delivery: DeliveryView,
    },
    /// What an earlier flight recorder left unfinished is kept.
    LeftBehind {
        /// Where.
        path: String,
    },
    /// Of a recording something is missing.
    Missing {
        /// Not before this.
        since: WallTime,
        /// Not after this.
        until: WallTime,
        /// How many inputs.
        inputs: u64,
        /// Damaged bytes in their place.
        bytes: u64,
    },
    /// A recording ends without its end.
    BrokeOff {
        /// The last moment it speaks of.
        at: WallTime,
        /// What came after is missing, at most for this long.
        at_most: Nanos,
        /// Why, where the recorder could still say so.
        why: Option<String>,
    },
}
