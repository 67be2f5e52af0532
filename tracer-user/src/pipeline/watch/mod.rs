//! `watch` and `diagnose`: one loop that drains the ring, orders looks, feeds the model and tells
//! the sink, until something ends it.

mod costs;
mod flow;
mod flying;
mod looks;
mod peril;

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::base::{KTime, Nanos, ProcId};
use crate::detect;
use crate::record::{Recorder, RecorderSettings, Written};
use crate::stream::{Calls, Command, Input, Mode, Stop};
use crate::view::watch::{Notice, WatchSink};
use crate::view::{Acknowledgements, SummaryView, ThreadCallsView, ThreadWaitsView, WallTime};

use super::budget::Turn;
use super::clock;
use super::flight::{Cause, Flight, Gauge, Happened};
use super::judge::{Judge, Said};
use super::looker::Looker;
use super::open::{Opened, Probing, SiteProbing, open};
use super::pace::{Pace, Share};
use super::ready::readiness;
use super::scrape::{MetricsSettings, Question, Scrape};
use super::settings::{
    BudgetSettings, DiagnoseSettings, Expectations, FlightSettings, RingSize, TargetSettings,
    Threads, Thresholds, WatchSettings,
};
use super::signals::EndSignals;
use super::teller::Teller;
use super::tracer::{Probes, Tracee, Tracer};
use costs::Spending;
use flow::Losses;
use peril::Peril;

/// The ring is drained at least this often; the kernel part wakes the reader earlier where it fills.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// Ticks of the model: what goes by time alone is noticed this late.
const TICK_EVERY: Duration = Duration::from_millis(200);
/// The wall clock may be set while a watch runs.
const ANCHOR_EVERY: Nanos = Nanos::from_secs(60);

/// What one run of the loop is to do.
struct Job {
    target: TargetSettings,
    /// At the beginning.
    mode: Mode,
    budget: Option<BudgetSettings>,
    min_wait: Nanos,
    calls: Calls,
    ring: RingSize,
    time_limit: Option<Nanos>,
    looks: Option<u32>,
    interval: Nanos,
    share: Share,
    detectors: detect::Settings,
    acknowledged: Acknowledgements,
    record: Option<RecorderSettings>,
    flight: Option<FlightSettings>,
    metrics: Option<MetricsSettings>,
    /// What a flight recorder notes of the settings.
    recorded: Vec<(String, String)>,
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
    run(Job { flight, metrics, recorded, ..job(settings, None) }, sink).map(|(summary, _)| summary)
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
    let (summary, written) = run(job(settings, Some(recorder)), sink)?;
    Ok((summary, written.context("nothing was recorded")?))
}

fn job(settings: &WatchSettings, record: Option<RecorderSettings>) -> Job {
    Job {
        target: settings.target,
        mode: settings.mode,
        budget: settings.budget,
        min_wait: settings.min_wait,
        calls: settings.calls,
        ring: settings.ring,
        time_limit: settings.time_limit,
        looks: None,
        interval: settings.interval,
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
            target: settings.target,
            mode: Mode::None,
            budget: None,
            min_wait: Nanos(0),
            calls: Calls::Left,
            ring: RingSize::MIN,
            time_limit: None,
            looks: Some(settings.looks),
            interval: Nanos(settings.over.0 / gaps),
            share: Share::DIAGNOSE,
            detectors: detectors(&settings.thresholds, &settings.expectations),
            acknowledged: settings.expectations.acknowledged.clone(),
            record: None,
            flight: None,
            metrics: None,
            recorded: Vec::new(),
        },
        sink,
    )
    .map(|(summary, _)| summary)
}

