//! `loiter report`: what a recording shows.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::args::{OutputArgs, StreamFormat};
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::expectations::ExpectationArgs;
use super::progress::Bar;
use super::{sink, values};
use crate::base::{Nanos, TaskId};
use crate::output::{GroupBy, json, text};
use crate::pipeline;
use crate::pipeline::settings::{Moment, ReportSettings};
use crate::view::TaskView;

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
  loiter report night.loiter --at -10s                 every goroutine ten seconds before the end
  loiter report night.loiter --task 137                the life of one goroutine
  loiter report night.loiter --overview                what is in it, without reading all of it
  loiter report night.loiter --format jsonl | jq .")]
pub struct ReportArgs {
    /// A recording: file or directory
    #[arg(value_name = "RECORDING", value_hint = clap::ValueHint::AnyPath)]
    recording: PathBuf,

    /// Show every goroutine as it was at this moment instead, grouped (`loiter dump` has more ways)
    #[arg(long, value_name = "TIME", value_parser = values::moment, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["since", "until", "stuck_after", "crowd_min", "task"])]
    at: Option<Moment>,

    /// Tell the life of one goroutine instead: births, waits, wakers, findings
    #[arg(long, value_name = "ID", conflicts_with_all = ["since", "stuck_after", "crowd_min"])]
    task: Option<u64>,

    /// Tell only what the recording holds: fast, also where it is large
    #[arg(long, conflicts_with_all = ["at", "task", "since", "until", "stuck_after", "crowd_min"])]
    overview: bool,

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

    /// Call goroutines leaked after this [default: as when it was recorded]
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    leak_after: Option<Nanos>,

    /// Call a number of goroutines that climbs growth after this [default: as when it was recorded]
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    growth_after: Option<Nanos>,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: StreamFormat,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    expectations: ExpectationArgs,
}

/// Runs it.
///
/// # Errors
/// If the recording cannot be read or the answer cannot be written.
pub fn run(args: &ReportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let to = Destination::new(args.output.output.as_deref(), Touch::AtEnd)?;
    match (args.overview, args.task, args.at) {
        (true, ..) => return overview(args, context, to),
        (_, Some(task), _) => return life(args, task, context, to),
        (.., Some(at)) => return moment(args, at, context, to),
        _ => {}
    }
    let settings = ReportSettings {
        path: args.recording.clone(),
        stuck_after: args.stuck_after,
        crowd_min: args.crowd_min,
        leak_after: args.leak_after,
        growth_after: args.growth_after,
        expectations: args.expectations.read()?,
        since: args.since,
        until: args.until,
    };
    let mut bar = Bar::new(context);
    let summary = sink::tell(args.format, context, to, |sink| {
        pipeline::report(&settings, sink, &mut |done, of| bar.at(done, of))
    })?;
    Ok(Outcome::of_findings(summary.findings, args.expectations.fail_on()))
}

fn overview(args: &ReportArgs, context: &Context, mut to: Destination) -> anyhow::Result<Outcome> {
    let view = pipeline::overview(&args.recording)?;
    let options = context.text_for(&to);
    match args.format {
        StreamFormat::Jsonl => json::write_recording(&mut to, &view)?,
        StreamFormat::Text => text::write_recording(&mut to, &options, &view)?,
    }
    to.finish()?;
    Ok(Outcome::Fine)
}

fn life(
    args: &ReportArgs,
    number: u64,
    context: &Context,
    mut to: Destination,
) -> anyhow::Result<Outcome> {
    let mut bar = Bar::new(context);
    let task = TaskId::goroutine(number);
    let progress = &mut |done, of| bar.at(done, of);
    let options = context.text_for(&to);
    let life = pipeline::life(&args.recording, task, args.until, progress)?;
    drop(bar);
    match args.format {
        StreamFormat::Jsonl => json::write_life(&mut to, &life)?,
        StreamFormat::Text => text::write_life(&mut to, &options, &life)?,
    }
    to.finish()?;
    Ok(Outcome::Fine)
}

fn moment(
    args: &ReportArgs,
    at: Moment,
    context: &Context,
    mut to: Destination,
) -> anyhow::Result<Outcome> {
    let mut bar = Bar::new(context);
    let progress = &mut |done, of| bar.at(done, of);
    let dump = pipeline::dump_recording(&args.recording, Some(at), progress)?;
    drop(bar);
    let tasks: Vec<&TaskView> = dump.tasks.iter().filter(|t| !t.system).collect();
    let options = context.text_for(&to);
    match args.format {
        StreamFormat::Jsonl => json::write_dump(&mut to, &dump, &tasks)?,
        StreamFormat::Text => text::write_dump(&mut to, &options, &dump, &tasks, GroupBy::Site)?,
    }
    to.finish()?;
    Ok(Outcome::Fine)
}
