//! Inputs of every sort with every sort of number in them, also those that never occur.

use loiter::base::*;
use loiter::stream::*;

/// Numbers from a seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// Small, large or extreme.
    pub fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(4),
            1 => self.below(100_000),
            2 => self.next(),
            _ => self.one_of(&[0, 1, 127, 128, u64::MAX, u64::MAX - 1, 1 << 63]),
        }
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    fn scheduler(&mut self) -> SchedulerState {
        let mut n = || self.number() as u32;
        SchedulerState {
            processors: Processors { idle: n(), running: n(), syscall: n(), stopped: n() },
            threads: n(),
            threads_idle: n(),
            threads_spinning: n(),
            global_queue: n(),
            local_queues: n(),
            longest_local_queue: n(),
        }
    }

    fn pod(&mut self) -> loiter::stream::PodInfo {
        loiter::stream::PodInfo {
            uid: self.maybe(Self::word),
            name: self.maybe(Self::word),
            namespace: self.maybe(Self::word),
            container: self.maybe(Self::word),
        }
    }

    fn word(&mut self) -> Box<str> {
        let n = self.below(12);
        (0..n)
            .map(|_| self.one_of(&['a', 'ß', '漢', '\0', '"', '\n', '🦀']))
            .collect::<String>()
            .into()
    }

    fn words(&mut self) -> Vec<Box<str>> {
        (0..self.below(4)).map(|_| self.word()).collect()
    }

    fn pairs(&mut self) -> Vec<(Box<str>, Box<str>)> {
        (0..self.below(4)).map(|_| (self.word(), self.word())).collect()
    }

    fn time(&mut self) -> KTime {
        KTime(self.number())
    }

    fn process(&mut self) -> ProcId {
        ProcId(self.number() as u32)
    }

    fn task(&mut self) -> TaskId {
        let kind = self.one_of(&[TaskKind::Goroutine, TaskKind::Goroutine, TaskKind::Thread]);
        TaskId { kind, number: self.number() }
    }

    fn frame(&mut self) -> FrameId {
        FrameId(self.number() as u32)
    }

    fn waker(&mut self) -> Waker {
        self.maybe(Self::task).map_or(Waker::Unknown, Waker::Task)
    }

    fn event(&mut self) -> Event {
        let task = self.task();
        let reason = ReasonId(self.number() as u16);
        let run_seq = RunSeq(self.number() as u8);
        let kind = match self.below(9) {
            0 => EventKind::Birth {
                task,
                parent: self.maybe(Self::task),
                spawn_site: self.frame(),
                start: self.frame(),
            },
            1 => EventKind::Death { task },
            2 => EventKind::Park { task, reason, run_seq },
            3 => EventKind::Run { task },
            4 => EventKind::Ready { task, waker: self.waker() },
            5 => EventKind::Waited {
                task,
                parked: self.time(),
                ready: self.maybe(Self::time),
                waker: self.waker(),
                reason,
                run_seq,
            },
            6 => EventKind::Fork,
            7 => EventKind::Exec,
            _ => EventKind::Exit { code: self.number() as u32 },
        };
        let tid = Tid(self.number() as u32);
        Event { process: self.process(), at: self.time(), tid, kind }
    }

    fn call(&mut self) -> Call {
        let began = self.time();
        Call {
            process: self.process(),
            task: TaskId::thread(self.number() as u32),
            began,
            at: KTime(began.0.saturating_add(self.number())),
            number: self.number() as i32,
            arguments: std::array::from_fn(|_| self.number()),
            result: self.number() as i64,
            slept: self.number() as u32,
        }
    }

    fn cycle(&mut self) -> GcCycle {
        let stop = self.below(1 << 62);
        let mut at = stop;
        let mut next = |dice: &mut Self| {
            dice.maybe(|dice| {
                at += dice.number() >> 8;
                KTime(at)
            })
        };
        let (mark, mark_end, end) = (next(self), next(self), next(self));
        GcCycle { stop: KTime(stop), mark, mark_end, end }
    }

    fn waits_on(&mut self) -> WaitsOn {
        match self.below(4) {
            0 => WaitsOn::Unknown,
            1 => WaitsOn::Channels(
                (0..self.below(4))
                    .map(|_| ChannelState {
                        address: self.number(),
                        capacity: self.number(),
                        length: self.number(),
                        closed: self.below(2) == 0,
                        carries: self.one_of(&[
                            Carries::Unknown,
                            Carries::Signals,
                            Carries::Values,
                            Carries::Ticks,
                            Carries::Timeout,
                            Carries::Times,
                        ]),
                    })
                    .collect(),
            ),
            2 => WaitsOn::Lock {
                kind: self.one_of(&[
                    LockKind::Mutex,
                    LockKind::RwRead,
                    LockKind::RwWrite,
                    LockKind::WaitGroup,
                    LockKind::Cond,
                    LockKind::Semaphore,
                ]),
                address: self.number(),
                held: self.maybe(|d| d.number() as u32),
            },
            _ => WaitsOn::Timer { until: self.time() },
        }
    }

    fn look(&mut self) -> TaskLook {
        TaskLook {
            task: self.task(),
            t0: self.time(),
            t1: self.time(),
            state: self.one_of(&TaskState::ALL),
            reason: ReasonId(self.number() as u16),
            parent: self.maybe(Self::task),
            spawn_site: self.frame(),
            start: self.frame(),
            stack: StackId(self.number() as u32),
            wait_site: self.frame(),
            mark: self.maybe(|d| RunMark {
                seq: RunSeq(d.number() as u8),
                pc: d.number(),
                sp: d.number(),
            }),
            left: self.maybe(|d| LastLeave {
                how: d.one_of(&[Leave::Unknown, Leave::Gave, Leave::PutOff]),
                seq: RunSeq(d.number() as u8),
            }),
            waits_on: self.waits_on(),
            waits_since: self.maybe(Self::time),
            stack_bytes: self.number(),
            thread: self.maybe(|d| Tid(d.number() as u32)),
            locked_to_thread: self.below(2) == 0,
            system: self.below(2) == 0,
            labels: self.pairs().into(),
        }
    }

    fn def(&mut self) -> ProcessDef {
        ProcessDef {
            process: self.process(),
            pid: Pid(self.number() as u32),
            start_ticks: self.number(),
            at: self.time(),
            exe: self.word(),
            runtime: self.word(),
            runtime_version: self.word(),
            build: BuildInfo {
                path: self.maybe(Self::word),
                module: self.maybe(Self::word),
                version: self.maybe(Self::word),
                build_id: self.maybe(Self::word),
                settings: self.pairs(),
            },
            container: self.maybe(Self::word),
            pod: self.maybe(Self::pod),
            degraded: self.words().into(),
        }
    }

    fn outcome(&mut self) -> LookOutcome {
        LookOutcome {
            listed: self.number(),
            read: self.number(),
            unreadable: self.number(),
            reread: self.number(),
            unsettled: self.number(),
            truncated: self.number(),
            took: Nanos(self.number()),
            bytes: self.number(),
            vitals: Vitals {
                stopped: self.maybe(|d| d.one_of(&[Stop::Signal, Stop::Tracer, Stop::Frozen])),
                cpu: self.maybe(|d| Nanos(d.number())),
                throttled: self.maybe(|d| Nanos(d.number())),
                queued: self.maybe(|d| Nanos(d.number())),
                scheduler: self.maybe(Self::scheduler),
            },
        }
    }

    fn definition(&mut self, id: u32) -> Input {
        match self.below(3) {
            0 => Input::NameDef {
                id: FrameId(id),
                frame: Frame {
                    function: self.word(),
                    file: self.word(),
                    line: self.number() as u32,
                    kind: self.one_of(&[FrameKind::Call, FrameKind::Inlined]),
                    visibility: self.one_of(&[Visibility::Shown, Visibility::Hidden]),
                },
            },
            1 => Input::StackDef {
                id: StackId(id),
                frames: (0..self.below(9)).map(|_| self.frame()).collect(),
            },
            _ => Input::ReasonDef {
                id: ReasonId(id as u16),
                class: self.one_of(&[
                    WaitClass::ChanSend,
                    WaitClass::ChanReceive,
                    WaitClass::Select,
                    WaitClass::Never,
                    WaitClass::Lock,
                    WaitClass::Group,
                    WaitClass::Io,
                    WaitClass::Sleep,
                    WaitClass::Coroutine,
                    WaitClass::Runtime,
                    WaitClass::Other,
                ]),
                word: self.word(),
            },
        }
    }

    /// A whole look: tasks come between its beginning and its end only.
    fn whole_look(&mut self, out: &mut Vec<Input>) {
        let (process, look) = (self.process(), LookSeq(self.number() as u32));
        out.push(Input::SnapshotBegin { process, look, t0: self.time() });
        for _ in 0..self.below(30) {
            out.push(Input::SnapshotTask(Box::new(self.look())));
        }
        out.push(Input::SnapshotEnd { process, look, t1: self.time(), outcome: self.outcome() });
    }
}

