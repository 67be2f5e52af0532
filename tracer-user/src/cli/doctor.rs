//! `loiter doctor`: what this machine allows, and what tracing a process would take and cost.

use clap::Args;

use super::Context;
use super::args::{Format, GoArgs, OutputArgs};
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::values;
use crate::base::{Nanos, Pid};
use crate::output::{json, text};
use crate::pipeline;
use crate::pipeline::settings::DoctorSettings;

/// Say what can be traced here, what would be probed in a process, and what it would cost
///
/// Checks what this kernel and these rights allow. With a PID, the probes are attached for a moment to count how often they would be hit
/// (--measure 0 attaches nothing). The exit code is 3 if loiter cannot trace here.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter doctor                        can loiter work here? what is missing?
  loiter doctor 4242                   which instructions would be probed, and at what cost?
  loiter doctor 4242 --measure 10s     count for longer
  loiter doctor 4242 --measure 0       plan only, attach nothing")]
pub struct DoctorArgs {
    /// Process to plan probes for
    #[arg(value_name = "PID", value_parser = values::pid)]
    positional: Option<Pid>,

    /// Process to plan probes for
    #[arg(short, long = "pid", value_name = "PID", value_parser = values::pid, conflicts_with = "positional")]
    pid: Option<Pid>,

    #[command(flatten)]
    go: GoArgs,

    /// How long to count hits; 0 attaches nothing
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::duration)]
    measure: Nanos,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
///
/// # Errors
/// If the process cannot be read or the answer cannot be written.
pub fn run(args: &DoctorArgs, context: &Context) -> anyhow::Result<Outcome> {
    let mut to = Destination::new(args.output.output.as_deref(), Touch::AtEnd)?;
    let options = context.text_for(&to);
    let pid = args.positional.or(args.pid);
    let settings = DoctorSettings {
        target: pid.map(|pid| args.go.target(pid)),
        measure: (args.measure.0 > 0).then_some(args.measure),
    };
    let view = pipeline::doctor(&settings)?;
    match args.format {
        Format::Json => json::write_doctor(&mut to, &view)?,
        Format::Text => text::write_doctor(&mut to, &options, &view)?,
    }
    to.finish()?;
    Ok(if view.can_trace() { Outcome::Fine } else { Outcome::CannotTrace })
}
