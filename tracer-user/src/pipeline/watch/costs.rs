//! The watch and its budget: measures, changes the probes, and says so.

use crate::base::{KTime, Nanos, Pid};
use crate::pipeline::budget::{
    Budget, Hits, Meter, Policy, Rhythm, Sample, Stay, Turn, own_cpu_time,
};
use crate::pipeline::scrape::Question;
use crate::stream::{Input, Mode};
use crate::view::CostView;
use crate::view::metrics::RatesView;
use crate::view::watch::Notice;

use super::{Tracer, Watch, clock, threads_mode};

/// So much of the budget looks may take; the rest is for probes.
const FOR_LOOKS: f64 = 0.5;
/// That looks come less often than asked for is told from here on, as a multiple of their interval.
const TELL_RARE_LOOKS: u64 = 2;

/// What is spent, and what may be.
pub(super) struct Spending {
    policy: Policy,
    meter: Meter,
    pid: Pid,
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
    pub(super) async fn answer(&mut self, question: Question) -> anyhow::Result<()> {
        // Nobody waiting for the answer any more is no error.
        match question {
            Question::Ready(answer) => {
                let _ = answer.send(self.session.first_look_told);
            }
            Question::Metrics(answer) => {
                let mut view = self.judge.metrics(self.session.process).await?;
                if let (Some(view), Some(spending)) = (&mut view, &self.spending) {
                    (view.cost, view.rates) = (Some(spending.view()), Some(spending.rates()));
                }
                let _ = answer.send(view.into_iter().collect());
            }
        }
        Ok(())
    }

    /// Measures what tracing costs, and takes probes off or puts them on as the budget says.
    /// What follows from that for the model is left to [`Watch::tell_turns`], so that a model that is
    /// behind does not keep the probes on.
    pub(super) fn mind_budget(&mut self) -> anyhow::Result<()> {
        let Some(spending) = &mut self.spending else { return Ok(()) };
        let hits = match (&self.tracer, self.session.slot) {
            (Some(tracer), Some(slot)) => tracer.hits(slot)?,
            _ => Hits::default(),
        };
        let Some(sample) = spending.meter.read(clock::now(), hits) else { return Ok(()) };
        spending.add(&sample);
        let turn = spending.policy.note(sample);
        self.pace.allow(spending.policy.account().allowed * FOR_LOOKS);
        match turn {
            Some(turn) => self.turn(turn),
            None => Ok(()),
        }
    }

    fn turn(&mut self, turn: Turn) -> anyhow::Result<()> {
        let (Some(tracer), Some(slot)) = (&mut self.tracer, self.session.slot) else {
            return Ok(());
        };
        let (before, began) = (self.mode, clock::now());
        let probing = &self.session.probing;
        let set = |tracer: &mut Tracer, mode| {
            let sites = if probing.sites().is_some() { mode } else { Mode::None };
            tracer.set_mode(slot, sites, threads_mode(probing.threads(), mode))
        };
        if let Err(why) = set(tracer, turn.mode) {
            // What was on before costs what it did; it stays, or comes back.
            set(tracer, before)?;
            if let Some(spending) = &mut self.spending {
                spending.policy.stays(before, clock::now());
            }
            let reason = format!("events {} cannot be followed now: {why:#}", turn.mode.word());
            self.sink.notice(&Notice::Degraded { reason });
            return Ok(());
        }
        self.mode = turn.mode;
        let at = if turn.mode < before { began } else { clock::now() };
        self.announce(at, &turn);
        self.turns.push((at, turn));
        Ok(())
    }

    /// A change that stays is told, and that moments will come again and again; not each of them.
    fn announce(&mut self, at: KTime, turn: &Turn) {
        let (at, why) = (self.wall(at), turn.why.clone());
        match turn.stay {
            Stay::Long => {
                if let Some(spending) = &mut self.spending {
                    spending.changes = spending.changes.saturating_add(1);
                }
                self.sink.notice(&Notice::ModeChanged { at, mode: turn.mode, why });
            }
            Stay::Rhythm(Rhythm { moment, every }) => {
                self.sink.notice(&Notice::Sampled { at, moment, every, why });
            }
            Stay::Moment => {}
        }
    }

    /// Tells the model that the probes were changed, after what the probes told as they
    /// were: the ring was drained since.
    pub(super) async fn tell_turns(&mut self) -> anyhow::Result<()> {
        let process = self.session.process;
        for (at, Turn { mode, why, .. }) in std::mem::take(&mut self.turns) {
            let change = Input::ModeChange { process, at, mode, why: why.into() };
            self.judge.eat(vec![change]).await?;
        }
        Ok(())
    }

    /// A look was ordered.
    pub(super) fn look_begins(&mut self) {
        if let Some(spending) = &mut self.spending {
            spending.look_began = own_cpu_time();
        }
    }

    /// A look is there. The first one is part of the start, which is paid once.
    pub(super) fn look_ends(&mut self, took: Nanos) {
        let now = clock::now();
        let Some(spending) = &mut self.spending else {
            self.pace.looked(now, took, Nanos(0));
            return;
        };
        let spent = Nanos(own_cpu_time().0.saturating_sub(spending.look_began.0));
        let first = !std::mem::replace(&mut spending.looked, true);
        self.pace.looked(now, took, if first { Nanos(0) } else { spent });
        let wait = self.pace.held_back();
        let rare = wait.0 > self.job.interval.0.saturating_mul(TELL_RARE_LOOKS);
        if rare && !std::mem::replace(&mut spending.rare_looks_told, true) {
            let reason = format!(
                "a look costs {spent} of processor time, so that looks come every {wait} or so, to keep the budget"
            );
            self.sink.notice(&Notice::Degraded { reason });
        }
    }
}
