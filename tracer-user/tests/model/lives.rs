//! Plays whole lives of tasks to an engine, as events and looks of each mode tell them.

use loiter::base::*;
use loiter::detect::{Confidence, FindingKind};
use loiter::stream::*;

use crate::world::*;

/// Looks come this often, in ms.
const LOOK_EVERY: u64 = 2_000;
/// The engine is asked this often, in ms.
const TICK_EVERY: u64 = 1_000;

/// All modes there are.
pub const MODES: [Mode; 3] = [Mode::None, Mode::Lifecycle, Mode::All];

/// A task's life, in ms.
#[derive(Clone, Debug)]
pub struct Life {
    pub n: u64,
    pub born: u64,
    pub ends: Option<u64>,
    pub reason: ReasonId,
    pub spawn_site: FrameId,
    /// Runs and comes back this often; 0 = never.
    pub runs_every: u64,
}

impl Life {
    /// Waits to receive at `SITE` from birth to the end.
    pub fn new(n: u64, born: u64, ends: Option<u64>) -> Self {
        Self { n, born, ends, reason: RECEIVE, spawn_site: SPAWN, runs_every: 0 }
    }

    fn is_alive(&self, at: u64) -> bool {
        self.born <= at && self.ends.is_none_or(|end| end > at)
    }

    fn runs(&self, at: u64) -> u64 {
        (at - self.born).checked_div(self.runs_every).unwrap_or(0)
    }

    fn look(&self, at: u64) -> TaskLook {
        let seq = (self.runs(at) + 1) as u8;
        let look = waiting(self.n, ms(at), ms(at + 1), self.reason, seq);
        TaskLook { spawn_site: self.spawn_site, ..look }
    }

    fn events(&self, mode: Mode, until: u64) -> Vec<(u64, EventKind)> {
        let (task, spawn_site) = (g(self.n), self.spawn_site);
        let mut all = Vec::new();
        if mode == Mode::None {
            return all;
        }
        let park =
            |seq: u64| EventKind::Park { task, reason: self.reason, run_seq: RunSeq(seq as u8) };
        if self.born > 0 {
            let parent = Some(g(1));
            all.push((self.born, EventKind::Birth { task, parent, spawn_site, start: START }));
            if mode == Mode::All {
                all.push((self.born, EventKind::Run { task }));
                all.push((self.born + 1, park(1)));
            }
        }
        let end = self.ends.unwrap_or(until).min(until);
        if mode == Mode::All && self.runs_every > 0 {
            for run in 1..=self.runs(end) {
                let at = self.born + run * self.runs_every;
                all.push((at, EventKind::Run { task }));
                all.push((at, park(run + 1)));
            }
        }
        if self.ends.is_some_and(|e| e <= until) {
            all.push((end, EventKind::Death { task }));
        }
        all
    }
}

/// What was open at a moment: kind, confidence, how many.
pub type Told = (u64, FindingKind, Confidence, u64);

/// Plays these lives up to `until`; what was open at each check.
pub fn play(w: &mut World, mode: Mode, lives: &[Life], until: u64) -> Vec<Told> {
    if mode > Mode::None {
        w.mode(mode, 0);
    }
    let mut events: Vec<(u64, EventKind)> =
        lives.iter().flat_map(|l| l.events(mode, until)).collect();
    events.sort_by_key(|(at, _)| *at);
    let mut events = events.into_iter().peekable();
    let mut told = Vec::new();
    for at in (0..=until).step_by(TICK_EVERY as usize) {
        while let Some((when, kind)) = events.next_if(|(when, _)| *when <= at) {
            w.event(when, kind);
        }
        if at % LOOK_EVERY == 0 {
            let at = at + 2;
            let alive = lives.iter().filter(|l| l.is_alive(at)).map(|l| l.look(at)).collect();
            while let Some((when, kind)) = events.next_if(|(when, _)| *when <= at + 2) {
                w.event(when, kind);
            }
            w.look(at, at + 2, alive);
        }
        w.tick(at + 10);
        told.extend(w.findings().iter().map(|f| (at, f.kind, f.confidence, f.count)));
    }
    told
}

/// What was told, once for each time in a row.
pub fn shown(told: &[Told]) -> String {
    let mut out = String::new();
    let mut last = None;
    for (at, kind, confidence, count) in told {
        if last != Some((kind, confidence)) {
            out += &format!("{at}: {} {} {count}; ", kind.word(), confidence.word());
            last = Some((kind, confidence));
        }
    }
    out
}

/// When something was first told as sure as that.
pub fn first(told: &[Told], least: Confidence) -> Option<u64> {
    told.iter().find(|t| t.2 >= least).map(|t| t.0)
}

/// The surest ever told.
pub fn surest(told: &[Told]) -> Option<Confidence> {
    told.iter().map(|t| t.2).max()
}

/// Short tasks of `SPAWN`: one every `every` ms, each ends after `lived`.
pub fn short(from: u64, every: u64, lived: u64, until: u64) -> Vec<Life> {
    (1..until / every).map(|i| Life::new(from + i, i * every, Some(i * every + lived))).collect()
}

/// Tasks that stay, one every `every` ms up to `until`.
pub fn stay(from: u64, every: u64, until: u64) -> Vec<Life> {
    (1..until / every).map(|i| Life::new(from + i, i * every, None)).collect()
}
