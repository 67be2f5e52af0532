//! How it went, as an exit code and in words: what failed, why, and what helps.
//! May use: everything's error types.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use crate::kernel::{KernelError, Obstacle};
use crate::output::clean::clean;
use crate::runtime::go::DetectError;
use crate::runtime::link::LookError;
use crate::target::TargetError;
use crate::target::gate::LaunchError;
use crate::target::memory::ReadError;
use crate::view::{Confidence, FindingCounts};

/// How a command ended that could do its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing was found that counts.
    Fine,
    /// Something was found.
    Findings,
    /// `doctor`: this machine does not allow tracing.
    CannotTrace,
    /// `check`: the code of the program, or the one that tells of leaks.
    Code(u8),
}

impl Outcome {
    /// By the findings open at the end: only those count that are at least this sure. A suspect
    /// may be normal, so by itself it should not wake anybody or fail a build.
    pub fn of_findings(open: FindingCounts, fail_on: Confidence) -> Self {
        if open.at_least(fail_on) == 0 { Outcome::Fine } else { Outcome::Findings }
    }

    /// Its exit code.
    pub const fn code(self) -> u8 {
        match self {
            Outcome::Fine => 0,
            Outcome::Findings => 1,
            Outcome::CannotTrace => CANNOT_TRACE,
            Outcome::Code(code) => code,
        }
    }
}

/// The exit code of wrong usage; clap's too.
pub const USAGE: u8 = 2;
/// The exit code of everything that kept loiter from its work.
pub const CANNOT_TRACE: u8 = 3;
/// `check`: there is no such program; as shells, `env` and `timeout` tell it.
const NOT_FOUND: u8 = 127;
/// `check`: the program cannot be executed; as above.
const NOT_EXECUTABLE: u8 = 126;

/// Arguments that each are right but do not go together, or name what cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// A usage error.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// The exit code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    let launch = error.chain().find_map(|e| e.downcast_ref());
    match launch {
        _ if error.chain().any(|e| e.is::<UsageError>()) => USAGE,
        Some(LaunchError::NotFound { .. }) => NOT_FOUND,
        Some(LaunchError::NotExecutable { .. }) => NOT_EXECUTABLE,
        _ => CANNOT_TRACE,
    }
}

/// Whether the reader of the output has gone (`loiter … | head`): it has what it wanted.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// What helps, where the messages themselves do not say it.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    const LIST: &str = "`loiter ps` lists the processes that can be traced now";
    const DOCTOR: &str = "`loiter doctor` tells what this kernel and these rights allow";
    error.chain().find_map(|e| {
        let gone = is(e, |e: &ReadError| matches!(e, ReadError::Gone))
            || is(e, |e: &LookError| matches!(e, LookError::Gone))
            || is(e, |e: &KernelError| matches!(e, KernelError::Gone { .. }))
            || is(e, no_such_target)
            || is(e, |e: &DetectError| match e {
                DetectError::Target(e) => no_such_target(e),
                e => matches!(e, DetectError::NotGo { .. }),
            });
        let kernel = e.is::<KernelError>() || e.is::<Obstacle>();
        if gone { Some(LIST) } else { kernel.then_some(DOCTOR) }
    })
}

fn is<E: std::error::Error + 'static>(
    error: &(dyn std::error::Error + 'static),
    fits: impl Fn(&E) -> bool,
) -> bool {
    error.downcast_ref().is_some_and(fits)
}

fn no_such_target(error: &TargetError) -> bool {
    matches!(
        error,
        TargetError::NoSuchProcess { .. }
            | TargetError::Gone { .. }
            | TargetError::KernelThread { .. }
    )
}

/// The error in words, for stderr.
pub fn words(error: &anyhow::Error) -> String {
    let mut out = String::new();
    let mut told = String::new();
    for (i, cause) in error.chain().enumerate() {
        let message = cause.to_string();
        // Many errors repeat their source in their own words.
        if i > 0 && told.contains(&message) {
            continue;
        }
        let label = if i == 0 { "error" } else { "cause" };
        let _infallible = writeln!(out, "{label}: {}", clean(&message));
        told.push_str(&message);
    }
    if code(error) == USAGE {
        out.push_str("remedy: `loiter --help` and `loiter COMMAND --help` say what can be given\n");
    } else if let Some(remedy) = remedy(error) {
        let _infallible = writeln!(out, "remedy: {remedy}");
    }
    out
}

/// Tells the error and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let _nobody_listens = io::Write::write_all(&mut io::stderr(), words(error).as_bytes());
    ExitCode::from(code(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn an_error_names_what_failed_why_and_what_helps() {
        let error = Err::<(), _>(ReadError::Gone).context("cannot dump process 4242").unwrap_err();
        assert_eq!(
            words(&error),
            "error: cannot dump process 4242\ncause: the target exited meanwhile\n\
             remedy: `loiter ps` lists the processes that can be traced now\n"
        );
        assert_eq!(code(&error), 3);
    }

    #[test]
    fn suspects_alone_do_not_fail_unless_they_are_asked_to() {
        let suspects = FindingCounts { suspect: 3, ..FindingCounts::default() };
        let likely = FindingCounts { likely: 1, ..suspects };
        assert_eq!(Outcome::of_findings(suspects, Confidence::Likely), Outcome::Fine);
        assert_eq!(Outcome::of_findings(suspects, Confidence::Suspect), Outcome::Findings);
        assert_eq!(Outcome::of_findings(likely, Confidence::Likely), Outcome::Findings);
        assert_eq!(Outcome::of_findings(likely, Confidence::Certain), Outcome::Fine);
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let inner = io::Error::other("no space");
        let error = anyhow::Error::new(inner).context("cannot write: no space");
        assert_eq!(words(&error), "error: cannot write: no space\n");
    }

    #[test]
    fn wrong_usage_has_a_code_of_its_own() {
        assert_eq!(code(&usage("no")), 2);
        assert_eq!(code(&usage("no").context("more")), 2);
        assert_eq!(code(&anyhow::anyhow!("else")), 3);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let error =
            anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_closed_pipe(&error));
    }

    #[test]
    fn names_from_the_target_cannot_steer_the_terminal_from_an_error_either() {
        assert_eq!(words(&anyhow::anyhow!("bad \x1b[31m")), "error: bad \\u{1b}[31m\n");
    }
}
