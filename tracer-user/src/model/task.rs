//! One task, and its state machine.
//!
//! A task keeps its newest park, wake-up, run and birth and its newest look, each with its time;
//! its state follows from whichever is newest. So the order in which they arrive does not matter,
//! and a record that comes late by a little is put where it belongs. One rule holds the fence: a
//! look counts only if its read began after the newest event - an event inside the interval of
//! the read is ambiguous and wins until the next look.
//!
//! 100 000 of these must fit into 40 MB together with all else, so the struct is packed.

use crate::base::{
    FrameId, KTime, Nanos, ReasonId, RunSeq, StackId, TaskId, TaskKind, TaskState, Tid,
};
use crate::stream::{Leave, RunMark, TaskLook, WaitsOn};

use super::flow::{Flow, NEVER};
use super::object::Object;
use super::wait::{Exactness, Wait};

/// No group, no place.
pub(super) const NOWHERE: u32 = u32::MAX;

/// pprof labels; rare, so one word when there are none.
type Labels = Option<Box<Box<[(Box<str>, Box<str>)]>>>;

/// The part of a look that changes while a task lives.
#[derive(Clone, Debug)]
pub(super) struct Dynamic {
    /// The read happened in `[t0, t1]`; [`NEVER`] = never looked at.
    pub t0: KTime,
    /// See `t0`.
    pub t1: KTime,
    pc: u64,
    sp: u64,
    /// [`NEVER`] = the runtime did not say.
    waits_since: KTime,
    labels: Labels,
    object: Object,
    stack: StackId,
    pub wait_site: FrameId,
    /// Saturating: no runtime has stacks of 4 GiB.
    stack_bytes: u32,
    thread: Option<Tid>,
    reason: ReasonId,
    seq: RunSeq,
    has_mark: bool,
    left: Leave,
    state: TaskState,
    locked: bool,
    system: bool,
}

impl Dynamic {
    fn never() -> Self {
        Self {
            t0: NEVER,
            t1: NEVER,
            pc: 0,
            sp: 0,
            waits_since: NEVER,
            labels: None,
            object: Object::Unknown,
            stack: StackId::EMPTY,
            wait_site: FrameId::UNKNOWN,
            stack_bytes: 0,
            thread: None,
            reason: ReasonId::UNKNOWN,
            seq: RunSeq(0),
            has_mark: false,
            left: Leave::Unknown,
            state: TaskState::Unknown,
            locked: false,
            system: false,
        }
    }

    /// Whether it runs or would.
    const fn is_busy(&self) -> bool {
        matches!(self.state, TaskState::Running | TaskState::Runnable | TaskState::Preempted)
    }

    /// Whether the task is in the same state and has not run since `earlier`.
    fn is_still(&self, earlier: &Dynamic) -> bool {
        self.has_mark
            && earlier.has_mark
            && self.state == earlier.state
            && (self.seq, self.pc, self.sp) == (earlier.seq, earlier.pc, earlier.sp)
    }
}

/// A task of a look, packed, until the look is complete.
#[derive(Debug)]
pub(super) struct Seen {
    pub id: TaskId,
    pub parent: u64,
    pub spawn_site: FrameId,
    pub start: FrameId,
    pub dynamic: Dynamic,
}

impl Seen {
    /// Packs a look at a task.
    pub fn pack(look: TaskLook) -> Self {
        let mark = look.mark.unwrap_or(RunMark { seq: RunSeq(0), pc: 0, sp: 0 });
        Self {
            id: look.task,
            parent: look.parent.map_or(0, |p| p.number),
            spawn_site: look.spawn_site,
            start: look.start,
            dynamic: Dynamic {
                t0: look.t0,
                t1: look.t1.max(look.t0),
                pc: mark.pc,
                sp: mark.sp,
                waits_since: look.waits_since.filter(|&since| since <= look.t1).unwrap_or(NEVER),
                labels: (!look.labels.is_empty()).then(|| Box::new(look.labels)),
                object: Object::pack(look.waits_on),
                stack: look.stack,
                wait_site: look.wait_site,
                stack_bytes: u32::try_from(look.stack_bytes).unwrap_or(u32::MAX),
                thread: look.thread,
                reason: look.reason,
                seq: look.left.map_or(mark.seq, |left| left.seq),
                has_mark: look.mark.is_some(),
                left: look.left.map_or(Leave::Unknown, |left| left.how),
                state: look.state,
                locked: look.locked_to_thread,
                system: look.system,
            },
        }
    }
}

