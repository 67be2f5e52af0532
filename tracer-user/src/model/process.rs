//! One process incarnation: its tasks, and what its events do to them.

use crate::base::{FrameId, KTime, Nanos, ProcId, ReasonId, TaskId, TaskKind, TaskState};
use crate::stream::{
    Command, EndHow, Event, EventKind, LookOutcome, LookSeq, Loss, LossKind, Mode, ProcessDef,
    Waker,
};

use super::asks::Asks;
use super::ended::{Ended, EndedWaits};
use super::flow::{Flow, NEVER};
use super::groups::{Group, GroupKey, Groups};
use super::lengths::{Lengths, WaitLengths};
use super::memory::{Memory, MemoryTrack, Samples};
use super::sites::{Sites, SpawnSite};
use super::table::TaskTable;
use super::task::{Counted, NOWHERE, Origin, Task, number_of};
use super::tombs::Tombs;
use super::vitals::History;
use super::wait::{Exactness, Wait};

/// Most tasks followed in one process; more are counted, not followed: 200 bytes each.
pub const MAX_TASKS: usize = 1 << 20;

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Births told by events.
    pub births: u64,
    /// Deaths told by events.
    pub deaths: u64,
    /// Tasks there at the first look.
    pub before: u64,
    /// Tasks that a later look, or an event other than a birth, found new: births that were not
    /// told. Loss is one cause; a creation that no probe covers is another.
    pub appeared: u64,
    /// Tasks that a complete look found gone: deaths that were not told.
    pub vanished: u64,
    /// Tasks known from an event alone that the next complete look did not have: not counted as
    /// vanished, since they may never have lived.
    pub phantoms: u64,
    /// Deaths of tasks that were not known.
    pub unknown_deaths: u64,
    /// Looks that showed a run which the events should have told.
    pub gaps: u64,
    /// Looks merged.
    pub looks: u32,
    /// Looks begun and not ended well.
    pub looks_dropped: u32,
    /// Tasks not followed because there were too many.
    pub not_followed: u64,
}

/// The last look merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastLook {
    /// Its number.
    pub look: LookSeq,
    /// When its first read began.
    pub t0: KTime,
    /// When its last read ended.
    pub t1: KTime,
    /// How it went.
    pub outcome: LookOutcome,
}

/// A process incarnation.
#[derive(Debug)]
pub struct Process {
    def: ProcessDef,
    pub(super) flow: Flow,
    pub(super) tasks: TaskTable,
    pub(super) tombs: Tombs,
    pub(super) sites: Sites,
    pub(super) groups: Groups,
    pub(super) ended_waits: Ended,
    lengths: WaitLengths,
    pub(super) memory: MemoryTrack,
    /// The highest number of a task, at each look: numbers that are given out in order tell ages.
    pub(super) highest: Samples,
    pub(super) first_look: Option<KTime>,
    pub(super) counts: Counts,
    pub(super) asks: Asks,
    pub(super) last_look: Option<LastLook>,
    pub(super) history: History,
    /// Of the last look: in it, not known, and perhaps ended meanwhile.
    pub(super) unsure: hashbrown::HashSet<TaskId>,
    /// How many tasks may be followed.
    pub(super) limit: usize,
    by_state: [u64; TaskState::ALL.len()],
    system: u64,
    losses: [u64; LossKind::ALL.len()],
    /// Time in each mode but the present one, and since when that is; probes are on from the
    /// first change on.
    in_modes: [Nanos; Mode::ALL.len()],
    mode_since: Option<KTime>,
    ended: Option<(KTime, EndHow)>,
    exit_code: Option<u32>,
}

impl Process {
    pub(super) fn new(def: ProcessDef) -> Self {
        Self {
            flow: Flow::new(def.at),
            asks: Asks::new(def.process),
            def,
            tasks: TaskTable::default(),
            tombs: Tombs::new(),
            sites: Sites::default(),
            groups: Groups::default(),
            ended_waits: Ended::default(),
            lengths: WaitLengths::default(),
            memory: MemoryTrack::default(),
            highest: Samples::default(),
            first_look: None,
            counts: Counts::default(),
            last_look: None,
            history: History::default(),
            unsure: hashbrown::HashSet::new(),
            limit: MAX_TASKS,
            by_state: [0; TaskState::ALL.len()],
            system: 0,
            losses: [0; LossKind::ALL.len()],
            in_modes: [Nanos(0); Mode::ALL.len()],
            mode_since: None,
            ended: None,
            exit_code: None,
        }
    }

