//! `loiter freeze`: have a running flight recorder keep what it has.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use crate::output::clean::clean;
use crate::pipeline;

/// Have a flight recorder keep what it has now
///
/// Asks the `loiter watch --recorder DIR` that is at work, waits until what follows is kept as well (its
/// --after), and prints the path of the recording. Interrupting the wait takes nothing back.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter freeze /var/lib/loiter/4242 --why 'slow checkout, ticket 991'
  loiter report \"$(loiter freeze /var/lib/loiter/4242)\"
  kill -USR1 PID-OF-LOITER                      the same, without waiting")]
pub struct FreezeArgs {
    /// The directory of the flight recorder
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,

    /// The reason, for whoever reads the recording
    #[arg(long, value_name = "WORDS", default_value = "loiter freeze")]
    why: String,
}

/// Runs it.
///
/// # Errors
/// If no recorder is at work there, or it cannot keep anything.
pub fn run(args: &FreezeArgs, context: &Context) -> anyhow::Result<Outcome> {
    let mut to = Destination::new(None, Touch::AtFirstByte)?;
    let path = pipeline::freeze(&args.dir, &args.why, &mut |path| {
        context.tell(&format!("keeping {path}, and what follows"));
    })?;
    writeln!(to, "{}", clean(&path))?;
    to.finish()?;
    Ok(Outcome::Fine)
}
