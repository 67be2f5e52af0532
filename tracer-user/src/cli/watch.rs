//! `loiter watch`: stay, and tell findings as they arise.

use clap::{Args, ValueEnum};

use super::Context;
use super::args::{CrowdArgs, GoArgs, OutputArgs, StreamFormat, WhomArgs};
use super::destination::{Destination, Touch};
use super::exit::{self, Outcome};
use super::expectations::ExpectationArgs;
use super::flight::FlightArgs;
use super::host::HostArgs;
use super::sink;
use super::telemetry::TelemetryArgs;
use super::values;
use crate::base::Nanos;
use crate::pipeline;
use crate::pipeline::settings::{BudgetSettings, RingSize, Thresholds, Tune, WatchSettings, Whom};
use crate::stream::Mode;
use crate::view::SummaryView;
use crate::view::watch::Notice;

/// Watch a process, and tell findings as they arise
///
/// Ends when the process does, after --for, or on Ctrl-C; then no probe is left behind and a
/// summary tells what was seen and what was lost. The exit code is 1 if a
/// finding that is likely or certain is open at the end (--fail-on).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  loiter watch 4242                            looks, and what probes the budget allows
  loiter watch 4242 --events none              look only: no probe, no cost to the process
  loiter watch 4242 --events all --min-wait 1ms --budget off --for 1m
  loiter watch 4242 --format jsonl -o findings.jsonl
  loiter watch 4242 --metrics                  for Prometheus at 127.0.0.1:9464
  loiter watch 4242 --recorder /var/lib/loiter/4242 --trigger 'finding,exit,tasks>20000'
                                               keep the last ten minutes; freeze them when something happens

`loiter doctor PID` tells what each of --events costs this process.")]
pub struct WatchArgs {
    #[command(flatten)]
    whom: WhomArgs,

    #[command(flatten)]
    go: GoArgs,

    #[command(flatten)]
    host: HostArgs,

    #[command(flatten)]
    follow: FollowArgs,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: StreamFormat,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    telemetry: TelemetryArgs,

    #[command(flatten)]
    flight: FlightArgs,
}

/// What is followed, and what is told of it.
#[derive(Args, Debug)]
pub struct FollowArgs {
    /// What to follow with probes at most, as far as the budget allows [default: all; without a
    /// budget: lifecycle]
    #[arg(long, value_enum, value_name = "WHAT")]
    events: Option<Events>,

    /// What watching may cost, probes and loiter together: a part of one CPU, or of what the process
    /// uses if that is more; `off` for no limit. Probes that cost more are taken off until it is quieter
    #[arg(long, default_value = "1%", value_name = "PERCENT", value_parser = values::budget)]
    budget: values::BudgetOrOff,

    /// Follow only waits of at least this length: shorter ones leave no record (with --events all)
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    min_wait: Option<Nanos>,

    /// End after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = values::positive_duration)]
    time_limit: Option<Nanos>,

    /// Tell of goroutines that wait for this long at least
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::positive_duration)]
    stuck_after: Nanos,

    #[command(flatten)]
    crowd: CrowdArgs,

    /// Goroutines that outlive by far the others from their place may be called leaked after this
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = values::positive_duration)]
    leak_after: Nanos,

    /// A number of goroutines that climbs for so long may be called growth
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = values::positive_duration)]
    growth_after: Nanos,

    /// Time between two looks at all goroutines
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::interval)]
    interval: Nanos,

    /// Size of the ring buffer between the kernel and loiter
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = values::ring_size)]
    ring_size: RingSize,

    #[command(flatten)]
    pub expectations: ExpectationArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Events {
    /// No probe: looks alone
    None,
    /// Births and deaths
    Lifecycle,
    /// Births, deaths, every wait and wake-up
    All,
}

/// The settings.
///
/// # Errors
/// If the arguments do not go together.
pub fn settings(args: &FollowArgs, whom: Whom) -> anyhow::Result<WatchSettings> {
    let asked = args.events.map(|events| match events {
        Events::None => Mode::None,
        Events::Lifecycle => Mode::Lifecycle,
        Events::All => Mode::All,
    });
    // Nobody asked for more: births and deaths are enough until the target is known to be quiet.
    let mode = asked.unwrap_or(Mode::Lifecycle);
    if args.min_wait.is_some() && mode != Mode::All {
        return Err(exit::usage("--min-wait says which waits to follow: it needs --events all"));
    }
    Ok(WatchSettings {
        whom,
        tune: Tune {
            mode,
            budget: args.budget.0.map(|budget| BudgetSettings { budget, ceiling: asked }),
            min_wait: args.min_wait.unwrap_or_default(),
            interval: args.interval,
        },
        time_limit: args.time_limit,
        expectations: args.expectations.read()?,
        thresholds: Thresholds {
            leak_after: args.leak_after,
            growth_after: args.growth_after,
            ..args.crowd.thresholds(args.stuck_after)
        },
        ring: args.ring_size,
    })
}

/// Whom to watch.
///
/// # Errors
/// If the arguments do not go together.
fn whom(args: &WatchArgs) -> anyhow::Result<Whom> {
    if args.whom.all {
        return args.host.settings(&args.go).map(|host| Whom::Host(Box::new(host)));
    }
    let targets: Vec<_> = args.whom.pids().into_iter().map(|pid| args.go.target(pid)).collect();
    match *targets.as_slice() {
        [] => Err(exit::usage("which process? give its PID")),
        [one] => Ok(Whom::One(one)),
        _ => Ok(Whom::Several(targets)),
    }
}

/// Runs it.
///
/// # Errors
/// If the process cannot be traced or the findings cannot be written.
pub fn run(args: &WatchArgs, context: &Context) -> anyhow::Result<Outcome> {
    let to = Destination::new(args.output.output.as_deref(), Touch::AtFirstByte)?;
    let settings = settings(&args.follow, whom(args)?)?;
    let fail_on = args.follow.expectations.fail_on();
    let flight = args.flight.settings();
    if let Whom::One(_) = settings.whom {
        let mut telemetry = args.telemetry.start()?;
        let summary = sink::tell(args.format, context, to, |sink| {
            let metrics = telemetry.take_metrics();
            let watched = pipeline::watch(&settings, flight, metrics, &mut telemetry.relay(sink));
            let deliveries = telemetry.finish();
            Ok(SummaryView { deliveries, ..watched? })
        })?;
        return Ok(Outcome::of_findings(summary.findings, fail_on));
    }
    if flight.is_some() {
        return Err(exit::usage("--recorder is of one process: give one PID"));
    }
    let mut telemetry = args.telemetry.start()?;
    let findings = sink::tell_many(args.format, context, to, |sink| {
        let metrics = telemetry.take_metrics();
        let watched = pipeline::watch_many(&settings, metrics, &mut telemetry.relay(sink));
        for delivery in telemetry.finish() {
            sink.notice(&Notice::Delivered { delivery });
        }
        watched
    })?;
    Ok(Outcome::of_findings(findings, fail_on))
}
