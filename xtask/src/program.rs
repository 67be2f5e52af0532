//! A program that runs beside us: a workload, a load generator, loiter itself. It is ended when dropped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::run;

/// Longest wait for a line of a workload.
const LINE_TIMEOUT: Duration = Duration::from_secs(120);

/// A workload of workloads/go that runs, and speaks lines.
pub struct Workload {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    name: String,
}

impl Workload {
    /// Starts a workload and waits until it says `ready`; gives what stands behind it.
    ///
    /// # Errors
    /// If it does not start, or does not get ready.
    pub fn start(exe: &Path, args: &[&str]) -> Result<(Workload, String)> {
        let mut command = run::command(exe);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = run::shown(&command);
        let mut child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the output is not piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut workload = Workload { child, stdin, lines, name };
        let rest = workload.wait_for("ready")?;
        Ok((workload, rest))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended already.
    ///
    /// # Errors
    /// If it has.
    pub fn check_alive(&mut self) -> Result<()> {
        check_alive(&mut self.child, &self.name)
    }

    /// Waits for a line that starts with a word; gives what stands behind it.
    ///
    /// # Errors
    /// If the workload ends, reports a failed check of its own, or says nothing.
    pub fn wait_for(&mut self, word: &str) -> Result<String> {
        let end = Instant::now() + LINE_TIMEOUT;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("FAILED") => {
                    bail!("`{}`: a check of its own failed: {line}", self.name)
                }
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(word) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("`{}` never says `{word}`", self.name),
                Err(RecvTimeoutError::Disconnected) => {
                    let status =
                        self.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                    bail!("`{}` ended before it said `{word}`: {status}", self.name)
                }
            }
        }
    }

    /// Sends a command and waits for the line that answers it.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn ask(&mut self, command: &str, answer: &str) -> Result<String> {
        let stdin = self.stdin.as_mut().context("the workload was told to end")?;
        writeln!(stdin, "{command}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("`{}` takes no commands any more", self.name))?;
        self.wait_for(answer)
    }

    /// As [`Workload::ask`], with the answer as numbers.
    ///
    /// # Errors
    /// If there is no answer, or one that is not numbers.
    pub fn ask_numbers(&mut self, command: &str, answer: &str) -> Result<Vec<u64>> {
        let line = self.ask(command, answer)?;
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        numbers.with_context(|| format!("`{}` answers `{line}` to `{command}`", self.name))
    }

    /// Lets it end, and checks that it was well to the end.
    ///
    /// # Errors
    /// If it died, or a check of its own failed.
    pub fn finish(mut self) -> Result<()> {
        drop(self.stdin.take());
        while let Ok(line) = self.lines.recv_timeout(LINE_TIMEOUT) {
            if line.starts_with("FAILED") {
                bail!("`{}`: a check of its own failed: {line}", self.name);
            }
        }
        let status = self.child.wait().with_context(|| format!("`{}` is gone", self.name))?;
        if status.success() { Ok(()) } else { Err(anyhow!("`{}`: {status}", self.name)) }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_alive(child: &mut Child, name: &str) -> Result<()> {
    match child.try_wait().with_context(|| format!("`{name}` is gone"))? {
        None => Ok(()),
        Some(status) => bail!("`{name}` ended too early: {status}"),
    }
}

/// A program that runs in the background and is asked to end by SIGINT, as a person would.
pub struct Background {
    child: Child,
    name: String,
}

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Result<Background> {
        let name = run::shown(command);
        let child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        Ok(Background { child, name })
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Fails if it has ended already.
    ///
    /// # Errors
    /// If it has.
    pub fn check_alive(&mut self) -> Result<()> {
        check_alive(&mut self.child, &self.name)
    }

    /// Interrupts it and waits for its end.
    ///
    /// # Errors
    /// If it is gone in a way that cannot be waited for.
    pub fn interrupt(mut self) -> Result<ExitStatus> {
        let pid = libc::pid_t::try_from(self.child.id()).context("no pid")?;
        // SAFETY: two integers; the child has not been waited for, so the pid is its.
        unsafe { libc::kill(pid, libc::SIGINT) };
        self.child.wait().with_context(|| format!("`{}` is gone", self.name))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
