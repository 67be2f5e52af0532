//! Each input of a recording as one JSON object a line (`loiter.input/1`, docs/exports.md). Names stand where
//! the recording has numbers, but for stacks, which many share: a line of its own tells what a number means.
//! May use: view, base, stream, output::json.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::base::{FrameId, KTime, ReasonId, TaskId};
use crate::output::json::parts::{Moment, Object, Pairs, Process, Site, class};
use crate::output::json::safe::write_line;
use crate::stream::call::outcome_word;
use crate::stream::{Event, EventKind, Input, LastLeave, Leave, ProcessDef, TaskLook, Waker};
use crate::view::recording::{InputSink, Missing};
use crate::view::{Names, WallTime, build};

/// Writes lines.
pub struct InputLines<W> {
    out: W,
}

impl<W: Write> InputLines<W> {
    /// On this writer.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    fn line(
        &mut self,
        what: &str,
        at: Option<(KTime, Option<WallTime>)>,
        rest: Value,
    ) -> io::Result<()> {
        let mut line = Map::new();
        line.insert("schema".to_owned(), "loiter.input/1".into());
        line.insert("input".to_owned(), what.into());
        if let Some((at, wall)) = at {
            line.insert("at".to_owned(), value(&wall.map(Moment)));
            line.insert("monotonic_ns".to_owned(), at.0.into());
        }
        if let Value::Object(rest) = rest {
            line.extend(rest);
        }
        write_line(&mut self.out, &line)
    }
}

impl<W: Write> InputSink for InputLines<W> {
    fn input(&mut self, input: &Input, wall: Option<WallTime>, names: &Names) -> io::Result<()> {
        let at = input.time().map(|at| (at, wall));
        let (what, rest) = match input {
            // Told where they are used.
            Input::NameDef { .. } | Input::ReasonDef { .. } => return Ok(()),
            Input::StackDef { id, frames } => {
                let frames: Vec<Value> = frames.iter().map(|&f| site(names, f)).collect();
                ("stack", json!({ "stack": id.0, "frames": frames }))
            }
            Input::ProcessDef(def) => ("process", process(def)),
            Input::ProcessEnd { process, how, .. } => {
                ("process_end", json!({ "process": process.0, "how": how.word() }))
            }
            Input::Event(event) => return self.event(event, wall, names),
            Input::SnapshotBegin { process, look, .. } => {
                ("look_begin", json!({ "process": process.0, "look": look.0 }))
            }
            Input::SnapshotTask(task) => ("look_task", task_look(task, names)),
            Input::SnapshotEnd { process, look, outcome, .. } => (
                "look_end",
                json!({
                    "process": process.0,
                    "look": look.0,
                    "listed": outcome.listed,
                    "read": outcome.read,
                    "unreadable": outcome.unreadable,
                    "unsettled": outcome.unsettled,
                    "truncated": outcome.truncated,
                    "took_ns": outcome.took.0,
                    "stopped": outcome.vitals.stopped.map(|stop| stop.words()),
                    "cpu_ns": outcome.vitals.cpu.map(|n| n.0),
                    "throttled_ns": outcome.vitals.throttled.map(|n| n.0),
                }),
            ),
            Input::Loss(loss) => (
                "loss",
                json!({
                    "process": loss.process.map(|p| p.0),
                    "kind": loss.kind.word(),
                    "count": loss.count,
                    "since_monotonic_ns": loss.since.0,
                }),
            ),
            Input::ModeChange { process, mode, why, .. } => {
                ("mode", json!({ "process": process.0, "mode": mode.word(), "why": why }))
            }
            Input::Memory { process, rss_bytes, limit_bytes, .. } => (
                "memory",
                json!({
                    "process": process.0,
                    "rss_bytes": rss_bytes,
                    "limit_bytes": limit_bytes,
                }),
            ),
            Input::GcCycle { process, cycle, .. } => (
                "gc",
                json!({
                    "process": process.0,
                    "stop_monotonic_ns": cycle.stop.0,
                    "mark_monotonic_ns": cycle.mark.map(|at| at.0),
                    "mark_end_monotonic_ns": cycle.mark_end.map(|at| at.0),
                    "end_monotonic_ns": cycle.end.map(|at| at.0),
                }),
            ),
            Input::Call(call) => (
                "call",
                json!({
                    "process": call.process.0,
                    "task": call.task.number,
                    "call": call.name(),
                    "arguments": call.arguments.map(|argument| format!("{argument:#x}")),
                    "result": call.result,
                    "outcome": outcome_word(call.outcome()),
                    "took_ns": call.at.since(call.began).0,
                    "slept": call.slept,
                }),
            ),
            Input::ClockAnchor { .. } => ("clock", json!({})),
            Input::Tick(_) => ("tick", json!({})),
        };
        self.line(what, at, rest)
    }

