//! `loiter diagnose`: a few looks, then an answer.

use clap::Args;

use super::Context;
use super::acknowledge::{AcknowledgeArgs, OpenFindings};
use super::args::{CrowdArgs, OutputArgs, StreamFormat, TargetArgs};
use super::destination::{Destination, Touch};
use super::exit::{self, Outcome};
use super::expectations::ExpectationArgs;
use super::sink;
use super::values;
use crate::base::Nanos;
use crate::pipeline::{self, settings::DiagnoseSettings};

/// Look at a process a few times, and say what is stuck
///
/// Attaches nothing: the process is only read. A goroutine that is the same in every look has not
/// run in between. The exit code is 1 if something was found that is likely
/// or certain (--fail-on).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter diagnose 4242                      what is stuck in it?
  loiter diagnose 4242 --over 30s           take more time, be surer
  loiter diagnose 4242 --format jsonl | jq -c '{kind, count, wait_site}'
  loiter diagnose -q 4242 || page-somebody  for scripts: the exit code tells")]
pub struct DiagnoseArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Time from the first look to the last
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::positive_duration)]
    over: Nanos,

    /// Number of looks
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=1000))]
    looks: u32,

    /// Tell of goroutines that wait for this long at least [default: as long as it can be seen]
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    stuck_after: Option<Nanos>,

    #[command(flatten)]
    crowd: CrowdArgs,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: StreamFormat,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    expectations: ExpectationArgs,

    #[command(flatten)]
    acknowledge: AcknowledgeArgs,
}

/// Looks that follow one another faster than this see nothing new.
const MIN_GAP: Nanos = Nanos::from_millis(20);

fn settings(args: &DiagnoseArgs) -> anyhow::Result<DiagnoseSettings> {
    let gap = args.over.0 / u64::from(args.looks.saturating_sub(1).max(1));
    if gap < MIN_GAP.0 {
        return Err(exit::usage(format!(
            "{} looks in {} follow one another too fast: at least {MIN_GAP} must lie between two",
            args.looks, args.over
        )));
    }
    // From outside, a wait is known to last from the first look to the last; a little less than
    // that, since looks are not on the nanosecond.
    let visible = Nanos(args.over.0 / 10 * 9);
    Ok(DiagnoseSettings {
        target: args.target.settings()?,
        looks: args.looks,
        over: args.over,
        thresholds: args.crowd.thresholds(args.stuck_after.unwrap_or(visible)),
        expectations: args.expectations.read()?,
    })
}

/// Runs it.
///
/// # Errors
/// If the process cannot be read or the answer cannot be written.
pub fn run(args: &DiagnoseArgs, context: &Context) -> anyhow::Result<Outcome> {
    let to = Destination::new(args.output.output.as_deref(), Touch::AtEnd)?;
    let mut settings = settings(args)?;
    let record = args.acknowledge.record()?;
    if let Some(record) = &record {
        settings.expectations.acknowledged = record.known.clone();
    }
    let mut written = None;
    let summary = sink::tell(args.format, context, to, |sink| {
        let mut open = OpenFindings::before(sink);
        let summary = pipeline::diagnose(&settings, &mut open)?;
        written = record.map(|record| record.write(open.all())).transpose()?;
        Ok(summary)
    })?;
    if let Some(words) = written {
        context.tell(&words);
        return Ok(Outcome::Fine);
    }
    Ok(Outcome::of_findings(summary.findings, args.expectations.fail_on()))
}
