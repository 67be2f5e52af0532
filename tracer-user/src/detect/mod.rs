//! Detectors: which of the waiting tasks are wrong, how sure that is, and why.
//!
//! They match on names and classes and know no runtime; what waits by nature is handed in as data.
//! They read no clock: `now` is a moment of the stream. One file a detector; [`engine`] runs them
//! and turns what they say into findings that open, grow and are resolved.
//! May use: model, base, stream.

mod advice;
mod ages;
mod blocked;
mod crowd;
mod deadlock;
mod engine;
mod evidence;
mod family;
mod gather;
mod growth;
mod hog;
mod identity;
mod idle;
mod leak;
mod left;
mod lock;
mod lost_wakeup;
mod pool;
mod standstill;
mod starved;
mod stuck;
mod waitfor;
mod waits;

use hashbrown::HashSet;

use crate::base::{
    FrameId, IdlePattern, KTime, Nanos, Pattern, ProcId, StackId, TaskId, WaitClass,
};
use crate::model::{GroupKey, Model, Process, Waited};
use crate::stream::{Command, WaitsOn};

pub use advice::Advice;
pub use blocked::Blocked;
pub use crowd::Crowd;
pub use deadlock::Deadlock;
pub use engine::{Change, Engine};
pub use growth::Growth;
pub use hog::Hog;
pub use idle::{IdleCount, IdleMatcher};
pub use leak::Leak;
pub use left::{AtEnd, LeftBehind};
pub use lock::Locks;
pub use lost_wakeup::LostWakeup;
pub use pool::Pool;
pub use standstill::Standstill;
pub use starved::Starved;
pub use stuck::Stuck;

/// What sort of finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FindingKind {
    /// Waits beyond the threshold.
    Stuck,
    /// Many tasks at one place of which none runs.
    Crowd,
    /// Tasks that outlive by far the others of their spawn site.
    Leak,
    /// A population that climbs while none of its old members runs.
    Growth,
    /// Waits that nothing can end, by construction.
    BlockedForEver,
    /// Runs without a stop.
    Hog,
    /// May run and is not let.
    Starved,
    /// Each waits for what the next one has, in a circle.
    Deadlock,
    /// Waits for a lock whose holder is known and does not let go.
    LockHeld,
    /// All workers of a pool wait for one lock.
    PoolBlocked,
    /// Sleeps for a word that has changed: who changed it did not wake it.
    LostWakeup,
}

impl FindingKind {
    /// The word used in JSON and text.
    pub const fn word(self) -> &'static str {
        match self {
            FindingKind::Stuck => "stuck",
            FindingKind::Crowd => "crowd",
            FindingKind::Leak => "leak",
            FindingKind::Growth => "growth",
            FindingKind::BlockedForEver => "blocked-for-ever",
            FindingKind::Hog => "hog",
            FindingKind::Starved => "starved",
            FindingKind::Deadlock => "deadlock",
            FindingKind::LockHeld => "lock-held",
            FindingKind::PoolBlocked => "pool-blocked",
            FindingKind::LostWakeup => "lost-wakeup",
        }
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Confidence {
    /// May be normal.
    Suspect,
    /// Probably wrong.
    Likely,
    /// Wrong.
    Certain,
}

impl Confidence {
    /// The word used in JSON and text.
    pub const fn word(self) -> &'static str {
        match self {
            Confidence::Suspect => "suspect",
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        }
    }

    /// One step less sure.
    #[must_use]
    pub const fn lowered(self) -> Self {
        match self {
            Confidence::Suspect | Confidence::Likely => Confidence::Suspect,
            Confidence::Certain => Confidence::Likely,
        }
    }
}

