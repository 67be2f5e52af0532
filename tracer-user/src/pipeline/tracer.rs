//! The kernel part as the pipeline uses it: one ring for all targets, drained into [`Ingest`].

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::Context as _;
use tokio::io::unix::AsyncFd;

use crate::base::{KTime, Nanos, ProcId, ReasonId, RunSeq, TaskId, Tid};
use crate::kernel::{
    AttachTarget, Attached, CallTotal, HostLives, Kernel, Kinds, LoadSettings, ParkedTask,
    SleepingThread, WaitTotal,
};
use crate::runtime::plan::ProbePlan;
use crate::stream::{Calls, Event, EventKind, Input, LossKind, Mode};
use tracer_common::config::{HOST_SLOT, SlotCounters, TargetConfig};

use super::budget::Hits;
use super::clock;
use super::ingest::{Born, Ingest, Names};
use super::ready::readiness;
use super::settings::{AttachMethod, RingSize};

/// Records taken in one go: bounds a batch to some 10 MB.
pub const BATCH: usize = 100_000;

/// Counters that were read so short a time ago serve again: a tick asks twice.
const FRESH: Nanos = Nanos::from_millis(50);
/// What the kernel left out it counts by program, and to ask for each is most of a tick.
const MISSED_EVERY: Nanos = Nanos::from_secs(1);

/// Which kinds of site a mode needs.
pub const fn kinds(mode: Mode) -> Kinds {
    match mode {
        Mode::None => Kinds::NONE,
        Mode::Lifecycle => Kinds::LIFECYCLE,
        Mode::All => Kinds::ALL,
    }
}

/// The kernel part and what is made of its records.
pub struct Tracer {
    ready: AsyncFd<OwnedFd>,
    kernel: Kernel,
    ingest: Ingest,
    /// Whether waits of threads can be followed: there is room for them in the kernel.
    waits_of_threads: bool,
    last_settled: KTime,
    /// By slot, and when they were read.
    counters: BTreeMap<u16, (KTime, SlotCounters)>,
    missed: u64,
    missed_at: KTime,
    /// What was lost of the lives of processes that are no targets.
    lives_lost: u64,
    lives_lost_anew: bool,
    follows_host: bool,
}

/// What [`Tracer::attach`] needs to know of a target.
pub struct Tracee<'a> {
    /// Its number.
    pub process: ProcId,
    /// Process and file.
    pub target: &'a AttachTarget,
    /// The probes of its runtime, if it has one that is followed.
    pub probes: Option<Probes<'a>>,
    /// Which events of its threads to follow.
    pub threads: Mode,
    /// Waits shorter than this leave no record.
    pub min_wait: Nanos,
    /// Whether the system calls of its threads are followed with their waits.
    pub calls: Calls,
}

/// The probes of a runtime.
pub struct Probes<'a> {
    /// Where they go.
    pub plan: &'a ProbePlan,
    /// Layout and `min_wait`.
    pub config: TargetConfig,
}

impl Tracer {
    /// Loads the kernel part; inside the tokio runtime.
    ///
    /// # Errors
    /// If it cannot be loaded here.
    pub fn load(
        (ring, attach_method): (RingSize, AttachMethod),
        (min_wait, calls): (Nanos, Calls),
        threads: Mode,
        host_lives: HostLives,
    ) -> anyhow::Result<Self> {
        let room = |needed: bool, room: u32| if needed { room } else { 1 };
        let waits = threads == Mode::All;
        let kernel = Kernel::load(&LoadSettings {
            ring_bytes: ring.bytes(),
            parked_capacity: room(min_wait.0 != 0, LoadSettings::DEFAULT_PARKED_CAPACITY),
            thread_capacity: room(waits, LoadSettings::DEFAULT_THREAD_CAPACITY),
            totals_capacity: room(waits, LoadSettings::DEFAULT_TOTALS_CAPACITY),
            calls,
            host_lives,
            attach_method,
        })?;
        // Reading the kernel's types takes some 20 MB for a moment; without this the allocator
        // would keep them beside what the looks need.
        // SAFETY: gives free memory back; takes no pointer.
        unsafe { libc::malloc_trim(0) };
        let ready = readiness(kernel.as_fd())?;
        let last_settled = clock::now();
        Ok(Self {
            ready,
            kernel,
            ingest: Ingest::default(),
            waits_of_threads: waits,
            last_settled,
            counters: BTreeMap::new(),
            missed: 0,
            missed_at: last_settled,
            lives_lost: 0,
            lives_lost_anew: false,
            follows_host: host_lives != HostLives::Untold,
        })
    }

    /// The richest mode in which threads can be followed, as was asked for when this was loaded.
    pub const fn most_of_threads(&self) -> Mode {
        if self.waits_of_threads { Mode::All } else { Mode::Lifecycle }
    }

