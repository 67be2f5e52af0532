//! One task's life out of a recording.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::base::{FrameId, KTime, ReasonId, TaskId, TaskState};
use crate::detect::{Change, Engine};
use crate::pipeline::settings::{Expectations, Moment, Thresholds};
use crate::pipeline::watch::detectors;
use crate::record::Recording;
use crate::stream::call::outcome_word;
use crate::stream::{Event, EventKind, GcCycle, Input, TaskLook, Waker};
use crate::view::build;
use crate::view::life::{LifeEvent, LifeView, NamedBy};

use super::Progress;
use super::walk::{Step, Until, walk};

/// What happened to a task, and what it did to others, up to a moment.
///
/// # Errors
/// If the recording cannot be read, or has no such task.
pub fn life(
    path: &Path,
    task: TaskId,
    until: Option<Moment>,
    progress: Progress<'_>,
) -> anyhow::Result<LifeView> {
    let recording = Recording::open(path)?;
    let mut until = Until::new(&recording, until)?;
    let mut told = Told::new(&recording, task);
    walk(&recording, &mut until, progress, &mut |step| {
        if let Step::Input(input) = step {
            told.input(input);
        }
        Ok(())
    })?;
    let Told { events, left_out, known, .. } = told;
    let mut events: Vec<_> = events.into();
    // Some things are found out later than they happen.
    events.sort_by_key(|(at, _)| *at);
    let kind = task.kind.word();
    known.then_some(()).with_context(|| {
        format!("no {kind} {} is in {} up to this moment", task.number, path.display())
    })?;
    Ok(LifeView { id: task.number, events, left_out })
}

struct Told {
    engine: Engine,
    task: TaskId,
    events: VecDeque<(crate::view::WallTime, LifeEvent)>,
    left_out: u64,
    /// Whether anything spoke of the task.
    known: bool,
    lives: Lives,
    /// What the last look found: state, reason, wait site.
    seen: Option<(TaskState, ReasonId, FrameId)>,
    /// Whether the look under way has found it.
    in_look: bool,
    /// Up to when stops for the collector were told.
    stops_told: KTime,
}

/// Whether the task is known to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lives {
    NotYet,
    Yes,
    NoMore,
}

impl Told {
    fn new(recording: &Recording, task: TaskId) -> Self {
        let thresholds = Thresholds::of_recording(recording.meta());
        Self {
            engine: Engine::new(detectors(&thresholds, &Expectations::default())),
            task,
            events: VecDeque::new(),
            left_out: 0,
            known: false,
            lives: Lives::NotYet,
            seen: None,
            in_look: false,
            stops_told: KTime(0),
        }
    }

    fn tell(&mut self, at: KTime, event: LifeEvent) {
        if self.events.len() >= LifeView::MAX_EVENTS {
            self.events.pop_front();
            self.left_out += 1;
        }
        self.events.push_back((build::wall(self.engine.model(), at), event));
    }

    fn input(&mut self, input: Input) {
        match &input {
            Input::Event(event) => self.event(event),
            Input::SnapshotBegin { .. } => self.in_look = false,
            Input::SnapshotTask(look) if look.task == self.task => self.look(look),
            Input::SnapshotEnd { t1, outcome, .. } => {
                let gone = self.lives == Lives::Yes && !self.in_look && outcome.is_complete();
                // A task born while the look went on is not in it.
                if gone && self.seen.is_some() {
                    self.lives = Lives::NoMore;
                    self.tell(*t1, LifeEvent::Gone);
                }
            }
            Input::GcCycle { cycle, .. } if self.lives == Lives::Yes => self.collection(cycle),
            Input::Call(call) if call.task == self.task => {
                (self.known, self.lives) = (true, Lives::Yes);
                let event = LifeEvent::Called {
                    call: call.name(),
                    lasted: call.at.since(call.began),
                    result: call.result,
                    outcome: outcome_word(call.outcome()),
                    woken: call.woken(),
                };
                self.tell(call.at, event);
            }
            Input::Loss(loss) if self.lives == Lives::Yes => {
                self.tell(loss.until, LifeEvent::Lost { kind: loss.kind, count: loss.count });
            }
            _ => {}
        }
        let (mut changes, mut commands) = (Vec::new(), Vec::new());
        self.engine.feed(input, &mut changes, &mut commands);
        for change in changes {
            self.named(&change);
        }
    }

