//! `loiter completions` and `loiter manual`: what packages bring beside the binary, made from the
//! same description of the command line that parses it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::{Cli, Context};

const NAME: &str = "loiter";

/// Print what makes a shell complete loiter's arguments
///
/// The packages bring it; this is for the binary alone.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  source <(loiter completions bash)
  loiter completions zsh > ~/.zfunc/_loiter
  loiter completions fish > ~/.config/fish/completions/loiter.fish")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Write the man pages into a directory, one for each command
///
/// The packages bring them; this is for the binary alone.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter manual /usr/local/share/man/man1")]
pub struct ManualArgs {
    /// A directory that exists
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

/// Prints completions.
///
/// # Errors
/// If the answer cannot be written.
pub fn completions(args: &CompletionsArgs, _context: &Context) -> anyhow::Result<Outcome> {
    let mut to = Destination::new(None, Touch::AtFirstByte)?;
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    std::io::Write::write_all(&mut to, &script)?;
    to.finish()?;
    Ok(Outcome::Fine)
}

/// Writes man pages.
///
/// # Errors
/// If the directory cannot be written to.
pub fn manual(args: &ManualArgs, _context: &Context) -> anyhow::Result<Outcome> {
    let dir = &args.dir;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write man pages to {}", dir.display()))?;
    Ok(Outcome::Fine)
}