    /// Puts the probes of a mode on a target.
    ///
    /// # Errors
    /// If the kernel refuses, or the file is not the one the plan was made for.
    pub fn attach(
        &mut self,
        tracee: &Tracee<'_>,
        mode: Mode,
        names: Names,
    ) -> anyhow::Result<Attached> {
        let at = clock::now();
        let attached = match &tracee.probes {
            Some(Probes { plan, config }) => {
                let attached = self.kernel.attach(tracee.target, plan, kinds(mode), *config)?;
                if tracee.threads != Mode::None
                    && let Err(why) = self.kernel.set_threads(attached.slot, tracee.threads)
                {
                    let _undone = self.kernel.detach(attached.slot);
                    return Err(why.into());
                }
                attached
            }
            None => self.kernel.attach_threads(tracee.target, tracee.threads, tracee.min_wait)?,
        };
        if tracee.calls == Calls::Followed
            && let Err(why) = self.follow_calls(tracee, attached.slot)
        {
            let _undone = self.kernel.detach(attached.slot);
            return Err(why);
        }
        self.ingest.own(attached.slot, tracee.process, names, at);
        Ok(attached)
    }

    fn follow_calls(&mut self, tracee: &Tracee<'_>, slot: u16) -> anyhow::Result<()> {
        anyhow::ensure!(
            tracee.threads != Mode::None,
            "--syscalls follows system calls of threads: of a Go program give --threads, too"
        );
        Ok(self.kernel.follow_calls(slot)?)
    }