/// What detectors go by.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// A wait this long is beyond what is normal. 30 s: what waits for a lock or to send has then
    /// outlived the usual request timeout, and three rounds of a usual health check.
    pub stuck_after: Nanos,
    /// This many tasks at one place are a crowd. 100: above the usual size of a pool, and about
    /// what nobody reads one by one; fewer are found by the length of their waits.
    pub crowd_at_least: usize,
    /// A crowd stands still when this many looks in a row found each of its tasks as it was: with
    /// 3, a busy task passes for a still one once in 65 536.
    pub crowd_looks: u32,
    /// ... and when these looks span this long. 2 s: longer than a garbage collection or a slow
    /// disk holds up a whole service, short enough to answer a person who waits.
    pub crowd_span: Nanos,
    /// So few tasks of one spawn site that wait for work, none of them created while watched, are
    /// the background workers every program has. 3: flushers, watchers and listeners come in ones
    /// and twos.
    pub lone_at_most: usize,
    /// A task that outlives by far the others of its spawn site may be called leaked after this;
    /// before, at most suspect. 90 s: the usual time-outs of requests, proxies and long polls are
    /// 60 s at most, and then some time to come to an end.
    pub leak_after: Nanos,
    /// So many siblings must have been seen to the end before their lifetimes say anything. 20: of
    /// ten that stay one would be missed among fewer.
    pub leak_siblings: u64,
    /// A population that climbs for so long may be called growth; over half of it, at most
    /// suspect. 120 s: the start of a program, a deployment and a burst of work are over by then,
    /// and so is all that 60 s time-outs explain.
    pub growth_after: Nanos,
    /// A population that climbed by fewer is left to other detectors. 5: background workers come in
    /// ones and twos ([`Settings::lone_at_most`]).
    pub growth_at_least: usize,
    /// So many tasks of a shape of which a few are normal still are. 20: a program has one for each
    /// pool, logger or broker it talks to.
    pub few_at_most: usize,
    /// A task that runs this long without a stop is a hog. 30 s: longer than what a request or a
    /// round of housekeeping computes; a loop without an end is no less wrong after half a minute.
    pub hog_after: Nanos,
    /// ... and in so many looks in a row, where no events tell that it did not stop. 10: a task
    /// that waits for a quarter of its time passes for one that never does once in 18.
    pub hog_looks: u32,
    /// A task that may run and is not let for so long starves. 5 s: 500 turns of the scheduler; a
    /// machine so loaded fails its health checks too.
    pub starved_after: Nanos,
    /// Findings less sure are kept back.
    pub least_confidence: Confidence,
    /// What waits by nature.
    pub idle: Vec<IdlePattern>,
    /// Usual mistakes, special before general.
    pub patterns: Vec<Pattern>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stuck_after: Nanos::from_secs(30),
            crowd_at_least: 100,
            crowd_looks: 3,
            crowd_span: Nanos::from_secs(2),
            lone_at_most: 3,
            leak_after: Nanos::from_secs(90),
            leak_siblings: 20,
            growth_after: Nanos::from_secs(120),
            growth_at_least: 5,
            few_at_most: 20,
            hog_after: Nanos::from_secs(30),
            hog_looks: 10,
            starved_after: Nanos::from_secs(5),
            least_confidence: Confidence::Suspect,
            idle: Vec::new(),
            patterns: Vec::new(),
        }
    }
}

/// Most tasks a finding lists.
pub const MAX_FINDING_TASKS: usize = 100;
/// Most objects a finding lists.
pub const MAX_FINDING_OBJECTS: usize = 10;
/// Most labels a finding lists.
pub const MAX_FINDING_LABELS: usize = 10;

/// See [`Check::next_look`].
const LOOK_SHARE: u64 = 10;

/// A finding, in ids.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// Equal for equal findings of the same program, across runs.
    pub id: Box<str>,
    /// Sort.
    pub kind: FindingKind,
    /// How sure.
    pub confidence: Confidence,
    /// Why that sure, in words.
    pub reasons: Vec<String>,
    /// In which process.
    pub process: ProcId,
    /// Spawn site, wait site, reason.
    pub key: GroupKey,
    /// At most [`MAX_FINDING_TASKS`] of `count`, oldest wait first.
    pub tasks: Vec<TaskId>,
    /// How many there are.
    pub count: u64,
    /// The longest wait.
    pub oldest_wait: Waited,
    /// The shortest wait.
    pub youngest_wait: Waited,
    /// What they wait on, most waiters first, at most [`MAX_FINDING_OBJECTS`].
    pub objects: Vec<(WaitsOn, u64)>,
    /// How many distinct objects there are.
    pub object_count: u64,
    /// Who woke most of them last, where seen, and whether it lives.
    pub last_waker: Option<LastWaker>,
    /// What became of the tasks of the spawn site; None without events.
    pub site: Option<SiteFate>,
    /// The parent that most of them have, its parent, and so on as far as known.
    pub ancestors: Vec<Ancestor>,
    /// How fast there are more of them; None if they are not known to get more.
    pub climb: Option<Climb>,
    /// The fewest equal looks any of the tasks has.
    pub unchanged_looks: u32,
    /// Stack memory held by all, bytes.
    pub stack_bytes: u64,
    /// The stack most of them have.
    pub stack: StackId,
    /// Labels the program gave them, most tasks first, at most [`MAX_FINDING_LABELS`].
    pub labels: Vec<LabelCount>,
    /// Of a deadlock: who waits for what the next one has; the last waits for the first.
    pub cycle: Vec<CycleStep>,
    /// Tasks that wait for those of the circle; bounded.
    pub bystanders: Vec<TaskId>,
    /// How many there are.
    pub bystander_count: u64,
    /// What usually mends it; the engine adds it.
    pub advice: Option<Advice>,
    /// When it was first found.
    pub first_seen: KTime,
    /// As of when this is told.
    pub at: KTime,
}