    fn missing(&mut self, missing: &Missing) -> io::Result<()> {
        let Missing { inputs, bytes, since, until } = *missing;
        let rest = json!({
            "inputs": inputs,
            "damaged_bytes": bytes,
            "since_monotonic_ns": since.0,
        });
        self.line("missing", Some((until, None)), rest)
    }
}

impl<W: Write> InputLines<W> {
    fn event(&mut self, event: &Event, wall: Option<WallTime>, names: &Names) -> io::Result<()> {
        let (what, of) = match event.kind {
            EventKind::Birth { task, parent, spawn_site, start } => (
                "birth",
                json!({
                    "task": task.number,
                    "parent": parent.map(|p| p.number),
                    "spawn_site": site(names, spawn_site),
                    "start": site(names, start),
                }),
            ),
            EventKind::Death { task } => ("death", json!({ "task": task.number })),
            EventKind::Park { task, reason, .. } => {
                ("park", json!({ "task": task.number, "wait_reason": word(names, reason) }))
            }
            EventKind::Run { task } => ("run", json!({ "task": task.number })),
            EventKind::Ready { task, waker } => {
                ("ready", json!({ "task": task.number, "waker": by(waker) }))
            }
            EventKind::Waited { task, parked, ready, waker, reason, .. } => (
                "waited",
                json!({
                    "task": task.number,
                    "wait_reason": word(names, reason),
                    "waited_ns": event.at.since(parked).0,
                    "ready_after_ns": ready.map(|at| at.since(parked).0),
                    "waker": by(waker),
                }),
            ),
            EventKind::Fork => ("fork", json!({})),
            EventKind::Exec => ("exec", json!({})),
            EventKind::Exit { code } => ("exit", json!({ "status": code })),
        };
        let mut rest = Map::new();
        rest.insert("event".to_owned(), what.into());
        rest.insert("process".to_owned(), event.process.0.into());
        rest.insert("thread".to_owned(), event.tid.0.into());
        if let Value::Object(of) = of {
            rest.extend(of);
        }
        self.line("event", Some((event.at, wall)), Value::Object(rest))
    }
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

fn site(names: &Names, id: FrameId) -> Value {
    value(&names.frame(id).map(|f| Site::new(f)))
}

fn word(names: &Names, id: ReasonId) -> Value {
    names.reason(id).map_or(Value::Null, |r| Value::from(&*r.word))
}

fn by(waker: Waker) -> Option<u64> {
    match waker {
        Waker::Task(TaskId { number, .. }) => Some(number),
        Waker::Unknown => None,
    }
}

fn process(def: &ProcessDef) -> Value {
    let mut rest = value(&Process::new(&build::described(def)));
    if let Value::Object(rest) = &mut rest {
        rest.insert("process".to_owned(), def.process.0.into());
    }
    rest
}

fn task_look(task: &TaskLook, names: &Names) -> Value {
    let put_off = match task.left {
        Some(LastLeave { how: Leave::PutOff, .. }) => Some(true),
        Some(LastLeave { how: Leave::Gave, .. }) => Some(false),
        Some(LastLeave { how: Leave::Unknown, .. }) | None => None,
    };
    json!({
        "task": task.task.number,
        "kind": task.task.kind.word(),
        "since_monotonic_ns": task.t0.0,
        "state": task.state.word(),
        "wait_reason": word(names, task.reason),
        "wait_class": class(names.class(task.reason)),
        "parent": task.parent.map(|p| p.number),
        "spawn_site": site(names, task.spawn_site),
        "start": site(names, task.start),
        "wait_site": site(names, task.wait_site),
        "stack": (task.stack.0 != 0).then_some(task.stack.0),
        "waits_on": value(&Object(&task.waits_on)),
        "waits_since_monotonic_ns": task.waits_since.map(|at| at.0),
        "run_counter": task.mark.map(|mark| mark.seq.0),
        "put_off": put_off,
        "stack_bytes": task.stack_bytes,
        "thread": task.thread.map(|t| t.0),
        "locked_to_thread": task.locked_to_thread,
        "system": task.system,
        "labels": value(&Pairs(&task.labels)),
    })
}
