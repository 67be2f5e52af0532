//! The only place where loiter reads a clock: below the pipeline time comes from inputs alone.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::base::KTime;
use crate::stream::Input;
use crate::view::WallTime;

fn nanos(t: Timespec) -> i64 {
    t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)
}

/// Now on CLOCK_MONOTONIC, the clock of the kernel part and of Go's `nanotime`.
pub fn now() -> KTime {
    KTime(u64::try_from(nanos(clock_gettime(ClockId::Monotonic))).unwrap_or(0))
}

/// Ties the monotonic clock to the wall clock. The wall clock is read between two reads of the
/// other one and set against their middle, so that a preemption in between is halved.
pub fn anchor() -> Input {
    let before = now();
    let wall = nanos(clock_gettime(ClockId::Realtime));
    let after = now();
    Input::ClockAnchor { mono: KTime(before.0.midpoint(after.0)), wall_ns: wall }
}

/// The wait from `from` until `deadline`; none if it has passed.
pub fn until(from: KTime, deadline: KTime) -> Duration {
    Duration::from_nanos(deadline.since(from).0)
}

/// Now on the wall clock.
pub fn wall() -> WallTime {
    WallTime(nanos(clock_gettime(ClockId::Realtime)))
}

/// CLOCK_BOOTTIME and, at the same moment, nanoseconds since the Unix epoch.
pub fn boot_and_wall() -> (KTime, i64) {
    let boot = nanos(clock_gettime(ClockId::Boottime));
    (KTime(u64::try_from(boot).unwrap_or(0)), nanos(clock_gettime(ClockId::Realtime)))
}