    /// The system calls of a slot's threads that returned, added up.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn call_totals(&self, slot: u16) -> anyhow::Result<Vec<CallTotal>> {
        Ok(self.kernel.call_totals(slot)?)
    }

    /// Takes all probes off a slot. What its last records and counters tell is in the next
    /// [`Tracer::take`].
    ///
    /// # Errors
    /// If the slot is not in use.
    pub fn detach(&mut self, slot: u16) -> anyhow::Result<()> {
        let detached = self.kernel.detach(slot)?;
        self.counters.remove(&slot);
        // All of it: what is read after the slot has no owner any more could not be told whose it is.
        while self.drain() {}
        self.ingest.settle(slot, &losses(&detached.counters), clock::now());
        self.ingest.disown(slot);
        Ok(())
    }

    /// Makes the probes of a slot at sites those of one mode, those of its threads those of another.
    ///
    /// # Errors
    /// If the kernel refuses: then those that were on before and are not of this mode are off.
    pub fn set_mode(&mut self, slot: u16, sites: Mode, threads: Mode) -> anyhow::Result<()> {
        self.kernel.set_kinds(slot, kinds(sites))?;
        Ok(self.kernel.set_threads(slot, threads)?)
    }

    /// Changes from which length on waits of a slot leave a record.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_min_wait(&mut self, slot: u16, min_wait: Nanos) -> anyhow::Result<()> {
        Ok(self.kernel.set_min_wait(slot, min_wait.0)?)
    }

    /// How often the probes of a slot have been hit since it was attached.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn hits(&mut self, slot: u16, now: KTime) -> anyhow::Result<Hits> {
        let SlotCounters { hits, thread_hits, .. } = match self.counters.get(&slot) {
            Some((at, counters)) if now.since(*at) < FRESH => *counters,
            _ => self.read_counters(slot, now)?,
        };
        let of = |kinds: Kinds| {
            let counted = kinds.iter().filter_map(|kind| hits.get(usize::from(kind.number())));
            counted.fold(0u64, |sum, n| sum.saturating_add(*n))
        };
        let lifecycle = of(Kinds::LIFECYCLE);
        Ok(Hits {
            lifecycle,
            waits: of(Kinds::ALL).saturating_sub(lifecycle).saturating_add(thread_hits),
        })
    }

    /// Waits until the ring's fill level asks for a drain.
    pub async fn wait(&self) -> anyhow::Result<()> {
        self.ready.readable().await.context("cannot wait for the ring buffer")?.clear_ready();
        Ok(())
    }

    /// Takes what is in the ring, at most one batch. Tells whether there may be more.
    pub fn drain(&mut self) -> bool {
        let ingest = &mut self.ingest;
        let drained = self.kernel.drain(BATCH, |record| ingest.record(&record));
        if drained.malformed > 0 {
            self.ingest.lost(
                LossKind::Malformed,
                drained.malformed,
                self.last_settled,
                clock::now(),
            );
        }
        drained.more
    }

    fn read_counters(&mut self, slot: u16, now: KTime) -> anyhow::Result<SlotCounters> {
        let counters = self.kernel.counters(slot)?;
        self.counters.insert(slot, (now, counters));
        Ok(counters)
    }

    /// Reads the counters of these slots, so that every loss so far is among the inputs; what the
    /// kernel left out once in a second.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn settle(&mut self, slots: &[u16]) -> anyhow::Result<()> {
        let now = clock::now();
        for &slot in slots {
            let counters = self.read_counters(slot, now)?;
            self.ingest.settle(slot, &losses(&counters), now);
        }
        if now.since(self.missed_at) >= MISSED_EVERY {
            self.settle_missed()?;
        }
        let stray = self.ingest.take_stray();
        self.ingest.lost(LossKind::Malformed, stray, self.last_settled, now);
        self.last_settled = now;
        Ok(())
    }

    /// Reads what the kernel left out. It counts that by program, not by target: nobody in
    /// particular has lost it.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn settle_missed(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let missed = self.kernel.missed()?;
        if self.follows_host {
            let lost = self.kernel.counters(HOST_SLOT)?.lost_ring_full;
            let lost = lost.saturating_add(missed.process);
            self.lives_lost_anew |= lost != std::mem::replace(&mut self.lives_lost, lost);
        }
        let missed = missed.sites.saturating_add(missed.threads);
        let new = missed.saturating_sub(self.missed);
        self.missed = missed;
        self.ingest.lost(LossKind::Recursion, new, self.missed_at, now);
        self.missed_at = now;
        Ok(())
    }

    /// Whether a record stepped over a loss that was not settled yet.
    pub const fn take_stepped(&mut self) -> bool {
        self.ingest.take_stepped()
    }

    /// The inputs made since the last call.
    pub fn take(&mut self) -> Vec<Input> {
        self.ingest.take()
    }

    /// Processes that replaced their image since the last call.
    pub fn take_exec(&mut self) -> Vec<ProcId> {
        self.ingest.take_exec()
    }

    /// Processes that run another program since the last call, or are new.
    pub fn take_born(&mut self) -> Vec<Born> {
        self.ingest.take_born()
    }

    /// Whether news of processes were lost since the last call.
    pub const fn take_lives_lost(&mut self) -> bool {
        std::mem::replace(&mut self.lives_lost_anew, false)
    }

    /// The parks longer than `min_wait` that go on in a slot, as events: without this a wait that
    /// never ends would leave no record.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn long_parks(
        &mut self,
        slot: u16,
        min_wait: Nanos,
        now: KTime,
    ) -> anyhow::Result<Vec<Input>> {
        let parked = self.kernel.parked(slot)?;
        let long =
            parked.into_iter().filter(|p| p.ready.is_none() && now.since(p.since) >= min_wait);
        let mut inputs: Vec<Input> = long.filter_map(|p| self.park_event(slot, &p)).collect();
        let sleeping = self.kernel.sleeping(slot)?;
        let long = sleeping.into_iter().filter(|thread| now.since(thread.since) >= min_wait);
        inputs.extend(long.filter_map(|thread| self.sleep_event(slot, &thread)));
        Ok(inputs)
    }

    /// The waits of a slot's threads that ended, added up by what they were for.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn wait_totals(&self, slot: u16) -> anyhow::Result<Vec<WaitTotal>> {
        Ok(self.kernel.wait_totals(slot)?)
    }

    fn sleep_event(&mut self, slot: u16, thread: &SleepingThread) -> Option<Input> {
        let (process, reason) = self.ingest.thread_reason(slot, &thread.asleep)?;
        let run_seq = RunSeq(thread.asleep.run_seq);
        let kind = EventKind::Park { task: TaskId::thread(thread.tid), reason, run_seq };
        let tid = Tid(thread.tid);
        Some(Input::Event(Event { process, at: thread.since, tid, kind }))
    }

    fn park_event(&mut self, slot: u16, parked: &ParkedTask) -> Option<Input> {
        let (process, reason) = self.ingest.reason(slot, parked.reason)?;
        Some(Input::Event(park(process, reason, parked)))
    }

    /// Why execs and exits of targets are not reported; None if they are.
    pub fn process_events_missing(&self) -> Option<String> {
        self.kernel.process_events_missing().map(str::to_owned)
    }
}

fn park(process: ProcId, reason: ReasonId, parked: &ParkedTask) -> Event {
    let task = TaskId::goroutine(parked.goid);
    // As in ingest: the park itself adds one to what the probe read.
    let run_seq = RunSeq(parked.run_seq.wrapping_add(1));
    let kind = EventKind::Park { task, reason, run_seq };
    Event { process, at: parked.since, tid: parked.tid, kind }
}

fn losses(counters: &SlotCounters) -> [(LossKind, u64); 3] {
    [
        (LossKind::RingFull, counters.lost_ring_full),
        (LossKind::MapFull, counters.lost_map_full),
        (LossKind::UserRead, counters.lost_user_read),
    ]
}