/// How a task came to be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Its birth was seen.
    Born,
    /// It was there at the first look.
    Before,
    /// It was not there at the first look and no birth was seen: born unseen while watched.
    Appeared,
    /// Known from an event alone.
    Event,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    id: TaskId,
    /// Number of the parent; 0 = not known.
    pub(super) parent: u64,
    pub(super) spawn_site: FrameId,
    /// Where its parent was created, if the parent was known when this came to be known.
    pub(super) parent_site: FrameId,
    pub(super) start: FrameId,
    look: Dynamic,
    pub(super) born: KTime,
    /// When something was first known of it; of a task whose birth was seen, that.
    pub(super) known_since: KTime,
    parked: KTime,
    readied: KTime,
    ran: KTime,
    /// Number of the task that made it runnable last; 0 = not known.
    waker: u64,
    /// End of the first of the looks that found it as it is.
    still_since: KTime,
    still_looks: u32,
    /// How many births of its children were seen.
    pub(super) children: u32,
    /// In how many looks in a row it ran or would have, and had not blocked since the one before.
    busy_looks: u32,
    /// End of the first of them.
    busy_since: KTime,
    /// Its first run after its last park; [`NEVER`] = not seen, or something came in between.
    ran_first: KTime,
    /// Index of its group and its place there; [`NOWHERE`] = none.
    pub(super) group: u32,
    pub(super) place: u32,
    /// The last look that had it.
    pub(super) last_look: u32,
    park_reason: ReasonId,
    park_seq: RunSeq,
    pub(super) origin: Origin,
    /// The state the aggregates count it under.
    pub(super) state: TaskState,
    /// Among whose the aggregates count it.
    pub(super) counted: Counted,
}

/// Among whose a task is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counted {
    /// Not counted yet.
    No,
    /// The program's own.
    User,
    /// The runtime's.
    System,
}

/// What a look changed about a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    /// An event inside or after the read wins.
    Ambiguous,
    /// The first word on it, or in line with all known.
    Fits,
    /// It is where it was and has not run.
    Still,
    /// It ran since the look before.
    Ran,
    /// Every run should have been told, and one was not.
    Gap,
}

impl Task {
    /// A task of which only the number is known.
    pub(super) fn known(id: TaskId, origin: Origin, known_since: KTime) -> Self {
        Self {
            id,
            parent: 0,
            spawn_site: FrameId::UNKNOWN,
            parent_site: FrameId::UNKNOWN,
            start: FrameId::UNKNOWN,
            look: Dynamic::never(),
            born: NEVER,
            known_since,
            parked: NEVER,
            readied: NEVER,
            ran: NEVER,
            waker: 0,
            still_since: NEVER,
            still_looks: 0,
            children: 0,
            busy_looks: 0,
            busy_since: NEVER,
            ran_first: NEVER,
            group: NOWHERE,
            place: NOWHERE,
            last_look: 0,
            park_reason: ReasonId::UNKNOWN,
            park_seq: RunSeq(0),
            origin,
            state: TaskState::Unknown,
            counted: Counted::No,
        }
    }

