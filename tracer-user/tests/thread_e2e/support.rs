//! A tracer of threads for one process, and what it has seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use loiter::base::{Nanos, Pid};
use loiter::kernel::{AttachTarget, Kernel, LoadSettings};
use loiter::stream::Mode;
use loiter::stream::decode::{RawRecord, ThreadRecord};
use tracer_common::config::SlotCounters;
use tracer_common::thread::{ThreadSpawn, ThreadWait};

use crate::common::GoProc;

/// Longest wait for events that must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tests that count what is in the kernel must not run side by side.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A workload in C, compiled.
///
/// # Errors
/// Why it cannot be.
pub fn build(name: &str) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let source = root.join("workloads/native").join(name).with_extension("c");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let gcc = Command::new("gcc")
        .args(["-O2", "-g", "-fno-omit-frame-pointer", "-pthread", "-o"])
        .args([&binary, &source])
        .output()
        .map_err(|why| format!("gcc is needed: {why}"))?;
    assert!(gcc.status.success(), "{}", String::from_utf8_lossy(&gcc.stderr));
    Ok(binary)
}

/// `ran waits=10 slept=9` -> values by name.
pub fn values(said: &str) -> HashMap<String, i64> {
    let pairs = said.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// What came out of the ring.
#[derive(Default)]
pub struct Tally {
    pub records: u64,
    pub births: BTreeMap<u32, ThreadSpawn>,
    pub deaths: HashSet<u32>,
    pub parks: u64,
    pub runs: u64,
    pub readies: u64,
    pub waits: Vec<ThreadWait>,
    pub exits: Vec<u64>,
}

impl Tally {
    fn add(&mut self, record: RawRecord) {
        self.records += 1;
        match record {
            RawRecord::Thread(ThreadRecord::Spawn(birth)) => {
                self.births.insert(birth.tid, *birth);
            }
            RawRecord::Thread(ThreadRecord::Death(thread)) => {
                self.deaths.insert(thread.tid);
            }
            RawRecord::Thread(ThreadRecord::Park(_)) => self.parks += 1,
            RawRecord::Thread(ThreadRecord::Run(_)) => self.runs += 1,
            RawRecord::Thread(ThreadRecord::Ready(_)) => self.readies += 1,
            RawRecord::Thread(ThreadRecord::Wait(wait)) => self.waits.push(wait),
            RawRecord::Exit(exit) => self.exits.push(exit.value),
            _ => {}
        }
    }
}

/// The kernel part following one process.
pub struct Tracer {
    pub kernel: Kernel,
    pub slot: u16,
}

impl Tracer {
    pub fn follow(process: &GoProc, mode: Mode, min_wait: Duration) -> Self {
        Self::follow_with(&LoadSettings::default(), process, mode, min_wait)
    }

    pub fn follow_with(
        settings: &LoadSettings,
        process: &GoProc,
        mode: Mode,
        min_wait: Duration,
    ) -> Self {
        let mut kernel = Kernel::load(settings).unwrap_or_else(|e| panic!("{e}"));
        let target = AttachTarget::executable(Pid(process.pid()));
        let min_wait = Nanos(min_wait.as_nanos() as u64);
        let attached = kernel.attach_threads(&target, mode, min_wait);
        let slot = attached.unwrap_or_else(|e| panic!("{e}")).slot;
        Self { kernel, slot }
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
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends following, takes the rest, and gives what was counted.
    pub fn end(&mut self, tally: &mut Tally) -> SlotCounters {
        let counters = self.kernel.detach(self.slot).unwrap().counters;
        self.drain(tally);
        balances(&counters);
        counters
    }
}

/// Every hit left a record, was left out on purpose, or is among the losses.
fn balances(counters: &SlotCounters) {
    let hits = counters.hits.iter().sum::<u64>() + counters.process_hits + counters.thread_hits;
    let told = counters.submitted + counters.quiet + lost(counters);
    assert_eq!(hits, told, "{counters:?}");
}

/// All losses of a slot.
pub fn lost(counters: &SlotCounters) -> u64 {
    counters.lost_ring_full + counters.lost_map_full + counters.lost_user_read
}
