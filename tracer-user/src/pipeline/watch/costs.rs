//! The watch and its budget: measures, changes the probes, and says so. With many processes each
//! has its own budget, and is charged its part of what loiter uses.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{KTime, Nanos, Pid, ProcId};
use crate::pipeline::budget::{
    Account, Budget, Hits, Meter, Policy, Rhythm, Sample, Stay, Turn, own_cpu_time,
};
use crate::pipeline::pace::Activity;
use crate::pipeline::scrape::{Question, Scrape};
use crate::pipeline::thread_waits;
use crate::stream::{Input, Mode};
use crate::view::CostView;
use crate::view::metrics::{MetricsView, RatesView};
use crate::view::watch::Notice;

use super::clock;
use super::serve::Watch;
use super::session::{Session, threads_mode};
use crate::pipeline::tracer::Tracer;

/// So much of the budget looks may take; the rest is for probes.
const FOR_LOOKS: f64 = 0.5;
/// That looks come less often than asked for is told from here on, as a multiple of their interval.
const TELL_RARE_LOOKS: u64 = 2;

/// Between two measurements at least this.
const MEASURE_EVERY: Nanos = Nanos::from_millis(100);
/// A process in which little happens is measured this often where there are many: reading its times
/// costs more than what is measured.
const QUIET_EVERY: Nanos = Nanos::from_secs(1);
/// So many hits are little.
const FEW_HITS: u64 = 500;
/// What a process costs beside its records, in records: its part of the ticks.
const BASE: u64 = 50;

/// A process with no more hits a second than these, which uses no more of a CPU, is at rest. What its
/// threads use is told in hundredths of a second.
const REST_HITS: f64 = 50.0;
const REST_WORK: f64 = 0.02;

/// Whether anything happens in a process, by what is known of its last second.
fn activity(mode: Mode, account: &Account) -> Activity {
    let rests = mode == Mode::All && account.hits <= REST_HITS && account.work <= REST_WORK;
    if rests { Activity::Rests } else { Activity::Stirs }
}

/// What loiter itself uses, shared out among those it uses it for.
#[derive(Default)]
pub(super) struct Ledger {
    last: Option<(KTime, Nanos)>,
}

impl Ledger {
    /// What was used since the last time; None if that was just now.
    fn next(&mut self, now: KTime) -> Option<Nanos> {
        if self.last.is_some_and(|(at, _)| now.since(at) < MEASURE_EVERY) {
            return None;
        }
        let used = own_cpu_time();
        let before = self.last.replace((now, used)).map_or(used, |(_, used)| used);
        Some(Nanos(used.0.saturating_sub(before.0)))
    }
}

/// Charges each with the looks at it, and the rest by the records that came from it.
fn share_out(used: Nanos, sessions: &mut BTreeMap<ProcId, Session>) {
    let sum = |of: fn(&Charge) -> u64| {
        sessions.values().fold(0u64, |sum, session| sum.saturating_add(of(&session.charge)))
    };
    let (looked, records) = (sum(|charge| charge.looked.0), sum(Charge::records));
    let rest = used.0.saturating_sub(looked) as f64;
    for charge in sessions.values_mut().map(|session| &mut session.charge) {
        let part = rest * charge.records() as f64 / records.max(1) as f64;
        // What looks took is told at their end, and was counted before that.
        let looked = charge.looked.0 as f64 * (used.0 as f64 / looked.max(1) as f64).min(1.0);
        charge.all.0 = charge.all.0.saturating_add((part + looked) as u64);
        (charge.looked, charge.told) = (Nanos(0), charge.hits);
    }
}

/// What loiter has used for one process.
#[derive(Default)]
pub(super) struct Charge {
    /// By looks, since it was last shared out.
    pub looked: Nanos,
    /// Hits so far, and when it was last shared out.
    hits: u64,
    told: u64,
    /// All of it.
    all: Nanos,
}

impl Charge {
    /// Those since it was last shared out; the counter begins anew with the probes.
    const fn records(&self) -> u64 {
        BASE.saturating_add(match self.hits.checked_sub(self.told) {
            Some(more) => more,
            None => self.hits,
        })
    }
}

/// What is spent, and what may be.
pub(super) struct Spending {
    policy: Policy,
    meter: Meter,
    pid: Pid,
    measured: Option<(KTime, u64)>,
    look_began: Nanos,
    looked: bool,
    rare_looks_told: bool,
    hits: u64,
    /// Processor time of the probes, ns.
    probes: f64,
    loiter: Nanos,
    target: Nanos,
    over: Nanos,
    changes: u32,
}

impl Spending {
    pub fn new(budget: Budget, ceiling: Mode, mode: Mode, pid: Pid) -> Self {
        Self {
            policy: Policy::new(budget, ceiling, mode),
            meter: Meter::new(pid),
            pid,
            measured: None,
            look_began: Nanos(0),
            looked: false,
            rare_looks_told: false,
            hits: 0,
            probes: 0.0,
            loiter: Nanos(0),
            target: Nanos(0),
            over: Nanos(0),
            changes: 0,
        }
    }

