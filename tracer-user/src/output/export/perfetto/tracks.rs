//! Which tracks there are, and how they are named and ordered. May use: view, base,
//! output::{clean, export::perfetto::proto}.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{FrameId, ProcId, TaskId, TaskState};
use crate::output::clean::clean;
use crate::view::ProcessView;

use super::proto::{CounterDescriptor, ProcessDescriptor, TrackDescriptor};

/// Orders of tracks (`TrackDescriptor.ChildTracksOrdering`).
const CHRONOLOGICAL: i32 = 2;
const EXPLICIT: i32 = 3;
/// Tracks of equal names stay apart (`SIBLING_MERGE_BEHAVIOR_NONE`).
const APART: i32 = 2;
/// Units of counters (`CounterDescriptor.Unit`).
const COUNT: i32 = 2;
const BYTES: i32 = 3;

/// Something counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Counter {
    /// The program's own tasks in a state.
    State(TaskState),
    /// Tasks of the runtime.
    System,
    /// Resident memory.
    Rss,
    /// Its limit.
    Limit,
}

/// A track.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Track {
    /// A process.
    Process(ProcId),
    /// All tasks created at one place.
    Site(ProcId, FrameId),
    /// All tasks of the runtime.
    Runtime(ProcId),
    /// A task: where it was created, and whether it is the runtime's.
    Task(ProcId, TaskId, FrameId, bool),
    /// What the runtime did, by a number of its name.
    Phase(ProcId, u64),
    /// A counter.
    Counter(ProcId, Counter),
    /// Findings.
    Findings(ProcId),
    /// What became of the tracing.
    Tracing(ProcId),
    /// Losses, of all processes.
    Losses,
}

/// A task has one track, wherever it is said to come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Task(ProcId, TaskId),
    Other(Track),
}

impl From<Track> for Key {
    fn from(track: Track) -> Self {
        match track {
            Track::Task(process, task, ..) => Key::Task(process, task),
            other => Key::Other(other),
        }
    }
}

/// The tracks described so far.
#[derive(Default)]
pub struct Tracks {
    uuids: HashMap<Key, u64, RandomState>,
    values: HashMap<Track, u64, RandomState>,
    last: u64,
}

impl Tracks {
    /// The number of a track, and what describes it and those above it if it is new.
    pub fn get(&mut self, track: Track, name: &dyn Fn() -> String) -> (u64, Vec<TrackDescriptor>) {
        if let Some(&uuid) = self.uuids.get(&Key::from(track)) {
            return (uuid, Vec::new());
        }
        let (parent, mut descriptors) = match above(track) {
            Some(above) => self.get(above, &String::new),
            None => (0, Vec::new()),
        };
        let uuid = self.add(track.into());
        let mut descriptor = describe(track, name);
        descriptor.uuid = uuid;
        descriptor.parent_uuid = parent;
        descriptor.name = clean(&descriptor.name).into_owned();
        descriptors.push(descriptor);
        (uuid, descriptors)
    }

    fn add(&mut self, key: Key) -> u64 {
        self.last += 1;
        self.uuids.insert(key, self.last);
        self.last
    }

    /// Describes a process.
    pub fn process(&mut self, id: ProcId, view: &ProcessView) -> TrackDescriptor {
        let key = Key::from(Track::Process(id));
        let uuid = self.uuids.get(&key).copied().unwrap_or_else(|| self.add(key));
        let exe = clean(&view.exe).into_owned();
        let name = exe.rsplit('/').next().unwrap_or_default().to_owned();
        TrackDescriptor {
            uuid,
            process: Some(ProcessDescriptor {
                pid: i32::try_from(view.pid).unwrap_or(i32::MAX),
                process_name: name,
                cmdline: vec![exe],
            }),
            child_ordering: EXPLICIT,
            ..TrackDescriptor::default()
        }
    }

    /// Whether a counter has another value than when it was asked for last.
    pub fn changes(&mut self, counter: Track, value: u64) -> bool {
        match self.values.insert(counter, value) {
            Some(before) => before != value,
            // Zero of what never was is no news.
            None => value != 0,
        }
    }

    /// A task has ended.
    pub fn forget(&mut self, process: ProcId, task: TaskId) {
        self.uuids.remove(&Key::Task(process, task));
    }
}

const fn above(track: Track) -> Option<Track> {
    match track {
        Track::Process(_) | Track::Losses => None,
        Track::Site(process, _)
        | Track::Runtime(process)
        | Track::Phase(process, _)
        | Track::Counter(process, _)
        | Track::Findings(process)
        | Track::Tracing(process) => Some(Track::Process(process)),
        Track::Task(process, _, _, true) => Some(Track::Runtime(process)),
        Track::Task(process, _, site, false) => Some(Track::Site(process, site)),
    }
}

/// All but its number and place.
fn describe(track: Track, name: &dyn Fn() -> String) -> TrackDescriptor {
    let named = |name: String, rank| TrackDescriptor {
        name,
        sibling_order_rank: rank,
        sibling_merge_behavior: APART,
        ..TrackDescriptor::default()
    };
    let counter = |name: String, unit, rank| TrackDescriptor {
        counter: Some(CounterDescriptor { unit }),
        ..named(name, rank)
    };
    match track {
        Track::Process(process) => {
            TrackDescriptor { child_ordering: EXPLICIT, ..named(format!("process {process}"), 0) }
        }
        Track::Losses => named("lost records".to_owned(), 0),
        Track::Findings(_) => named("findings".to_owned(), 1),
        Track::Tracing(_) => named("tracing".to_owned(), 2),
        Track::Counter(_, Counter::State(state)) => {
            counter(format!("tasks {}", state.word()), COUNT, 10 + state as i32)
        }
        Track::Counter(_, Counter::System) => counter("tasks of the runtime".to_owned(), COUNT, 20),
        Track::Counter(_, Counter::Rss) => counter("resident memory".to_owned(), BYTES, 21),
        Track::Counter(_, Counter::Limit) => counter("memory limit".to_owned(), BYTES, 22),
        Track::Site(..) => TrackDescriptor { child_ordering: CHRONOLOGICAL, ..named(name(), 30) },
        Track::Runtime(_) => {
            TrackDescriptor { child_ordering: CHRONOLOGICAL, ..named("the runtime".to_owned(), 40) }
        }
        Track::Phase(..) => named(name(), 25),
        Track::Task(..) => named(name(), 0),
    }
}
