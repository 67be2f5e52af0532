//! What each command asks of the pipeline, checked: a value of these types can be carried out as
//! it is. The command line makes them; nothing here knows of flags or of words typed by people.
//! May use: base, the plain words of stream, detect and view, and what a recording says of itself.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::base::{IdlePattern, Nanos, Pid};
use crate::detect::Confidence;
use crate::record::{Content, Limits, Meta};
use crate::stream::Mode;
use crate::view::Acknowledgements;

pub use super::budget::Budget;
pub use super::host::{Filter, Glob, HostSettings};

/// A minor version of Go: 27 for Go 1.27.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GoMinor(pub u16);

/// Which process, and what to take for granted about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetSettings {
    /// PID as loiter's own PID namespace shows it.
    pub pid: Pid,
    /// Layouts to use for a version that is not in the tables; what is told is then marked degraded.
    pub assume_go: Option<GoMinor>,
    /// Whether threads are read beside the tasks of a runtime.
    pub threads: Threads,
}

/// Whether the threads under a runtime's tasks are read, too. Of a process without a runtime that
/// is known they always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    /// Left out.
    Left,
    /// Read.
    Read,
}

/// When waiting tasks become a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// A wait of at least this length may be a `stuck` finding.
    pub stuck_after: Nanos,
    /// This many tasks at one spawn site x wait site, none of which ran between looks, are a
    /// `crowd`.
    pub crowd_min: u64,
    /// Tasks that outlive their siblings by far may be a `leak` after this.
    pub leak_after: Nanos,
    /// A population that climbs for so long may be `growth`.
    pub growth_after: Nanos,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            stuck_after: Nanos::from_secs(30),
            crowd_min: 100,
            leak_after: Nanos::from_secs(90),
            growth_after: Nanos::from_secs(120),
        }
    }
}

/// What the user knows of the program: what is normal, what is known, and how sure news must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectations {
    /// What waits by nature, beside what every program has.
    pub idle: Vec<IdlePattern>,
    /// Findings that are neither told nor counted.
    pub acknowledged: Acknowledgements,
    /// Findings less sure are kept back.
    pub least_confidence: Confidence,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            acknowledged: Acknowledgements::default(),
            least_confidence: Confidence::Suspect,
        }
    }
}

impl Thresholds {
    const STUCK_AFTER: &str = "stuck_after_ns";
    const CROWD_MIN: &str = "crowd_min";
    const LEAK_AFTER: &str = "leak_after_ns";
    const GROWTH_AFTER: &str = "growth_after_ns";

    /// As a recording keeps them, so that a replay goes by the same.
    pub fn recorded(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: u64| (name.to_owned(), value.to_string());
        vec![
            pair(Self::STUCK_AFTER, self.stuck_after.0),
            pair(Self::CROWD_MIN, self.crowd_min),
            pair(Self::LEAK_AFTER, self.leak_after.0),
            pair(Self::GROWTH_AFTER, self.growth_after.0),
        ]
    }

    /// Those a recording was made with; the usual ones where it says nothing.
    pub fn of_recording(meta: &Meta) -> Self {
        let usual = Self::default();
        let number = |name, usual| meta.setting(name).and_then(|v| v.parse().ok()).unwrap_or(usual);
        Self {
            stuck_after: Nanos(number(Self::STUCK_AFTER, usual.stuck_after.0)),
            crowd_min: number(Self::CROWD_MIN, usual.crowd_min),
            leak_after: Nanos(number(Self::LEAK_AFTER, usual.leak_after.0)),
            growth_after: Nanos(number(Self::GROWTH_AFTER, usual.growth_after.0)),
        }
    }
}

/// A moment of a recording, as people say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// On the wall clock, ns since the Unix epoch.
    Wall(i64),
    /// So long after the recording began.
    AfterStart(Nanos),
    /// So long before it ended.
    BeforeEnd(Nanos),
}

/// A dump, or a moment of a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MomentOf {
    /// The file or directory.
    pub path: PathBuf,
    /// Which moment; None = the end.
    pub at: Option<Moment>,
}

/// `loiter report`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportSettings {
    /// The recording.
    pub path: PathBuf,
    /// Instead of the threshold that was recorded.
    pub stuck_after: Option<Nanos>,
    /// Instead of the threshold that was recorded.
    pub crowd_min: Option<u64>,
    /// Instead of the threshold that was recorded.
    pub leak_after: Option<Nanos>,
    /// Instead of the threshold that was recorded.
    pub growth_after: Option<Nanos>,
    /// What is no news.
    pub expectations: Expectations,
    /// Only what was told from then on.
    pub since: Option<Moment>,
    /// Only what was told up to then.
    pub until: Option<Moment>,
}

impl ReportSettings {
    /// Those asked for, and else those of the recording.
    pub fn thresholds(&self, meta: &Meta) -> Thresholds {
        let recorded = Thresholds::of_recording(meta);
        Thresholds {
            stuck_after: self.stuck_after.unwrap_or(recorded.stuck_after),
            crowd_min: self.crowd_min.unwrap_or(recorded.crowd_min),
            leak_after: self.leak_after.unwrap_or(recorded.leak_after),
            growth_after: self.growth_after.unwrap_or(recorded.growth_after),
        }
    }
}

