//! One look at a process through the library, collected.

// Also used by the tests of real programs, which need only a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};

use loiter::base::{Frame, FrameId, KTime, Pid, ProcId, ReasonId, StackId, WaitClass};
use loiter::runtime::go::snapshot::{LookContext, Snapshotter};
use loiter::runtime::go::{Detector, locate};
use loiter::stream::{Input, LookOutcome, LookSeq, TaskLook};
use loiter::symbolize::SharedInterner;
use loiter::target::LiveMem;

/// CLOCK_MONOTONIC.
pub fn now() -> KTime {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    KTime(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

/// Names defined so far.
#[derive(Default)]
pub struct Names {
    frames: HashMap<FrameId, Frame>,
    stacks: HashMap<StackId, Box<[FrameId]>>,
    reasons: HashMap<ReasonId, (WaitClass, Box<str>)>,
}

impl Names {
    /// A frame that was defined before its first use.
    pub fn frame(&self, id: FrameId) -> &Frame {
        self.frames.get(&id).unwrap_or_else(|| panic!("{id:?} is used but not defined"))
    }

    /// The frames of a stack, without the one that stands for "not known".
    pub fn stack(&self, id: StackId) -> Vec<FrameId> {
        match self.stacks.get(&id) {
            Some(frames) => frames.iter().copied().filter(|f| *f != FrameId::UNKNOWN).collect(),
            None if id == StackId::EMPTY => Vec::new(),
            None => panic!("{id:?} is used but not defined"),
        }
    }

    /// The runtime's word for a reason.
    pub fn reason(&self, id: ReasonId) -> &str {
        self.reasons.get(&id).map_or("", |(_, word)| word)
    }

    fn take(&mut self, input: Input) -> Option<TaskLook> {
        match input {
            Input::NameDef { id, frame } => assert_eq!(self.frames.insert(id, frame), None),
            Input::StackDef { id, frames } => {
                for frame in frames.iter().filter(|f| **f != FrameId::UNKNOWN) {
                    assert!(self.frames.contains_key(frame), "{frame:?} comes after its use");
                }
                assert_eq!(self.stacks.insert(id, frames), None);
            }
            Input::ReasonDef { id, class, word } => {
                assert_eq!(self.reasons.insert(id, (class, word)), None);
            }
            Input::SnapshotTask(task) => return Some(*task),
            _ => {}
        }
        None
    }
}

/// A look: its tasks by id.
pub struct Look {
    pub tasks: BTreeMap<u64, TaskLook>,
    pub outcome: LookOutcome,
}

/// A process that is looked at.
pub struct Watched {
    mem: LiveMem,
    snapshotter: Snapshotter,
    interner: SharedInterner,
    pub names: Names,
    /// 27 of Go 1.27.
    pub minor: u32,
    seq: u32,
}

impl Watched {
    /// Attaches to a running Go process.
    pub fn attach(pid: u32) -> Self {
        let program = Detector::new().detect(Pid(pid)).unwrap();
        let mem = LiveMem::open(Pid(pid)).unwrap();
        let minor = u32::from(program.layout.minor);
        let located = locate(&mem, &program).unwrap();
        let snapshotter = Snapshotter::new(ProcId(1), Pid(pid), located);
        Self {
            mem,
            snapshotter,
            interner: SharedInterner::default(),
            names: Names::default(),
            minor,
            seq: 0,
        }
    }

    /// Takes a look.
    pub fn look(&mut self) -> Look {
        let mut tasks = BTreeMap::new();
        self.seq += 1;
        let (names, interner) = (&mut self.names, &self.interner);
        let mut sink = |input| {
            for definition in interner.take_definitions() {
                names.take(definition.into());
            }
            if let Some(task) = names.take(input) {
                assert_eq!(tasks.insert(task.task.number, task), None, "a goroutine is told twice");
            }
        };
        let mut context =
            LookContext { look: LookSeq(self.seq), clock: &now, interner, sink: &mut sink };
        let outcome = self.snapshotter.look(&self.mem, &mut context).unwrap();
        Look { tasks, outcome }
    }
}
