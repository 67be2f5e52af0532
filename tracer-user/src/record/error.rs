//! What can go wrong with a recording.

use std::io;
use std::path::PathBuf;

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// `create`, `write`, …
        what: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The size that was allowed is used up.
    #[error(
        "the recording {} has reached its {limit} bytes; give a directory instead of a file to keep the newest",
        path.display()
    )]
    Full {
        /// Which file.
        path: PathBuf,
        /// Its bound.
        limit: u64,
    },
    /// Nothing can be kept of this recording now.
    #[error(
        "cannot keep {}: another one is being kept, or the recording is no directory",
        path.display()
    )]
    CannotKeep {
        /// Where to.
        path: PathBuf,
    },
    /// There is something already.
    #[error("{} is there already: a recording begins in a file or directory of its own", .0.display())]
    Occupied(PathBuf),
    /// Nothing that can be read.
    #[error("{} holds no readable recording: {why}", path.display())]
    NoRecording {
        /// Which file or directory.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// Written by a later loiter.
    #[error(
        "{} has format version {major}.{minor}; this loiter reads versions up to {ours}: use the loiter that wrote it ({writer}) or a later one",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        major: u16,
        /// Its version.
        minor: u16,
        /// The last major version that can be read.
        ours: u16,
        /// What wrote it.
        writer: String,
    },
    /// The thread that writes has ended.
    #[error("the thread that writes the recording has ended early")]
    WriterGone,
}

impl RecordError {
    pub(super) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| RecordError::Io { what, path, error }
    }
}

/// Bytes that are not what the format says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);