/// The size of the ring buffer: a power of two and a multiple of the page size, as the kernel
/// demands (kernel/bpf/ringbuf.c, `ringbuf_map_alloc`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RingSize(u32);

impl RingSize {
    /// The smallest: one page of x86-64.
    pub const MIN: RingSize = RingSize(4 << 10);
    /// The largest. The kernel could give more; this bounds what loiter pins in memory.
    pub const MAX: RingSize = RingSize(1 << 30);
    /// Enough for about 130 000 records between two drains.
    pub const DEFAULT: RingSize = RingSize(8 << 20);

    /// Takes a size in bytes; None unless it is a power of two from [`RingSize::MIN`] to
    /// [`RingSize::MAX`].
    pub fn new(bytes: u64) -> Option<RingSize> {
        let bytes = u32::try_from(bytes).ok()?;
        let size = RingSize(bytes);
        (bytes.is_power_of_two() && size >= Self::MIN && size <= Self::MAX).then_some(size)
    }

    /// In bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// `loiter ps`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PsSettings {
    /// Only these; empty = every process there is.
    pub pids: Vec<Pid>,
}

/// `loiter dump`: one look at every task, the runtime's own included (the output leaves out what
/// was not asked for).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DumpSettings {
    /// Whose tasks.
    pub target: TargetSettings,
}

/// `loiter diagnose`: a few looks without any probe, then an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiagnoseSettings {
    /// Whose tasks.
    pub target: TargetSettings,
    /// How many looks; at least 2.
    pub looks: u32,
    /// From the first look to the last.
    pub over: Nanos,
    /// What is worth telling.
    pub thresholds: Thresholds,
    /// What is no news.
    pub expectations: Expectations,
}

/// Which processes are watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    /// This one: that it ends is the end.
    One(TargetSettings),
    /// These, until the last of them ends.
    Several(Vec<TargetSettings>),
    /// Those of the host that pass a filter, also those to come.
    Host(Box<HostSettings>),
}

/// How a process is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tune {
    /// Which probes at the beginning.
    pub mode: Mode,
    /// What it may cost; None = what these probes and looks happen to cost.
    pub budget: Option<BudgetSettings>,
    /// Waits shorter than this leave no record; only with [`Mode::All`].
    pub min_wait: Nanos,
    /// Time between two snapshots.
    pub interval: Nanos,
}

/// `loiter watch`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchSettings {
    /// Whose tasks.
    pub whom: Whom,
    /// How they are followed.
    pub tune: Tune,
    /// Ends after this; None = until interrupted or the target exits.
    pub time_limit: Option<Nanos>,
    /// What is worth telling.
    pub thresholds: Thresholds,
    /// What is no news.
    pub expectations: Expectations,
    /// Size of the ring buffer.
    pub ring: RingSize,
}

/// What a watch may cost, and how much of it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BudgetSettings {
    /// What it may cost.
    pub budget: Budget,
    /// No richer mode than this; None = the richest whose cost is the target's alone.
    pub ceiling: Option<Mode>,
}

/// What makes a flight recorder keep what it has, beside SIGUSR1 and `loiter freeze`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// A finding is told.
    Finding,
    /// The target is killed, fails, or ends in a way that nobody saw.
    Exit,
    /// There are more tasks than this.
    Tasks {
        /// More than so many.
        over: u64,
    },
    /// The number of tasks rises faster than this, over some seconds.
    Rise {
        /// Tasks a second.
        per_second: u64,
    },
}

/// How much of what was frozen is kept; the oldest goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// At most so many recordings.
    pub count: usize,
    /// At most so many bytes together; the newest stays in any case.
    pub bytes: u64,
}

/// The flight recorder of `loiter watch`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlightSettings {
    /// Its directory.
    pub dir: PathBuf,
    /// How much is in the ring.
    pub limits: Limits,
    /// What is recorded.
    pub content: Content,
    /// What writes it: version and digest of the build.
    pub writer: String,
    /// So much of what follows a trigger is kept with what led to it.
    pub after: Nanos,
    /// What triggers.
    pub triggers: Vec<Trigger>,
    /// A trigger is held back if another one was followed less than this before.
    pub every: Nanos,
    /// What is kept of what was frozen.
    pub retention: Retention,
}

/// `loiter check`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckSettings {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// How long tasks are given to end by themselves, from the moment at which the program would.
    pub settle: Nanos,
    /// What is no news.
    pub expectations: Expectations,
}

/// `loiter doctor`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoctorSettings {
    /// The process to plan probes for; None = only this kernel and these rights.
    pub target: Option<TargetSettings>,
    /// How long to count hits with the probes attached, to tell the cost; None = attach nothing.
    pub measure: Option<Nanos>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_power_of_two_within_its_bounds() {
        assert_eq!(RingSize::new(4096), Some(RingSize::MIN));
        assert_eq!(RingSize::new(8 << 20), Some(RingSize::DEFAULT));
        for wrong in [0, 2048, 5000, 3 << 20, 2 << 30, 4 << 30, u64::MAX] {
            assert_eq!(RingSize::new(wrong), None, "{wrong}");
        }
    }
}
