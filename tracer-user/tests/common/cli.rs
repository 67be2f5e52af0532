//! The `loiter` binary, run as a person or a script runs it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
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

    /// The summary it closed with.
    pub fn summary(&self) -> Value {
        let mut all = self.of_schema("loiter.summary/1");
        assert_eq!(all.len(), 1, "not one summary: {self}");
        all.remove(0)
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
    let since = Instant::now();
    let done = command(args).output().expect("loiter starts");
    Run {
        code: done.status.code(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        took: since.elapsed(),
    }
}

/// Longest wait for a line of a `loiter watch`.
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// A `loiter watch --format jsonl` that is attached; killed when dropped.
pub struct Watching {
    child: Child,
    since: Instant,
    findings: Lines,
    notices: Lines,
}

impl Watching {
    /// Starts it with further arguments, and waits until it is attached and has its first list.
    pub fn start(pid: u32, args: &[&str]) -> Watching {
        let since = Instant::now();
        let mut command = command(&["watch", &pid.to_string(), "--format", "jsonl"]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("loiter starts");
        let findings = Lines::of(child.stdout.take().expect("piped"));
        let notices = Lines::of(child.stderr.take().expect("piped"));
        let mut watching = Watching { child, since, findings, notices };
        watching.wait_for_notice("attached to pid");
        watching
    }

    /// Waits until it says something on standard error.
    pub fn wait_for_notice(&mut self, words: &str) {
        while !self.notices.next(words).contains(words) {}
    }

    /// The next finding that it tells.
    pub fn next_finding(&mut self) -> Value {
        let line = self.findings.next("a finding");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["schema"], "loiter.finding/1", "{line}");
        value
    }

    /// Interrupts it, as Ctrl-C does, and takes in all that it said.
    pub fn interrupt(mut self) -> Run {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid fits");
        // SAFETY: two integers; the child has not been waited for, so the pid is its.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
        let (stdout, stderr) = (self.findings.rest(), self.notices.rest());
        let status = self.child.wait().expect("loiter can be waited for");
        Run { code: status.code(), stdout, stderr, took: self.since.elapsed() }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of an output, as they come.
struct Lines {
    lines: Receiver<String>,
    seen: String,
}

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Lines {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines { lines, seen: String::new() }
    }

    fn take(&mut self, line: &str) {
        self.seen.push_str(line);
        self.seen.push('\n');
    }

    fn next(&mut self, wanted: &str) -> String {
        let line = self.lines.recv_timeout(LINE_TIMEOUT).unwrap_or_else(|e| {
            panic!("loiter does not say {wanted}: {e}; it said:\n{}", self.seen)
        });
        self.take(&line);
        line
    }

    fn rest(&mut self) -> String {
        while let Ok(line) = self.lines.recv_timeout(LINE_TIMEOUT) {
            self.take(&line);
        }
        std::mem::take(&mut self.seen)
    }
}
