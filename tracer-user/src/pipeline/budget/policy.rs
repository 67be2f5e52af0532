//! Which probes may be on: the richest mode whose cost stays within the budget. A state machine
//! over samples; no clock, no I/O.
//!
//! Down goes at once, up slowly. What a richer mode would cost is foretold from what its probes were
//! hit when they were last on, for each second that the target was at work; where that cannot be known
//! the mode is tried, and tried again ever more rarely where it proved too dear. What is too dear to stay
//! is on for a moment now and then, where that fits: see [`sampling`](super::sampling).

use std::collections::VecDeque;

use crate::base::{KTime, Nanos};
use crate::stream::Mode;

use super::calibration::{Calibration, Prior};
use super::sampling::{Due, Rhythm, Sampling};

/// A part of processor time, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Budget(u32);

impl Budget {
    /// One hundredth: of one CPU, or of what the target uses if that is more.
    pub const DEFAULT: Budget = Budget(10_000);

    /// So many millionths; None for nothing, and for more than all.
    pub fn from_millionths(n: u32) -> Option<Budget> {
        (1..=1_000_000).contains(&n).then_some(Budget(n))
    }

    /// In millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// As a part of one.
    pub fn part(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// Costs are held against the budget over this.
const WINDOW: Nanos = Nanos::from_secs(1);
/// Over so short a time a cost of [`FLAGRANT`] budgets is enough.
const SHORT: Nanos = Nanos::from_millis(350);
const FLAGRANT: f64 = 3.0;
/// A richer mode must fit into this part of the budget: what just fits would not fit for long.
const ROOMY: f64 = 0.5;
/// For so long it must have been quiet; after each time that a mode was soon given up again twice that.
const QUIET: Nanos = Nanos::from_secs(5);
/// At most.
const QUIET_MOST: Nanos = Nanos::from_secs(80);
/// A mode that cost too much is tried without a promise after so many times that.
const RETRY: u64 = 12;
/// A mode that was held for so long has not failed.
const HELD: Nanos = Nanos::from_secs(60);
/// What loiter does beside the probes (looks, waking up) leaves at least this part of the budget to them.
const LEAST_FOR_PROBES: f64 = 0.25;
/// Below this much work of the target in a window hits for each second of work say nothing.
const LEAST_WORK: Nanos = Nanos::from_millis(20);
/// Parks, runs and wake-ups for each birth and death, where they were never on: as on a web server.
const WAITS_A_LIFE: f64 = 4.0;
/// Samples of the start are not counted: loading and attaching are paid once.
const WARM_UP: Nanos = Nanos::from_secs(2);

/// Hits in an interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hits {
    /// Of births and deaths.
    pub lifecycle: u64,
    /// Of parks, runs and wake-ups.
    pub waits: u64,
}

impl Hits {
    /// Of all of them.
    pub const fn all(self) -> u64 {
        self.lifecycle.saturating_add(self.waits)
    }
}

/// What happened in an interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Its end.
    pub at: KTime,
    /// Its length.
    pub over: Nanos,
    /// Hits of the probes.
    pub hits: Hits,
    /// Time that the target's threads ran its own code.
    pub user: Nanos,
    /// Time that they ran in the kernel, in traps too.
    pub system: Nanos,
    /// Processor time of loiter.
    pub loiter: Nanos,
}

/// Another mode is to be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Which.
    pub mode: Mode,
    /// Why, in words.
    pub why: String,
    /// Whether it is for long.
    pub stay: Stay,
}

/// Whether a mode is taken for long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stay {
    /// Until something changes.
    Long,
    /// The first of the moments that come in this rhythm from now on.
    Rhythm(Rhythm),
    /// A moment, or the end of one.
    Moment,
}

/// What it costs and what it may cost, each as a part of one CPU, over the last second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Account {
    /// What it may cost.
    pub allowed: f64,
    /// What the probes take of the target's own time.
    pub target: f64,
    /// What loiter takes.
    pub loiter: f64,
    /// What the target's threads use, probes and all.
    pub work: f64,
    /// Hits a second.
    pub hits: f64,
    /// What a hit costs the target, ns.
    pub hit_ns: f64,
}

