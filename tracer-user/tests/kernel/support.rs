//! A tracer for one process, and what it has seen.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use loiter::base::Pid;
use loiter::kernel::{AttachTarget, Attached, Kernel, Kinds, LoadSettings};
use loiter::stream::decode::RawRecord;
use tracer_common::config::TargetConfig;
use tracer_common::event::{Birth, Wait};

use crate::common::GoProc;
use crate::hand_plan;

/// Longest wait for events that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that count what is in the kernel, or measure, must not run side by side.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What came out of the ring.
#[derive(Default)]
pub struct Tally {
    pub records: u64,
    pub births: HashMap<u64, Birth>,
    pub deaths: HashSet<u64>,
    pub parks: u64,
    pub runs: u64,
    pub waits: Vec<Wait>,
    pub wakers: Vec<(u64, u64)>,
    pub process: Vec<RawRecord>,
    pub last_lost: u32,
}

impl Tally {
    pub fn add(&mut self, record: RawRecord) {
        self.records += 1;
        self.last_lost = record.header().lost_before;
        match record {
            RawRecord::Birth(birth) => {
                self.births.insert(birth.goid, birth);
            }
            RawRecord::Death(task) => {
                self.deaths.insert(task.goid);
            }
            RawRecord::Park(_) => self.parks += 1,
            RawRecord::Run(_) => self.runs += 1,
            RawRecord::Ready(ready) => self.wakers.push((ready.goid, ready.waker)),
            RawRecord::Wait(wait) => self.waits.push(wait),
            RawRecord::Exec(_) | RawRecord::Exit(_) | RawRecord::Fork(_) => {
                self.process.push(record);
            }
        }
    }

    /// Goroutines born at the busiest `go` statement.
    pub fn born_at_one_site(&self) -> usize {
        busiest(self.births.values())
    }

    /// Those of them that ended.
    pub fn ended_at_one_site(&self) -> usize {
        busiest(self.births.values().filter(|birth| self.deaths.contains(&birth.goid)))
    }
}

fn busiest<'a>(births: impl Iterator<Item = &'a Birth>) -> usize {
    let mut sites = HashMap::new();
    for birth in births {
        *sites.entry(birth.gopc).or_insert(0) += 1;
    }
    sites.into_values().max().unwrap_or(0)
}

/// The kernel part with one plan.
pub struct Tracer {
    pub kernel: Kernel,
}

impl Tracer {
    pub fn load(settings: &LoadSettings) -> Self {
        Self { kernel: Kernel::load(settings).unwrap_or_else(|e| panic!("{e}")) }
    }

    pub fn attach(&mut self, process: &GoProc, binary: &Path, kinds: Kinds) -> Attached {
        self.attach_with(process, binary, kinds, hand_plan::GO_1_27)
    }

    pub fn attach_with(
        &mut self,
        process: &GoProc,
        binary: &Path,
        kinds: Kinds,
        config: TargetConfig,
    ) -> Attached {
        let target = AttachTarget::executable(Pid(process.pid()));
        let plan = hand_plan::plan(binary);
        self.kernel.attach(&target, &plan, kinds, config).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Takes what is there.
    pub fn drain(&mut self, tally: &mut Tally) {
        loop {
            let drained = self.kernel.drain(100_000, |record| tally.add(record));
            assert_eq!(drained.malformed, 0);
            if !drained.more {
                return;
            }
        }
    }

    /// Takes what comes until a condition holds.
    pub fn drain_until(&mut self, tally: &mut Tally, condition: impl Fn(&Tally) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.drain(tally);
            if condition(tally) {
                return;
            }
            assert!(Instant::now() < end, "the events did not come; {} records did", tally.records);
            self.wait();
        }
    }

    /// Waits for the ring's fill level or a few milliseconds, as the pipeline does.
    pub fn wait(&self) {
        use std::os::fd::AsRawFd as _;
        let mut poll = libc::pollfd { fd: self.kernel.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure that outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, 5) };
    }
}
