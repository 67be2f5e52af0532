//! The `loiter` binary, run as a person or a script runs it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a run of loiter gave.
pub struct Run {
    /// Exit code; None if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Run {
    /// The objects of a JSON lines output that have a schema.
    pub fn of_schema(&self, schema: &str) -> Vec<Value> {
        let lines = self.stdout.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                serde_json::from_str::<Value>(line)
                    .unwrap_or_else(|e| panic!("not JSON: {e}: {line}\n{self}"))
            })
            .filter(|value| value["schema"] == schema)
            .collect()
    }

    /// Its findings.
    pub fn findings(&self) -> Vec<Value> {
        self.of_schema("loiter.finding/1")
    }

    /// Fails the test, with all that was said, unless it ended with this code.
    pub fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self}");
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Run { code, stdout, stderr, took } = self;
        write!(f, "exit code {code:?} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// A loiter command, not started.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loiter"));
    command.args(args).stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// Runs loiter to its end.
pub fn loiter(args: &[&str]) -> Run {
    finish(command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn(), Instant::now())
}

/// Interrupts a loiter that was started with piped outputs, as Ctrl-C does, and takes in what it says.
pub fn interrupt(child: Child, since: Instant) -> Run {
    let pid = libc::pid_t::try_from(child.id()).expect("a pid fits");
    // SAFETY: two integers; the child has not been waited for, so the pid is its.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    finish(Ok(child), since)
}

fn finish(child: std::io::Result<Child>, since: Instant) -> Run {
    let child = child.expect("loiter starts");
    let done = child.wait_with_output().expect("loiter can be waited for");
    Run {
        code: done.status.code(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        took: since.elapsed(),
    }
}