/// What is known of the probes of one step from mode to mode.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Hits for each ns that the target was at work, when they were last on.
    rate: Option<f64>,
    /// They were given up then.
    given_up: Option<KTime>,
    /// How long it must be quiet before.
    patience: Nanos,
}

impl Step {
    const NEW: Step = Step { rate: None, given_up: None, patience: QUIET };
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Policy {
    budget: Budget,
    ceiling: Mode,
    mode: Mode,
    since: KTime,
    began: Option<KTime>,
    samples: VecDeque<Sample>,
    target: Calibration,
    loiter: Calibration,
    /// Births and deaths; parks, runs and wake-ups.
    steps: [Step; 2],
    quiet_since: Option<KTime>,
    sampling: Sampling,
}

impl Policy {
    /// Begins in `mode`; never richer than `ceiling`.
    pub fn new(budget: Budget, ceiling: Mode, mode: Mode) -> Self {
        Self {
            budget,
            ceiling,
            mode: mode.min(ceiling),
            since: KTime(0),
            began: None,
            samples: VecDeque::new(),
            target: Calibration::new(Prior::TARGET),
            loiter: Calibration::new(Prior::LOITER),
            steps: [Step::NEW; 2],
            quiet_since: None,
            sampling: Sampling::default(),
        }
    }

    /// The mode that is to be on.
    pub fn mode(&self) -> Mode {
        if self.sampling.is_on() { Mode::All } else { self.mode }
    }

    /// The budget.
    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// What it costs at present.
    pub fn account(&self) -> Account {
        let sum = Sum::of(self.samples.iter());
        let hits = sum.hits.all() as f64 / sum.seconds();
        let hit_ns = self.target.cost(hits);
        Account {
            allowed: self.allowed(&sum),
            target: hits * hit_ns / 1e9,
            loiter: sum.loiter / sum.over,
            work: sum.work / sum.over,
            hits,
            hit_ns,
        }
    }

    /// The probes could not be changed to what was wanted: these are on.
    pub fn stays(&mut self, mode: Mode, at: KTime) {
        let of_a_moment = self.sampling.is_on() && mode == self.mode;
        self.give_up(mode, at);
        self.enter(mode, at);
        if of_a_moment {
            self.sampling.refuse();
        }
    }

    /// Takes in what happened in the last interval.
    pub fn note(&mut self, sample: Sample) -> Option<Turn> {
        let began = *self.began.get_or_insert(sample.at);
        self.target.note(sample.over, sample.user, sample.hits.all(), sample.system);
        if sample.at.since(began) < WARM_UP {
            self.samples.push_back(Sample { loiter: Nanos(0), ..sample });
        } else {
            self.loiter.note(sample.over, sample.over, sample.hits.all(), sample.loiter);
            self.samples.push_back(sample);
        }
        while self.samples.len() > 1 && self.window().saturating_sub(self.first()) >= WINDOW.0 {
            self.samples.pop_front();
        }
        self.learn();
        if self.sampling.is_on() {
            return self.end_moment(sample.at);
        }
        let turn = self.fall(sample.at).or_else(|| self.rise(sample.at));
        turn.or_else(|| self.begin_moment(sample.at))
    }

    /// All events for a moment, if that is what fits.
    fn begin_moment(&mut self, now: KTime) -> Option<Turn> {
        if self.mode == Mode::All || self.ceiling != Mode::All || !self.whole_window() {
            return None;
        }
        let sum = Sum::of(self.samples.iter());
        let all = self.all_hits()? * sum.work;
        let part = self.part(all, &sum);
        let stay = match self.sampling.begin(now, part, self.room(&sum))? {
            Due::Moment(stay) => stay,
            Due::End => return Some(self.end_moments(now, part)),
        };
        self.samples.clear();
        let why = format!("they would take {} of a CPU", percent(part));
        Some(Turn { mode: Mode::All, why, stay })
    }

    fn end_moment(&mut self, now: KTime) -> Option<Turn> {
        self.sampling.end(now)?;
        self.samples.clear();
        Some(Turn {
            mode: self.mode,
            why: "a moment's events are taken".into(),
            stay: Stay::Moment,
        })
    }

