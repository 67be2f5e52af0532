//! How often the threads of a process sleep, by the kernel's own count: no probe is needed.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::base::{Nanos, Pid};
use crate::view::doctor::SleepsView;

/// What following a sleep costs its thread, at most (ARCHITECTURE.md, "What it costs").
const COST_PER_SLEEP: Nanos = Nanos(1_000);
/// Most threads that are counted.
const MOST_THREADS: usize = 1 << 16;

/// Counts for a while; None if the process cannot be read.
pub fn count(pid: Pid, over: Nanos) -> Option<SleepsView> {
    let (began, before) = (Instant::now(), read(pid)?);
    std::thread::sleep(Duration::from_nanos(over.0));
    let (after, took) = (read(pid)?, began.elapsed());
    // A thread that was born meanwhile has made all of its sleeps since.
    let new = |(tid, count): (&u32, &u64)| {
        count.saturating_sub(before.get(tid).copied().unwrap_or_default())
    };
    let sleeps = after.iter().map(new).fold(0u64, u64::saturating_add);
    Some(SleepsView {
        per_second: sleeps as f64 / took.as_secs_f64().max(f64::EPSILON),
        measured_for: Nanos(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
        cost_per_sleep: COST_PER_SLEEP,
    })
}

/// How often each thread has slept.
fn read(pid: Pid) -> Option<HashMap<u32, u64>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let count = |entry: fs::DirEntry| {
        let tid = entry.file_name().to_str()?.parse().ok()?;
        // One that ends meanwhile is left out.
        let status = fs::read(entry.path().join("status")).ok()?;
        Some((tid, voluntary(&status)?))
    };
    Some(threads.flatten().take(MOST_THREADS).filter_map(count).collect())
}

fn voluntary(status: &[u8]) -> Option<u64> {
    let lines = status.split(|byte| *byte == b'\n');
    let number = lines.filter_map(|line| line.strip_prefix(b"voluntary_ctxt_switches:")).next()?;
    std::str::from_utf8(number).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sleeps_are_counted_not_preemptions() {
        let status = b"Name:\tx\nvoluntary_ctxt_switches:\t58799\nnonvoluntary_ctxt_switches:\t6\n";
        assert_eq!(voluntary(status), Some(58_799));
        assert_eq!(voluntary(b"nonvoluntary_ctxt_switches:\t6\n"), None);
        for len in 0..status.len() {
            let _whatever = voluntary(&status[..len]);
        }
    }

    #[test]
    fn our_own_threads_are_counted() {
        let sleeps = count(Pid(std::process::id()), Nanos::from_millis(20)).unwrap();
        assert!(sleeps.measured_for >= Nanos::from_millis(20) && sleeps.per_second > 0.0);
    }
}
