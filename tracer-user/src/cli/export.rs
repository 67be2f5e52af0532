//! `loiter export`: a recording for other tools. Also where a form of an export goes if nobody says.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Context;
use super::args::OutputArgs;
use super::destination::{Destination, Touch};
use super::exit::{Outcome, usage};
use super::progress::Bar;
use super::values;
use crate::output::export::html::{Detail, Report, Survey, write_html};
use crate::output::export::{self, Weight};
use crate::pipeline;
use crate::pipeline::Exported;
use crate::pipeline::settings::Moment;
use crate::view::TaskView;
use crate::view::timeline::TimelineSink;

/// Write a recording in the form of another tool
///
/// perfetto and html show what every goroutine did over time, jsonl has each record as it is. pprof, folded and
/// svg show all stacks at one moment: the end, or --at. Without --output, binary forms go to a file that is named
/// after the recording if stdout is a terminal.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter export night.loiter --format html -o night.html    one page, for any browser
  loiter export night.loiter --format perfetto -o night.perfetto-trace
  loiter export night.loiter --format pprof --at -10s -o then.pb.gz && go tool pprof -top then.pb.gz
  loiter export night.loiter --format svg --weight wait -o waits.svg
  loiter export night.loiter --format jsonl --since -2m --until -1m | jq .")]
pub struct ExportArgs {
    /// A recording: file or directory
    #[arg(value_name = "RECORDING", value_hint = clap::ValueHint::AnyPath)]
    recording: PathBuf,

    /// The form
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: ExportFormat,

    /// pprof, folded, svg: this moment instead of the end: a time, +90s from the start, -10s from the end
    #[arg(long, value_name = "TIME", value_parser = values::moment, allow_hyphen_values = true)]
    at: Option<Moment>,

    /// perfetto, html, jsonl: begin at this moment
    #[arg(long, value_name = "TIME", value_parser = values::moment, allow_hyphen_values = true)]
    since: Option<Moment>,

    /// perfetto, html, jsonl: end at this moment
    #[arg(long, value_name = "TIME", value_parser = values::moment, allow_hyphen_values = true)]
    until: Option<Moment>,

    #[command(flatten)]
    weight: WeightArgs,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ExportFormat {
    /// One page of HTML: findings, counts, timeline, flame graph, search
    Html,
    /// A trace for the Perfetto UI
    Perfetto,
    /// A goroutine profile for `go tool pprof`
    Pprof,
    /// Folded stacks, as flame graph tools read them
    Folded,
    /// A flame graph
    Svg,
    /// Each record as one JSON object a line, documented in docs/exports.md
    Jsonl,
}

impl ExportFormat {
    const fn form(self) -> Form {
        match self {
            ExportFormat::Html => Form { ending: "html", at_terminal: AtTerminal::File },
            ExportFormat::Perfetto => {
                Form { ending: "perfetto-trace", at_terminal: AtTerminal::Never }
            }
            ExportFormat::Pprof => Form::PPROF,
            ExportFormat::Folded => Form::FOLDED,
            ExportFormat::Svg => Form::SVG,
            ExportFormat::Jsonl => Form { ending: "jsonl", at_terminal: AtTerminal::Shown },
        }
    }

    /// Whether it shows one moment rather than a time.
    const fn is_moment(self) -> bool {
        matches!(self, ExportFormat::Pprof | ExportFormat::Folded | ExportFormat::Svg)
    }
}

/// What makes a stack wide.
#[derive(Args, Debug)]
pub struct WeightArgs {
    /// folded, svg: what a stack weighs: how many goroutines have it, or how long they have waited
    #[arg(long, value_enum, default_value = "count", value_name = "WHAT")]
    weight: By,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum By {
    /// Goroutines
    Count,
    /// Nanoseconds waited, all together
    Wait,
}

impl WeightArgs {
    /// As outputs know it.
    pub const fn weight(&self) -> Weight {
        match self.weight {
            By::Count => Weight::Tasks,
            By::Wait => Weight::Wait,
        }
    }
}

/// How a form is named and where it may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    ending: &'static str,
    at_terminal: AtTerminal,
}

/// What a terminal is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AtTerminal {
    /// It can be read there.
    Shown,
    /// It can be shown, but nobody wants that: unless asked to, it goes to a file.
    File,
    /// It is binary.
    Never,
}

impl Form {
    /// Text, and JSON.
    pub const TEXT: Form = Form { ending: "txt", at_terminal: AtTerminal::Shown };
    /// A pprof profile.
    pub const PPROF: Form = Form { ending: "pb.gz", at_terminal: AtTerminal::Never };
    /// Folded stacks.
    pub const FOLDED: Form = Form { ending: "folded", at_terminal: AtTerminal::Shown };
    /// A flame graph.
    pub const SVG: Form = Form { ending: "svg", at_terminal: AtTerminal::File };
}

