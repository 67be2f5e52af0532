//! A little scheduler: a true history of goroutines, and the inputs a tracer would get of it -
//! events that may be lost or come late by a little, looks that take time.

use std::collections::BTreeMap;

use loiter::base::*;
use loiter::stream::*;

use crate::world::*;

/// Distance of looks and ticks, in operations.
const LOOK_EVERY: usize = 40;
const TICK_EVERY: usize = 7;
const MODE_EVERY: usize = 60;

/// One step of the schedule: who, what, how much later. Any numbers make a legal history.
pub type Op = (u8, u8, u16);

/// What is traced, and how badly.
#[derive(Clone, Debug)]
pub struct Traced {
    /// Which probes are on, one after the other.
    pub modes: Vec<Mode>,
    /// Only whole waits of at least this long are told.
    pub min_wait: Option<Nanos>,
    /// Every how many-th record is lost on average; 0 = none.
    pub loss: u64,
    /// Records come shuffled within windows of this many.
    pub shuffle: usize,
    /// Tasks that live before the tracer comes.
    pub before: u64,
    pub seed: u64,
}

/// What a goroutine truly does from a moment on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    Runnable,
    Running,
    Waiting,
    Gone,
}

/// A moment of its life.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at: KTime,
    pub doing: Doing,
    pub seq: u8,
    pub reason: ReasonId,
}

/// The truth.
#[derive(Default)]
pub struct Truth {
    pub lives: BTreeMap<u64, Vec<Moment>>,
    pub births: u64,
    pub deaths: u64,
}

impl Truth {
    pub fn at(&self, n: u64, at: KTime) -> Option<Moment> {
        self.lives.get(&n)?.iter().rev().find(|m| m.at <= at).copied()
    }

    pub fn alive_at(&self, at: KTime) -> Vec<u64> {
        let alive = |&n: &u64| self.at(n, at).is_some_and(|m| m.doing != Doing::Gone);
        self.lives.keys().copied().filter(alive).collect()
    }

    /// Whether the task waited without a break from `since` to `until`.
    pub fn waited(&self, n: u64, since: KTime, until: KTime) -> bool {
        let Some(first) = self.at(n, since) else { return false };
        let last = self.at(n, until);
        first.doing == Doing::Waiting && last.is_some_and(|l| l.at == first.at)
    }

    /// Whether it waited from `since` on and did not run until `until`.
    pub fn did_not_run(&self, n: u64, since: KTime, until: KTime) -> bool {
        let waits = self.at(n, since).is_some_and(|m| m.doing == Doing::Waiting);
        let ran = |m: &Moment| m.at > since && m.at <= until && m.doing == Doing::Running;
        waits && !self.lives[&n].iter().any(ran)
    }
}

/// A small generator of numbers (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// The truth and the inputs that tell of it.
pub fn simulate(ops: &[Op], traced: &Traced) -> (Truth, Vec<Input>) {
    let mut sim = Sim::new(traced);
    for (i, &op) in ops.iter().enumerate() {
        sim.step(op);
        if i % TICK_EVERY == TICK_EVERY - 1 {
            sim.plan.push((sim.now, Planned::Tick));
        }
        if i % MODE_EVERY == MODE_EVERY - 1 {
            sim.change_mode(i / MODE_EVERY + 1);
        }
        if i % LOOK_EVERY == LOOK_EVERY - 1 {
            sim.plan.push((sim.now, Planned::Look));
        }
    }
    sim.now = sim.now.after(len(1));
    sim.plan.push((sim.now, Planned::Look));
    sim.now = sim.now.after(len(10));
    sim.plan.push((sim.now, Planned::Tick));
    let inputs = sim.inputs();
    (sim.truth, inputs)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Planned {
    Tick,
    Look,
    Mode(Mode),
}

struct Sim<'a> {
    traced: &'a Traced,
    truth: Truth,
    events: Vec<Event>,
    plan: Vec<(KTime, Planned)>,
    now: KTime,
    mode: (Mode, KTime),
    modes: Vec<(Mode, KTime)>,
    next: u64,
    dice: Dice,
}

impl<'a> Sim<'a> {
    fn new(traced: &'a Traced) -> Self {
        let mut sim = Self {
            traced,
            truth: Truth::default(),
            events: Vec::new(),
            plan: Vec::new(),
            now: ms(1),
            mode: (traced.modes[0], ms(0)),
            modes: Vec::new(),
            next: 100,
            dice: Dice(traced.seed),
        };
        for n in 0..traced.before {
            let life = Moment { at: KTime(1), doing: Doing::Waiting, seq: 1, reason: RECEIVE };
            sim.truth.lives.insert(10 + n, vec![life]);
        }
        sim
    }

