//! The model: what is known of every task of every traced process, from events and looks.
//!
//! Synchronous and without a clock: it eats [`Input`]s and time comes with them, so a replay of
//! the same inputs gives the same state. What it wants it returns as [`Command`]s. All of it is
//! bounded: tasks, ends remembered, sites, groups, names, processes.
//! May use: base, stream.

mod asks;
mod ended;
mod flow;
mod groups;
mod lengths;
mod lives;
mod memory;
mod merge;
mod names;
mod object;
mod process;
mod sites;
mod table;
mod task;
mod tombs;
mod vitals;
mod wait;

use std::collections::BTreeMap;

use crate::base::{KTime, ProcId};
use crate::stream::{Command, EndHow, Input, LossKind, ProcessDef};

pub use ended::{EndedWaits, OLD, Recent};
pub use groups::{Group, GroupKey, MAX_GROUPS};
pub use lengths::Lengths;
pub use memory::Memory;
pub use names::{Names, Reason};
pub use process::{Counts, LastLook, MAX_TASKS, Process};
pub use sites::{Lifetimes, MAX_SITES, SpawnSite};
pub use task::{Origin, Task};
pub use vitals::{History, Used};
pub use wait::{Exactness, Wait, Waited};

use merge::OpenLook;

/// Most tasks followed in all processes together.
pub const MAX_TASKS_IN_ALL: usize = 1 << 21;

/// Most processes kept, ended ones included; the longest ended goes first.
pub const MAX_PROCESSES: usize = 4096;

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    mono: KTime,
    wall_ns: i64,
}

/// Everything known.
#[derive(Debug)]
pub struct Model {
    names: Names,
    processes: BTreeMap<ProcId, Process>,
    open: Option<(ProcId, OpenLook)>,
    anchor: Option<Anchor>,
    now: KTime,
    unattributed: [u64; LossKind::ALL.len()],
    strays: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A model that knows nothing.
    pub fn new() -> Self {
        Self {
            names: Names::default(),
            processes: BTreeMap::new(),
            open: None,
            anchor: None,
            now: KTime(0),
            unattributed: [0; LossKind::ALL.len()],
            strays: 0,
        }
    }

    /// The newest moment any input spoke of.
    pub fn now(&self) -> KTime {
        self.now
    }

    /// What ids stand for.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// A process incarnation.
    pub fn process(&self, id: ProcId) -> Option<&Process> {
        self.processes.get(&id)
    }

    /// All process incarnations, in the order they were defined.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// A moment on the wall clock, in ns since the Unix epoch; None before the clocks were tied.
    pub fn wall_ns(&self, at: KTime) -> Option<i64> {
        let anchor = self.anchor?;
        let offset = i128::from(at.0) - i128::from(anchor.mono.0);
        i64::try_from(i128::from(anchor.wall_ns) + offset).ok()
    }

    /// What was lost of this kind without it being known whose it was.
    pub fn lost_unattributed(&self, kind: LossKind) -> u64 {
        LossKind::ALL
            .iter()
            .position(|&k| k == kind)
            .and_then(|i| self.unattributed.get(i))
            .copied()
            .unwrap_or(0)
    }

