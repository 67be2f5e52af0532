//! `watch` and `diagnose`: one loop that drains the ring, orders looks, feeds the model and tells
//! the sink, until something ends it. One process, several, or all of a host that pass a filter: each
//! is a [`Session`](session::Session) of the same loop.

mod costs;
mod ending;
mod flow;
mod flying;
mod looks;
mod many;
mod peril;
mod serve;
mod session;

use anyhow::Context as _;

use crate::base::Nanos;
use crate::detect;
use crate::record::{RecorderSettings, Written};
use crate::stream::Mode;
use crate::view::watch::WatchSink;
use crate::view::{Acknowledgements, FindingCounts, SummaryView};

use super::clock;
use super::pace::Share;
use super::scrape::MetricsSettings;
use super::settings::{
    DiagnoseSettings, Expectations, FlightSettings, GoMinor, RingSize, Thresholds, Tune,
    WatchSettings, Whom,
};
use serve::Watch;

/// What one run of the loop is to do.
struct Job {
    whom: Whom,
    tune: Tune,
    ring: RingSize,
    time_limit: Option<Nanos>,
    looks: Option<u32>,
    share: Share,
    detectors: detect::Settings,
    acknowledged: Acknowledgements,
    record: Option<RecorderSettings>,
    flight: Option<FlightSettings>,
    metrics: Option<MetricsSettings>,
    /// What a flight recorder notes of the settings.
    recorded: Vec<(String, String)>,
}

/// What a run came to.
struct Done {
    /// Of the one process.
    summary: Option<SummaryView>,
    /// Open at the end of their processes.
    findings: FindingCounts,
    written: Option<Written>,
}

impl Done {
    fn of_one(self) -> anyhow::Result<SummaryView> {
        self.summary.context("no process was watched")
    }
}

/// Watches a process and tells its findings as they arise; with a flight recorder, what led to them
/// is kept.
///
/// # Errors
/// If the process cannot be traced, or the sink cannot be told any more.
pub fn watch(
    settings: &WatchSettings,
    flight: Option<FlightSettings>,
    metrics: Option<MetricsSettings>,
    sink: &mut dyn WatchSink,
) -> anyhow::Result<SummaryView> {
    let recorded = settings.thresholds.recorded();
    run(Job { flight, metrics, recorded, ..job(settings, None) }, sink)?.of_one()
}

/// Watches several processes, or those of the host that pass a filter; each is summed up to the sink
/// when it ends. Gives the findings that were open then.
///
/// # Errors
/// If no process can be watched here, or the sink cannot be told any more.
pub fn watch_many(
    settings: &WatchSettings,
    metrics: Option<MetricsSettings>,
    sink: &mut dyn WatchSink,
) -> anyhow::Result<FindingCounts> {
    Ok(run(Job { metrics, ..job(settings, None) }, sink)?.findings)
}

/// Watches a process and records all that is known of it. Ends when nothing more can be recorded.
///
/// # Errors
/// As [`watch`], or if nothing more can be recorded: what was recorded stays.
pub fn record(
    settings: &WatchSettings,
    mut recorder: RecorderSettings,
    sink: &mut dyn WatchSink,
) -> anyhow::Result<(SummaryView, Written)> {
    recorder.settings.extend(settings.thresholds.recorded());
    let mut done = run(job(settings, Some(recorder)), sink)?;
    let written = done.written.take().context("nothing was recorded")?;
    Ok((done.of_one()?, written))
}

fn job(settings: &WatchSettings, record: Option<RecorderSettings>) -> Job {
    Job {
        whom: settings.whom.clone(),
        tune: settings.tune,
        ring: settings.ring,
        time_limit: settings.time_limit,
        looks: None,
        share: Share::WATCH,
        detectors: detectors(&settings.thresholds, &settings.expectations),
        acknowledged: settings.expectations.acknowledged.clone(),
        record,
        flight: None,
        metrics: None,
        recorded: Vec::new(),
    }
}

/// Takes a few looks without any probe and tells what they show.
///
/// # Errors
/// As [`watch`].
pub fn diagnose(
    settings: &DiagnoseSettings,
    sink: &mut dyn WatchSink,
) -> anyhow::Result<SummaryView> {
    let gaps = u64::from(settings.looks.saturating_sub(1).max(1));
    run(
        Job {
            whom: Whom::One(settings.target),
            tune: Tune {
                mode: Mode::None,
                budget: None,
                min_wait: Nanos(0),
                interval: Nanos(settings.over.0 / gaps),
            },
            ring: RingSize::MIN,
            time_limit: None,
            looks: Some(settings.looks),
            share: Share::DIAGNOSE,
            detectors: detectors(&settings.thresholds, &settings.expectations),
            acknowledged: settings.expectations.acknowledged.clone(),
            record: None,
            flight: None,
            metrics: None,
            recorded: Vec::new(),
        },
        sink,
    )?
    .of_one()
}

/// Settings that know what of all programs waits by nature, and are else the detectors' own.
pub(super) fn named_idle() -> detect::Settings {
    // The native table names functions of libraries, the Go table ends with whole wait classes.
    let mut idle = crate::runtime::native::idle::patterns();
    idle.extend(crate::runtime::go::idle::patterns());
    detect::Settings { idle, ..detect::Settings::default() }
}

/// What the detectors go by.
pub(super) fn detectors(thresholds: &Thresholds, expectations: &Expectations) -> detect::Settings {
    // What the user says of the program goes before what is known of all programs.
    let mut idle = expectations.idle.clone();
    idle.extend(named_idle().idle);
    detect::Settings {
        stuck_after: thresholds.stuck_after,
        hog_after: thresholds.stuck_after,
        leak_after: thresholds.leak_after,
        growth_after: thresholds.growth_after,
        crowd_at_least: usize::try_from(thresholds.crowd_min).unwrap_or(usize::MAX),
        least_confidence: expectations.least_confidence,
        idle,
        patterns: crate::runtime::go::patterns::patterns(),
        ..detect::Settings::default()
    }
}

fn run(job: Job, sink: &mut dyn WatchSink) -> anyhow::Result<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let mut watch = Watch::start(job, sink).await?;
        let ended = watch.serve().await;
        watch.finish(ended).await
    })
}

/// Why the loop ended.
enum Ended {
    Signal(&'static str),
    Time,
    Looked,
    Exited,
}

impl Ended {
    const fn words(&self) -> &'static str {
        match self {
            Ended::Signal(words) => words,
            Ended::Time => "time is up",
            Ended::Looked => "all looks taken",
            Ended::Exited => "the target exited",
        }
    }
}

impl Job {
    /// How a process of this name is followed.
    fn tune_of(&self, _exe: &str) -> Tune {
        self.tune
    }

    /// The shortest wait that leaves a record; 0 = all.
    const fn min_wait(&self) -> Nanos {
        self.tune.min_wait
    }

    fn assume_go(&self) -> Option<GoMinor> {
        match &self.whom {
            Whom::One(target) => target.assume_go,
            Whom::Several(targets) => targets.first().and_then(|target| target.assume_go),
            Whom::Host(host) => host.assume_go,
        }
    }
}