/// The name of a recording without its ending.
pub fn stem(recording: &Path) -> String {
    let name = recording.file_stem().map(|name| name.to_string_lossy().into_owned());
    name.filter(|n| !n.is_empty()).unwrap_or_else(|| "recording".to_owned())
}

/// Where an export goes: where it was told to, else to stdout; but what no terminal is for to a file
/// in the current directory, if stdout is one.
///
/// # Errors
/// A usage error if that cannot be.
pub fn place(
    output: Option<&Path>,
    form: Form,
    name: &str,
    context: &Context,
) -> anyhow::Result<Destination> {
    let terminal = std::io::stdout().is_terminal();
    let stdout = output == Some(Path::new("-"));
    if stdout && terminal && form.at_terminal == AtTerminal::Never {
        let ending = form.ending;
        return Err(usage(format!(
            "stdout is a terminal, and this form is binary: name a file, such as -o {name}.{ending}"
        )));
    }
    if output.is_some() || !terminal || form.at_terminal == AtTerminal::Shown {
        return Destination::new(output, Touch::AtEnd);
    }
    let file = PathBuf::from(format!("{name}.{}", form.ending));
    if file.exists() {
        let file = file.display();
        return Err(usage(format!("{file} is there already: -o {file} replaces it")));
    }
    context.tell(&format!("writing to {}", file.display()));
    Destination::new(Some(&file), Touch::AtEnd)
}

/// Runs it.
///
/// # Errors
/// If the recording cannot be read or the export cannot be written.
pub fn run(args: &ExportArgs, context: &Context) -> anyhow::Result<Outcome> {
    if args.format.is_moment() {
        if args.since.is_some() || args.until.is_some() {
            return Err(usage("this form shows one moment: give --at, not --since or --until"));
        }
    } else if args.at.is_some() {
        return Err(usage("this form shows a time: give --since and --until, not --at"));
    }
    let name = stem(&args.recording);
    let mut to = place(args.output.output.as_deref(), args.format.form(), &name, context)?;
    match args.format {
        ExportFormat::Pprof | ExportFormat::Folded | ExportFormat::Svg => {
            moment(args, context, &mut to)?;
        }
        ExportFormat::Perfetto => {
            let mut sink = export::PerfettoSink::new(&mut to);
            timeline(args, context, &mut sink)?;
        }
        ExportFormat::Jsonl => {
            let mut bar = Bar::new(context);
            let progress = &mut |done, of| bar.at(done, of);
            let mut sink = export::InputLines::new(&mut to);
            let bounds = (args.since, args.until);
            pipeline::inputs(&args.recording, bounds, &mut sink, progress)?;
        }
        ExportFormat::Html => html(args, context, &name, &mut to)?,
    }
    to.finish()?;
    Ok(Outcome::Fine)
}

fn moment(args: &ExportArgs, context: &Context, to: &mut Destination) -> anyhow::Result<()> {
    let mut bar = Bar::new(context);
    let progress = &mut |done, of| bar.at(done, of);
    let dump = pipeline::dump_recording(&args.recording, args.at, progress)?;
    drop(bar);
    let tasks: Vec<&TaskView> = dump.tasks.iter().filter(|t| !t.system).collect();
    let weight = args.weight.weight();
    match args.format {
        ExportFormat::Pprof => export::write_pprof(to, &dump, &tasks)?,
        ExportFormat::Svg => export::write_flame_graph(to, &dump, &tasks, weight)?,
        _ => export::write_folded(to, &tasks, weight)?,
    }
    Ok(())
}

/// Tells a sink what every task did over time.
fn timeline(
    args: &ExportArgs,
    context: &Context,
    sink: &mut dyn TimelineSink,
) -> anyhow::Result<Exported> {
    let mut bar = Bar::new(context);
    let progress = &mut |done, of| bar.at(done, of);
    pipeline::export(&args.recording, (args.since, args.until), sink, progress)
}

/// Reads the recording twice: once to find out what matters.
fn html(
    args: &ExportArgs,
    context: &Context,
    name: &str,
    to: &mut Destination,
) -> anyhow::Result<()> {
    let mut survey = Survey::new();
    timeline(args, context, &mut survey)?;
    let mut detail = Detail::new(survey);
    let exported = timeline(args, context, &mut detail)?;
    let report = Report {
        recording: name,
        writer: concat!("loiter ", env!("CARGO_PKG_VERSION")),
        summary: &exported.summary,
        open: &exported.open,
        dump: exported.dump.as_ref(),
        broke_off: exported.broke_off.as_deref(),
        zone: &super::terminal::zone(),
    };
    write_html(to, &report, detail)?;
    Ok(())
}
