//! `loiter dump`: every task now.

use clap::{Args, ValueEnum};

use super::Context;
use super::args::{OutputArgs, Subject, SubjectArgs};
use super::exit::Outcome;
use super::export::{Form, WeightArgs, place};
use super::progress::Bar;
use crate::output::{GroupBy, export, json, text};
use crate::pipeline::{self, settings::DumpSettings};
use crate::view::{DumpView, TaskView};

/// Show every goroutine of a process now, without pausing it, or as it was in a recording
///
/// Reads the runtime's own structures out of the process's memory. Nothing is attached, nothing
/// stops. By default goroutines that do the same thing at the same place are counted together.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter dump 4242                        what most goroutines do comes first
  loiter dump 4242 --group-by site        without stacks: for a first look at 100 000 goroutines
  loiter dump 4242 --match orders.        only goroutines with `orders.` in their stack
  loiter dump 4242 --full | pp            each by itself, in the shape of goroutine?debug=2
  loiter dump 4242 --format json -o dump.json
  loiter dump 4242 --format pprof -o now.pb.gz && go tool pprof -http : now.pb.gz
  loiter dump 4242 --format svg -o now.svg
  loiter dump night.loiter --at 2026-11-21T02:30:00   as they were then")]
pub struct DumpArgs {
    #[command(flatten)]
    of: SubjectArgs,

    /// Show each goroutine by itself, in the shape of Go's own goroutine?debug=2
    #[arg(long, conflicts_with = "group_by")]
    full: bool,

    /// What makes goroutines the same: the whole stack, or where they wait and where they were created
    #[arg(long, value_enum, default_value = "stack", value_name = "WHAT")]
    group_by: By,

    /// Show the goroutines of the runtime itself, too
    #[arg(long)]
    system: bool,

    /// Only goroutines with TEXT in a function name of their stack or their origin
    #[arg(long = "match", value_name = "TEXT")]
    matching: Option<String>,

    /// The form of the answer
    #[arg(
        long,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        conflicts_with = "full"
    )]
    format: DumpFormat,

    #[command(flatten)]
    weight: WeightArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// The form of a dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum DumpFormat {
    /// For people
    Text,
    /// For programs: one object, documented in docs/json.md
    Json,
    /// A goroutine profile for `go tool pprof`
    Pprof,
    /// Folded stacks, as flame graph tools read them
    Folded,
    /// A flame graph
    Svg,
}

impl DumpFormat {
    const fn form(self) -> Form {
        match self {
            DumpFormat::Text | DumpFormat::Json => Form::TEXT,
            DumpFormat::Pprof => Form::PPROF,
            DumpFormat::Folded => Form::FOLDED,
            DumpFormat::Svg => Form::SVG,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum By {
    /// State, wait reason, origin and the whole stack
    Stack,
    /// State, wait reason, origin and the place of the wait
    Site,
}

/// Runs it.
///
/// # Errors
/// If the process cannot be read or the answer cannot be written.
pub fn run(args: &DumpArgs, context: &Context) -> anyhow::Result<Outcome> {
    let subject = args.of.subject()?;
    let name = match &subject {
        Subject::Now(target) => format!("goroutines-{}", target.pid),
        Subject::Then(of) => super::export::stem(&of.path),
    };
    let mut to = place(args.output.output.as_deref(), args.format.form(), &name, context)?;
    let options = context.text_for(&to);
    let dump = match subject {
        Subject::Now(target) => pipeline::dump(&DumpSettings { target })?,
        Subject::Then(of) => {
            let mut bar = Bar::new(context);
            pipeline::dump_recording(&of.path, of.at, &mut |done, of| bar.at(done, of))?
        }
    };
    let tasks = select(args, &dump);
    let by = match args.group_by {
        By::Stack => GroupBy::Stack,
        By::Site => GroupBy::Site,
    };
    match args.format {
        DumpFormat::Json => json::write_dump(&mut to, &dump, &tasks)?,
        DumpFormat::Pprof => export::write_pprof(&mut to, &dump, &tasks)?,
        DumpFormat::Folded => export::write_folded(&mut to, &tasks, args.weight.weight())?,
        DumpFormat::Svg => {
            export::write_flame_graph(&mut to, &dump, &tasks, args.weight.weight())?;
        }
        DumpFormat::Text if args.full => {
            warn(context, &dump);
            text::write_full(&mut to, tasks)?;
        }
        DumpFormat::Text => text::write_dump(&mut to, &options, &dump, &tasks, by)?,
    }
    to.finish()?;
    Ok(Outcome::Fine)
}

/// `--full` has no place for what a reader of the other forms sees.
fn warn(context: &Context, dump: &DumpView) {
    for reason in &dump.process.degraded {
        context.tell(&format!("degraded: {reason}"));
    }
    if !dump.outcome.is_complete() {
        let missing = dump.outcome.unreadable.saturating_add(dump.outcome.truncated);
        context.tell(&format!("{missing} goroutines could not be read and are missing"));
    }
}

fn select<'a>(args: &DumpArgs, dump: &'a DumpView) -> Vec<&'a TaskView> {
    dump.tasks
        .iter()
        .filter(|t| args.system || !t.system)
        .filter(|t| args.matching.as_deref().is_none_or(|text| names(t, text)))
        .collect()
}

fn names(task: &TaskView, text: &str) -> bool {
    let origin = [&task.created_by, &task.start];
    let origin = origin.into_iter().flatten();
    task.frames.iter().chain(origin).any(|f| f.function.contains(text))
}
