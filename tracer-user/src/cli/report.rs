//! `loiter report`: what a recording shows.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::args::{OutputArgs, StreamFormat};
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::progress::Bar;
use super::{sink, values};
use crate::base::Nanos;
use crate::pipeline;
use crate::pipeline::settings::{Moment, ReportSettings};

/// Tell what a recording shows: the same findings as were told live
///
/// Reads a file or directory that `loiter record` wrote, finished or not, and says what is missing in it.
/// Needs neither the process nor its binary. The exit code is 1 if findings are open at the end.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter report night.loiter                           all findings, and a summary
  loiter report night.loiter --until 2026-11-21T02:30  as it was known then
  loiter report night.loiter --stuck-after 5s          other thresholds than when it was recorded
  loiter report night.loiter --format jsonl | jq .")]
pub struct ReportArgs {
    /// A recording: file or directory
    #[arg(value_name = "RECORDING", value_hint = clap::ValueHint::AnyPath)]
    recording: PathBuf,

    /// Tell only what was told from this moment on: a time, +90s from the start, -10s from the end
    #[arg(long, value_name = "TIME", value_parser = values::moment, allow_hyphen_values = true)]
    since: Option<Moment>,

    /// End at this moment
    #[arg(long, value_name = "TIME", value_parser = values::moment, allow_hyphen_values = true)]
    until: Option<Moment>,

    /// Tell of goroutines that wait for this long at least [default: as when it was recorded]
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    stuck_after: Option<Nanos>,

    /// This many goroutines at one place are a crowd [default: as when it was recorded]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    crowd_min: Option<u64>,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: StreamFormat,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// If the recording cannot be read or the answer cannot be written.
pub fn run(args: &ReportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let to = Destination::new(args.output.output.as_deref(), Touch::AtEnd)?;
    let settings = ReportSettings {
        path: args.recording.clone(),
        stuck_after: args.stuck_after,
        crowd_min: args.crowd_min,
        since: args.since,
        until: args.until,
    };
    let mut bar = Bar::new(context);
    sink::tell(args.format, context, to, |sink| {
        pipeline::report(&settings, sink, &mut |done, of| bar.at(done, of))
    })
}
