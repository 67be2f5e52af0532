//! `loiter.dump/1`: every task of a process. May use: view.

use std::io::{self, Write};
use std::sync::Arc;

use serde::ser::{Serialize, Serializer};

use super::parts::{Moment, Object, Pairs, Process, Site, Stack, at_least, class, exact};
use super::safe::write_line;
use crate::base::Frame;
use crate::output::wait_reason;
use crate::stream::LookOutcome;
use crate::view::{DumpView, TaskView};

#[derive(serde::Serialize)]
struct Dump<'a> {
    schema: &'static str,
    process: Process<'a>,
    taken_at: Moment,
    look: Look,
    tasks: Tasks<'a>,
}

#[derive(serde::Serialize)]
struct Look {
    listed: u64,
    read: u64,
    unreadable: u64,
    reread: u64,
    unsettled: u64,
    truncated: u64,
    took_ns: u64,
    bytes: u64,
    complete: bool,
}

impl From<&LookOutcome> for Look {
    fn from(o: &LookOutcome) -> Self {
        Self {
            listed: o.listed,
            read: o.read,
            unreadable: o.unreadable,
            reread: o.reread,
            unsettled: o.unsettled,
            truncated: o.truncated,
            took_ns: o.took.0,
            bytes: o.bytes,
            complete: o.is_complete(),
        }
    }
}

struct Tasks<'a>(&'a [&'a TaskView]);

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(|t| Task::new(t)))
    }
}

#[derive(serde::Serialize)]
struct Task<'a> {
    kind: &'static str,
    id: u64,
    state: &'static str,
    wait_reason: Option<&'a str>,
    wait_class: Option<&'static str>,
    waited_ns: Option<u64>,
    waited_at_least_ns: Option<u64>,
    parent: Option<u64>,
    system: bool,
    created_by: Option<Site<'a>>,
    start: Option<Start<'a>>,
    frames: Stack<'a>,
    wait_site: Option<Site<'a>>,
    waits_on: Object<'a>,
    labels: Pairs<'a>,
    stack_bytes: u64,
    thread: Option<u32>,
    locked_to_thread: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct Start<'a> {
    function: &'a str,
}

impl<'a> Start<'a> {
    fn of(frame: &'a Option<Arc<Frame>>) -> Option<Self> {
        frame.as_deref().map(|f| Start { function: &f.function })
    }
}

impl<'a> Task<'a> {
    fn new(t: &'a TaskView) -> Self {
        Self {
            kind: t.kind.word(),
            id: t.id,
            state: t.state.word(),
            wait_reason: wait_reason(t),
            wait_class: class(wait_reason(t).and(t.wait_class)),
            waited_ns: exact(t.waited),
            waited_at_least_ns: at_least(t.waited),
            parent: t.parent,
            system: t.system,
            created_by: Site::of(&t.created_by),
            start: Start::of(&t.start),
            frames: Stack(&t.frames),
            wait_site: Site::of(&t.wait_site),
            waits_on: Object(&t.waits_on),
            labels: Pairs(&t.labels),
            stack_bytes: t.stack_bytes,
            thread: t.thread,
            locked_to_thread: t.locked_to_thread,
            idle: t.idle.as_deref(),
        }
    }
}

/// Writes these tasks of a dump on one line.
///
/// # Errors
/// The writer's.
pub fn write_dump(out: &mut dyn Write, dump: &DumpView, tasks: &[&TaskView]) -> io::Result<()> {
    let dump = Dump {
        schema: "loiter.dump/1",
        process: Process::new(&dump.process),
        taken_at: Moment(dump.taken_at),
        look: Look::from(&dump.outcome),
        tasks: Tasks(tasks),
    };
    write_line(out, &dump)
}
