//! Follows the model, input by input. Before the model eats one it is asked until when the tasks that the
//! input touches were known to do what they did; afterwards, what they do now.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, KTime, Nanos, ProcId, ReasonId, TaskId, TaskState};
use crate::model::{Exactness, Model, Process, Task};
use crate::stream::{EndHow, Event, EventKind, GcCycle, Input, Waker};

use super::phases::Phases;
use super::{Counts, Ended, Moment, Origin, Slice, Wake};

/// Counts are told at most this often.
const COUNTS_EVERY: Nanos = Nanos::from_millis(10);

/// What a task does, as far as slices tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Doing {
    state: TaskState,
    reason: ReasonId,
}

impl Doing {
    fn of(task: &Task) -> Self {
        Self { state: task.state(), reason: task.reason() }
    }
}

/// A slice that is not over.
#[derive(Clone, Copy, Debug)]
struct Open {
    doing: Doing,
    wait_site: FrameId,
    origin: Origin,
    since: KTime,
    began: Exactness,
    /// Until when it is known to last.
    until: KTime,
}

/// The input that the model is about to eat, as far as it matters here.
#[derive(Debug, Default)]
enum Pending {
    #[default]
    Nothing,
    Event(Event),
    Look(ProcId, KTime),
    /// A process is defined anew, or its probes changed, or it ended.
    Process(ProcId, KTime),
    Time(KTime),
    Collection(ProcId, GcCycle),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Timeline {
    open: HashMap<(ProcId, TaskId), Open, RandomState>,
    /// Where the last slice of a task ended: the next begins no earlier.
    floors: HashMap<(ProcId, TaskId), KTime, RandomState>,
    pending: Pending,
    counts: HashMap<ProcId, Counts, RandomState>,
    phases: Phases,
}

impl Timeline {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The model is about to eat this.
    pub fn before(&mut self, model: &Model, input: &Input) {
        self.pending = Pending::Nothing;
        self.pending = match input {
            Input::Event(event) => {
                match (subject(event), event.kind) {
                    (Some(id), _) => self.touch(model, event.process, id, event.at),
                    (None, EventKind::Exec) => self.touch_all(model, event.process, event.at),
                    (None, _) => return,
                }
                Pending::Event(*event)
            }
            Input::SnapshotEnd { process, t1, .. } => {
                self.touch_all(model, *process, *t1);
                Pending::Look(*process, *t1)
            }
            Input::ModeChange { process, at, .. } | Input::ProcessEnd { process, at, .. } => {
                self.touch_all(model, *process, *at);
                Pending::Process(*process, *at)
            }
            Input::ProcessDef(def) => Pending::Process(def.process, def.at),
            Input::GcCycle { process, cycle, .. } => Pending::Collection(*process, *cycle),
            Input::Tick(at) | Input::Memory { at, .. } => Pending::Time(*at),
            _ => Pending::Nothing,
        };
    }

    /// It has eaten it: tells what is over.
    pub fn after(&mut self, model: &Model, out: &mut Vec<Moment<'static>>) {
        self.advance(model, out);
        self.phases.follow(model.names(), out);
    }

    fn advance(&mut self, model: &Model, out: &mut Vec<Moment<'static>>) {
        match std::mem::take(&mut self.pending) {
            Pending::Nothing => {}
            Pending::Event(event) => {
                self.event(model, &event, out);
                self.count(model, event.process, event.at, out);
            }
            Pending::Look(process, t1) => {
                self.look(model, process, t1, out);
                self.count(model, process, t1, out);
            }
            Pending::Process(process, at) => {
                self.sweep(model, process, at, out);
                self.count(model, process, at, out);
            }
            Pending::Collection(id, cycle) => {
                if let Some(process) = model.process(id) {
                    self.phases.collection(id, process.def().at, &cycle, out);
                }
            }
            Pending::Time(at) => {
                for process in model.processes().filter(|p| p.ended().is_none()) {
                    self.count(model, process.id(), at, out);
                }
            }
        }
    }

    /// Nothing more will come: tells what goes on.
    pub fn finish(&mut self, model: &Model, out: &mut Vec<Moment<'static>>) {
        let now = model.now();
        for process in model.processes() {
            self.touch_all(model, process.id(), now);
        }
        let mut rest: Vec<_> = self.open.drain().collect();
        rest.sort_unstable_by_key(|(id, _)| *id);
        for ((process, task), open) in rest {
            let ended = if open.until >= now { Ended::GoesOn } else { Ended::NotKnown };
            out.push(Moment::Slice(open.slice(process, task, open.until, ended)));
        }
        self.phases.follow(model.names(), out);
        self.phases.finish(out);
    }

