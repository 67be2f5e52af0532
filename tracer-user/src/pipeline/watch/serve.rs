//! The loop: what it has, how it starts, and what wakes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::base::{KTime, Nanos, Pid, ProcId};
use crate::kernel::HostLives;
use crate::pipeline::flight::{Cause, Flight, Gauge, Happened};
use crate::pipeline::host::Host;
use crate::pipeline::judge::{Judge, Said};
use crate::pipeline::looker::{Heard, Lookers};
use crate::pipeline::open::{Natives, Opened, Opener, SiteProbing};
use crate::pipeline::scrape::{Question, Scrape};
use crate::pipeline::service::Service;
use crate::pipeline::settings::{TargetSettings, Threads, Whom};
use crate::pipeline::signals::{EndSignals, Signal, hangups};
use crate::pipeline::teller::Teller;
use crate::pipeline::tracer::{Probes, Tracee, Tracer};
use crate::record::Recorder;
use crate::stream::{Command, Input, Mode};
use crate::symbolize::SharedInterner;
use crate::view::watch::{Notice, WatchSink};
use crate::view::{FindingCounts, WallTime};

use super::costs::Ledger;
use super::flow::Losses;
use super::many::Happening;
use super::peril::Peril;
use super::session::{Session, ceiling, threads_mode};
use super::{Ended, Job, Reload, clock};

/// The ring is drained at least this often, and what goes by time alone is noticed this late; the
/// kernel part wakes the reader earlier where the ring fills. Each time costs some 30 us whatever is
/// there, for as long as loiter runs.
const TICK_EVERY: Duration = Duration::from_millis(200);
/// The wall clock may be set while a watch runs.
pub(super) const ANCHOR_EVERY: Nanos = Nanos::from_secs(60);
/// What is told once, when the first name found no room.
const NAMES_FULL: &str = "there is no room for more names and stacks: new ones are told as unknown; a loiter that is started anew has room";
/// Threads that look where there are many processes: one may be long at a large one.
const LOOKERS: usize = 2;

pub(super) struct Watch<'a> {
    pub job: Job,
    pub sink: &'a mut dyn WatchSink,
    pub signals: EndSignals,
    /// Each asks for the configuration to be read again.
    pub hangups: Option<Signal>,
    pub reload: Option<Reload>,
    pub service: Service,
    pub judge: Judge,
    pub tracer: Option<Tracer>,
    pub lookers: Lookers,
    pub opener: Opener,
    pub names: SharedInterner,
    /// Whether it was told that there is no room for more names.
    pub names_are_full: bool,
    pub sessions: BTreeMap<ProcId, Session>,
    /// Processes that are being opened.
    pub opening: BTreeMap<Pid, ProcId>,
    /// Of many: those that ran at the start and whose first look is still to come.
    pub unlooked: BTreeSet<Pid>,
    /// Whether any process could be watched so far.
    pub opened_any: bool,
    pub host: Option<Host>,
    pub news: UnboundedReceiver<Happening>,
    pub tell_news: UnboundedSender<Happening>,
    pub ledger: Ledger,
    /// What was lost of nobody in particular.
    pub losses: Losses,
    /// Open when their processes ended.
    pub findings: FindingCounts,
    pub anchored: KTime,
    pub wall_offset: i128,
    pub next_process: u32,
    pub flight: Option<Flight>,
    pub scrape: Option<Scrape>,
    /// How the target would be killed for its memory; only with a flight recorder.
    pub peril: Option<Peril>,
}

