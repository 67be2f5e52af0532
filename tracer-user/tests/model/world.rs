//! Speaks the language of the model, in milliseconds and small numbers.

use loiter::base::*;
use loiter::detect::{Change, Engine, Finding, Settings};
use loiter::model::{Process, Task, Waited};
use loiter::stream::*;

/// The one process of most tests.
pub const P: ProcId = ProcId(1);

/// Frames: where tasks are created, what they run, where they wait.
pub const SPAWN: FrameId = FrameId(1);
pub const OTHER_SPAWN: FrameId = FrameId(2);
pub const START: FrameId = FrameId(3);
pub const SITE: FrameId = FrameId(4);
pub const MAIN: FrameId = FrameId(6);
pub const ACCEPT: FrameId = FrameId(7);

/// Stacks that end at `SITE` and in `ACCEPT`.
pub const STACK: StackId = StackId(1);
pub const ACCEPT_STACK: StackId = StackId(2);

/// Wait reasons.
pub const RECEIVE: ReasonId = ReasonId(1);
pub const SEND: ReasonId = ReasonId(2);
pub const MUTEX: ReasonId = ReasonId(3);
pub const NIL: ReasonId = ReasonId(4);
pub const SLEEP: ReasonId = ReasonId(5);
pub const IO: ReasonId = ReasonId(6);
pub const GROUP: ReasonId = ReasonId(7);
pub const SELECT: ReasonId = ReasonId(8);

/// A moment, in milliseconds after an arbitrary start.
pub fn ms(n: u64) -> KTime {
    KTime(1_000_000_000_000 + n * 1_000_000)
}