    fn touch(&mut self, model: &Model, process: ProcId, task: TaskId, at: KTime) {
        if let Some(whose) = model.process(process)
            && let Some(known) = whose.task(task)
            && let Some(open) = self.open.get_mut(&(process, task))
        {
            open.hold(whose, known, at);
        }
    }

    fn touch_all(&mut self, model: &Model, process: ProcId, at: KTime) {
        let Some(whose) = model.process(process) else { return };
        for task in whose.tasks() {
            if let Some(open) = self.open.get_mut(&(process, task.id())) {
                open.hold(whose, task, at);
            }
        }
    }

    fn event(&mut self, model: &Model, event: &Event, out: &mut Vec<Moment<'static>>) {
        let (process, at) = (event.process, event.at);
        let Some(id) = subject(event) else {
            return self.sweep(model, process, at, out);
        };
        match event.kind {
            EventKind::Ready { task, waker } => wake(model, process, waker, task, at, out),
            EventKind::Waited { parked, ready, waker, reason, .. } => {
                let woken = ready.unwrap_or(at).clamp(parked.min(at), at);
                wake(model, process, waker, id, woken, out);
                self.waited((process, id), reason, (parked, ready, at), model, out);
            }
            _ => {}
        }
        let Some(whose) = model.process(process) else { return };
        match whose.task(id) {
            None => self.close((process, id), at, Ended::Gone, out),
            Some(task) => self.turn(whose, task, at, Exactness::Exact, out),
        }
    }

    /// A whole wait that is told at its end.
    fn waited(
        &mut self,
        id: (ProcId, TaskId),
        reason: ReasonId,
        (parked, ready, ran): (KTime, Option<KTime>, KTime),
        model: &Model,
        out: &mut Vec<Moment<'static>>,
    ) {
        let Some(task) = model.process(id.0).and_then(|p| p.task(id.1)) else { return };
        let waits = Doing { state: TaskState::Waiting, reason };
        let told = |o: &Open| o.doing.state == waits.state && o.until >= parked;
        let known = self.open.get(&id).is_some_and(told);
        let woken = ready.unwrap_or(ran).clamp(parked.min(ran), ran);
        if !known {
            self.close(id, parked, Ended::WentOn, out);
            self.begin(id, task, waits, (parked, Exactness::Exact));
        }
        if let Some(open) = self.open.get_mut(&id) {
            open.until = open.until.max(woken);
        }
        self.close(id, woken, Ended::WentOn, out);
        if woken < ran {
            let queues = Doing { state: TaskState::Runnable, reason: ReasonId::UNKNOWN };
            self.begin(id, task, queues, (woken, Exactness::Exact));
            if let Some(open) = self.open.get_mut(&id) {
                open.until = ran;
            }
        }
    }

    /// A task may do something else now, since `at`.
    fn turn(
        &mut self,
        whose: &Process,
        task: &Task,
        at: KTime,
        began: Exactness,
        out: &mut Vec<Moment<'static>>,
    ) {
        let id = (whose.id(), task.id());
        let doing = Doing::of(task);
        let now = at.max(task.known_since());
        let known = whose.wait(task, now).or_else(|| whose.queued(task, now));
        let (mut since, began) = known.map_or((at, began), |w| (w.since, w.exactness));
        if let Some(open) = self.open.get_mut(&id) {
            // It may have done something else in between.
            let anew = since > open.until;
            if open.doing == doing && !anew {
                open.place(task);
                open.hold(whose, task, at);
                return;
            }
            since = since.max(open.since);
            let ended = if began == Exactness::Exact { Ended::WentOn } else { Ended::NotKnown };
            self.close(id, since, ended, out);
        }
        // Of a task just born it is known at least that it lives.
        if doing.state != TaskState::Unknown || task.born() == Some(at) {
            self.begin(id, task, doing, (since, began));
        }
    }

    fn begin(
        &mut self,
        id: (ProcId, TaskId),
        task: &Task,
        doing: Doing,
        (since, began): (KTime, Exactness),
    ) {
        let since = self.floors.get(&id).map_or(since, |&floor| since.max(floor));
        let mut open = Open {
            doing,
            wait_site: FrameId::UNKNOWN,
            origin: origin(task),
            since,
            began,
            until: since,
        };
        open.place(task);
        self.open.insert(id, open);
    }

    /// Ends what a task did at `at`, or when it was last known to do it.
    fn close(
        &mut self,
        id: (ProcId, TaskId),
        at: KTime,
        ended: Ended,
        out: &mut Vec<Moment<'static>>,
    ) {
        let Some(open) = self.open.remove(&id) else {
            if ended == Ended::Gone {
                self.floors.remove(&id);
            }
            return;
        };
        let until = open.until.min(at.max(open.since));
        let ended = if until < at { Ended::NotKnown } else { ended };
        if ended == Ended::Gone {
            self.floors.remove(&id);
        } else {
            self.floors.insert(id, until.max(open.since));
        }
        if until == open.since && ended == Ended::WentOn {
            return;
        }
        out.push(Moment::Slice(open.slice(id.0, id.1, until, ended)));
    }

