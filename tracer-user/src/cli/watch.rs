//! `loiter watch`: stay, and tell findings as they arise.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Context;
use super::args::{CrowdArgs, GoArgs, OutputArgs, StreamFormat, WhomArgs};
use super::config::{self, ConfigArgs, Effective};
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
use crate::pipeline::settings::{
    AttachMethod, BudgetSettings, Glob, Override, RingSize, Thresholds, Tune, WatchSettings, Whom,
};
use crate::pipeline::{Reload, Reloaded};
use crate::stream::{Calls, Mode};
use crate::view::SummaryView;
use crate::view::watch::Notice;

/// Watch a process, several, or all of this host, and tell findings as they arise
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
  loiter watch 4242 4343                       several processes
  loiter watch --all --name 'orders*'          those of this host, also those to come
  loiter watch --config /etc/loiter/loiter.toml
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
    config: ConfigArgs,

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

    /// Follow the system calls in which threads wait and wake (futex, epoll_wait, poll, select and their
    /// like), too: arguments, results, and calls that did not block (with --events all; of a Go program
    /// with --threads). Needs tracefs, and slows every system call of every process of the host meanwhile
    #[arg(long)]
    syscalls: bool,

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

    /// Time between two looks at all goroutines; at rest, with a budget, up to four times that
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::interval)]
    interval: Nanos,

    /// Size of the ring buffer between the kernel and loiter
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = values::ring_size)]
    ring_size: RingSize,

    /// How probes are put on: auto, uprobe-multi (Linux 6.6 and later), or perf-events; auto takes the
    /// first of these that works here
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub attach: Attach,

    #[command(flatten)]
    pub expectations: ExpectationArgs,
}

/// How probes are put on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Attach {
    /// What works here
    Auto,
    /// All sites of a kind in one link
    UprobeMulti,
    /// One event a site
    PerfEvents,
}

impl Attach {
    /// As the kernel part has it.
    pub const fn method(self) -> AttachMethod {
        match self {
            Attach::Auto => AttachMethod::Auto,
            Attach::UprobeMulti => AttachMethod::Multi,
            Attach::PerfEvents => AttachMethod::PerfEvent,
        }
    }
}

impl FollowArgs {
    /// What a table of a configuration says of processes of some name; `says` tells which keys are there.
    pub fn as_override(&self, name: Glob, says: &dyn Fn(&str) -> bool) -> Override {
        Override {
            name,
            budget: says("budget").then_some(self.budget.0),
            events: self.events.map(Events::mode),
            min_wait: self.min_wait,
            interval: says("interval").then_some(self.interval),
        }
    }
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

impl Events {
    const fn mode(self) -> Mode {
        match self {
            Events::None => Mode::None,
            Events::Lifecycle => Mode::Lifecycle,
            Events::All => Mode::All,
        }
    }
}

/// The settings.
///
/// # Errors
/// If the arguments do not go together.
pub fn settings(args: &FollowArgs, whom: Whom) -> anyhow::Result<WatchSettings> {
    let asked = args.events.map(Events::mode);
    // Nobody asked for more: births and deaths are enough until the target is known to be quiet.
    let mode = asked.unwrap_or(Mode::Lifecycle);
    if args.min_wait.is_some() && mode != Mode::All {
        return Err(exit::usage("--min-wait says which waits to follow: it needs --events all"));
    }
    if args.syscalls && mode != Mode::All {
        return Err(exit::usage("--syscalls follows calls beside waits: it needs --events all"));
    }
    Ok(WatchSettings {
        whom,
        tune: Tune {
            mode,
            budget: args.budget.0.map(|budget| BudgetSettings { budget, ceiling: asked }),
            min_wait: args.min_wait.unwrap_or_default(),
            calls: if args.syscalls { Calls::Followed } else { Calls::Left },
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
        attach: args.attach.method(),
        overrides: Vec::new(),
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

/// What is asked for.
///
/// # Errors
/// If the arguments do not go together.
fn all_settings(args: &WatchArgs, overrides: Vec<Override>) -> anyhow::Result<WatchSettings> {
    let settings = settings(&args.follow, whom(args)?)?;
    if args.flight.settings().is_some() && !matches!(settings.whom, Whom::One(_)) {
        return Err(exit::usage("--recorder is of one process: give one PID"));
    }
    Ok(WatchSettings { overrides, ..settings })
}

/// Reads the configuration again, and compares it with what it was.
fn reload(path: PathBuf, before: &Effective) -> Reload {
    let before = before.values();
    Box::new(move || {
        let now = config::effective(&path)?;
        let fixed = now.fixed(&before);
        let settings = all_settings(&now.args, now.overrides)?;
        Ok(Reloaded { settings, fixed })
    })
}

/// Runs it.
///
/// # Errors
/// If the process cannot be traced or the findings cannot be written.
pub fn run(args: &WatchArgs, context: &Context) -> anyhow::Result<Outcome> {
    let Some(path) = &args.config.config else {
        return watch(args, Vec::new(), None, context);
    };
    let effective = config::effective(path)?;
    if args.config.check_config {
        all_settings(&effective.args, effective.overrides.clone())?;
        // A file that is not there is a fault of the configuration here, whatever else a start would call it.
        effective.args.telemetry.check().map_err(|why| exit::usage(format!("{why:#}")))?;
        let mut to = Destination::new(args.output.output.as_deref(), Touch::AtFirstByte)?;
        to.write_all(effective.told(path).as_bytes())?;
        to.finish()?;
        return Ok(Outcome::Fine);
    }
    let reload = reload(path.clone(), &effective);
    watch(&effective.args, effective.overrides, Some(reload), context)
}

fn watch(
    args: &WatchArgs,
    overrides: Vec<Override>,
    reload: Option<Reload>,
    context: &Context,
) -> anyhow::Result<Outcome> {
    super::hold_only_what_tracing_needs(args.follow.attach.method());
    let to = Destination::new(args.output.output.as_deref(), Touch::AtFirstByte)?;
    let settings = all_settings(args, overrides)?;
    let fail_on = args.follow.expectations.fail_on();
    let mut telemetry = args.telemetry.start()?;
    let findings = if let Whom::One(_) = settings.whom {
        let flight = args.flight.settings();
        let summary = sink::tell(args.format, context, to, |sink| {
            let metrics = telemetry.take_metrics();
            let mut relay = telemetry.relay(sink);
            let watched = pipeline::watch(&settings, flight, metrics, reload, &mut relay);
            let deliveries = telemetry.finish();
            Ok(SummaryView { deliveries, ..watched? })
        })?;
        summary.findings
    } else {
        sink::tell_many(args.format, context, to, |sink| {
            let metrics = telemetry.take_metrics();
            let mut relay = telemetry.relay(sink);
            let watched = pipeline::watch_many(&settings, metrics, reload, &mut relay);
            for delivery in telemetry.finish() {
                sink.notice(&Notice::Delivered { delivery });
            }
            watched
        })?
    };
    Ok(Outcome::of_findings(findings, fail_on))
}
