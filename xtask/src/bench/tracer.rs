//! A loiter that watches beside the load, and what it uses.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::program::Background;
use crate::{loiter, run};

/// Longest wait until it is attached.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(60);
/// What `loiter watch` says on its standard error once its probes are attached and the first list is there.
const ATTACHED: &str = "watching pid";

/// A running `loiter watch`.
pub struct Tracer {
    process: Background,
    lines: Receiver<String>,
}

impl Tracer {
    /// Starts `loiter watch PID` with further arguments, and waits until it is attached.
    ///
    /// # Errors
    /// If it cannot watch.
    pub fn watch(loiter: &Path, pid: u32, args: &[&str]) -> Result<Tracer> {
        Tracer::start(loiter, "watch", pid, args)
    }

    /// The same with `loiter record`, or another command that watches.
    ///
    /// # Errors
    /// If it cannot watch.
    pub fn start(loiter: &Path, command: &str, pid: u32, args: &[&str]) -> Result<Tracer> {
        let pid = pid.to_string();
        Tracer::without_budget(loiter::command(loiter, &[command, &pid, "--format", "jsonl"]), args)
    }

    /// `loiter watch` where tracefs is mounted, for it alone.
    ///
    /// # Errors
    /// If it cannot watch.
    pub fn watch_with_tracefs(loiter: &Path, pid: u32, args: &[&str]) -> Result<Tracer> {
        const SCRIPT: &str = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$0\" \"$@\"";
        let loiter = loiter.to_str().context("a path that is not UTF-8")?;
        let pid = pid.to_string();
        let mut command = run::command(Path::new("unshare"));
        command.args(["-m", "sh", "-c", SCRIPT, loiter, "watch", &pid, "--format", "jsonl"]);
        Tracer::without_budget(command, args)
    }

    fn without_budget(mut command: Command, args: &[&str]) -> Result<Tracer> {
        if !args.contains(&"--budget") {
            // What is measured is what these events cost.
            command.args(["--budget", "off"]);
        }
        Tracer::run(command.args(args).stdout(Stdio::null()))
    }

    /// As a user has it, with the budget that is the default; what it says goes to a file.
    ///
    /// # Errors
    /// If it cannot watch.
    pub fn by_default(loiter: &Path, pid: u32, args: &[&str], said: &Path) -> Result<Tracer> {
        let pid = pid.to_string();
        let mut command = loiter::command(loiter, &["watch", &pid, "--format", "jsonl"]);
        let file =
            fs::File::create(said).with_context(|| format!("cannot create {}", said.display()))?;
        Tracer::run(command.args(args).stdout(file))
    }

    fn run(command: &mut Command) -> Result<Tracer> {
        command.stderr(Stdio::piped());
        let mut process = Background::start(command)?;
        let stderr = process.child().stderr.take().context("the output is not piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let tracer = Tracer { process, lines };
        tracer.wait_until_attached()?;
        Ok(tracer)
    }

    fn wait_until_attached(&self) -> Result<()> {
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(ATTACH_TIMEOUT) {
            if line.to_lowercase().contains(ATTACHED) {
                return Ok(());
            }
            said.push(line);
        }
        bail!("loiter does not watch; it said: {}", said.join(" / "))
    }

    /// CPU time used so far, ns.
    ///
    /// # Errors
    /// If it is gone.
    pub fn cpu(&mut self) -> Result<u64> {
        self.process.check_alive()?;
        cpu_of(self.process.child().id())
    }

    /// The most memory it has had resident so far, bytes.
    ///
    /// # Errors
    /// If it is gone.
    pub fn peak_memory(&mut self) -> Result<u64> {
        self.process.check_alive()?;
        status_bytes(self.process.child().id(), "VmHWM:")
    }

    /// Ends it as a person would.
    ///
    /// # Errors
    /// If it does not end by itself.
    pub fn end(self) -> Result<()> {
        let status = self.process.interrupt()?;
        match status.code() {
            Some(0 | loiter::FINDINGS) => Ok(()),
            _ => bail!("loiter ends with {status}"),
        }
    }
}

/// CPU time of all threads of a process, ns (`/proc/PID/schedstat` knows one thread only).
///
/// # Errors
/// If it is gone.
pub fn cpu_of(pid: u32) -> Result<u64> {
    let dir = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))?;
    let mut sum = 0;
    for thread in threads {
        let path = thread.with_context(|| format!("cannot read {dir}"))?.path().join("schedstat");
        let text = fs::read_to_string(&path).unwrap_or_default();
        sum += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// A figure of `/proc/PID/status`, which is in KiB, in bytes.
///
/// # Errors
/// If the process is gone, or has no such figure.
pub fn status_bytes(pid: u32, key: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let kib: u64 = line
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{path} has no {key}"))?;
    Ok(kib * 1024)
}