    fn look(&mut self, model: &Model, id: ProcId, t1: KTime, out: &mut Vec<Moment<'static>>) {
        self.sweep(model, id, t1, out);
        let Some(whose) = model.process(id) else { return };
        self.floors.retain(|(process, task), _| *process != id || whose.task(*task).is_some());
        for task in whose.tasks() {
            let at = task.looked_at().unwrap_or(t1);
            self.turn(whose, task, at, Exactness::AtLeast, out);
        }
    }

    /// Ends what was done by tasks that the model no longer has, or of which it says nothing more.
    fn sweep(&mut self, model: &Model, id: ProcId, at: KTime, out: &mut Vec<Moment<'static>>) {
        let whose = model.process(id).filter(|p| p.ended().is_none());
        let is_over = |task: TaskId, open: &Open| {
            let state = whose.and_then(|p| p.task(task)).map(Task::state);
            state.is_none_or(|s| s == TaskState::Unknown && s != open.doing.state)
        };
        let ended_here = self.open.iter().filter(|((p, t), open)| *p == id && is_over(*t, open));
        let mut over: Vec<(ProcId, TaskId)> = ended_here.map(|(id, _)| *id).collect();
        over.sort_unstable();
        let ended = match model.process(id).map(Process::ended) {
            Some(None) => Ended::NotKnown,
            Some(Some((_, EndHow::Detached))) => Ended::GoesOn,
            Some(Some((_, EndHow::Exit | EndHow::Exec))) | None => Ended::Gone,
        };
        for id in over {
            self.close(id, at, ended, out);
        }
    }

    fn count(&mut self, model: &Model, id: ProcId, at: KTime, out: &mut Vec<Moment<'static>>) {
        let Some(process) = model.process(id) else { return };
        let now = Counts {
            process: id,
            at,
            by_state: TaskState::ALL.map(|state| process.in_state(state)),
            system: process.alive_system(),
        };
        let ended = process.ended().is_some();
        if let Some(last) = self.counts.get(&id) {
            let same = (last.by_state, last.system) == (now.by_state, now.system);
            if same || (at.since(last.at) < COUNTS_EVERY && !ended) {
                return;
            }
        }
        self.counts.insert(id, now);
        out.push(Moment::Counts(now));
    }
}

impl Open {
    /// It goes on as long as the model knows it to; that a task lives, it would tell.
    fn hold(&mut self, whose: &Process, task: &Task, at: KTime) {
        let known = match self.doing.state {
            TaskState::Unknown => at,
            _ => whose.holds_until(task, at),
        };
        self.until = self.until.max(known);
    }

    /// What is known of where the task comes from; a look may tell what an event did not.
    fn place(&mut self, task: &Task) {
        if matches!(self.doing.state, TaskState::Waiting | TaskState::Syscall)
            && task.wait_site() != FrameId::UNKNOWN
        {
            self.wait_site = task.wait_site();
        }
        self.origin = origin(task);
    }

    fn slice(&self, process: ProcId, task: TaskId, until: KTime, ended: Ended) -> Slice {
        Slice {
            process,
            task,
            origin: self.origin,
            state: self.doing.state,
            reason: self.doing.reason,
            wait_site: self.wait_site,
            since: self.since,
            began: self.began,
            until: until.max(self.since),
            ended,
        }
    }
}

/// The task that an event is about; None if it is about all of them.
const fn subject(event: &Event) -> Option<TaskId> {
    match event.kind {
        EventKind::Birth { task, .. }
        | EventKind::Death { task }
        | EventKind::Park { task, .. }
        | EventKind::Run { task }
        | EventKind::Ready { task, .. }
        | EventKind::Waited { task, .. } => Some(task),
        EventKind::Fork | EventKind::Exec | EventKind::Exit { .. } => None,
    }
}

fn origin(task: &Task) -> Origin {
    Origin { spawn_site: task.spawn_site(), start: task.start(), system: task.is_system() }
}

fn wake(
    model: &Model,
    process: ProcId,
    waker: Waker,
    woken: TaskId,
    at: KTime,
    out: &mut Vec<Moment<'static>>,
) {
    let Waker::Task(by) = waker else { return };
    let origin = model.process(process).and_then(|p| p.task(by)).map(origin);
    out.push(Moment::Wake(Wake { process, by, origin, woken, at }));
}
