//! Arguments that several commands share. May use: pipeline::settings, cli::values.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values;
use crate::base::{Nanos, Pid};
use crate::pipeline::settings::{GoMinor, Moment, MomentOf, TargetSettings, Threads, Thresholds};

/// When to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ColorWhen {
    /// At a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Arguments of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// When to use colours: auto, always or never; auto is at a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN", global = true)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub color: ColorWhen,

    /// Say more about what loiter does; twice or three times for still more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,

    /// No progress and no warnings on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Where the host's root is mounted, to name pods by the kubelet's files in it
    #[arg(long, value_name = "DIR", default_value = "/", env = "LOITER_HOST_ROOT", global = true)]
    #[arg(hide_default_value = true, hide_env = true, value_hint = clap::ValueHint::DirPath)]
    pub host_root: PathBuf,
}

/// Where the answer goes.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Write to FILE instead of stdout; what it held is replaced only once the answer is there
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// The form of an answer that is one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one object, documented in docs/json.md
    Json,
}

/// The form of an answer that is a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum StreamFormat {
    /// For people
    Text,
    /// For programs: one object a line, documented in docs/json.md
    #[value(alias = "json")]
    Jsonl,
}

/// The process, given in one of two ways.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct OnePid {
    /// Process to look at
    #[arg(value_name = "PID", value_parser = values::pid)]
    positional: Option<Pid>,

    /// Process to look at
    #[arg(short = 'p', long = "pid", value_name = "PID", value_parser = values::pid)]
    option: Option<Pid>,
}

/// The process to look at.
#[derive(Args, Debug)]
pub struct TargetArgs {
    #[command(flatten)]
    pid: OnePid,

    #[command(flatten)]
    go: GoArgs,
}

/// A process, or a moment of a recording.
#[derive(Args, Debug)]
pub struct SubjectArgs {
    #[command(flatten)]
    subject: OneSubject,

    #[command(flatten)]
    go: GoArgs,

    /// Of a recording: this moment instead of its end: a time, +90s from the start, -10s from the end
    #[arg(long, value_name = "TIME", value_parser = values::moment, allow_hyphen_values = true)]
    at: Option<Moment>,
}

/// A process or a recording, given in one of two ways.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct OneSubject {
    /// Process to look at, or a recording
    #[arg(value_name = "PID|RECORDING", value_parser = values::subject)]
    positional: Option<values::Subject>,

    /// Process to look at
    #[arg(short = 'p', long = "pid", value_name = "PID", value_parser = values::pid)]
    option: Option<Pid>,
}

/// What a command looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A process, now.
    Now(TargetSettings),
    /// A moment of a recording.
    Then(MomentOf),
}

impl SubjectArgs {
    /// What is meant.
    ///
    /// # Errors
    /// If the arguments do not go together.
    pub fn subject(&self) -> anyhow::Result<Subject> {
        let named = self.subject.option.map(values::Subject::Process);
        let pid = match self.subject.positional.clone().or(named) {
            Some(values::Subject::Recording(path)) => {
                return Ok(Subject::Then(MomentOf { path, at: self.at }));
            }
            Some(values::Subject::Process(pid)) => pid,
            None => return Err(super::exit::usage("which process? give its PID")),
        };
        if self.at.is_some() {
            return Err(super::exit::usage("--at is a moment of a recording, not of a process"));
        }
        Ok(Subject::Now(self.go.target(pid)))
    }
}

/// What to take for granted about the runtime.
#[derive(Args, Debug)]
pub struct GoArgs {
    /// Use the layouts of Go 1.N for a version that loiter does not know; the answer is marked degraded
    #[arg(long, value_name = "1.N", value_parser = values::go_minor)]
    pub assume_go: Option<GoMinor>,

    /// Of a Go program: its threads, too, and beneath each goroutine the wait of its thread. Of any other, threads are all there is
    #[arg(long)]
    threads: bool,
}

impl GoArgs {
    /// Whether threads are read.
    pub const fn threads(&self) -> Threads {
        if self.threads { Threads::Read } else { Threads::Left }
    }
}

impl GoArgs {
    /// The settings.
    pub fn target(&self, pid: Pid) -> TargetSettings {
        TargetSettings { pid, assume_go: self.assume_go, threads: self.threads() }
    }
}

impl TargetArgs {
    /// The settings; clap has seen to it that there is a PID.
    ///
    /// # Errors
    /// If there is none all the same.
    pub fn settings(&self) -> anyhow::Result<TargetSettings> {
        let pid = self.pid.positional.or(self.pid.option);
        let pid = pid.ok_or_else(|| super::exit::usage("which process? give its PID"))?;
        Ok(self.go.target(pid))
    }
}

/// The processes to watch.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct WhomArgs {
    /// Processes to watch
    #[arg(value_name = "PID", value_parser = values::pid)]
    positional: Vec<Pid>,

    /// Process to watch
    #[arg(short = 'p', long = "pid", value_name = "PID", value_parser = values::pid)]
    option: Option<Pid>,

    /// Watch every Go program of this host, also those that start later; see the filters
    #[arg(long)]
    pub all: bool,
}

impl WhomArgs {
    /// Those given one by one.
    pub fn pids(&self) -> Vec<Pid> {
        let mut pids: Vec<Pid> = self.positional.iter().copied().chain(self.option).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

/// How many tasks make a crowd.
#[derive(Args, Debug)]
pub struct CrowdArgs {
    /// This many goroutines from one place that wait at one place, none of which runs, are a crowd
    #[arg(long, value_name = "N", default_value_t = Thresholds::default().crowd_min, value_parser = clap::value_parser!(u64).range(2..))]
    pub crowd_min: u64,
}

impl CrowdArgs {
    /// The thresholds, with this one for waits.
    pub fn thresholds(&self, stuck_after: Nanos) -> Thresholds {
        Thresholds { stuck_after, crowd_min: self.crowd_min, ..Thresholds::default() }
    }
}
