//! Reads what tracing costs: the hits that the kernel part counts, the target's processor time as
//! the kernel accounts for it, and loiter's own as far as it is the target's.

use rustix::time::{ClockId, clock_gettime};

use crate::base::{KTime, Nanos, Pid};
use crate::target::stat;

use super::policy::{Hits, Sample};

/// Two samples are at least this far apart: processor time of a process comes in hundredths of a second.
const LEAST: Nanos = Nanos::from_millis(100);

/// Makes samples of differences.
#[derive(Debug)]
pub struct Meter {
    pid: Pid,
    last: Option<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: KTime,
    hits: Hits,
    /// Processor time of the target, and the part of it in the kernel.
    cpu: Nanos,
    system: Nanos,
    loiter: Nanos,
}

impl Meter {
    /// For a process; the first reading makes no sample.
    pub const fn new(pid: Pid) -> Self {
        Self { pid, last: None }
    }

    /// What happened since the last sample; `hits` is the count so far, which starts again when the
    /// probes were put on anew, `loiter` what loiter has used for the target so far. None if it was
    /// just now, or the target is gone.
    pub fn read(&mut self, now: KTime, hits: Hits, loiter: Nanos) -> Option<Sample> {
        if self.last.is_some_and(|last| now.since(last.at) < LEAST) {
            return None;
        }
        let stat = stat(self.pid).ok()?;
        let (cpu, system) = (stat.cpu, stat.system);
        let reading = Reading { at: now, hits, cpu, system, loiter };
        let last = self.last.replace(reading)?;
        let more = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let less = |now: Nanos, before: Nanos| Nanos(now.0.saturating_sub(before.0));
        Some(Sample {
            at: now,
            over: now.since(last.at),
            hits: Hits {
                lifecycle: more(hits.lifecycle, last.hits.lifecycle),
                waits: more(hits.waits, last.hits.waits),
            },
            user: less(less(cpu, last.cpu), less(system, last.system)),
            system: less(system, last.system),
            loiter: less(reading.loiter, last.loiter),
        })
    }
}

/// Processor time of loiter, all threads.
pub fn own_cpu_time() -> Nanos {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Nanos(seconds.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_is_seen_as_such() {
        let mut meter = Meter::new(Pid(std::process::id()));
        assert_eq!(meter.read(KTime(0), Hits::default(), own_cpu_time()), None);
        let began = own_cpu_time();
        while own_cpu_time().0 - began.0 < 60_000_000 {}
        let hits = Hits { lifecycle: 7, waits: 2 };
        let sample = meter.read(KTime(1_000_000_000), hits, own_cpu_time()).unwrap();
        assert_eq!((sample.over, sample.hits), (Nanos::from_secs(1), hits));
        assert!(sample.user.0 + sample.system.0 >= 30_000_000, "{sample:?}");
        assert!(sample.loiter.0 >= 60_000_000, "{sample:?}");
        assert_eq!(meter.read(KTime(1_000_000_001), hits, own_cpu_time()), None, "too soon");
    }

    #[test]
    fn counters_that_start_again_are_no_hits_backwards() {
        let mut meter = Meter::new(Pid(std::process::id()));
        let read = |meter: &mut Meter, at: u64, waits: u64| {
            meter.read(KTime(at * 1_000_000_000), Hits { lifecycle: 0, waits }, Nanos(0))
        };
        assert_eq!(read(&mut meter, 1, 1_000), None);
        assert_eq!(read(&mut meter, 2, 5).unwrap().hits.waits, 5);
    }
}