    /// Its id.
    pub fn id(&self) -> TaskId {
        self.id
    }
    /// Its state.
    pub fn state(&self) -> TaskState {
        self.state
    }
    /// Its parent.
    pub fn parent(&self) -> Option<TaskId> {
        self.related(self.parent)
    }
    /// Where it was created.
    pub fn spawn_site(&self) -> FrameId {
        self.spawn_site
    }
    /// The function it runs.
    pub fn start(&self) -> FrameId {
        self.start
    }
    /// How it came to be known.
    pub fn origin(&self) -> Origin {
        self.origin
    }
    /// When it was born, where seen.
    pub fn born(&self) -> Option<KTime> {
        (self.born != NEVER).then_some(self.born)
    }
    /// When something was first known of it; of a task whose birth was seen, that.
    pub fn known_since(&self) -> KTime {
        self.known_since
    }
    /// Where its parent was created, also when the parent has ended since.
    pub fn parent_spawn_site(&self) -> FrameId {
        self.parent_site
    }
    /// How many births of its children were seen.
    pub fn children_born(&self) -> u32 {
        self.children
    }
    /// Whether a look ever had it.
    pub fn was_looked_at(&self) -> bool {
        self.look.t0 != NEVER
    }
    /// Whether it belongs to the runtime; false until a look has told.
    pub fn is_system(&self) -> bool {
        self.look.system
    }
    /// pprof labels as last seen.
    pub fn labels(&self) -> &[(Box<str>, Box<str>)] {
        self.look.labels.as_deref().map_or(&[], |l| l)
    }
    /// Stack held in bytes, as last seen.
    pub fn stack_bytes(&self) -> u64 {
        self.look.stack_bytes.into()
    }
    /// The thread it is on or locked to, as last seen.
    pub fn thread(&self) -> Option<Tid> {
        self.look.thread.filter(|_| self.look.locked || self.look_shows_place())
    }
    /// Whether it is locked to its thread, as last seen.
    pub fn is_locked_to_thread(&self) -> bool {
        self.look.locked
    }
    /// The task that made it runnable last, where seen.
    pub fn last_waker(&self) -> Option<TaskId> {
        self.related(self.waker)
    }
    /// Its stack, if it is known where it is now.
    pub fn stack(&self) -> StackId {
        if self.look_shows_place() { self.look.stack } else { StackId::EMPTY }
    }
    /// Where it waits, if it is known where it is now.
    pub fn wait_site(&self) -> FrameId {
        if self.look_shows_place() { self.look.wait_site } else { FrameId::UNKNOWN }
    }
    /// What it waits on, if that is known.
    pub fn waits_on(&self) -> WaitsOn {
        if self.look_rules() && self.is_blocked() {
            self.look.object.unpack()
        } else {
            WaitsOn::Unknown
        }
    }
    /// What it waits for; [`ReasonId::UNKNOWN`] if it does not wait.
    pub fn reason(&self) -> ReasonId {
        match (self.is_blocked(), self.look_rules()) {
            (false, _) => ReasonId::UNKNOWN,
            (true, true) => self.look.reason,
            (true, false) => self.park_reason,
        }
    }
    /// When the read of the last look at it ended, if no event is newer.
    pub fn looked_at(&self) -> Option<KTime> {
        self.look_rules().then_some(self.look.t1)
    }
    /// How many looks in a row found it as it is.
    pub fn still_looks(&self) -> u32 {
        if self.look_rules() { self.still_looks } else { 0 }
    }
    /// For how long looks found it as it is: from the end of the first to the begin of the last.
    pub fn still_for(&self) -> Nanos {
        if self.still_looks() == 0 { Nanos(0) } else { self.look.t0.since(self.still_since) }
    }
    /// How many independent marks say that it did not run: equal looks, and the park where it was
    /// seen. The chance that a busy task passes for a still one is 1/256 for each after the first.
    pub fn marks(&self) -> u32 {
        self.still_looks() + u32::from(self.park_fits())
    }

    fn related(&self, number: u64) -> Option<TaskId> {
        (number != 0).then_some(TaskId { kind: self.id.kind, number })
    }

    fn is_blocked(&self) -> bool {
        matches!(self.state, TaskState::Waiting | TaskState::Syscall)
    }

