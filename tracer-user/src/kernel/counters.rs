//! What the kernel part has counted and what it remembers.

use std::os::fd::{AsFd as _, BorrowedFd};

use tracer_common::config::{Parked, SlotCounters, TargetConfig, parked_key, parked_tag};
use tracer_common::thread::{Sleeper, WaitKey, WaitTotals};

use crate::base::{KTime, Tid};

use super::KernelError;
use super::sys::{self, Batch, BatchCursor};

/// Entries read by one system call: 192 KB of room, and some hundred microseconds.
const BATCH: usize = 4096;
/// Room grows to this when a bucket does not fit; the kernel keeps buckets far shorter.
const MOST_BATCH: usize = 1 << 20;

/// Wrappers for aya, which reads and writes only types that promise to be plain.
macro_rules! plain {
    ($($name:ident($inner:ty)),+) => {$(
        #[repr(transparent)]
        #[derive(Clone, Copy)]
        pub struct $name(pub $inner);
        // SAFETY: integers without padding (asserted by size in tracer-common).
        unsafe impl aya::Pod for $name {}
    )+};
}
plain!(
    PlainTarget(TargetConfig),
    PlainCounters(SlotCounters),
    PlainParked(Parked),
    PlainSleeper(Sleeper),
    PlainWaitKey(WaitKey),
    PlainTotals(WaitTotals)
);

/// How often the programs were not run because another BPF program was running on the CPU. The
/// kernel does not tell for which process.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Missed {
    /// Of the programs at probe sites.
    pub sites: u64,
    /// Of those for exec, exit and fork.
    pub process: u64,
    /// Of those for waits of threads.
    pub threads: u64,
}

/// A park that the kernel part remembers and that was going on when the entry was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParkedTask {
    /// Address of the g.
    pub g: u64,
    /// Its id.
    pub goid: u64,
    /// When it parked.
    pub since: KTime,
    /// When it was made runnable, if it was.
    pub ready: Option<KTime>,
    /// Goroutine that made it runnable; 0 = unknown.
    pub waker: u64,
    /// Thread that parked it (host PID namespace).
    pub tid: Tid,
    /// `g.waitreason`.
    pub reason: u8,
    /// `g.trackingSeq` as it was before the park added one.
    pub run_seq: u8,
}

/// Adds up what the CPUs have counted.
pub fn sum(cpus: &[PlainCounters]) -> SlotCounters {
    let mut total = SlotCounters::default();
    for PlainCounters(one) in cpus {
        for (sum, hits) in total.hits.iter_mut().zip(one.hits) {
            *sum = sum.wrapping_add(hits);
        }
        let pairs = [
            (&mut total.process_hits, one.process_hits),
            (&mut total.submitted, one.submitted),
            (&mut total.quiet, one.quiet),
            (&mut total.lost_ring_full, one.lost_ring_full),
            (&mut total.lost_map_full, one.lost_map_full),
            (&mut total.lost_user_read, one.lost_user_read),
            (&mut total.waker_unread, one.waker_unread),
            (&mut total.thread_hits, one.thread_hits),
            (&mut total.waits_untotalled, one.waits_untotalled),
            (&mut total.waits_end_found, one.waits_end_found),
        ];
        for (sum, value) in pairs {
            *sum = sum.wrapping_add(value);
        }
    }
    total
}

/// Walks all entries of a hash map; `capacity` bounds the walk, `none` fills the room.
///
/// # Errors
/// If the map, which is one of `what`, cannot be read.
pub fn walk<K: aya::Pod, V: aya::Pod>(
    map: BorrowedFd<'_>,
    what: &'static str,
    capacity: u32,
    none: (K, V),
    mut each: impl FnMut(&K, &V),
) -> Result<(), KernelError> {
    let failed = |source| KernelError::ReadMap { of: what, source };
    let mut room = BATCH.min(capacity as usize).max(1);
    let mut keys = vec![none.0; room];
    let mut values = vec![none.1; room];
    let mut cursor = BatchCursor::default();
    // Entries added while walking may come on top; the bound is what a full map takes twice.
    let mut left = u64::from(capacity) * 2 + BATCH as u64;
    loop {
        let batch =
            sys::lookup_batch(map.as_fd(), &mut cursor, &mut keys, &mut values).map_err(failed)?;
        let (count, last) = match batch {
            Batch::More(count) => (count, false),
            Batch::Last(count) => (count, true),
            Batch::TooSmall if room < MOST_BATCH => {
                room *= 4;
                keys.resize(room, none.0);
                values.resize(room, none.1);
                continue;
            }
            Batch::TooSmall => {
                return Err(failed(std::io::Error::from_raw_os_error(libc::ENOSPC)));
            }
        };
        for (key, value) in keys.iter().zip(&values).take(count) {
            each(key, value);
        }
        left = left.saturating_sub(count as u64);
        if last || left == 0 || count == 0 {
            return Ok(());
        }
    }
}

/// Whose a remembered park is.
pub const fn slot_of(key: u64) -> u16 {
    (key >> 48) as u16
}

/// An entry as a task that is parked now; None if it is not, or was being written.
pub fn parked(key: u64, entry: &Parked) -> Option<ParkedTask> {
    let going_on = entry.parked_ns != 0 && entry.goid != 0;
    let whole = entry.tag == parked_tag(entry.parked_ns);
    (going_on && whole).then(|| ParkedTask {
        g: key & parked_key(0, u64::MAX),
        goid: entry.goid,
        since: KTime(entry.parked_ns),
        ready: (entry.ready_ns != 0).then_some(KTime(entry.ready_ns)),
        waker: entry.waker,
        tid: Tid(entry.tid),
        reason: entry.reason,
        run_seq: entry.run_seq,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpus_are_added_up() {
        let one =
            SlotCounters { hits: [1, 2, 3, 4, 5], submitted: 9, quiet: 1, ..Default::default() };
        let two = SlotCounters { hits: [1; 5], lost_ring_full: 7, ..Default::default() };
        let total = sum(&[PlainCounters(one), PlainCounters(two)]);
        assert_eq!(total.hits, [2, 3, 4, 5, 6]);
        assert_eq!((total.submitted, total.quiet, total.lost_ring_full), (9, 1, 7));
    }

    #[test]
    fn an_entry_that_was_being_written_is_no_park() {
        let time = 123_456_789_000;
        let entry = Parked {
            parked_ns: time,
            goid: 5,
            tag: parked_tag(time),
            reason: 14,
            ..Parked::default()
        };
        let task = parked(parked_key(3, 0xc000_0010), &entry).unwrap();
        assert_eq!((task.g, task.goid, task.since), (0xc000_0010, 5, KTime(time)));
        assert_eq!(parked(0, &Parked { parked_ns: time + 5_000_000, ..entry }), None);
        assert_eq!(parked(0, &Parked { parked_ns: 0, ..entry }), None);
    }
}