    /// Its number.
    pub fn id(&self) -> ProcId {
        self.def.process
    }
    /// What is known of it.
    pub fn def(&self) -> &ProcessDef {
        &self.def
    }
    /// Which probes are on.
    pub fn mode(&self) -> Mode {
        self.flow.mode()
    }
    /// The widest set of probes there was.
    pub fn widest_mode(&self) -> Mode {
        self.flow.widest()
    }
    /// For how long births and deaths have been followed without a break.
    pub fn followed_for(&self, now: KTime) -> Nanos {
        self.flow.followed().map_or(Nanos(0), |since| now.since(since))
    }

    /// How long each mode was on, up to `now` or its end; those that never were are left out.
    pub fn time_in_modes(&self, now: KTime) -> Vec<(Mode, Nanos)> {
        let now = self.ended.map_or(now, |(at, _)| at.min(now));
        let present = self.mode_since.map_or(Nanos(0), |since| now.since(since));
        let in_mode = |(mode, past): (Mode, Nanos)| {
            let more = if mode == self.mode() { present.0 } else { 0 };
            (mode, Nanos(past.0.saturating_add(more)))
        };
        let all = Mode::ALL.into_iter().zip(self.in_modes).map(in_mode);
        all.filter(|(_, time)| time.0 > 0).collect()
    }
    /// Whether every park and run of its tasks is told at present.
    pub fn tells_every_run(&self) -> bool {
        self.flow.is_raw()
    }
    /// What happened so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
    /// When and how it ended, if it did.
    pub fn ended(&self) -> Option<(KTime, EndHow)> {
        self.ended
    }
    /// The raw wait status, once it has begun to exit.
    pub fn exit_code(&self) -> Option<u32> {
        self.exit_code
    }
    /// The last look merged.
    pub fn last_look(&self) -> Option<&LastLook> {
        self.last_look.as_ref()
    }
    /// When the last read of the first look ended.
    pub fn first_look(&self) -> Option<KTime> {
        self.first_look
    }
    /// Memory as last known.
    pub fn memory(&self) -> Option<Memory> {
        self.memory.newest()
    }
    /// How many bytes a second resident memory grows since a moment; None if too little is known.
    pub fn memory_slope(&self, since: KTime) -> Option<f64> {
        self.memory.slope_since(since)
    }
    /// The highest task number at the first look and at the newest, each with its time.
    pub fn highest_numbers(&self) -> Option<((KTime, u64), (KTime, u64))> {
        Some((self.highest.first()?, self.highest.newest()?))
    }
    /// Waits at a place that ended, where there were any of a second or more.
    pub fn ended_waits(&self, key: GroupKey) -> Option<&EndedWaits> {
        self.ended_waits.get(key)
    }
    /// The longest wait of a second or more that ended at a wait site, wherever the task was created.
    pub fn longest_ended_at(&self, wait_site: FrameId) -> Option<Nanos> {
        self.ended_waits.longest_at(wait_site)
    }
    /// Its processor time, and whether it stands still.
    pub fn history(&self) -> &History {
        &self.history
    }
    /// What was lost of this kind.
    pub fn lost(&self, kind: LossKind) -> u64 {
        LossKind::ALL
            .iter()
            .position(|&k| k == kind)
            .and_then(|i| self.losses.get(i))
            .copied()
            .unwrap_or(0)
    }
    /// What was lost of all kinds.
    pub fn lost_in_all(&self) -> u64 {
        self.losses.iter().sum()
    }
    /// Whether something lost has not been healed by a complete look yet.
    pub fn is_in_doubt(&self) -> bool {
        self.flow.unhealed().is_some()
    }

