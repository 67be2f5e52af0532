//! `loiter ps`: which processes can be traced.

use clap::Args;

use super::Context;
use super::args::{Format, OutputArgs};
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::values;
use crate::base::Pid;
use crate::output::{json, text};
use crate::pipeline::{self, settings::PsSettings};

/// List the processes that can be traced
///
/// Shows each process that runs a Go program: its version of Go, how many goroutines it has,
/// whether loiter can trace it and if not, why.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter ps                     every Go process
  loiter ps 4242 4243           only these
  loiter ps --format json | jq -r '.processes[] | select(.tasks > 10000) | .pid'")]
pub struct PsArgs {
    /// Only these processes
    #[arg(value_name = "PID", value_parser = values::pid)]
    pids: Vec<Pid>,

    /// Only this process (may be given more than once)
    #[arg(short, long = "pid", value_name = "PID", value_parser = values::pid)]
    pid: Vec<Pid>,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// If `/proc` cannot be read or the answer cannot be written.
pub fn run(args: &PsArgs, context: &Context) -> anyhow::Result<Outcome> {
    let mut to = Destination::new(args.output.output.as_deref(), Touch::AtEnd)?;
    let options = context.text_for(&to);
    let pids = args.pids.iter().chain(&args.pid).copied().collect();
    let view = pipeline::ps(&PsSettings { pids })?;
    match args.format {
        Format::Json => json::write_ps(&mut to, &view)?,
        Format::Text => text::write_ps(&mut to, &options, &view)?,
    }
    if view.rows.is_empty() {
        context.tell(&format!("no Go process among the {} looked at", view.examined));
    }
    if view.denied > 0 {
        let processes = if view.denied == 1 { "process" } else { "processes" };
        context.tell(&format!(
            "{} {processes} could not be looked at: that takes root or CAP_SYS_PTRACE, in a user namespace above theirs, and no security module against it",
            view.denied
        ));
    }
    to.finish()?;
    Ok(Outcome::Fine)
}