    /// The newest event.
    pub(super) fn last_event(&self) -> KTime {
        self.born.max(self.parked).max(self.readied).max(self.ran)
    }

    /// Whether the look is newer than every event.
    fn look_rules(&self) -> bool {
        self.look.t0 > self.last_event()
    }

    /// Whether it is still at the place where the look found it: being made runnable moves nobody.
    fn look_shows_place(&self) -> bool {
        self.look.t0 > self.born.max(self.parked).max(self.ran)
    }

    /// The newest moment at which something was known of it.
    pub(super) fn sure_at(&self) -> KTime {
        self.last_event().max(self.look.t0)
    }

    /// Its state by all that is known.
    pub(super) fn derive(&self, flow: &Flow) -> TaskState {
        let newest = self.last_event();
        if self.look_rules() {
            self.look.state
        } else if newest == NEVER {
            TaskState::Unknown
        } else if newest == self.parked {
            TaskState::Waiting
        } else if !flow.is_raw() {
            // Without park and run events nobody knows what it did after this one.
            TaskState::Unknown
        } else if newest == self.ran {
            TaskState::Running
        } else {
            TaskState::Runnable
        }
    }

    /// It was created.
    pub(super) fn on_birth(&mut self, at: KTime) {
        self.born = at;
        self.known_since = at;
        self.origin = Origin::Born;
    }

    /// It parked.
    pub(super) fn on_park(&mut self, at: KTime, reason: ReasonId, seq: RunSeq) {
        if at > self.parked {
            self.parked = at;
            self.park_reason = reason;
            self.park_seq = seq;
            self.busy_looks = 0;
            self.ran_first = NEVER;
        }
        self.break_chain(at);
    }

    /// It starts to run.
    pub(super) fn on_run(&mut self, at: KTime) {
        self.ran = self.ran.max(at);
        if self.ran_first == NEVER && at > self.parked {
            self.ran_first = at;
        }
        self.break_chain(at);
    }

    /// It was made runnable.
    pub(super) fn on_ready(&mut self, at: KTime, waker: u64) {
        if at > self.readied {
            self.readied = at;
            self.waker = waker;
        }
    }

    fn break_chain(&mut self, at: KTime) {
        if at > self.still_since {
            self.still_looks = 0;
        }
    }

    /// A look has it. Static parts are the caller's.
    pub(super) fn on_look(&mut self, seen: Dynamic, flow: &Flow) -> Settled {
        let believed = seen.t0 > self.last_event();
        let before = self.look_rules();
        let settled = if !believed {
            Settled::Ambiguous
        } else if before && seen.is_still(&self.look) {
            Settled::Still
        } else if self.contradicts(&seen, flow) {
            Settled::Gap
        } else if before && self.look.has_mark {
            Settled::Ran
        } else {
            Settled::Fits
        };
        match settled {
            Settled::Ambiguous => self.still_looks = 0,
            Settled::Still if self.still_looks > 0 => {
                self.still_looks = self.still_looks.saturating_add(1)
            }
            Settled::Still | Settled::Fits | Settled::Ran | Settled::Gap => {
                self.still_looks = 1;
                self.still_since = seen.t1;
            }
        }
        self.follow_busy(&seen);
        let waits_since = self.look.waits_since;
        self.look = seen;
        if settled == Settled::Still && self.look.waits_since == NEVER {
            self.look.waits_since = waits_since;
        }
        settled
    }

    /// Counts the looks that found it at work. Runs do not disturb them - who is put off runs
    /// again -, but a park after the look does.
    fn follow_busy(&mut self, seen: &Dynamic) {
        if seen.t0 <= self.parked.max(self.born) {
            return;
        }
        if !seen.is_busy() {
            self.busy_looks = 0;
            self.ran_first = NEVER;
            return;
        }
        let runs = |look: &Dynamic| look.state == TaskState::Running;
        let stayed = runs(seen) && runs(&self.look) && seen.seq == self.look.seq;
        if self.busy_looks > 0 && (stayed || seen.left != Leave::Gave) {
            self.busy_looks = self.busy_looks.saturating_add(1);
            return;
        }
        if self.busy_looks > 0 {
            // It made a call in between, which no event tells.
            self.ran_first = NEVER;
        }
        self.busy_looks = 1;
        self.busy_since = seen.t1;
    }

