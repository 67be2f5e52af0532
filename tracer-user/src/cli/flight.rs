//! The flight recorder of `watch`, on the command line.

use std::path::PathBuf;

use clap::Args;

use super::{values, version};
use crate::base::Nanos;
use crate::pipeline::settings::{FlightSettings, Retention, Trigger};
use crate::record::{Content, Limits};

/// Keep the last minutes all the time, and freeze them when something happens.
#[derive(Args, Debug)]
#[command(next_help_heading = "Flight recorder")]
pub struct FlightArgs {
    /// Keep the last minutes in DIR all the time; what happens freezes them as a recording in DIR/frozen
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    recorder: Option<PathBuf>,

    /// Keep at least this long
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "recorder")]
    #[arg(value_parser = values::positive_duration)]
    keep: Nanos,

    /// Keep no more than this, also where it is less than --keep
    #[arg(long, value_name = "SIZE", default_value = "512MiB", requires = "recorder")]
    #[arg(value_parser = values::recording_size)]
    keep_bytes: u64,

    /// Freeze with it what follows for this long
    #[arg(long, value_name = "DURATION", default_value = "30s", requires = "recorder")]
    #[arg(value_parser = values::duration)]
    after: Nanos,

    /// What freezes, beside SIGUSR1 and `loiter freeze`: finding (one is told), exit (the target is
    /// killed or fails), tasks>N, tasks>N/s (their number rises faster)
    #[arg(long, value_name = "WHAT", default_value = "finding,exit", requires = "recorder")]
    #[arg(value_delimiter = ',', value_parser = values::trigger)]
    trigger: Vec<Trigger>,

    /// Freeze no more often than this, unless a person asks or the target ends
    #[arg(long, value_name = "DURATION", default_value = "5m", requires = "recorder")]
    #[arg(value_parser = values::duration)]
    trigger_every: Nanos,

    /// Keep so many frozen recordings, the newest
    #[arg(long, value_name = "N", default_value = "20", requires = "recorder")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000))]
    keep_frozen: u64,

    /// Keep no more than this of them all together
    #[arg(long, value_name = "SIZE", default_value = "4GiB", requires = "recorder")]
    #[arg(value_parser = values::recording_size)]
    keep_frozen_bytes: u64,

    /// Leave pprof labels and build settings out of what is kept
    #[arg(long, requires = "recorder")]
    redact: bool,
}

impl FlightArgs {
    /// What is asked for; None without a recorder.
    pub fn settings(&self) -> Option<FlightSettings> {
        Some(FlightSettings {
            dir: self.recorder.clone()?,
            limits: Limits { max_bytes: Some(self.keep_bytes), keep: Some(self.keep) },
            content: if self.redact { Content::Redacted } else { Content::Full },
            writer: version::line(),
            after: self.after,
            triggers: self.trigger.clone(),
            every: self.trigger_every,
            retention: Retention {
                count: usize::try_from(self.keep_frozen).unwrap_or(usize::MAX),
                bytes: self.keep_frozen_bytes,
            },
        })
    }
}