    /// The probes are on another image, and its counters begin at nothing.
    pub fn begin_again(&mut self) {
        self.meter = Meter::new(self.pid);
        self.looked = false;
    }

    /// Other limits from now on.
    pub fn allow(&mut self, budget: Budget, ceiling: Mode, mode: Mode) {
        self.policy = Policy::new(budget, ceiling, mode);
    }

    /// A look was ordered.
    pub fn look_begins(&mut self) {
        self.look_began = own_cpu_time();
    }

    /// Whether so little has happened that it need not be measured yet.
    fn is_quiet(&mut self, now: KTime, hits: u64) -> bool {
        let quiet = self.measured.is_some_and(|(at, before)| {
            now.since(at) < QUIET_EVERY && hits.saturating_sub(before) < FEW_HITS
        });
        if !quiet {
            self.measured = Some((now, hits));
        }
        quiet
    }

    fn add(&mut self, sample: &Sample) {
        let add = |sum: &mut Nanos, more: Nanos| sum.0 = sum.0.saturating_add(more.0);
        self.hits = self.hits.saturating_add(sample.hits.all());
        self.probes += sample.hits.all() as f64 * self.policy.account().hit_ns;
        add(&mut self.loiter, sample.loiter);
        add(&mut self.target, sample.user);
        add(&mut self.target, sample.system);
        add(&mut self.over, sample.over);
    }

    fn rates(&self) -> RatesView {
        let account = self.policy.account();
        RatesView { allowed: account.allowed, probes: account.target, loiter: account.loiter }
    }

    pub fn view(&self) -> CostView {
        CostView {
            budget: self.policy.budget().part(),
            hits: self.hits,
            probes: Nanos(self.probes as u64),
            loiter: self.loiter,
            target: self.target,
            over: self.over,
            changes: self.changes,
        }
    }
}