    /// No moments any more. What they told grows old from now on, so that it is tried again some time
    /// what the probes cost.
    fn end_moments(&mut self, now: KTime, part: f64) -> Turn {
        for (step, mode) in self.steps.iter_mut().zip(STEPS) {
            if mode > self.mode {
                step.given_up = Some(now);
            }
        }
        let why = format!(
            "all events would take {} of a CPU, too dear even for moments, which end",
            percent(part)
        );
        Turn { mode: self.mode, why, stay: Stay::Long }
    }

    /// Hits of all probes for each ns of work.
    fn all_hits(&self) -> Option<f64> {
        let [lifecycle, waits] = self.steps.map(|step| step.rate);
        match (lifecycle, waits) {
            (Some(lifecycle), Some(waits)) => Some(lifecycle + waits),
            (Some(lifecycle), None) => Some(lifecycle * (1.0 + WAITS_A_LIFE)),
            (None, _) => None,
        }
    }

    fn whole_window(&self) -> bool {
        self.window() as f64 >= WINDOW.0 as f64 * 0.75
    }

    fn window(&self) -> u64 {
        self.samples.iter().fold(0u64, |sum, s| sum.saturating_add(s.over.0))
    }

    fn first(&self) -> u64 {
        self.samples.front().map_or(0, |s| s.over.0)
    }

    /// How often the probes that are on are hit for each ns that the target works.
    fn learn(&mut self) {
        let sum = Sum::of(self.samples.iter());
        if sum.work < LEAST_WORK.0 as f64 {
            return;
        }
        let on = self.mode();
        let hits = [sum.hits.lifecycle, sum.hits.waits];
        for (step, (mode, hits)) in self.steps.iter_mut().zip(STEPS.into_iter().zip(hits)) {
            if on >= mode {
                step.rate = Some(hits as f64 / sum.work);
            }
        }
    }

    /// What may be spent in all, as a part of one CPU.
    fn allowed(&self, sum: &Sum) -> f64 {
        self.budget.part() * (sum.work / sum.over).max(1.0)
    }

    /// What may be spent on probes.
    fn room(&self, sum: &Sum) -> f64 {
        let allowed = self.allowed(sum);
        let hits = sum.hits.all() as f64;
        let records = hits * self.loiter.cost(hits / sum.seconds());
        let beside = (sum.loiter - records).max(0.0) / sum.over;
        (allowed - beside).max(allowed * LEAST_FOR_PROBES)
    }

    /// What so many hits in the time of `sum` cost, target and loiter together, as a part of one CPU.
    fn part(&self, hits: f64, sum: &Sum) -> f64 {
        let rate = hits / sum.seconds();
        rate * (self.target.cost(rate) + self.loiter.cost(rate)) / 1e9
    }

    fn fall(&mut self, now: KTime) -> Option<Turn> {
        if self.mode == Mode::None {
            return None;
        }
        let over_all = Sum::of(self.samples.iter());
        let lately = Sum::of(self.latest());
        let spent = |sum: &Sum| self.part(sum.hits.all() as f64, sum);
        let long = self.whole_window() && spent(&over_all) > self.room(&over_all);
        let flagrant =
            lately.over >= SHORT.0 as f64 * 0.9 && spent(&lately) > self.room(&lately) * FLAGRANT;
        if !long && !flagrant {
            return None;
        }
        let sum = if flagrant { lately } else { over_all };
        let lifecycle = self.part(sum.hits.lifecycle as f64, &sum);
        let fits = self.mode == Mode::All && lifecycle < self.room(&sum) * 0.8;
        let mode = if fits { Mode::Lifecycle } else { Mode::None };
        let why = format!(
            "over the budget: {:.0} hits/s take {} of a CPU, {} are allowed",
            sum.hits.all() as f64 / sum.seconds(),
            percent(spent(&sum)),
            percent(self.room(&sum)),
        );
        self.give_up(mode, now);
        self.enter(mode, now);
        Some(Turn { mode, why, stay: Stay::Long })
    }

