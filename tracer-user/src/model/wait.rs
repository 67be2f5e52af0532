//! How long a task waits, and what that knowledge is worth.

use crate::base::{KTime, Nanos};

/// A wait that goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// When it began, or by when it had begun.
    pub since: KTime,
    /// Until when it is known to have lasted.
    pub until: KTime,
    /// Whether `since` is its beginning.
    pub exactness: Exactness,
}

/// What the start of a wait is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Exactness {
    /// It began then or earlier.
    AtLeast,
    /// It began then.
    Exact,
}

impl Wait {
    /// How long it has lasted for certain.
    pub fn length(&self) -> Nanos {
        self.until.since(self.since)
    }

    /// As it is shown.
    pub fn waited(&self) -> Waited {
        match self.exactness {
            Exactness::Exact => Waited::Exact(self.length()),
            Exactness::AtLeast => Waited::AtLeast(self.length()),
        }
    }
}

/// How long a task has waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The start was seen, or the runtime wrote it down.
    Exact(Nanos),
    /// It was waiting already when it was first looked at; zero after a single look.
    AtLeast(Nanos),
    /// It does not wait, or nothing is known.
    Unknown,
}

impl Waited {
    /// The known length, exact or not.
    pub const fn known(self) -> Option<Nanos> {
        match self {
            Waited::Exact(n) | Waited::AtLeast(n) => Some(n),
            Waited::Unknown => None,
        }
    }
}