    /// Tasks alive by all that is known, in no order.
    pub fn tasks(&self) -> &[Task] {
        self.tasks.all()
    }
    /// A task.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.find(id).and_then(|slot| self.tasks.get(slot))
    }
    /// How many of the program's own tasks are alive.
    pub fn alive(&self) -> u64 {
        self.by_state.iter().sum()
    }
    /// How many of the runtime's tasks are alive.
    pub fn alive_system(&self) -> u64 {
        self.system
    }
    /// How many of the program's own tasks are in this state.
    pub fn in_state(&self, state: TaskState) -> u64 {
        self.by_state.get(state as usize).copied().unwrap_or(0)
    }
    /// How many of the program's own tasks wait for this.
    pub fn waiting_for(&self, reason: ReasonId) -> u64 {
        self.groups.all().filter(|g| g.key().reason == reason).map(|g| g.len() as u64).sum()
    }
    /// Tasks that wait at the same place.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.all()
    }
    /// The tasks of a group.
    pub fn members<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Task> {
        group.members.iter().filter_map(|&slot| self.tasks.get(slot))
    }
    /// The counts of a spawn site.
    pub fn spawn_site(&self, site: FrameId) -> Option<&SpawnSite> {
        self.sites.get(site)
    }
    /// All spawn sites, by id.
    pub fn spawn_sites(&self) -> impl Iterator<Item = (FrameId, &SpawnSite)> {
        self.sites.all()
    }
    /// How long waits took whose begin and end were seen, by kind of task and what for.
    pub fn wait_lengths(&self) -> impl Iterator<Item = (TaskKind, ReasonId, &Lengths)> {
        self.lengths.all()
    }
    /// Whether there were more groups than are kept.
    pub fn groups_overflowed(&self) -> bool {
        self.groups.overflowed
    }

    /// The wait a task is in, seen from `now`.
    pub fn wait(&self, task: &Task, now: KTime) -> Option<Wait> {
        task.wait(&self.flow, now)
    }
    /// For how long a task has been at work without a stop.
    pub fn busy(&self, task: &Task) -> Option<Wait> {
        task.busy(&self.flow)
    }
    /// For how long a task may run and has not, seen from `now`.
    pub fn queued(&self, task: &Task, now: KTime) -> Option<Wait> {
        task.queued(&self.flow, now)
    }
    /// Until when a task is known to do what its state says, seen from `now`: no longer than it was
    /// last seen, where nothing would tell that it went on.
    pub fn holds_until(&self, task: &Task, now: KTime) -> KTime {
        task.holds_until(&self.flow, now)
    }
    /// Whether what is known of a task may have been overtaken by something lost.
    pub fn is_doubtful(&self, task: &Task) -> bool {
        self.flow.in_doubt(task.sure_at())
    }

    /// An event of this process.
    pub(super) fn event(&mut self, event: &Event, commands: &mut Vec<Command>) {
        let at = event.at;
        match event.kind {
            EventKind::Birth { task, parent, spawn_site, start } => {
                self.birth(task, number_of(parent, task.kind), spawn_site, start, at);
            }
            EventKind::Death { task } => self.death(task, at),
            EventKind::Park { task, reason, run_seq } => {
                self.change(task, at, commands, |t| t.on_park(at, reason, run_seq));
            }
            EventKind::Run { task } => {
                self.runs_are_told(at);
                self.note_length(task, at);
                self.change(task, at, commands, |t| t.on_run(at));
            }
            EventKind::Ready { task, waker } => {
                let waker = waker_number(waker, task);
                self.note_length(task, at);
                self.change(task, at, commands, |t| t.on_ready(at, waker));
            }
            EventKind::Waited { task, parked, ready, waker, reason, run_seq } => {
                let waker = waker_number(waker, task);
                self.lengths.note(task.kind, reason, ready.unwrap_or(at).since(parked));
                self.change(task, at, commands, |t| {
                    t.on_park(parked, reason, run_seq);
                    // A wake-up by someone known is worth keeping without its time.
                    t.on_ready(ready.unwrap_or(if waker == 0 { NEVER } else { parked }), waker);
                    t.on_run(at);
                });
            }
            EventKind::Fork => {}
            EventKind::Exec => {
                self.drop_tasks();
                self.end(at, EndHow::Exec);
            }
            EventKind::Exit { code } => self.exit_code = Some(code),
        }
    }

    /// The first run told since the probes changed makes silence mean something, and with it what
    /// every task does after its newest event.
    fn runs_are_told(&mut self, at: KTime) {
        if self.flow.saw_run(at) {
            self.reindex_all();
        }
    }

    fn change(
        &mut self,
        id: TaskId,
        at: KTime,
        commands: &mut Vec<Command>,
        change: impl FnOnce(&mut Task),
    ) {
        let slot = match self.tasks.find(id) {
            Some(slot) => slot,
            None if self.tombs.keeps(id, at) => return,
            None => {
                self.asks.unknown(at, commands);
                self.counts.appeared += 1;
                match self.add(Task::known(id, Origin::Event, at)) {
                    Some(slot) => slot,
                    None => return,
                }
            }
        };
        self.wait_ends(slot, at);
        if let Some(task) = self.tasks.get_mut(slot) {
            change(task);
        }
        self.reindex(slot);
    }

    /// A task that may wait goes on at `at`.
    pub(super) fn wait_ends(&mut self, slot: u32, at: KTime) {
        if let Some((key, length)) = self.wait_of(slot, at) {
            self.ended_waits.add(key, length, at);
        }
    }

    /// Counts the wait that an event ends, if its beginning was seen, too. The runtime's own tasks
    /// are left out.
    fn note_length(&mut self, id: TaskId, at: KTime) {
        let Some(task) = self.task(id) else { return };
        let waits = task.state == TaskState::Waiting && task.counted == Counted::User;
        let wait = task.wait(&self.flow, at).filter(|wait| wait.exactness == Exactness::Exact);
        if let Some(wait) = wait.filter(|wait| waits && wait.since < at) {
            let (kind, reason) = (id.kind, task.reason());
            self.lengths.note(kind, reason, wait.length());
        }
    }

    /// Where a task waits and for how long up to `at`.
    pub(super) fn wait_of(&self, slot: u32, at: KTime) -> Option<(GroupKey, Nanos)> {
        let task = self.tasks.get(slot).filter(|t| t.group != NOWHERE)?;
        let wait = task.wait(&self.flow, at).filter(|w| w.since < at)?;
        Some((self.groups.key(task.group)?, wait.length()))
    }

    /// Adds a task, if there is room.
    pub(super) fn add(&mut self, task: Task) -> Option<u32> {
        if self.tasks.len() >= self.limit {
            self.counts.not_followed += 1;
            return None;
        }
        self.sites.at(task.spawn_site).alive += 1;
        let slot = self.tasks.insert(task);
        self.reindex(slot);
        Some(slot)
    }

    /// Fills in what was not known of how a task came to be.
    pub(super) fn fill(&mut self, slot: u32, parent: u64, spawn_site: FrameId, start: FrameId) {
        let parent_site = match self.tasks.get(slot) {
            Some(task) if task.parent_site == FrameId::UNKNOWN => {
                let known = if task.parent == 0 { parent } else { task.parent };
                self.site_of(task.id().kind, known)
            }
            Some(task) => task.parent_site,
            None => return,
        };
        let Some(task) = self.tasks.get_mut(slot) else { return };
        if task.parent == 0 {
            task.parent = parent;
        }
        task.parent_site = parent_site;
        if task.start == FrameId::UNKNOWN {
            task.start = start;
        }
        if task.spawn_site == FrameId::UNKNOWN && spawn_site != FrameId::UNKNOWN {
            task.spawn_site = spawn_site;
            self.sites.move_alive(FrameId::UNKNOWN, spawn_site);
        }
    }

    /// Where the task of this number was created, while it is known.
    pub(super) fn site_of(&self, kind: TaskKind, number: u64) -> FrameId {
        if number == 0 {
            return FrameId::UNKNOWN;
        }
        self.task(TaskId { kind, number }).map_or(FrameId::UNKNOWN, Task::spawn_site)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Task> {
        self.set_group(slot, None);
        self.uncount(slot);
        let removed = self.tasks.remove(slot)?;
        if removed.moved
            && let Some(moved) = self.tasks.get(slot)
        {
            self.groups.renumber(moved.group, moved.place, slot);
        }
        Some(removed.task)
    }

    /// Brings the aggregates in line with what is now known of a task.
    pub(super) fn reindex(&mut self, slot: u32) {
        let Some(task) = self.tasks.get(slot) else { return };
        let state = task.derive(&self.flow);
        let counted = if task.is_system() { Counted::System } else { Counted::User };
        if (state, counted) != (task.state, task.counted) {
            self.uncount(slot);
            if let Some(task) = self.tasks.get_mut(slot) {
                task.state = state;
                task.counted = counted;
            }
            self.count(slot);
        }
        let Some(task) = self.tasks.get(slot) else { return };
        let grouped =
            counted == Counted::User && matches!(state, TaskState::Waiting | TaskState::Syscall);
        let key = grouped.then(|| GroupKey {
            spawn_site: task.spawn_site,
            wait_site: task.wait_site(),
            reason: task.reason(),
            state,
        });
        self.set_group(slot, key);
    }

    fn reindex_all(&mut self) {
        for slot in 0..self.tasks.len() as u32 {
            self.reindex(slot);
        }
    }

    fn uncount(&mut self, slot: u32) {
        let Some(task) = self.tasks.get(slot) else { return };
        match task.counted {
            Counted::No => {}
            Counted::System => self.system = self.system.saturating_sub(1),
            Counted::User => {
                if let Some(n) = self.by_state.get_mut(task.state as usize) {
                    *n = n.saturating_sub(1);
                }
            }
        }
    }

    fn count(&mut self, slot: u32) {
        let Some(task) = self.tasks.get(slot) else { return };
        match task.counted {
            Counted::No => {}
            Counted::System => self.system += 1,
            Counted::User => {
                if let Some(n) = self.by_state.get_mut(task.state as usize) {
                    *n += 1;
                }
            }
        }
    }

    fn set_group(&mut self, slot: u32, key: Option<GroupKey>) {
        let Some(task) = self.tasks.get(slot) else { return };
        let (group, place) = (task.group, task.place);
        if group != NOWHERE {
            if key.is_some() && self.groups.key(group) == key {
                return;
            }
            if let Some(follower) = self.groups.leave(group, place)
                && let Some(task) = self.tasks.get_mut(follower)
            {
                task.place = place;
            }
        }
        let (group, place) = key.map_or((NOWHERE, NOWHERE), |key| self.groups.join(key, slot));
        if let Some(task) = self.tasks.get_mut(slot) {
            task.group = group;
            task.place = place;
        }
    }

    /// Something of this process was lost.
    pub(super) fn lose(&mut self, loss: &Loss, own: bool, commands: &mut Vec<Command>) {
        if own
            && let Some(i) = LossKind::ALL.iter().position(|&k| k == loss.kind)
            && let Some(n) = self.losses.get_mut(i)
        {
            *n = n.saturating_add(loss.count);
        }
        if self.ended.is_none() {
            self.flow.lose(loss);
            self.asks.loss(loss.until, commands);
        }
    }

    /// The probes changed.
    pub(super) fn change_mode(&mut self, mode: Mode, at: KTime) {
        let past = self.mode_since.replace(at).map_or(Nanos(0), |since| at.since(since));
        let before = self.mode();
        if let Some(time) = self.in_modes.get_mut(before as usize) {
            time.0 = time.0.saturating_add(past.0);
        }
        self.flow.change(mode, at);
        self.reindex_all();
    }

    /// It ended; the tasks of a process that lives on are kept as they were.
    pub(super) fn end(&mut self, at: KTime, how: EndHow) {
        if self.ended.is_none() {
            self.ended = Some((at, how));
        }
        self.unsure = hashbrown::HashSet::new();
        self.tombs = Tombs::new();
    }

    /// Its image is gone, and all tasks with it.
    fn drop_tasks(&mut self) {
        self.tasks.clear();
        self.groups.clear();
        self.ended_waits.clear();
        self.sites.clear_alive();
        self.by_state = [0; TaskState::ALL.len()];
        self.system = 0;
        self.unsure.clear();
    }

    /// Gives memory back; called for a process that ended and is no longer shown.
    pub(super) fn forget_tasks(&mut self) {
        self.drop_tasks();
        self.tombs = Tombs::new();
    }
}

fn waker_number(waker: Waker, task: TaskId) -> u64 {
    match waker {
        Waker::Task(id) => number_of(Some(id), task.kind),
        Waker::Unknown => 0,
    }
}