    /// Each stop once, though a cycle may be told of more than once.
    fn collection(&mut self, cycle: &GcCycle) {
        let stops = [(Some(cycle.stop), cycle.mark), (cycle.mark_end, cycle.end)];
        for (from, to) in stops {
            if let (Some(from), Some(to)) = (from, to)
                && to > self.stops_told
            {
                self.stops_told = to;
                self.tell(from, LifeEvent::Stopped { lasted: to.since(from) });
            }
        }
    }

    fn named(&mut self, change: &Change) {
        let finding = change.finding();
        if !finding.tasks.contains(&self.task) {
            return;
        }
        let how = match change {
            Change::Opened(_) => NamedBy::Opened,
            Change::Grown(_) => NamedBy::Updated,
            Change::Resolved(_) => NamedBy::Resolved,
        };
        let finding_id = finding.id.to_string();
        let (kind, at) = (finding.kind, finding.at);
        self.tell(at, LifeEvent::Named { finding: finding_id, kind, change: how });
    }

    fn look(&mut self, look: &TaskLook) {
        self.in_look = true;
        (self.known, self.lives) = (true, Lives::Yes);
        let now = (look.state, look.reason, look.wait_site);
        if self.seen.replace(now) == Some(now) {
            return;
        }
        let waits = look.state == TaskState::Waiting;
        let reason = if waits { self.word(look.reason) } else { Arc::from("") };
        let blocked = waits || look.state == TaskState::Syscall;
        let site = if blocked { look.wait_site } else { FrameId::UNKNOWN };
        let wait_site = self.engine.model().names().frame(site).cloned();
        self.tell(look.t1, LifeEvent::Seen { state: look.state, reason, wait_site });
    }

    fn word(&self, reason: ReasonId) -> Arc<str> {
        let reason = self.engine.model().names().reason(reason);
        reason.map_or_else(|| Arc::from(""), |r| r.word.clone())
    }

    fn event(&mut self, event: &Event) {
        let at = event.at;
        match event.kind {
            EventKind::Birth { task, parent, spawn_site, start } if task == self.task => {
                (self.known, self.lives) = (true, Lives::Yes);
                let names = self.engine.model().names();
                let spawn_site = names.frame(spawn_site).cloned();
                let start = names.frame(start).cloned();
                let parent = parent.map(|p| p.number);
                self.tell(at, LifeEvent::Born { parent, spawn_site, start });
            }
            EventKind::Birth { task, parent, .. } if parent == Some(self.task) => {
                self.tell(at, LifeEvent::Bore { task: task.number });
            }
            EventKind::Ready { task, waker } if waker == Waker::Task(self.task) => {
                self.tell(at, LifeEvent::Woke { task: task.number });
            }
            kind => self.own(at, kind),
        }
    }

    /// What the task itself does, other than being born.
    fn own(&mut self, at: KTime, kind: EventKind) {
        let (task, told) = match kind {
            EventKind::Death { task } => (task, LifeEvent::Ended),
            EventKind::Run { task } => (task, LifeEvent::Ran),
            EventKind::Park { task, reason, .. } => {
                (task, LifeEvent::Parked { reason: self.word(reason) })
            }
            EventKind::Ready { task, waker } => (task, LifeEvent::Readied { by: by(waker) }),
            EventKind::Waited { task, parked, waker, reason, .. } => {
                let (lasted, reason) = (at.since(parked), self.word(reason));
                (task, LifeEvent::Waited { lasted, reason, by: by(waker) })
            }
            EventKind::Birth { .. }
            | EventKind::Fork
            | EventKind::Exec
            | EventKind::Exit { .. } => {
                return;
            }
        };
        if task == self.task {
            self.known = true;
            let ended = matches!(told, LifeEvent::Ended);
            self.lives = if ended { Lives::NoMore } else { Lives::Yes };
            self.tell(at, told);
        }
    }
}

const fn by(waker: Waker) -> Option<u64> {
    match waker {
        Waker::Task(task) => Some(task.number),
        Waker::Unknown => None,
    }
}