/// One of a circle of tasks that wait for one another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CycleStep {
    /// Who.
    pub task: TaskId,
    /// What it waits for; the next of the circle has it.
    pub waits_on: WaitsOn,
    /// Where it waits.
    pub wait_site: FrameId,
    /// The task that a thread runs, where such were read.
    pub runs: Option<TaskId>,
}

/// A label, and how many tasks of a finding have it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LabelCount {
    /// Its key.
    pub key: Box<str>,
    /// Its value.
    pub value: Box<str>,
    /// How many tasks.
    pub tasks: u64,
}

/// Who woke the tasks of a finding last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastWaker {
    /// Who.
    pub task: TaskId,
    /// Whether it is still known alive.
    pub alive: bool,
}

/// What became of the tasks of a spawn site, by events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SiteFate {
    /// Births told.
    pub births: u64,
    /// Deaths told.
    pub deaths: u64,
    /// Alive now, those not in the finding included.
    pub alive: u64,
    /// Half of those seen from birth to death lived no longer than this.
    pub median_life: Option<Nanos>,
    /// 99 of 100 of them lived no longer than this.
    pub p99_life: Option<Nanos>,
    /// The wait that siblings do not explain: next to none was seen to wait so long and end. What a
    /// leak was held against; the finding may speak of more tasks, which have not waited as long yet.
    pub outlived: Option<Nanos>,
}

/// A task from which those of a finding descend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ancestor {
    /// Who.
    pub task: TaskId,
    /// Where it was created; [`FrameId::UNKNOWN`] where nobody knows any more.
    pub spawn_site: FrameId,
    /// Whether it is still known alive.
    pub alive: bool,
}

/// How fast a population climbs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Climb {
    /// How many more there are each minute.
    pub tasks_per_minute: f64,
    /// Measured over this long.
    pub over: Nanos,
    /// What memory does meanwhile, where known.
    pub memory: Option<MemoryClimb>,
}

/// What resident memory does while a population climbs. Others may have a part in it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MemoryClimb {
    /// Resident now, bytes.
    pub rss_bytes: u64,
    /// How much more it is each minute, bytes.
    pub bytes_per_minute: f64,
    /// The tightest limit of the process's cgroups, bytes.
    pub limit_bytes: Option<u64>,
    /// When it will be reached at this rate; None without a limit, or if that is far off.
    pub limit_in: Option<Nanos>,
}

/// What a check looks at.
pub struct Check<'a> {
    /// Everything known.
    pub model: &'a Model,
    /// The process that is checked.
    pub process: &'a Process,
    /// What detectors go by.
    pub settings: &'a Settings,
    /// What waits by nature.
    pub idle: &'a mut IdleMatcher,
    /// The moment of the stream.
    pub now: KTime,
    /// Tasks of which a detector before has said all there is.
    pub spoken_for: &'a HashSet<TaskId>,
}

impl Check<'_> {
    /// When the next look may be, `pause` after the last at the earliest; looks that detectors ask
    /// for take at most one part in [`LOOK_SHARE`] of the time.
    fn next_look(&self, pause: Nanos) -> KTime {
        self.process.last_look().map_or(self.now, |last| {
            let share = Nanos(last.t1.since(last.t0).0.saturating_mul(LOOK_SHARE));
            last.t1.after(pause.max(share)).max(self.now)
        })
    }

    /// The class of a group's reason.
    fn class(&self, key: GroupKey) -> Option<WaitClass> {
        self.model.names().class(key.reason)
    }
}

/// What a detector says.
#[derive(Default, Debug)]
pub struct Verdicts {
    /// All that it finds now.
    pub findings: Vec<Finding>,
    /// When it wants to be asked again at the latest.
    pub recheck_at: Option<KTime>,
    /// Whether a fresh look would tell it more, and not before when.
    pub look_at: Option<KTime>,
    /// What else it wants.
    pub commands: Vec<Command>,
    /// Tasks of which nobody else need speak.
    pub spoken_for: Vec<TaskId>,
}

impl Verdicts {
    /// Wants to be asked again by then.
    fn recheck(&mut self, at: KTime) {
        self.recheck_at = Some(self.recheck_at.map_or(at, |t| t.min(at)));
    }

    /// Wants a look then.
    fn look(&mut self, at: KTime) {
        self.look_at = Some(self.look_at.map_or(at, |t| t.min(at)));
    }
}

/// Finds one sort of wrong.
pub trait Detector: Send {
    /// Says what is wrong now. Must depend on nothing but its past checks and this one.
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts;

    /// Whether what it finds is also true of a process that stands still as a whole. What goes by
    /// the length of waits and runs is not, and is not asked then.
    fn sees_through_standstill(&self) -> bool {
        false
    }

    /// Gives up what it keeps of a process that is no more.
    fn forget(&mut self, _process: ProcId) {}
}
