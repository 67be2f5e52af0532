//! A look enters the model: gathered task by task, merged at once when it is complete.
//!
//! What a look says of how a task came to be is always taken. What it says of what the task does
//! is taken if no event of the task lies in the read or after it (see [`super::task`]). Tasks born
//! or ended while the look went on are no contradiction: the born ones have an event in it and
//! stay, the ended ones are in [`super::tombs`] and stay out.

use crate::base::{FrameId, KTime, TaskId, TaskKind};
use crate::stream::{Command, LookOutcome, LookSeq, TaskLook};

use super::flow::NEVER;
use super::process::{LastLook, MAX_TASKS, Process};
use super::task::{Dynamic, Origin, Seen, Settled, Task};
use super::tombs::End;

/// Tasks kept in one piece, so that memory is given back while a look is merged.
const PIECE: usize = 1024;

/// A look under way.
#[derive(Debug)]
pub(super) struct OpenLook {
    pub look: LookSeq,
    pub t0: KTime,
    pieces: Vec<Vec<Seen>>,
    count: usize,
    left_out: u64,
}

impl OpenLook {
    pub fn new(look: LookSeq, t0: KTime) -> Self {
        Self { look, t0, pieces: Vec::new(), count: 0, left_out: 0 }
    }

    /// Keeps a task until the end of the look.
    pub fn add(&mut self, task: TaskLook) {
        if self.count >= MAX_TASKS {
            self.left_out += 1;
            return;
        }
        self.count += 1;
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(Seen::pack(task)),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(Seen::pack(task));
                self.pieces.push(piece);
            }
        }
    }
}

impl Process {
    /// Merges a look whose every event up to `t1` has been applied.
    pub(super) fn merge(
        &mut self,
        open: OpenLook,
        t1: KTime,
        outcome: LookOutcome,
        commands: &mut Vec<Command>,
    ) {
        let OpenLook { look, t0, pieces, count, left_out } = open;
        let number = self.counts.looks.saturating_add(1);
        self.counts.looks = number;
        let unsure = std::mem::take(&mut self.unsure);
        self.tasks.reserve(count.min(self.limit));
        for seen in pieces.into_iter().flatten() {
            self.merge_task(seen, number, &unsure);
        }
        let complete = outcome.is_complete() && left_out == 0;
        if complete {
            self.end_absent(number, t0);
            self.flow.heal(t0);
        }
        self.counts.not_followed = self.counts.not_followed.max(left_out);
        self.last_look = Some(LastLook { look, t0, t1, outcome });
        self.first_look.get_or_insert(t1);
        // Numbers of threads are given out again.
        let numbered =
            self.tasks.all().iter().map(|t| t.id()).filter(|id| id.kind == TaskKind::Goroutine);
        if let Some(highest) = numbered.map(|id| id.number).max() {
            self.highest.add(t1, highest);
        }
        self.history.add(outcome.vitals, t1);
        self.groups.tidy();
        self.tasks.tidy();
        self.asks.looked(t1, t1.since(t0), self.flow.unhealed(), commands);
    }

    fn merge_task(&mut self, seen: Seen, number: u32, unsure: &hashbrown::HashSet<TaskId>) {
        let Seen { id, parent, spawn_site, start, dynamic } = seen;
        if let Some(slot) = self.tasks.find(id) {
            // The same task twice in a look counts once.
            if self.tasks.get(slot).is_some_and(|t| t.last_look != number) {
                self.fill(slot, parent, spawn_site, start);
                self.name_origin(number, slot);
                self.merge_dynamic(number, slot, dynamic);
            }
            return;
        }
        if self.tombs.keeps(id, dynamic.t0)
            && let Some(tomb) = self.tombs.get_mut(id)
        {
            // It ended while the look went on; but now it is known where it came from.
            if tomb.spawn_site == FrameId::UNKNOWN && spawn_site != FrameId::UNKNOWN {
                tomb.spawn_site = spawn_site;
                self.sites.move_death(FrameId::UNKNOWN, spawn_site);
            }
            return;
        }
        let forgotten = self.tombs.forgotten();
        if forgotten != NEVER && dynamic.t0 <= forgotten && !unsure.contains(&id) {
            self.unsure.insert(id);
            return;
        }
        let origin = if number == 1 { Origin::Before } else { Origin::Appeared };
        let mut task = Task::known(id, origin, dynamic.t1);
        if number == 1 {
            self.counts.before += 1;
        } else {
            self.counts.appeared += 1;
            self.sites.at(spawn_site).appeared += 1;
        }
        task.parent = parent;
        task.parent_site = self.site_of(id.kind, parent);
        task.spawn_site = spawn_site;
        task.start = start;
        task.last_look = number;
        task.on_look(dynamic, &self.flow);
        self.add(task);
    }

    fn merge_dynamic(&mut self, number: u32, slot: u32, dynamic: Dynamic) {
        let flow = self.flow;
        let Some(task) = self.tasks.get_mut(slot) else { return };
        task.last_look = number;
        let group = task.group;
        let waited = self.wait_of(slot, dynamic.t0);
        let Some(task) = self.tasks.get_mut(slot) else { return };
        let at = dynamic.t0;
        let settled = task.on_look(dynamic, &flow);
        if let (Some((key, length)), Settled::Ran | Settled::Gap) = (waited, settled) {
            self.ended_waits.add(key, length, at);
        }
        self.reindex(slot);
        if settled == Settled::Gap {
            self.counts.gaps += 1;
        }
        let stayed = self.tasks.get(slot).is_some_and(|t| t.group == group);
        if stayed && matches!(settled, Settled::Ran | Settled::Gap) {
            self.groups.note_moved(group);
        }
    }

    /// A task known from an event alone is in the look: now it is known how it came.
    fn name_origin(&mut self, number: u32, slot: u32) {
        let Some(task) = self.tasks.get_mut(slot) else { return };
        if task.origin != Origin::Event {
            return;
        }
        if number == 1 {
            task.origin = Origin::Before;
            self.counts.appeared = self.counts.appeared.saturating_sub(1);
            self.counts.before += 1;
        } else {
            task.origin = Origin::Appeared;
            self.sites.at(task.spawn_site).appeared += 1;
        }
    }

    /// Whoever was known before a complete look and is not in it has ended, unseen.
    fn end_absent(&mut self, number: u32, t0: KTime) {
        // From the last slot: a removal moves only slots already passed.
        for slot in (0..self.tasks.len() as u32).rev() {
            let Some(task) = self.tasks.get(slot) else { continue };
            if task.last_look == number || task.last_event() >= t0 {
                continue;
            }
            self.bury(slot, t0, End::Missed);
        }
    }
}