    fn step(&mut self, (who, what, dt): Op) {
        self.now = KTime(self.now.0 + 1 + u64::from(dt) * 1_000);
        let alive = self.truth.alive_at(self.now);
        if alive.is_empty() || what % 8 == 0 {
            return self.birth();
        }
        let n = alive[usize::from(who) % alive.len()];
        let m = *self.truth.lives[&n].last().unwrap();
        match m.doing {
            Doing::Runnable => self.goes(n, Doing::Running, m.reason),
            Doing::Running if what % 4 == 1 => self.goes(n, Doing::Gone, m.reason),
            Doing::Running => {
                let reason = [RECEIVE, SEND, MUTEX, IO][usize::from(what / 4) % 4];
                self.goes(n, Doing::Waiting, reason);
            }
            Doing::Waiting if what % 3 == 0 => self.goes(n, Doing::Runnable, m.reason),
            Doing::Waiting | Doing::Gone => {}
        }
    }

    fn change_mode(&mut self, number: usize) {
        let mode = self.traced.modes[number % self.traced.modes.len()];
        if mode != self.mode.0 {
            self.now = self.now.after(Nanos(1));
            self.mode = (mode, self.now);
            self.modes.push(self.mode);
            self.plan.push((self.now, Planned::Mode(mode)));
        }
    }

    fn birth(&mut self) {
        let n = self.next;
        self.next += 1;
        self.truth.births += 1;
        let life = Moment { at: self.now, doing: Doing::Runnable, seq: 0, reason: RECEIVE };
        self.truth.lives.insert(n, vec![life]);
        self.emit(EventKind::Birth { task: g(n), parent: None, spawn_site: SPAWN, start: START });
    }

    fn goes(&mut self, n: u64, doing: Doing, reason: ReasonId) {
        let life = self.truth.lives.get_mut(&n).unwrap();
        let before = *life.last().unwrap();
        let parked =
            (before.doing == Doing::Runnable && life.len() > 1).then(|| life[life.len() - 2]);
        let seq =
            if before.doing == Doing::Running { before.seq.wrapping_add(1) } else { before.seq };
        life.push(Moment { at: self.now, doing, seq, reason });
        let task = g(n);
        match doing {
            Doing::Waiting => self.emit(EventKind::Park { task, reason, run_seq: RunSeq(seq) }),
            Doing::Runnable => self.emit(EventKind::Ready { task, waker: Waker::Unknown }),
            Doing::Gone => {
                self.truth.deaths += 1;
                self.emit(EventKind::Death { task });
            }
            Doing::Running => match (self.traced.min_wait, parked) {
                (None, _) => self.emit(EventKind::Run { task }),
                (Some(min), Some(p)) if p.at > self.mode.1 && self.now.since(p.at) >= min => self
                    .emit(EventKind::Waited {
                        task,
                        parked: p.at,
                        ready: Some(before.at),
                        waker: Waker::Unknown,
                        reason: p.reason,
                        run_seq: RunSeq(p.seq),
                    }),
                _ => {}
            },
        }
    }

    fn emit(&mut self, kind: EventKind) {
        let told = match kind {
            EventKind::Birth { .. } | EventKind::Death { .. } => self.mode.0 >= Mode::Lifecycle,
            EventKind::Waited { .. } => self.mode.0 == Mode::All,
            _ => self.mode.0 == Mode::All && self.traced.min_wait.is_none(),
        };
        if told {
            self.events.push(Event { process: P, at: self.now, tid: Tid(1), kind });
        }
    }