/// What the detectors go by.
pub(super) fn detectors(thresholds: &Thresholds, expectations: &Expectations) -> detect::Settings {
    // What the user says of the program goes before what is known of all programs.
    let mut idle = expectations.idle.clone();
    // The native table names functions of libraries, the Go table ends with whole wait classes.
    idle.extend(crate::runtime::native::idle::patterns());
    idle.extend(crate::runtime::go::idle::patterns());
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

fn run(job: Job, sink: &mut dyn WatchSink) -> anyhow::Result<(SummaryView, Option<Written>)> {
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

/// The incarnation that is watched now.
struct Session {
    process: ProcId,
    exit: AsyncFd<OwnedFd>,
    looker: Looker,
    probing: Probing,
    slot: Option<u16>,
    probes: u32,
    first_look_told: bool,
    failed_looks: u32,
    stopped: Option<Stop>,
    opened_at: KTime,
}

struct Watch<'a> {
    job: Job,
    sink: &'a mut dyn WatchSink,
    signals: EndSignals,
    judge: Judge,
    tracer: Option<Tracer>,
    /// Of the incarnation that was released last.
    thread_waits: Vec<ThreadWaitsView>,
    thread_calls: Vec<ThreadCallsView>,
    session: Session,
    /// The probes that are on.
    mode: Mode,
    spending: Option<Spending>,
    /// Changes of the probes that are not told yet.
    turns: Vec<(KTime, Turn)>,
    pace: Pace,
    looks_taken: u32,
    anchored: KTime,
    wall_offset: i128,
    next_process: u32,
    losses: Losses,
    flight: Option<Flight>,
    scrape: Option<Scrape>,
    /// How the target would be killed for its memory; only with a flight recorder.
    peril: Option<Peril>,
}

impl<'a> Watch<'a> {
    async fn start(job: Job, sink: &'a mut dyn WatchSink) -> anyhow::Result<Self> {
        let began = clock::now();
        let signals = EndSignals::new()?;
        let opened = open(&job.target, ProcId(1))?;
        let scrape = job.metrics.map(Scrape::start).transpose()?;
        let ceiling = ceiling(&job, opened.probing.threads());
        let tracer = match ceiling {
            Mode::None => None,
            _ => {
                let threads = threads_mode(opened.probing.threads(), ceiling);
                Some(Tracer::load(job.ring, job.min_wait, threads, job.calls)?)
            }
        };
        let (flight, left) = job.flight.clone().map(Flight::start).transpose()?.unzip();
        let peril = flight.as_ref().map(|_| Peril::of(job.target.pid));
        let record = match &flight {
            Some(flight) => Some(flight.recorder(job.recorded.clone())),
            None => job.record.clone(),
        };
        let recorder = record.map(Recorder::start).transpose()?;
        let teller = Teller::new(job.detectors.clone(), job.acknowledged.clone());
        let triggers = job.flight.as_ref().map_or(&[][..], |flight| &flight.triggers);
        let judge = Judge::start(teller, recorder, Gauge::of(triggers))?;
        let (session, def) = Session::new(opened)?;
        let pace = Pace::new(job.interval, job.share);
        let mode = job.mode;
        let spending =
            job.budget.map(|budget| Spending::new(budget.budget, ceiling, mode, job.target.pid));
        let mut watch = Self {
            job,
            sink,
            signals,
            judge,
            tracer,
            thread_waits: Vec::new(),
            thread_calls: Vec::new(),
            session,
            mode,
            spending,
            turns: Vec::new(),
            pace,
            looks_taken: 0,
            anchored: began,
            wall_offset: 0,
            next_process: 2,
            losses: Losses::none(),
            flight,
            scrape,
            peril,
        };
        let anchor = watch.anchor();
        if let Some(path) = left.flatten() {
            watch.sink.notice(&Notice::LeftBehind { path: path.display().to_string() });
        }
        if let Some(scrape) = &watch.scrape {
            let address = scrape.address().to_string();
            watch.sink.notice(&Notice::Metrics { address });
        }
        watch.judge.eat(vec![anchor, def]).await?;
        watch.attach().await?;
        Ok(watch)
    }

    /// Puts the probes on the present incarnation.
    async fn attach(&mut self) -> anyhow::Result<()> {
        let mode = self.mode;
        if let Some(tracer) = &mut self.tracer {
            let probing = &self.session.probing;
            let plan = probing.sites().map(SiteProbing::plan).transpose()?;
            for gap in plan.iter().flat_map(|plan| &plan.degraded) {
                let reason = format!("{}: {}", gap.kind.word(), gap.reason);
                self.sink.notice(&Notice::Degraded { reason });
            }
            let min_wait = self.job.min_wait;
            let probes = plan.as_ref().zip(probing.sites());
            let tracee = Tracee {
                process: self.session.process,
                target: probing.target(),
                probes: probes.map(|(plan, sites)| Probes { plan, config: sites.config(min_wait) }),
                threads: threads_mode(probing.threads(), mode),
                min_wait,
            };
            let attached = tracer.attach(&tracee, mode, probing.record_names())?;
            self.session.slot = Some(attached.slot);
            if self.job.calls == Calls::Followed {
                if probing.threads() == Threads::Left {
                    anyhow::bail!(
                        "--syscalls follows system calls of threads: of a Go program give --threads, too"
                    );
                }
                tracer.follow_calls(attached.slot)?;
            }
            self.session.probes = u32::try_from(attached.sites).unwrap_or(u32::MAX);
            if let Some(why) = tracer.process_events_missing() {
                let reason = format!("exec of the target is noticed late: {why}");
                self.sink.notice(&Notice::Degraded { reason });
            }
        }
        let why = "as asked for".into();
        let process = self.session.process;
        let change = Input::ModeChange { process, at: clock::now(), mode, why };
        self.judge.eat(vec![change]).await
    }

    fn anchor(&mut self) -> Input {
        let input = clock::anchor();
        if let Input::ClockAnchor { mono, wall_ns } = &input {
            self.anchored = *mono;
            self.wall_offset = i128::from(*wall_ns) - i128::from(mono.0);
        }
        input
    }

    fn wall(&self, at: KTime) -> WallTime {
        let ns = i128::from(at.0) + self.wall_offset;
        WallTime(i64::try_from(ns).unwrap_or(i64::MAX))
    }

    /// Runs until something ends it.
    async fn serve(&mut self) -> anyhow::Result<Ended> {
        let mut drain = interval(DRAIN_EVERY);
        drain.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = interval(TICK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let limit = self.job.time_limit.map(|limit| Duration::from_nanos(limit.0));
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            self.order_look();
            let due = Instant::now() + clock::until(clock::now(), self.pace.due());
            let wake_for_look = !self.session.looker.under_way();
            let looking = self.session.looker.under_way();
            tokio::select! {
                word = self.signals.next() => return Ok(Ended::Signal(word)),
                () = at(deadline), if deadline.is_some() => return Ok(Ended::Time),
                said = self.judge.said() => {
                    let said = said.context("the thread of the model has ended early")?;
                    self.hear(said).await?;
                }
                answer = self.session.looker.answer(), if looking => {
                    let answer = answer.context("the thread that looks has ended early")?;
                    if let Some(ended) = self.looked(answer).await? {
                        return Ok(ended);
                    }
                }
                gone = self.session.exit.readable() => {
                    gone.context("cannot wait for the target's end")?.retain_ready();
                    return Ok(Ended::Exited);
                }
                full = ring(self.tracer.as_ref()), if self.tracer.is_some() => {
                    full?;
                    self.drain().await?;
                }
                _ = drain.tick(), if self.tracer.is_some() => self.drain().await?,
                _ = tick.tick() => self.tick().await?,
                happened = flying(self.flight.as_mut()), if self.flight.is_some() => {
                    self.flown(happened).await?;
                }
                question = asked(self.scrape.as_mut()), if self.scrape.is_some() => {
                    self.answer(question).await?;
                }
                () = tokio::time::sleep_until(due), if wake_for_look => {}
            }
            if self.replaced() {
                self.reopen().await?;
            }
        }
    }

    fn order_look(&mut self) {
        let enough = self.job.looks.is_some_and(|looks| self.looks_taken >= looks);
        if !enough && clock::now() >= self.pace.due() && self.session.looker.order() {
            self.look_begins();
        }
    }

    async fn hear(&mut self, said: Said) -> anyhow::Result<()> {
        let told = match said {
            Said::Finding(told) => {
                let cause = self.cause_in(&told);
                let told = told.to(self.sink);
                if let Some(cause) = cause {
                    self.freeze(cause).await?;
                }
                told
            }
            Said::Wants(command) => {
                self.obey(&command);
                Ok(())
            }
            Said::Passed(word, why) => {
                self.freeze(Cause::seen(word, why)).await?;
                Ok(())
            }
            Said::RecordingStopped(why) => return self.recording_stopped(why),
        };
        told.context("cannot write what was found")
    }

    fn obey(&mut self, command: &Command) {
        match command {
            Command::NeedSnapshot { process, not_before, .. } => {
                // A diagnosis has so many looks over so long a time: were one of them taken early, it
                // would end before a wait is as long as it must be to be told.
                if *process == self.session.process && self.job.looks.is_none() {
                    self.pace.ask(*not_before);
                }
            }
            // Nobody asks for other probes yet.
            Command::SetMode { .. } => {}
        }
    }

    async fn finish(
        mut self,
        ended: anyhow::Result<Ended>,
    ) -> anyhow::Result<(SummaryView, Option<Written>)> {
        let released = self.release().await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) => {
                let _the_first_error_is_told = self.judge.end_recording(&format!("{why:#}")).await;
                return Err(why);
            }
        };
        released?;
        let process = self.session.process;
        if matches!(ended, Ended::Exited) {
            self.exited().await?;
        } else {
            self.judge.eat(vec![Input::Tick(clock::now())]).await?;
        }
        let mut summary = self.judge.summary(process, ended.words()).await?;
        summary.cost = self.spending.as_ref().map(Spending::view);
        summary.thread_waits = std::mem::take(&mut self.thread_waits);
        summary.thread_calls = std::mem::take(&mut self.thread_calls);
        while let Some(said) = self.judge.said_now() {
            self.hear(said).await?;
        }
        self.land().await?;
        let written = self.judge.end_recording(ended.words()).await?;
        self.landed().await?;
        Ok((summary, written))
    }
}

