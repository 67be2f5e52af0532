//! `loiter check`: run a program, and say what goroutines it leaves behind.

use std::ffi::OsString;
use std::io::Write;

use clap::{Args, ValueEnum};

use super::Context;
use super::acknowledge::{AcknowledgeArgs, Record};
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::expectations::{KnownArgs, Sure};
use super::terminal;
use super::values;
use crate::base::{FunctionAt, IdlePattern, Nanos, Numbers, Peers, Place};
use crate::output::{Change, github, json, junit, text};
use crate::pipeline::{self, settings::CheckSettings};
use crate::target::gate::end_by;
use crate::view::Confidence;
use crate::view::check::{CheckView, Checked, ProgramEnd, Verdict};

/// Run a program, and say what goroutines it leaves behind at its end
///
/// A gate for tests: the program is held where it exits, its goroutines are given time to end, and
/// those that do not are told. Its input, output and exit code stay as they are; a leak in a
/// program that ended well gives a code of its own. Needs no rights beyond those of the program.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  go test -exec 'loiter check --' ./...
  go test -exec 'loiter check --format github --' ./...
  loiter check --settle 3s -- ./prog --flag
  loiter check --ignore 'go.opencensus.io/*' -- ./orders.test
  loiter check --format junit -o leaks.xml -- ./orders.test
  loiter check --write-baseline known.toml --owner orders -- ./orders.test

Exit codes: the program's own; 66 if it was 0 and goroutines were left behind (--leak-exit-code);
2 wrong usage, 3 cannot check, 126 and 127 as of env. A program that is killed by a signal ends
loiter by the same signal. docs/ci.md has more.")]
pub struct CheckArgs {
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,

    /// How long goroutines are given to end by themselves
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = values::duration)]
    settle: Nanos,

    /// The exit code that tells of leaks in a program that ended with 0; 0 = tell and do not fail
    #[arg(long, value_name = "CODE", default_value_t = 66)]
    leak_exit_code: u8,

    /// Only leaks that are at least this sure give that code: suspect, likely or certain
    #[arg(long, value_enum, default_value = "suspect", value_name = "HOW")]
    #[arg(hide_possible_values = true)]
    fail_on: Sure,

    /// Goroutines with FUNC in their stack, or created by it, are no leak; a * at its end stands for anything (may be given more than once)
    #[arg(long, value_name = "FUNC")]
    ignore: Vec<String>,

    /// The form of the findings
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: CheckFormat,

    /// Write the findings to FILE instead of stderr; it is written also if there are none
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<std::path::PathBuf>,

    #[command(flatten)]
    known: KnownArgs,

    #[command(flatten)]
    acknowledge: AcknowledgeArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum CheckFormat {
    /// For people
    Text,
    /// For programs: one object a line, documented in docs/json.md
    #[value(alias = "jsonl")]
    Json,
    /// JUnit XML, for build servers
    Junit,
    /// Workflow commands of GitHub Actions: annotations at the lines of the source
    Github,
}

fn settings(args: &CheckArgs) -> anyhow::Result<CheckSettings> {
    let mut expectations = args.known.read()?;
    let ignored = args.ignore.iter().flat_map(|function| ignored(function));
    expectations.idle.splice(0..0, ignored);
    Ok(CheckSettings { command: args.command.clone(), settle: args.settle, expectations })
}

/// A task is not told if the function is anywhere in what is known of it.
fn ignored(function: &str) -> [IdlePattern; 3] {
    [Place::Stack, Place::Start, Place::SpawnSite].map(|place| IdlePattern {
        name: "ignored".into(),
        why: format!("--ignore {function}").into(),
        classes: (&[]).into(),
        functions: vec![FunctionAt { place, function: function.to_owned().into() }],
        numbers: Numbers::Any,
        peers: Peers::Normal,
    })
}