    /// Events in the order of time with looks and ticks between them, then what gets lost or late.
    fn inputs(&mut self) -> Vec<Input> {
        let mut out = preamble();
        out.push(mode_change(ms(0), self.traced.modes[0]));
        let events = std::mem::take(&mut self.events);
        let plan = std::mem::take(&mut self.plan);
        let mut rest = events.into_iter().peekable();
        let mut lost = Lost::default();
        for (look, (at, planned)) in plan.into_iter().enumerate() {
            // A look takes up to 3 ms; what happens meanwhile is applied before its end.
            let t1 =
                if planned == Planned::Look { KTime(at.0 + self.dice.roll(3_000_000)) } else { at };
            let mut window = Vec::new();
            while let Some(event) = rest.next_if(|e| e.at <= t1) {
                if self.traced.loss > 0 && self.dice.roll(self.traced.loss) == 0 {
                    lost.event(event.at);
                } else {
                    let loss = lost.told(event.at);
                    if loss.is_some() || window.len() >= self.traced.shuffle {
                        self.write(&mut window, &mut out);
                    }
                    out.extend(loss.map(Input::Loss));
                    lost.before = event.at;
                    window.push(event);
                }
            }
            self.write(&mut window, &mut out);
            out.extend(lost.told(t1).map(Input::Loss));
            if planned == Planned::Look {
                self.long_parks(t1, &mut out);
            }
            match planned {
                Planned::Tick => out.push(Input::Tick(t1)),
                Planned::Mode(mode) => out.push(mode_change(t1, mode)),
                Planned::Look => self.look(LookSeq(look as u32 + 1), at, t1, &mut out),
            }
        }
        out
    }

    /// Writes a window out of order.
    fn write(&mut self, window: &mut Vec<Event>, out: &mut Vec<Input>) {
        while !window.is_empty() {
            let i = if self.traced.shuffle > 1 {
                self.dice.roll(window.len() as u64) as usize
            } else {
                0
            };
            out.push(Input::Event(window.remove(i)));
        }
    }

    /// With `min_wait`, the waits that go on are asked for before a look is merged.
    fn long_parks(&self, now: KTime, out: &mut Vec<Input>) {
        let Some(min) = self.traced.min_wait else { return };
        let (mode, since) = self.mode_at(now);
        if mode != Mode::All {
            return;
        }
        for &n in self.truth.lives.keys() {
            let Some(m) = self.truth.at(n, now).filter(|m| m.doing == Doing::Waiting) else {
                continue;
            };
            if m.at > since && now.since(m.at) >= min {
                let kind = EventKind::Park { task: g(n), reason: m.reason, run_seq: RunSeq(m.seq) };
                out.push(Input::Event(Event { process: P, at: m.at, tid: Tid(1), kind }));
            }
        }
    }

    fn mode_at(&self, now: KTime) -> (Mode, KTime) {
        let first = (self.traced.modes[0], ms(0));
        self.modes.iter().copied().rev().find(|&(_, at)| at <= now).unwrap_or(first)
    }

    fn look(&mut self, look: LookSeq, t0: KTime, t1: KTime, out: &mut Vec<Input>) {
        out.push(Input::SnapshotBegin { process: P, look, t0 });
        let mut read = 0;
        let ids: Vec<u64> = self.truth.lives.keys().copied().collect();
        for n in ids {
            let span = t1.0 - t0.0;
            let a = t0.0 + self.dice.roll(span + 1);
            let b = a + self.dice.roll(t1.0 - a + 1);
            let r = KTime(a + self.dice.roll(b - a + 1));
            let born_before = self.truth.at(n, t0).is_some();
            let listed = born_before || self.dice.roll(2) == 0;
            let Some(m) = self.truth.at(n, r).filter(|m| listed && m.doing != Doing::Gone) else {
                continue;
            };
            read += 1;
            out.push(Input::SnapshotTask(Box::new(seen(n, KTime(a), KTime(b), m))));
        }
        out.push(Input::SnapshotEnd { process: P, look, t1, outcome: complete(read) });
    }
}

fn mode_change(at: KTime, mode: Mode) -> Input {
    Input::ModeChange { process: P, at, mode, why: "sim".into() }
}

fn seen(n: u64, t0: KTime, t1: KTime, m: Moment) -> TaskLook {
    let look = waiting(n, t0, t1, m.reason, m.seq);
    match m.doing {
        Doing::Waiting => look,
        Doing::Runnable => {
            TaskLook { state: TaskState::Runnable, reason: ReasonId::UNKNOWN, ..look }
        }
        Doing::Running | Doing::Gone => running(n, t0, t1),
    }
}

/// Counts what is lost between two records that come through.
struct Lost {
    before: KTime,
    count: u64,
    first: KTime,
}

impl Default for Lost {
    fn default() -> Self {
        Self { before: ms(0), count: 0, first: ms(0) }
    }
}

impl Lost {
    fn event(&mut self, at: KTime) {
        if self.count == 0 {
            self.first = at;
        }
        self.count += 1;
    }

    fn told(&mut self, until: KTime) -> Option<Loss> {
        let count = std::mem::take(&mut self.count);
        let since = self.before.min(self.first);
        (count > 0).then_some(Loss {
            process: Some(P),
            kind: LossKind::RingFull,
            count,
            since,
            until,
        })
    }
}