impl<'a> Watch<'a> {
    pub async fn start(
        job: Job,
        reload: Option<Reload>,
        sink: &'a mut dyn WatchSink,
    ) -> anyhow::Result<Self> {
        let began = clock::now();
        let signals = EndSignals::new()?;
        let hangups = match &reload {
            Some(_) => Some(hangups()?),
            None => None,
        };
        let names = SharedInterner::default();
        let natives = match &job.whom {
            Whom::Host(host) if host.threads == Threads::Left => Natives::Refused,
            _ => Natives::Opened,
        };
        let opener = Opener::new(job.assume_go(), names.clone(), natives);
        let mut first = opener.clone();
        let opened = match &job.whom {
            Whom::One(target) => Some((*target, first.open(target, ProcId(1))?)),
            Whom::Several(_) | Whom::Host(_) => None,
        };
        let alone = opened.is_some();
        let scrape = job.metrics.clone().map(Scrape::start).transpose()?;
        let threads = match (&opened, &job.whom) {
            (Some((_, opened)), _) => opened.probing.threads(),
            (None, Whom::Host(host)) => host.threads,
            // What has no runtime has threads.
            (None, _) => Threads::Read,
        };
        let ceiling = ceiling(&job.tune, threads);
        let tracer = match ceiling {
            Mode::None if alone => None,
            _ => {
                let threads = threads_mode(threads, ceiling);
                Some(Tracer::load(
                    (job.ring, job.attach),
                    (job.min_wait(), job.tune.calls),
                    threads,
                    host_lives(&job.whom),
                )?)
            }
        };
        let host = match &job.whom {
            Whom::Host(settings) => Some(Host::new((**settings).clone())),
            Whom::One(_) | Whom::Several(_) => None,
        };
        let (flight, left) = job.flight.clone().map(Flight::start).transpose()?.unzip();
        let peril = opened.as_ref().filter(|_| flight.is_some());
        let peril = peril.map(|(target, _)| Peril::of(target.pid));
        let record = match &flight {
            Some(flight) => Some(flight.recorder(job.recorded.clone())),
            None => job.record.clone(),
        };
        let recorder = record.map(Recorder::start).transpose()?;
        let teller = Teller::new(job.detectors.clone(), job.acknowledged.clone());
        let triggers = job.flight.as_ref().map_or(&[][..], |flight| &flight.triggers);
        let judge = Judge::start(teller, recorder, Gauge::of(triggers))?;
        let theirs = opener.clone().planning_ahead();
        let count = if alone { 1 } else { LOOKERS };
        let lookers = Lookers::start(count, move || theirs.clone())?;
        let (tell_news, news) = unbounded_channel();
        let mut watch = Self {
            job,
            sink,
            signals,
            hangups,
            reload,
            service: Service::of_environment(),
            judge,
            tracer,
            lookers,
            opener,
            names,
            names_are_full: false,
            sessions: BTreeMap::new(),
            opening: BTreeMap::new(),
            unlooked: BTreeSet::new(),
            opened_any: false,
            host,
            news,
            tell_news,
            ledger: Ledger::default(),
            losses: Losses::none(),
            findings: FindingCounts::default(),
            anchored: began,
            wall_offset: 0,
            next_process: 1,
            flight,
            scrape,
            peril,
        };
        watch.begin(opened, left.flatten()).await?;
        watch.service.ready();
        Ok(watch)
    }

    async fn begin(
        &mut self,
        opened: Option<(TargetSettings, Opened)>,
        left: Option<std::path::PathBuf>,
    ) -> anyhow::Result<()> {
        let anchor = self.anchor();
        if let Some(path) = left {
            self.sink.notice(&Notice::LeftBehind { path: path.display().to_string() });
        }
        if let Some(notice) = self.scrape.as_ref().and_then(Scrape::notice) {
            self.sink.notice(notice);
        }
        self.judge.eat(vec![anchor]).await?;
        match opened {
            Some((target, opened)) => {
                self.next_process += 1;
                let process = self.take_on(opened, target).await?;
                self.attach(process).await
            }
            None => self.begin_with_many(),
        }
    }

    /// Whether one process is all there is to watch, so that its end is the end.
    pub fn is_alone(&self) -> bool {
        matches!(self.job.whom, Whom::One(_))
    }

