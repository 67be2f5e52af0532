//! The command line: clap arguments -> validated settings -> pipeline -> output. One file a command.
//! May use: everything.

mod acknowledge;
mod args;
mod check;
mod completions;
mod config;
mod destination;
mod diagnose;
mod diff;
mod doctor;
mod dump;
mod exit;
mod expectations;
mod export;
mod flight;
mod freeze;
mod host;
mod progress;
mod ps;
mod record;
mod report;
mod sink;
mod telemetry;
mod terminal;
mod values;
mod version;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use self::args::Common;
use self::destination::Destination;
use self::exit::Outcome;
use crate::kernel::AttachMethod;
use crate::output::text::{Color, TextOptions};

/// Find the goroutines that linger in a running, unmodified Go program
///
/// Looks from outside, through eBPF and the process's memory: no rebuild, no restart, no pause, no
/// endpoint in the program. Says which goroutines are stuck, where they were created, where they
/// wait, since when, and on what.
#[derive(Parser, Debug)]
#[command(
    name = "loiter",
    version,
    long_version = version::long(),
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  loiter ps                 which processes can be traced
  loiter diagnose 4242      what is stuck in process 4242?
  loiter dump 4242          every goroutine now, grouped
  loiter watch 4242         stay, and tell findings as they arise
  loiter record 4242        the same, and keep all of it for later
  loiter report FILE        what a recording shows
  loiter export FILE        the same for Perfetto, pprof, a browser
  loiter check -- ./prog    run a program, and say what goroutines it leaves behind
  loiter doctor 4242        what would be probed, and at what cost

Exit codes: 0 nothing found, 1 findings (likely or certain, see --fail-on), 2 wrong usage,
3 cannot trace.
Colours: --color, NO_COLOR, CLICOLOR_FORCE. Times are in the zone of TZ."
)]
struct Cli {
    #[command(flatten)]
    common: Common,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Ps(ps::PsArgs),
    Diagnose(diagnose::DiagnoseArgs),
    Dump(dump::DumpArgs),
    Watch(Box<watch::WatchArgs>),
    Record(Box<record::RecordArgs>),
    Freeze(freeze::FreezeArgs),
    Report(report::ReportArgs),
    Export(export::ExportArgs),
    Diff(diff::DiffArgs),
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    Version(version::VersionArgs),
    Completions(completions::CompletionsArgs),
    Manual(completions::ManualArgs),
}

/// What a command knows of its surroundings.
pub struct Context {
    color: args::ColorWhen,
    quiet: bool,
}

impl Context {
    /// How text is written to this destination.
    fn text_for(&self, to: &Destination) -> TextOptions {
        if to.is_file() {
            terminal::file_options(self.color)
        } else {
            terminal::stdout_options(self.color)
        }
    }

    /// Tells something on stderr that is no part of the answer.
    fn tell(&self, message: &str) {
        if !self.quiet {
            tell("loiter: ", message, "");
        }
    }
}

/// A line on stderr; if nobody listens there, it is lost.
fn tell(before: &str, message: &str, after: &str) {
    let message = crate::output::clean::clean(message);
    let _nobody_listens = writeln!(std::io::stderr(), "{before}{message}{after}");
}

/// Runs the command line; the exit code tells how it went (README, "Exit codes").
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    log_to_stderr(&cli.common);
    crate::pipeline::set_host_root(&cli.common.host_root);
    match run(&cli) {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => exit::report(&error),
    }
}

fn run(cli: &Cli) -> anyhow::Result<Outcome> {
    let context = Context { color: cli.common.color, quiet: cli.common.quiet };
    match &cli.command {
        Command::Ps(args) => ps::run(args, &context),
        Command::Diagnose(args) => diagnose::run(args, &context),
        Command::Dump(args) => dump::run(args, &context),
        Command::Watch(args) => watch::run(args, &context),
        Command::Record(args) => record::run(args, &context),
        Command::Freeze(args) => freeze::run(args, &context),
        Command::Report(args) => report::run(args, &context),
        Command::Export(args) => export::run(args, &context),
        Command::Diff(args) => diff::run(args, &context),
        Command::Check(args) => check::run(args, &context),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::Version(args) => version::run(args, &context),
        Command::Completions(args) => completions::completions(args, &context),
        Command::Manual(args) => completions::manual(args, &context),
    }
}

/// What runs for long and reads hostile memory holds no right that it does not use. The other
/// commands end soon, and `check` must start its program with all rights that it would have. To be
/// called before there is a second thread.
fn hold_only_what_tracing_needs(attach: AttachMethod) {
    use crate::kernel::privileges::{give_up_the_rest, support_for};
    match give_up_the_rest(support_for(attach)) {
        Ok(held) if held.names.is_empty() => tracing::info!("no capability is held"),
        Ok(held) => tracing::info!(
            "held: {}; given up: {} others, and gaining any",
            held.names.join(", "),
            held.given_up
        ),
        Err(why) => tracing::warn!("rights that are not needed cannot be given up: {why}"),
    }
}

/// Help and version are answers; anything else is wrong usage.
fn refuse(error: &clap::Error) -> ExitCode {
    let _nobody_listens = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return ExitCode::SUCCESS,
        ErrorKind::InvalidSubcommand => {
            if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
                && values::pid(word).is_ok()
            {
                tell("\nhint: a PID comes after a command, such as `loiter diagnose ", word, "`");
            }
        }
        _ => {}
    }
    ExitCode::from(exit::USAGE)
}

/// The log is for whoever wants to know what loiter does: warnings by default, `LOITER_LOG` decides
/// in detail.
fn log_to_stderr(common: &Common) {
    use tracing_subscriber::EnvFilter;
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        (_, 2) => "debug",
        (_, _) => "trace",
    };
    let filter = EnvFilter::try_from_env("LOITER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // Fails only where a log is set already, as in tests.
    let _already_set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(terminal::stderr_color(common.color) == Color::Ansi)
        .log_internal_errors(false)
        .try_init();
}