    /// Inputs that fit nothing known: of a process never defined, of a look never begun.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// Takes in one input; what the model wants because of it goes to `commands`.
    pub fn apply(&mut self, input: Input, commands: &mut Vec<Command>) {
        match input {
            Input::Event(event) => {
                self.now = self.now.max(event.at);
                match self.processes.get_mut(&event.process) {
                    Some(process) if process.ended().is_none() => process.event(&event, commands),
                    _ => self.strays += 1,
                }
            }
            Input::SnapshotTask(task) => match &mut self.open {
                Some((_, open)) => open.add(*task),
                None => self.strays += 1,
            },
            Input::SnapshotBegin { process, look, t0 } => {
                self.abandon();
                self.open = Some((process, OpenLook::new(look, t0)));
            }
            Input::SnapshotEnd { process, look, t1, outcome } => {
                self.now = self.now.max(t1);
                self.share_room();
                match self.open.take() {
                    Some((whose, open)) if whose == process && open.look == look => {
                        match self.processes.get_mut(&process) {
                            Some(p) if p.ended().is_none() => p.merge(open, t1, outcome, commands),
                            _ => self.strays += 1,
                        }
                    }
                    other => {
                        self.open = other;
                        self.abandon();
                        self.strays += 1;
                    }
                }
            }
            Input::NameDef { id, frame } => self.names.define_frame(id, frame),
            Input::StackDef { id, frames } => self.names.define_stack(id, frames),
            Input::ReasonDef { id, class, word } => self.names.define_reason(id, class, &word),
            Input::Loss(loss) => self.lose(&loss, commands),
            Input::ModeChange { process, at, mode, why: _ } => {
                self.now = self.now.max(at);
                match self.processes.get_mut(&process) {
                    Some(process) => process.change_mode(mode, at),
                    None => self.strays += 1,
                }
            }
            Input::Memory { process, at, rss_bytes, limit_bytes } => {
                self.now = self.now.max(at);
                match self.processes.get_mut(&process) {
                    Some(process) => process.memory.add(Memory { at, rss_bytes, limit_bytes }),
                    None => self.strays += 1,
                }
            }
            // For timelines; no judgement goes by it.
            Input::GcCycle { at, .. } => self.now = self.now.max(at),
            Input::ClockAnchor { mono, wall_ns } => {
                self.now = self.now.max(mono);
                self.anchor = Some(Anchor { mono, wall_ns });
            }
            Input::Tick(at) => {
                self.now = self.now.max(at);
                self.share_room();
                let live = self.processes.values_mut().filter(|p| p.ended().is_none());
                live.for_each(|p| p.asks.tick(at, commands));
            }
            Input::ProcessDef(def) => self.define(*def),
            Input::ProcessEnd { process, at, how } => {
                self.now = self.now.max(at);
                match self.processes.get_mut(&process) {
                    Some(process) => process.end(at, how),
                    None => self.strays += 1,
                }
            }
        }
    }

    /// A process whose PID or number comes again has ended, even if nobody saw it end.
    fn define(&mut self, def: ProcessDef) {
        self.now = self.now.max(def.at);
        for process in self.processes.values_mut() {
            if process.def().pid == def.pid && process.ended().is_none() {
                process.end(def.at, EndHow::Exit);
            }
        }
        if self.processes.len() >= MAX_PROCESSES {
            let longest_ended =
                self.processes.values().filter_map(|p| p.ended().map(|(at, _)| (at, p.id()))).min();
            match longest_ended {
                Some((_, id)) => self.processes.remove(&id),
                None => {
                    self.strays += 1;
                    return;
                }
            };
        }
        self.processes.insert(def.process, Process::new(def));
    }

    /// Frees the tasks of a process that ended, once it has been shown for the last time. Its
    /// counts stay.
    pub fn forget_tasks(&mut self, id: ProcId) {
        if let Some(process) = self.processes.get_mut(&id)
            && process.ended().is_some()
        {
            process.forget_tasks();
        }
    }

    /// Forgets a process that ended altogether.
    pub fn remove(&mut self, id: ProcId) {
        if self.processes.get(&id).is_some_and(|process| process.ended().is_some()) {
            self.processes.remove(&id);
        }
    }

    fn lose(&mut self, loss: &crate::stream::Loss, commands: &mut Vec<Command>) {
        self.now = self.now.max(loss.until);
        match loss.process {
            Some(id) => match self.processes.get_mut(&id) {
                Some(process) => process.lose(loss, true, commands),
                None => self.strays += 1,
            },
            None => {
                if let Some(i) = LossKind::ALL.iter().position(|&k| k == loss.kind)
                    && let Some(n) = self.unattributed.get_mut(i)
                {
                    *n = n.saturating_add(loss.count);
                }
                self.processes.values_mut().for_each(|p| p.lose(loss, false, commands));
            }
        }
    }

    /// A look that will not be completed.
    fn abandon(&mut self) {
        if let Some((whose, _)) = self.open.take()
            && let Some(process) = self.processes.get_mut(&whose)
        {
            process.counts.looks_dropped += 1;
        }
    }

    /// Shares what is left of the bound on all tasks.
    fn share_room(&mut self) {
        let all: usize = self.processes.values().map(|p| p.tasks().len()).sum();
        let room = MAX_TASKS_IN_ALL.saturating_sub(all);
        for process in self.processes.values_mut() {
            process.limit = process.tasks().len().saturating_add(room).min(MAX_TASKS);
        }
    }
}
