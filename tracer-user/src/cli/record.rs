//! `loiter record`: watch, and keep all that was seen.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::args::{StreamFormat, TargetArgs};
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use super::watch::{self, FollowArgs};
use super::{sink, values, version};
use crate::base::Nanos;
use crate::pipeline;
use crate::pipeline::settings::{TargetSettings, Whom};
use crate::record::{Content, Limits, Place, RecorderSettings, Written};

/// Watch a process, and record what is seen for a later report
///
/// Everything that findings rest on is kept: events, all goroutines of every look with their stacks,
/// names, losses. `loiter report` finds the same in it as was found live, on any machine. A crash costs the
/// last second at most.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter record 4242 -o night.loiter            one file, until Ctrl-C or the end of the process
  loiter record 4242 -o /var/log/loiter/4242 --keep 6h --max-size 2GiB
                                                a directory that keeps the newest
  loiter record 4242 --events all --min-wait 1ms --for 1m
  loiter report night.loiter                    what was found
  loiter dump night.loiter --at -10s            every goroutine ten seconds before the end")]
pub struct RecordArgs {
    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    follow: FollowArgs,

    /// Record to PATH: one file if it ends in .loiter, else a directory. It must be new or an empty
    /// directory [default: loiter-PID.loiter]
    #[arg(short, long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    output: Option<PathBuf>,

    #[command(flatten)]
    kept: KeptArgs,

    /// The form in which findings are told meanwhile
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: StreamFormat,
}

/// What of a recording is kept.
#[derive(Args, Debug)]
pub struct KeptArgs {
    /// Leave out pprof labels and build settings
    #[arg(long)]
    redact: bool,

    /// Remove what is older, segment by segment (needs a directory)
    #[arg(long, value_name = "DURATION", value_parser = values::positive_duration)]
    keep: Option<Nanos>,

    /// Take at most so much of the disk: a directory keeps the newest, a file ends
    #[arg(long, value_name = "SIZE", value_parser = values::recording_size)]
    max_size: Option<u64>,
}

fn recorder(args: &RecordArgs, target: &TargetSettings) -> anyhow::Result<RecorderSettings> {
    let usual = || PathBuf::from(format!("loiter-{}.loiter", target.pid));
    let path = args.output.clone().unwrap_or_else(usual);
    let place = if path.extension().is_some_and(|e| e == "loiter") && !path.is_dir() {
        Place::File(path)
    } else {
        Place::Directory(path)
    };
    if args.kept.keep.is_some() && matches!(place, Place::File(_)) {
        return Err(super::exit::usage(
            "--keep removes what is old by the file: give a directory with --output",
        ));
    }
    Ok(RecorderSettings {
        place,
        limits: Limits { max_bytes: args.kept.max_size, keep: args.kept.keep },
        content: if args.kept.redact { Content::Redacted } else { Content::Full },
        flush: RecorderSettings::FLUSH,
        writer: version::line(),
        settings: Vec::new(),
    })
}

/// Runs it.
///
/// # Errors
/// If the process cannot be traced or nothing more can be recorded.
pub fn run(args: &RecordArgs, context: &Context) -> anyhow::Result<Outcome> {
    super::hold_only_what_tracing_needs(args.follow.attach.method());
    let target = args.target.settings()?;
    let settings = watch::settings(&args.follow, Whom::One(target))?;
    let recorder = recorder(args, &target)?;
    let place = recorder.place.path().to_owned();
    let to = Destination::new(None, Touch::AtFirstByte)?;
    let mut written = Written::default();
    let summary = sink::tell(args.format, context, to, |sink| {
        let (summary, all) = pipeline::record(&settings, recorder, sink)?;
        written = all;
        Ok(summary)
    })?;
    context.tell(&format!(
        "recorded {} inputs in {} bytes to {path}; `loiter report {path}` reads it",
        written.inputs,
        written.bytes,
        path = place.display(),
    ));
    Ok(Outcome::of_findings(summary.findings, args.follow.expectations.fail_on()))
}
