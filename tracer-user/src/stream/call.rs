//! A system call of a thread that has returned: what it asked for and how it ended.

use tracer_common::call::{self, Outcome};

use crate::base::{KTime, ProcId, TaskId};

/// Whether system calls are followed, too. That slows every system call of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Calls {
    /// Left out.
    #[default]
    Left,
    /// Followed: those in which threads wait, and those that end such waits.
    Followed,
}

/// A system call from its beginning to its return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Of which process.
    pub process: ProcId,
    /// Of which thread.
    pub task: TaskId,
    /// When it began.
    pub began: KTime,
    /// When it returned.
    pub at: KTime,
    /// Its number (x86-64).
    pub number: i32,
    /// Its arguments, as they were when it began.
    pub arguments: [u64; 6],
    /// What it returned; a negative number is an error's.
    pub result: i64,
    /// How often the thread slept in it.
    pub slept: u32,
}

impl Call {
    /// The name of the system call.
    pub fn name(&self) -> &'static str {
        name(self.number)
    }

    /// How it ended.
    pub const fn outcome(&self) -> Outcome {
        Outcome::of(self.number, self.result)
    }

    /// How many threads it woke.
    pub const fn woken(&self) -> u64 {
        let [_, operation, ..] = self.arguments;
        call::woken(self.number, (operation & FUTEX_OPERATION) as u8, self.result)
    }
}

/// Source: include/uapi/linux/futex.h, `FUTEX_CMD_MASK`.
const FUTEX_OPERATION: u64 = 127;

/// The name of a system call that can be followed.
pub fn name(number: i32) -> &'static str {
    call::CALLS.iter().find(|(known, _)| *known == number).map_or("syscall", |(_, name)| *name)
}

/// The word used in JSON and text.
pub const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::TimedOut => "timed-out",
        Outcome::Interrupted => "interrupted",
        Outcome::Changed => "changed",
        Outcome::Failed => "failed",
    }
}