/// About this many inputs.
pub fn inputs(seed: u64, n: usize) -> Vec<Input> {
    let mut dice = Dice(seed);
    let mut out = Vec::new();
    while out.len() < n {
        let id = u32::try_from(out.len()).unwrap().min(60_000);
        let input = match dice.below(14) {
            0 => Input::ProcessDef(Box::new(dice.def())),
            1 => Input::ProcessEnd {
                process: dice.process(),
                at: dice.time(),
                how: dice.one_of(&[EndHow::Exit, EndHow::Exec, EndHow::Detached]),
            },
            2 => dice.definition(id),
            3 => {
                dice.whole_look(&mut out);
                continue;
            }
            4 => Input::Loss(Loss {
                process: dice.maybe(|d| ProcId(d.number() as u32)),
                kind: dice.one_of(&LossKind::ALL),
                count: dice.number(),
                since: dice.time(),
                until: dice.time(),
            }),
            5 => Input::ModeChange {
                process: dice.process(),
                at: dice.time(),
                mode: dice.one_of(&[Mode::None, Mode::Lifecycle, Mode::All]),
                why: dice.word(),
            },
            6 => Input::ClockAnchor { mono: dice.time(), wall_ns: dice.number() as i64 },
            7 => Input::Tick(dice.time()),
            8 => Input::Memory {
                process: dice.process(),
                at: dice.time(),
                rss_bytes: dice.number(),
                limit_bytes: dice.maybe(Dice::number),
            },
            9 => Input::GcCycle { process: dice.process(), at: dice.time(), cycle: dice.cycle() },
            10 => Input::Call(Box::new(dice.call())),
            _ => Input::Event(dice.event()),
        };
        out.push(input);
    }
    out
}