/// A length in milliseconds.
pub fn len(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

/// A goroutine.
pub fn g(n: u64) -> TaskId {
    TaskId::goroutine(n)
}

/// A task waiting at `SITE` as a look at `[t0, t1]` finds it.
pub fn waiting(n: u64, t0: KTime, t1: KTime, reason: ReasonId, seq: u8) -> TaskLook {
    TaskLook {
        task: g(n),
        t0,
        t1,
        state: TaskState::Waiting,
        reason,
        parent: Some(g(1)),
        spawn_site: SPAWN,
        start: START,
        stack: STACK,
        wait_site: SITE,
        mark: Some(RunMark { seq: RunSeq(seq), pc: 0x40_1000, sp: 0xc000_0000 + n * 0x1000 }),
        left: None,
        waits_on: WaitsOn::Unknown,
        waits_since: None,
        stack_bytes: 8192,
        thread: None,
        locked_to_thread: false,
        system: false,
        labels: Box::new([]),
    }
}

/// The same, running.
pub fn running(n: u64, t0: KTime, t1: KTime) -> TaskLook {
    TaskLook {
        state: TaskState::Running,
        reason: ReasonId::UNKNOWN,
        mark: None,
        stack: StackId::EMPTY,
        wait_site: FrameId::UNKNOWN,
        ..waiting(n, t0, t1, RECEIVE, 0)
    }
}

/// What a look that had everything says of itself.
pub fn complete(n: usize) -> LookOutcome {
    LookOutcome { listed: n as u64, read: n as u64, ..LookOutcome::default() }
}

/// The inputs that name everything the tests use and define the process `P` at time 0.
pub fn preamble() -> Vec<Input> {
    let mut all = Vec::new();
    let names = [
        (SPAWN, "main.serve", 10),
        (OTHER_SPAWN, "main.init", 20),
        (START, "main.serve.func1", 11),
        (SITE, "main.work", 30),
        (FrameId(5), "runtime.gopark", 402),
        (MAIN, "runtime.main", 147),
        (ACCEPT, "internal/poll.(*FD).Accept", 613),
    ];
    for (id, function, line) in names {
        let frame = Frame {
            function: function.into(),
            file: "/src/main.go".into(),
            line,
            kind: FrameKind::Call,
            visibility: Visibility::Shown,
        };
        all.push(Input::NameDef { id, frame });
    }
    all.push(Input::StackDef { id: STACK, frames: Box::new([FrameId(5), SITE, START]) });
    all.push(Input::StackDef { id: ACCEPT_STACK, frames: Box::new([FrameId(5), ACCEPT, START]) });
    let reasons = [
        (RECEIVE, WaitClass::ChanReceive, "chan receive"),
        (SEND, WaitClass::ChanSend, "chan send"),
        (MUTEX, WaitClass::Lock, "sync.Mutex.Lock"),
        (NIL, WaitClass::Never, "chan receive (nil chan)"),
        (SLEEP, WaitClass::Sleep, "sleep"),
        (IO, WaitClass::Io, "IO wait"),
        (GROUP, WaitClass::Group, "semacquire"),
        (SELECT, WaitClass::Select, "select"),
    ];
    for (id, class, word) in reasons {
        all.push(Input::ReasonDef { id, class, word: word.into() });
    }
    all.push(Input::ClockAnchor { mono: ms(0), wall_ns: 1_700_000_000_000_000_000 });
    all.push(Input::ProcessDef(Box::new(process_def(P, 77, ms(0)))));
    all
}

/// A process.
pub fn process_def(process: ProcId, pid: u32, at: KTime) -> ProcessDef {
    ProcessDef {
        process,
        pid: Pid(pid),
        start_ticks: 1,
        at,
        exe: "/app/server".into(),
        runtime: "go".into(),
        runtime_version: "go1.27.3".into(),
        build: BuildInfo { path: Some("example.com/server".into()), ..BuildInfo::default() },
        container: None,
        pod: None,
        degraded: Box::new([]),
    }
}

/// An engine that is being fed.
pub struct World {
    pub engine: Engine,
    pub changes: Vec<Change>,
    pub commands: Vec<Command>,
    looks: u32,
}

impl World {
    pub fn new() -> Self {
        Self::with(Settings { idle: loiter::runtime::go::idle::patterns(), ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Self {
        let mut world = Self {
            engine: Engine::new(settings),
            changes: Vec::new(),
            commands: Vec::new(),
            looks: 0,
        };
        preamble().into_iter().for_each(|i| world.feed(i));
        world
    }

    /// With all probes on from `ms(0)` and their first event seen.
    pub fn with_all_events() -> Self {
        let mut world = Self::new();
        world.mode(Mode::All, 0);
        world
    }

    pub fn feed(&mut self, input: Input) {
        self.engine.feed(input, &mut self.changes, &mut self.commands);
    }

    pub fn mode(&mut self, mode: Mode, at: u64) {
        self.feed(Input::ModeChange { process: P, at: ms(at), mode, why: "test".into() });
    }

    pub fn event(&mut self, at: u64, kind: EventKind) {
        self.feed(Input::Event(Event { process: P, at: ms(at), tid: Tid(1), kind }));
    }

    pub fn birth(&mut self, n: u64, at: u64) {
        self.event(
            at,
            EventKind::Birth { task: g(n), parent: Some(g(1)), spawn_site: SPAWN, start: START },
        );
    }

    pub fn death(&mut self, n: u64, at: u64) {
        self.event(at, EventKind::Death { task: g(n) });
    }

    pub fn park(&mut self, n: u64, at: u64, reason: ReasonId, seq: u8) {
        self.event(at, EventKind::Park { task: g(n), reason, run_seq: RunSeq(seq) });
    }

    pub fn run(&mut self, n: u64, at: u64) {
        self.event(at, EventKind::Run { task: g(n) });
    }

    pub fn ready(&mut self, n: u64, at: u64, waker: u64) {
        self.event(at, EventKind::Ready { task: g(n), waker: Waker::Task(g(waker)) });
    }

    pub fn tick(&mut self, at: u64) {
        self.feed(Input::Tick(ms(at)));
    }

    pub fn loss(&mut self, since: u64, until: u64, count: u64) {
        self.feed(Input::Loss(Loss {
            process: Some(P),
            kind: LossKind::RingFull,
            count,
            since: ms(since),
            until: ms(until),
        }));
    }

    pub fn begin(&mut self, t0: u64) {
        self.looks += 1;
        self.feed(Input::SnapshotBegin { process: P, look: LookSeq(self.looks), t0: ms(t0) });
    }

    pub fn end(&mut self, t1: u64, outcome: LookOutcome) {
        self.feed(Input::SnapshotEnd {
            process: P,
            look: LookSeq(self.looks),
            t1: ms(t1),
            outcome,
        });
    }

    /// A complete look.
    pub fn look(&mut self, t0: u64, t1: u64, tasks: Vec<TaskLook>) {
        let outcome = complete(tasks.len());
        self.look_with(t0, t1, tasks, outcome);
    }

    pub fn look_with(&mut self, t0: u64, t1: u64, tasks: Vec<TaskLook>, outcome: LookOutcome) {
        self.begin(t0);
        tasks.into_iter().for_each(|t| self.feed(Input::SnapshotTask(Box::new(t))));
        self.end(t1, outcome);
    }

    pub fn process(&self) -> &Process {
        self.engine.model().process(P).unwrap()
    }

    pub fn task(&self, n: u64) -> &Task {
        self.process().task(g(n)).unwrap_or_else(|| panic!("no task {n}"))
    }

    pub fn waited(&self, n: u64) -> Waited {
        let now = self.engine.model().now();
        self.process().wait(self.task(n), now).map_or(Waited::Unknown, |w| w.waited())
    }

    pub fn findings(&self) -> Vec<&Finding> {
        self.engine.open(P)
    }

    pub fn snapshots_asked(&self, wanted: SnapshotWhy) -> usize {
        self.commands
            .iter()
            .filter(|c| matches!(c, Command::NeedSnapshot { why, .. } if *why == wanted))
            .count()
    }
}