impl Watch<'_> {
    /// Answers who gathers metrics.
    pub async fn answer(&mut self, question: Question) -> anyhow::Result<()> {
        // Nobody waiting for the answer any more is no error.
        match question {
            Question::Ready(answer) => {
                let _ = answer.send(self.is_ready());
            }
            Question::Metrics(answer) => {
                let _ = answer.send(self.metrics().await?);
            }
        }
        Ok(())
    }

    /// Whether all tasks are known. Of many processes, of those that ran at the start, and then for good:
    /// new ones come all the time.
    fn is_ready(&mut self) -> bool {
        if self.is_alone() {
            return self.sessions.values().all(|session| session.first_look_told);
        }
        self.note_first_looks();
        self.unlooked.is_empty()
    }

    /// Whose first look was told, who was refused, found no room or is gone, is not waited for any more.
    pub fn note_first_looks(&mut self) {
        if self.unlooked.is_empty() {
            return;
        }
        let unlooked = self.sessions.values().filter(|session| !session.first_look_told);
        let watched: BTreeSet<Pid> = unlooked.map(|session| session.target.pid).collect();
        let (opening, host) = (&self.opening, &self.host);
        self.unlooked.retain(|pid| {
            let expected = || host.as_ref().is_some_and(|host| host.expects(*pid));
            watched.contains(pid) || opening.contains_key(pid) || expected()
        });
    }

    /// The numbers of all processes.
    async fn metrics(&mut self) -> anyhow::Result<Vec<MetricsView>> {
        let (mut views, alone) = (Vec::with_capacity(self.sessions.len()), self.is_alone());
        for (process, session) in &self.sessions {
            let Some(mut view) = self.judge.metrics(*process).await? else { continue };
            if let Some(spending) = &session.spending {
                (view.cost, view.rates) = (Some(spending.view()), Some(spending.rates()));
            }
            if let (Some(tracer), Some(slot)) = (&self.tracer, session.slot) {
                thread_waits::put(tracer.wait_totals(slot)?, &mut view.waits);
            }
            if alone {
                view.take_all_losses();
            }
            views.push(view);
        }
        Ok(views)
    }

    /// At the end: sends the numbers once more, to whom they are sent.
    pub async fn tell_last_metrics(&mut self) -> anyhow::Result<()> {
        if self.scrape.as_ref().is_some_and(Scrape::wants_last) {
            self.drain().await?;
            let views = self.metrics().await?;
            if let Some(scrape) = &self.scrape {
                scrape.tell_last(&views);
            }
        }
        Ok(())
    }

    /// Measures what tracing costs, and takes probes off or puts them on as the budgets say.
    /// What follows from that for the model is left to [`Watch::tell_turns`], so that a model that is
    /// behind does not keep the probes on.
    pub fn mind_budget(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let Some(used) = self.ledger.next(now) else { return Ok(()) };
        let mut hits = BTreeMap::new();
        for (process, session) in &mut self.sessions {
            let of_probes = match (&mut self.tracer, session.slot) {
                (Some(tracer), Some(slot)) => tracer.hits(slot, now)?,
                _ => Hits::default(),
            };
            session.charge.hits = of_probes.all();
            hits.insert(*process, of_probes);
        }
        share_out(used, &mut self.sessions);
        hits.into_iter().try_for_each(|(process, hits)| self.mind(process, hits, now))
    }

    fn mind(&mut self, process: ProcId, hits: Hits, now: KTime) -> anyhow::Result<()> {
        let alone = self.is_alone();
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(()) };
        let Some(spending) = &mut session.spending else { return Ok(()) };
        if !alone && spending.is_quiet(now, hits.all()) {
            return Ok(());
        }
        let Some(sample) = spending.meter.read(now, hits, session.charge.all) else {
            return Ok(());
        };
        spending.add(&sample);
        let turn = spending.policy.note(sample);
        let account = spending.policy.account();
        session.pace.allow(account.allowed * FOR_LOOKS);
        session.pace.note(activity(session.mode, &account));
        match turn {
            Some(turn) => self.turn(process, turn),
            None => Ok(()),
        }
    }

    fn turn(&mut self, process: ProcId, turn: Turn) -> anyhow::Result<()> {
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(()) };
        let (Some(tracer), Some(slot)) = (&mut self.tracer, session.slot) else {
            return Ok(());
        };
        let (before, began) = (session.mode, clock::now());
        let probing = &session.probing;
        let set = |tracer: &mut Tracer, mode| {
            let sites = if probing.sites().is_some() { mode } else { Mode::None };
            tracer.set_mode(slot, sites, threads_mode(probing.threads(), mode))
        };
        if let Err(why) = set(tracer, turn.mode) {
            // What was on before costs what it did; it stays, or comes back.
            let back = set(tracer, before);
            if let Some(spending) = &mut session.spending {
                spending.policy.stays(before, clock::now());
            }
            if self.is_alone() {
                back?;
            }
            let reason = format!("events {} cannot be followed now: {why:#}", turn.mode.word());
            self.tell(process, &Notice::Degraded { reason });
            return Ok(());
        }
        session.mode = turn.mode;
        let at = if turn.mode < before { began } else { clock::now() };
        session.turns.push((at, turn.clone()));
        self.announce(process, at, turn);
        Ok(())
    }

    /// Changes the probes because somebody asked for that.
    pub fn set_mode(&mut self, process: ProcId, mode: Mode, why: &str) -> anyhow::Result<()> {
        self.turn(process, Turn { mode, why: why.to_owned(), stay: Stay::Long })
    }

    /// A change that stays is told, and that moments will come again and again; not each of them.
    fn announce(&mut self, process: ProcId, at: KTime, turn: Turn) {
        let (at, Turn { mode, why, stay }) = (self.wall(at), turn);
        match stay {
            Stay::Long => {
                let session = self.sessions.get_mut(&process);
                if let Some(spending) = session.and_then(|session| session.spending.as_mut()) {
                    spending.changes = spending.changes.saturating_add(1);
                }
                self.tell(process, &Notice::ModeChanged { at, mode, why });
            }
            Stay::Rhythm(Rhythm { moment, every }) => {
                self.tell(process, &Notice::Sampled { at, moment, every, why });
            }
            Stay::Moment => {}
        }
    }

    /// Tells the model that the probes were changed, after what the probes told as they
    /// were: the ring was drained since.
    pub async fn tell_turns(&mut self) -> anyhow::Result<()> {
        let mut changes = Vec::new();
        for (process, session) in &mut self.sessions {
            for (at, Turn { mode, why, .. }) in session.turns.drain(..) {
                changes.push(Input::ModeChange { process: *process, at, mode, why: why.into() });
            }
        }
        self.judge.eat(changes).await
    }

    /// A look is there. The first one is part of the start, which is paid once.
    pub fn look_ends(&mut self, process: ProcId, took: Nanos, read: Nanos) {
        let (now, alone) = (clock::now(), self.is_alone());
        let Some(session) = self.sessions.get_mut(&process) else { return };
        session.charge.looked.0 = session.charge.looked.0.saturating_add(read.0);
        let Some(spending) = &mut session.spending else {
            session.pace.looked(now, took, Nanos(0));
            return;
        };
        // Of one process, what the model makes of a look belongs to it as well.
        let all = Nanos(own_cpu_time().0.saturating_sub(spending.look_began.0));
        let spent = if alone { all } else { read };
        let first = !std::mem::replace(&mut spending.looked, true);
        session.pace.looked(now, took, if first { Nanos(0) } else { spent });
        let wait = session.pace.held_back();
        let rare = wait.0 > session.tune.interval.0.saturating_mul(TELL_RARE_LOOKS);
        if rare && !std::mem::replace(&mut spending.rare_looks_told, true) {
            let reason = format!(
                "a look costs {spent} of processor time, so that looks come every {wait} or so, to keep the budget"
            );
            self.tell(process, &Notice::Degraded { reason });
        }
    }
}