impl Session {
    fn new(opened: Opened) -> anyhow::Result<(Self, Input)> {
        let exit = readiness(opened.exit.as_fd())?;
        let session = Self {
            process: opened.def.process,
            exit,
            looker: Looker::start(opened.looks, opened.memory, opened.def.process)?,
            probing: opened.probing,
            slot: None,
            probes: 0,
            first_look_told: false,
            failed_looks: 0,
            stopped: None,
            opened_at: opened.def.at,
        };
        Ok((session, Input::ProcessDef(Box::new(opened.def))))
    }
}

/// The richest mode that may come. The probes for waits of threads are at the scheduler, where every
/// program of the machine passes: only who asks for them gets them.
fn ceiling(job: &Job, threads: Threads) -> Mode {
    let free = match threads {
        Threads::Left => Mode::All,
        Threads::Read => Mode::Lifecycle,
    };
    job.budget.map_or(job.mode, |budget| budget.ceiling.unwrap_or(free))
}

/// Which events of threads are followed.
const fn threads_mode(threads: Threads, mode: Mode) -> Mode {
    match threads {
        Threads::Left => Mode::None,
        Threads::Read => mode,
    }
}

async fn at(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

async fn ring(tracer: Option<&Tracer>) -> anyhow::Result<()> {
    match tracer {
        Some(tracer) => tracer.wait().await,
        None => std::future::pending().await,
    }
}

async fn asked(scrape: Option<&mut Scrape>) -> Question {
    match scrape {
        Some(scrape) => scrape.next().await,
        None => std::future::pending().await,
    }
}

async fn flying(flight: Option<&mut Flight>) -> Happened {
    match flight {
        Some(flight) => flight.next().await,
        None => std::future::pending().await,
    }
}