    /// The newest samples that make up a short time.
    fn latest(&self) -> impl Iterator<Item = &Sample> {
        let mut over = 0u64;
        self.samples.iter().rev().take_while(move |sample| {
            let more = over < SHORT.0;
            over = over.saturating_add(sample.over.0);
            more
        })
    }

    /// Notes that everything richer than `mode` is too dear at present.
    fn give_up(&mut self, mode: Mode, now: KTime) {
        let held = now.since(self.since) >= HELD;
        for (step, of) in self.steps.iter_mut().zip(STEPS) {
            if of > mode && of <= self.mode {
                step.patience = match step.given_up {
                    Some(_) if !held => Nanos(step.patience.0.saturating_mul(2)).min(QUIET_MOST),
                    _ => QUIET,
                };
                step.given_up = Some(now);
            }
        }
    }

    fn enter(&mut self, mode: Mode, now: KTime) {
        self.mode = mode;
        self.since = now;
        self.quiet_since = None;
        self.sampling.stop();
        // What the other probes were hit says nothing of these.
        self.samples.clear();
    }

    fn rise(&mut self, now: KTime) -> Option<Turn> {
        let (mode, step) = match self.mode {
            Mode::None => (Mode::Lifecycle, self.steps.first().copied()?),
            Mode::Lifecycle => (Mode::All, self.steps.last().copied()?),
            Mode::All => return None,
        };
        if mode > self.ceiling {
            return None;
        }
        let sum = Sum::of(self.samples.iter());
        let hits = sum.hits.all() as f64;
        let more = step.rate.map(|rate| rate * sum.work);
        let now_spent = self.part(hits, &sum);
        let spent = self.part(hits + more.unwrap_or(0.0), &sum);
        let roomy = spent <= self.room(&sum) * ROOMY;
        if !roomy {
            self.quiet_since = None;
        }
        let quiet_since = roomy.then(|| *self.quiet_since.get_or_insert(now));
        let quiet = quiet_since.is_some_and(|since| now.since(since) >= step.patience);
        let retry = step.patience.0.saturating_mul(RETRY);
        // Where moments come, they tell what it would cost.
        let again = !self.sampling.comes_again()
            && step.given_up.is_some_and(|at| now.since(at).0 >= retry)
            && now_spent <= self.room(&sum) * ROOMY;
        let why = match more {
            Some(_) if quiet => format!(
                "quiet: they would take {} of a CPU, {} are allowed",
                percent(spent),
                percent(self.room(&sum))
            ),
            None if quiet => "quiet: what they cost is tried".to_owned(),
            _ if again => format!(
                "tried again: {} ago they cost too much",
                Nanos(now.since(step.given_up.unwrap_or(now)).0 / 1_000_000_000 * 1_000_000_000)
            ),
            _ => return None,
        };
        self.enter(mode, now);
        Some(Turn { mode, why, stay: Stay::Long })
    }
}

/// The modes that attach something more.
const STEPS: [Mode; 2] = [Mode::Lifecycle, Mode::All];

/// Samples added up; times in ns.
#[derive(Clone, Copy, Debug)]
struct Sum {
    over: f64,
    hits: Hits,
    /// User and kernel time of the target.
    work: f64,
    loiter: f64,
}

impl Sum {
    fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Sum {
        let mut sum = Sum { over: 0.0, hits: Hits::default(), work: 0.0, loiter: 0.0 };
        for sample in samples {
            sum.over += sample.over.0 as f64;
            sum.hits.lifecycle = sum.hits.lifecycle.saturating_add(sample.hits.lifecycle);
            sum.hits.waits = sum.hits.waits.saturating_add(sample.hits.waits);
            sum.work += sample.user.0 as f64 + sample.system.0 as f64;
            sum.loiter += sample.loiter.0 as f64;
        }
        // Nothing is divided by nothing.
        sum.over = sum.over.max(1.0);
        sum
    }

    fn seconds(&self) -> f64 {
        self.over / 1e9
    }
}

/// `0.34 %`
fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent < 10.0 { format!("{percent:.2} %") } else { format!("{percent:.0} %") }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