    /// In how many looks in a row it was at work, without having blocked in between as far as they
    /// can tell.
    pub fn busy_looks(&self) -> u32 {
        self.busy_looks
    }

    /// For how long it has been at work, as `busy_looks` says.
    pub(super) fn busy(&self, flow: &Flow) -> Option<Wait> {
        if self.busy_looks == 0 {
            return None;
        }
        let told = flow.is_raw() && self.ran_first != NEVER && !flow.in_doubt(self.ran_first);
        let (since, exactness) = if told && self.ran_first < self.busy_since {
            (self.ran_first, Exactness::Exact)
        } else {
            (self.busy_since, Exactness::AtLeast)
        };
        Some(Wait { since, until: self.look.t0.max(since), exactness })
    }

    /// For how long it may run and has not: only if a look found it so.
    pub(super) fn queued(&self, flow: &Flow, now: KTime) -> Option<Wait> {
        if self.state != TaskState::Runnable || !self.look_rules() || self.still_looks == 0 {
            return None;
        }
        let event = self.readied.max(self.born);
        let told = flow.is_raw() && event > self.ran.max(self.parked) && !flow.in_doubt(event);
        let (since, exactness) =
            if told { (event, Exactness::Exact) } else { (self.still_since, Exactness::AtLeast) };
        let until = flow.holds_until(self.sure_at(), None, now).max(since);
        Some(Wait { since, until, exactness })
    }

    /// Whether a look shows a run that the events should have told and did not.
    fn contradicts(&self, seen: &Dynamic, flow: &Flow) -> bool {
        let told = flow.is_raw()
            && !flow.in_doubt(self.sure_at())
            && flow.holds_until(self.sure_at(), None, seen.t0) >= seen.t0;
        if !told || !seen.has_mark || seen.state != TaskState::Waiting {
            return false;
        }
        if self.look_rules() {
            self.look.has_mark && self.look.state == TaskState::Waiting && self.look.seq != seen.seq
        } else {
            self.parked == self.last_event() && self.park_seq != seen.seq
        }
    }

    /// Whether the last park seen is the start of what the task is in now.
    fn park_fits(&self) -> bool {
        self.state == TaskState::Waiting
            && self.parked != NEVER
            && self.parked > self.ran
            && (!self.look_rules() || (self.look.has_mark && self.look.seq == self.park_seq))
    }

    /// Until when it is known to do what its state says.
    pub(super) fn holds_until(&self, flow: &Flow, now: KTime) -> KTime {
        // A look proves a wait from no later than its end to no earlier than its begin.
        let parked = self.park_fits().then_some(self.parked);
        flow.holds_until(self.sure_at(), parked, now)
    }

    /// The wait it is in, if any.
    pub(super) fn wait(&self, flow: &Flow, now: KTime) -> Option<Wait> {
        if !self.is_blocked() {
            return None;
        }
        let rules = self.look_rules();
        let (since, exactness) = if self.park_fits() {
            (self.parked, Exactness::Exact)
        } else if rules && self.look.waits_since > self.ran {
            (self.look.waits_since, Exactness::Exact)
        } else if rules {
            let first = if self.still_looks > 0 { self.still_since } else { self.look.t1 };
            (first, Exactness::AtLeast)
        } else {
            return None;
        };
        let until = self.holds_until(flow, now).max(since);
        Some(Wait { since, until, exactness })
    }
}

/// The neutral number of a task named by another task of the same process.
pub(super) fn number_of(task: Option<TaskId>, kind: TaskKind) -> u64 {
    task.filter(|t| t.kind == kind).map_or(0, |t| t.number)
}