    /// The number for a process to come.
    pub fn number(&mut self) -> ProcId {
        let number = ProcId(self.next_process);
        self.next_process = self.next_process.saturating_add(1);
        number
    }

    /// Makes an opened process one of those that are watched.
    pub async fn take_on(
        &mut self,
        opened: Opened,
        target: TargetSettings,
    ) -> anyhow::Result<ProcId> {
        let tune = self.job.tune_of(&opened.def.exe);
        let (session, def) = Session::new(opened, target, tune, self.job.share, &self.tell_news)?;
        let process = session.process;
        self.sessions.insert(process, session);
        self.judge.eat(vec![def]).await?;
        Ok(process)
    }

    /// Puts the probes on an incarnation.
    pub async fn attach(&mut self, process: ProcId) -> anyhow::Result<()> {
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(()) };
        let (mode, mut gaps) = (session.mode, Vec::new());
        if let Some(tracer) = &mut self.tracer {
            let probing = &session.probing;
            let plan = probing.sites().map(SiteProbing::plan).transpose()?;
            for gap in plan.iter().flat_map(|plan| &plan.degraded) {
                gaps.push(format!("{}: {}", gap.kind.word(), gap.reason));
            }
            let min_wait = session.tune.min_wait;
            let probes = plan.as_ref().zip(probing.sites());
            let tracee = Tracee {
                process,
                target: probing.target(),
                probes: probes.map(|(plan, sites)| Probes { plan, config: sites.config(min_wait) }),
                threads: threads_mode(probing.threads(), mode),
                min_wait,
                calls: session.tune.calls,
            };
            let attached = tracer.attach(&tracee, mode, probing.record_names())?;
            session.slot = Some(attached.slot);
            session.probes = u32::try_from(attached.sites).unwrap_or(u32::MAX);
            if let Some(why) = tracer.process_events_missing() {
                gaps.push(format!("exec of the target is noticed late: {why}"));
            }
        }
        for reason in gaps {
            self.tell(process, &Notice::Degraded { reason });
        }
        let why = "as asked for".into();
        let change = Input::ModeChange { process, at: clock::now(), mode, why };
        self.judge.eat(vec![change]).await
    }

    /// Tells something about the tracing of a process.
    pub fn tell(&mut self, process: ProcId, notice: &Notice) {
        match self.sessions.get(&process) {
            Some(session) if !self.is_alone() => self.sink.notice_of(&session.who, notice),
            _ => self.sink.notice(notice),
        }
    }

    /// Feeds the definitions of ids given out since the last time: before their first use.
    pub async fn eat_defs(&mut self) -> anyhow::Result<()> {
        let defs = self.names.take_definitions().into_iter().map(Input::from).collect();
        if !self.names_are_full && self.names.with(|names| names.refused()) > 0 {
            self.names_are_full = true;
            self.sink.notice(&Notice::Degraded { reason: NAMES_FULL.into() });
        }
        self.judge.eat(defs).await
    }

    pub fn anchor(&mut self) -> Input {
        let input = clock::anchor();
        if let Input::ClockAnchor { mono, wall_ns } = &input {
            self.anchored = *mono;
            self.wall_offset = i128::from(*wall_ns) - i128::from(mono.0);
        }
        input
    }

    pub fn wall(&self, at: KTime) -> WallTime {
        let ns = i128::from(at.0) + self.wall_offset;
        WallTime(i64::try_from(ns).unwrap_or(i64::MAX))
    }

    /// Runs until something ends it.
    pub async fn serve(&mut self) -> anyhow::Result<Ended> {
        let mut tick = interval(TICK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let limit = self.job.time_limit.map(|limit| Duration::from_nanos(limit.0));
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let due = self.order_looks();
            let ended = tokio::select! {
                word = self.signals.next() => Some(Ended::Signal(word)),
                () = at(deadline), if deadline.is_some() => Some(Ended::Time),
                said = self.judge.said() => {
                    let said = said.context("the thread of the model has ended early")?;
                    self.hear(said).await?;
                    None
                }
                heard = self.lookers.heard() => {
                    let heard = heard.context("the thread that looks has ended early")?;
                    self.heard(heard).await?
                }
                news = self.news.recv() => match news {
                    Some(news) => self.happened(news).await?,
                    None => None,
                },
                full = ring(self.tracer.as_ref()), if self.tracer.is_some() => {
                    full?;
                    self.drain().await?;
                    None
                }
                _ = tick.tick() => {
                    self.drain().await?;
                    self.tick().await?;
                    self.note_first_looks();
                    self.service.alive();
                    None
                }
                () = hung_up(self.hangups.as_mut()), if self.hangups.is_some() => {
                    self.reload().await?;
                    None
                }
                happened = flying(self.flight.as_mut()), if self.flight.is_some() => {
                    self.flown(happened).await?;
                    None
                }
                question = asked(self.scrape.as_mut()), if self.scrape.is_some() => {
                    self.answer(question).await?;
                    None
                }
                () = at(due), if due.is_some() => None,
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
            self.follow_lives().await?;
            self.mind_host();
            if self.is_done() {
                return Ok(Ended::Exited);
            }
        }
    }

    /// Orders the looks that are due; gives when the next one is.
    fn order_looks(&mut self) -> Option<Instant> {
        let (now, most) = (clock::now(), self.job.looks);
        let alone = self.is_alone();
        let mut next: Option<KTime> = None;
        for session in self.sessions.values_mut().filter(|session| !session.looking()) {
            let due = session.pace.due();
            if most.is_some_and(|most| session.looks_taken >= most) {
                continue;
            }
            if now < due {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            if let Some(eyes) = session.eyes.take() {
                if alone && let Some(spending) = &mut session.spending {
                    spending.look_begins();
                }
                self.lookers.look(eyes);
            }
        }
        next.map(|due| Instant::now() + clock::until(now, due))
    }

    async fn heard(&mut self, heard: Heard) -> anyhow::Result<Option<Ended>> {
        match heard {
            Heard::Part(process, inputs) => {
                if self.sessions.contains_key(&process) {
                    self.eat_defs().await?;
                    self.judge.eat(inputs).await?;
                }
                Ok(None)
            }
            Heard::Looked(look) => self.looked(*look).await,
            Heard::HeldUp(process) => {
                self.held_up(process).await?;
                Ok(None)
            }
            Heard::Opened(process, target, opened) => {
                self.opened(process, target, opened).await?;
                Ok(None)
            }
        }
    }

    pub async fn hear(&mut self, said: Said) -> anyhow::Result<()> {
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
                if self.job.looks.is_none()
                    && let Some(session) = self.sessions.get_mut(process)
                {
                    session.pace.ask(*not_before);
                }
            }
            // Nobody asks for other probes yet.
            Command::SetMode { .. } => {}
        }
    }

    /// The session of a process by its PID.
    pub fn session_of(&self, pid: Pid) -> Option<ProcId> {
        let found = self.sessions.values().find(|session| session.target.pid == pid);
        found.map(|session| session.process)
    }

    /// All slots in use.
    pub fn slots(&self) -> Vec<u16> {
        self.sessions.values().filter_map(|session| session.slot).collect()
    }
}

/// What must be known of processes that are not watched yet.
const fn host_lives(whom: &Whom) -> HostLives {
    match whom {
        Whom::Host(host) => match host.threads {
            Threads::Left => HostLives::Execs,
            Threads::Read => HostLives::ExecsAndForks,
        },
        Whom::One(_) | Whom::Several(_) => HostLives::Untold,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
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

async fn hung_up(signal: Option<&mut Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

async fn flying(flight: Option<&mut Flight>) -> Happened {
    match flight {
        Some(flight) => flight.next().await,
        None => std::future::pending().await,
    }
}
