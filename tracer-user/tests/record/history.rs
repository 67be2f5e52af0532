//! A history as a tracer tells it: time goes on, tasks are born, wait and end, looks are taken.

use loiter::base::*;
use loiter::stream::*;

use crate::wild::Dice;

pub const PROCESS: ProcId = ProcId(1);
/// Between two events, on average, ns.
const STEP: u64 = 20_000;

pub struct History {
    pub inputs: Vec<Input>,
    dice: Dice,
    now: u64,
    next_task: u64,
    alive: Vec<u64>,
    looks: u32,
}

impl History {
    pub fn new(seed: u64) -> History {
        let mut history = History {
            inputs: Vec::new(),
            dice: Dice(seed),
            now: 960_000_000,
            next_task: 18,
            alive: vec![1],
            looks: 0,
        };
        let at = KTime(history.now);
        history.inputs.push(Input::ClockAnchor { mono: at, wall_ns: 1_750_000_000_000_000_000 });
        history.inputs.push(Input::ProcessDef(Box::new(def(at))));
        let why = "as asked for".into();
        history.inputs.push(Input::ModeChange { process: PROCESS, at, mode: Mode::All, why });
        for id in 1..20 {
            history.inputs.push(Input::NameDef { id: FrameId(id), frame: frame(id) });
        }
        for id in 1..8 {
            let frames = (id..id + 5).map(FrameId).collect();
            history.inputs.push(Input::StackDef { id: StackId(id), frames });
        }
        for (id, class) in [(1, WaitClass::ChanReceive), (2, WaitClass::Io)] {
            let word = format!("reason {id}").into();
            history.inputs.push(Input::ReasonDef { id: ReasonId(id), class, word });
        }
        history
    }

    /// So many events more, with ticks, and a look each second.
    pub fn run(&mut self, events: usize) -> &mut History {
        for _ in 0..events {
            let before = self.now;
            self.now += self.dice.below(2 * STEP);
            if before / 200_000_000 != self.now / 200_000_000 {
                self.inputs.push(Input::Tick(KTime(self.now)));
            }
            if before / 1_000_000_000 != self.now / 1_000_000_000 {
                self.look();
            }
            self.event();
        }
        self
    }

    fn event(&mut self) {
        let some = self.dice.below(self.alive.len() as u64) as usize;
        let task = TaskId::goroutine(self.alive[some]);
        let kind = match self.dice.below(10) {
            0 if self.alive.len() < 1000 => {
                let number = self.next_task;
                self.next_task += 1;
                self.alive.push(number);
                EventKind::Birth {
                    task: TaskId::goroutine(number),
                    parent: Some(task),
                    spawn_site: FrameId(1),
                    start: FrameId(2),
                }
            }
            1 if self.alive.len() > 1 && some > 0 => {
                self.alive.swap_remove(some);
                EventKind::Death { task }
            }
            2..=4 => EventKind::Park { task, reason: ReasonId(1), run_seq: RunSeq(self.now as u8) },
            5..=7 => EventKind::Run { task },
            _ => EventKind::Ready { task, waker: Waker::Unknown },
        };
        let tid = Tid(100 + self.dice.below(3) as u32);
        self.inputs.push(Input::Event(Event { process: PROCESS, at: KTime(self.now), tid, kind }));
    }

    fn look(&mut self) {
        self.looks += 1;
        let (look, t0) = (LookSeq(self.looks), KTime(self.now));
        self.inputs.push(Input::SnapshotBegin { process: PROCESS, look, t0 });
        for &number in &self.alive {
            self.now += 500;
            self.inputs.push(Input::SnapshotTask(Box::new(task(number, KTime(self.now)))));
        }
        let outcome = LookOutcome {
            listed: self.alive.len() as u64,
            read: self.alive.len() as u64,
            took: Nanos(self.now - t0.0),
            ..LookOutcome::default()
        };
        let t1 = KTime(self.now);
        self.inputs.push(Input::SnapshotEnd { process: PROCESS, look, t1, outcome });
    }
}

fn task(number: u64, at: KTime) -> TaskLook {
    TaskLook {
        task: TaskId::goroutine(number),
        t0: at,
        t1: KTime(at.0 + 300),
        state: TaskState::Waiting,
        reason: ReasonId(1),
        parent: Some(TaskId::goroutine(1)),
        spawn_site: FrameId(1),
        start: FrameId(2),
        stack: StackId(1 + (number % 7) as u32),
        wait_site: FrameId(5),
        mark: Some(RunMark { seq: RunSeq(number as u8), pc: 0x47_0000, sp: 0xc000_0000 + number }),
        left: None,
        waits_on: WaitsOn::Unknown,
        waits_since: None,
        stack_bytes: 2048,
        thread: None,
        locked_to_thread: false,
        system: false,
        labels: Box::default(),
    }
}

fn frame(id: u32) -> Frame {
    Frame {
        function: format!("main.function{id}").into(),
        file: "/src/main.go".into(),
        line: 10 * id,
        kind: FrameKind::Call,
        visibility: Visibility::Shown,
    }
}

fn def(at: KTime) -> ProcessDef {
    ProcessDef {
        process: PROCESS,
        pid: Pid(4242),
        start_ticks: 1,
        at,
        exe: "/srv/orders".into(),
        runtime: "go".into(),
        runtime_version: "go1.27.3".into(),
        build: BuildInfo::default(),
        container: None,
        pod: None,
        degraded: Box::default(),
    }
}