/// Runs it.
///
/// # Errors
/// If the program cannot be run.
pub fn run(args: &CheckArgs, context: &Context) -> anyhow::Result<Outcome> {
    let to = args.output.as_deref();
    let to = to.map(|path| Destination::new(Some(path), Touch::AtEnd)).transpose()?;
    let mut settings = settings(args)?;
    let record = args.acknowledge.record()?;
    if let Some(record) = &record {
        settings.expectations.acknowledged = record.known.clone();
    }
    let check = pipeline::check(&settings)?;
    let is_recorded = record.is_some();
    let written = write(args, context, to, &check)
        .and_then(|()| record.map_or(Ok(()), |record| put_on_record(record, context, &check)));
    tell(context, &check);
    if let ProgramEnd::Killed(signal) = check.end {
        end_by(signal);
    }
    let leak = if is_recorded { 0 } else { args.leak_exit_code };
    let code = code(&check, args.fail_on.confidence(), leak);
    match written {
        // What the program has to say comes first.
        Err(error) if code != 0 => {
            let _own_code = super::exit::report(&error);
            Ok(Outcome::Code(code))
        }
        written => written.map(|()| Outcome::Code(code)),
    }
}

fn put_on_record(record: Record, context: &Context, check: &CheckView) -> anyhow::Result<()> {
    if let Verdict::Checked(checked) = &check.verdict {
        context.tell(&record.write(&checked.findings)?);
    }
    Ok(())
}

fn write(
    args: &CheckArgs,
    context: &Context,
    to: Option<Destination>,
    check: &CheckView,
) -> anyhow::Result<()> {
    match (to, &check.verdict) {
        (Some(mut to), Verdict::Checked(checked)) => {
            let options = context.text_for(&to);
            write_to(args.format, &options, &mut to, checked)?;
            to.finish()
        }
        // What an earlier run has left there must not stand for this one.
        (Some(mut to), verdict) => {
            if args.format == CheckFormat::Junit {
                let program = args.command.first().map(|p| p.to_string_lossy());
                let why = why_unchecked(check.end, verdict).unwrap_or_default();
                junit::write_unchecked(&mut to, &program.unwrap_or_default(), &why)?;
            }
            to.finish()
        }
        (None, Verdict::Checked(checked)) => {
            let options = terminal::stderr_options(context.color);
            // At once: what a reader merges with the program's own output stays together.
            let mut all = Vec::new();
            write_to(args.format, &options, &mut all, checked)?;
            let _nobody_listens = std::io::stderr().write_all(&all);
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

fn write_to(
    format: CheckFormat,
    options: &text::TextOptions,
    out: &mut dyn Write,
    checked: &Checked,
) -> std::io::Result<()> {
    match format {
        CheckFormat::Text => checked
            .findings
            .iter()
            .try_for_each(|f| text::write_finding(out, options, f, Change::Opened)),
        CheckFormat::Json => {
            checked
                .findings
                .iter()
                .try_for_each(|f| json::write_finding(out, f, Change::Opened))?;
            json::write_summary(out, &checked.summary)
        }
        CheckFormat::Junit => junit::write_check(out, checked),
        CheckFormat::Github => github::write_check(out, checked),
    }
}

/// Tells on stderr what the findings do not. A program that ended well and left nothing behind is
/// not spoken of.
fn tell(context: &Context, check: &CheckView) {
    if let Verdict::Checked(checked) = &check.verdict {
        for reason in &checked.summary.process.degraded {
            context.tell(&format!("degraded: {reason}"));
        }
    }
    if let Some(why) = why_unchecked(check.end, &check.verdict) {
        context.tell(&format!("not checked for leaks: {why}"));
    }
}

/// Why nothing can be said of leaks, if so.
fn why_unchecked(end: ProgramEnd, verdict: &Verdict) -> Option<String> {
    match (verdict, end) {
        (Verdict::Checked(_), _) => None,
        (Verdict::Crashed, _) => {
            Some("the program ended with code 2, as Go programs do that crash".to_owned())
        }
        (Verdict::Killed, ProgramEnd::Killed(signal)) => {
            Some(format!("the program was killed by signal {signal}"))
        }
        (Verdict::Killed, _) => Some("the program was killed".to_owned()),
        (Verdict::Unreadable(why), _) => Some(why.clone()),
    }
}

/// The program's own failure first; then what loiter has to say.
fn code(check: &CheckView, fail_on: Confidence, leak: u8) -> u8 {
    match (check.end, &check.verdict) {
        (ProgramEnd::Killed(signal), _) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        (ProgramEnd::Exited(0), Verdict::Checked(checked))
            if checked.summary.findings.at_least(fail_on) > 0 =>
        {
            leak
        }
        (ProgramEnd::Exited(0), Verdict::Unreadable(_)) => super::exit::CANNOT_TRACE,
        (ProgramEnd::Exited(code), _) => code,
    }
}
