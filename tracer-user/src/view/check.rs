//! What a program that was held at its end left behind.

use super::{FindingView, SummaryView};

/// How the program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramEnd {
    /// By itself, with this code.
    Exited(u8),
    /// By a signal of this number.
    Killed(i32),
}

/// Whether it left anything behind.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It was looked at.
    Checked(Box<Checked>),
    /// It crashed: what its tasks were about is no leak.
    Crashed,
    /// It was killed: it never came to its end.
    Killed,
    /// It could not be read.
    Unreadable(String),
}

/// What was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    /// Tasks left behind, surest first.
    pub findings: Vec<FindingView>,
    /// The program, what was looked at, and what waits by nature.
    pub summary: SummaryView,
}

/// A program that has run.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckView {
    /// How it ended.
    pub end: ProgramEnd,
    /// What it left behind.
    pub verdict: Verdict,
}
