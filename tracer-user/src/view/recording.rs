//! A recording as a whole: what it holds, before a single finding is asked for; and its inputs, as they are.

use std::io;

use crate::base::{KTime, Nanos};
use crate::model::Names;
use crate::stream::Input;

use super::{ProcessView, WallTime};

/// How a recording ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordingEnd {
    /// It was ended, for this reason.
    Closed(String),
    /// The recorder could not go on, and could still say why.
    Stopped(String),
    /// It breaks off.
    BrokeOff {
        /// For at most this long, what the recorder had taken in is missing.
        at_most: Nanos,
    },
}

/// Inputs of one sort.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SortView {
    /// The sort's word.
    pub sort: &'static str,
    /// How many.
    pub inputs: u64,
    /// Their bytes before packing.
    pub bytes: u64,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct RecordingView {
    /// Where it lies.
    pub path: String,
    /// Version of the format: major, minor.
    pub version: (u16, u16),
    /// What wrote it.
    pub writer: String,
    /// Whether labels and build settings were left out.
    pub redacted: bool,
    /// What the detectors went by, as words.
    pub settings: Vec<(String, String)>,
    /// The first process in it; None if its definition cannot be read.
    pub process: Option<ProcessView>,
    /// The first moment spoken of.
    pub from: WallTime,
    /// The last.
    pub until: WallTime,
    /// Between the two.
    pub lasted: Nanos,
    /// How it ends.
    pub end: RecordingEnd,
    /// Segments that are there.
    pub segments: u64,
    /// Bytes that are there.
    pub bytes: u64,
    /// The same before packing.
    pub raw_bytes: u64,
    /// Inputs that are there.
    pub inputs: u64,
    /// Events among them.
    pub events: u64,
    /// Inputs of older segments that were removed, as asked for.
    pub removed_inputs: u64,
    /// Damaged bytes.
    pub damaged_bytes: u64,
    /// What each sort takes; empty where that is not written down for all of it.
    pub sorts: Vec<SortView>,
}

/// Something that is missing in a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    /// How many inputs.
    pub inputs: u64,
    /// Damaged bytes in their place.
    pub bytes: u64,
    /// They spoke of nothing before this ...
    pub since: KTime,
    /// ... and of nothing after this.
    pub until: KTime,
}

/// Takes the inputs of a recording as they are.
pub trait InputSink {
    /// One of them, with its time on the wall clock; what its ids stand for is in `names`.
    ///
    /// # Errors
    /// If it cannot be told on.
    fn input(&mut self, input: &Input, wall: Option<WallTime>, names: &Names) -> io::Result<()>;

    /// Here something is missing.
    ///
    /// # Errors
    /// As [`InputSink::input`].
    fn missing(&mut self, missing: &Missing) -> io::Result<()>;
}
