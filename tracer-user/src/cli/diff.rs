//! `loiter diff`: what came, went and grew.

use clap::Args;

use super::Context;
use super::args::{Format, OutputArgs};
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::progress::Bar;
use super::values;
use crate::output::{json, text};
use crate::pipeline;
use crate::pipeline::settings::MomentOf;

/// Compare two moments: by spawn site and wait site what came, went and grew
///
/// Each is a dump (`loiter dump PID --format json`) or a recording. A recording is taken as it was at its end,
/// or at the moment that follows an @. Goroutines of the runtime are left out.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter diff before.json after.json
  loiter diff night.loiter@+1m night.loiter        what changed after the first minute
  loiter diff monday.loiter@-1s tuesday.loiter@-1s")]
pub struct DiffArgs {
    /// The first: DUMP, RECORDING or RECORDING@TIME
    #[arg(value_name = "BEFORE", value_parser = values::moment_of)]
    before: MomentOf,

    /// The second
    #[arg(value_name = "AFTER", value_parser = values::moment_of)]
    after: MomentOf,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// If one of the two cannot be read or the answer cannot be written.
pub fn run(args: &DiffArgs, context: &Context) -> anyhow::Result<Outcome> {
    let mut to = Destination::new(args.output.output.as_deref(), Touch::AtEnd)?;
    let mut bar = Bar::new(context);
    let diff = pipeline::diff(&args.before, &args.after, &mut |done, of| bar.at(done, of))?;
    drop(bar);
    let options = context.text_for(&to);
    match args.format {
        Format::Json => json::write_diff(&mut to, &diff)?,
        Format::Text => text::write_diff(&mut to, &options, &diff)?,
    }
    to.finish()?;
    Ok(Outcome::Fine)
}
