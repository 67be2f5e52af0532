//! The read model: immutable, named, ready to be shown. Outputs see nothing else.
//! May use: model, detect, stream, base.

mod acknowledged;
pub mod build;
pub mod check;
pub mod delivery;
pub mod diff;
pub mod doctor;
pub mod life;
pub mod metrics;
pub mod ps;
pub mod recording;
pub mod timeline;
pub mod watch;

use std::sync::Arc;

use crate::base::{Frame, KTime, Nanos, TaskKind, TaskState, WaitClass};
use crate::stream::{BuildInfo, LookOutcome, LossKind, Mode, PodInfo, WaitsOn};

pub use crate::detect::{Climb, Confidence, FindingKind, LabelCount, MemoryClimb, SiteFate};
pub use crate::model::{Exactness, Names, Waited};
pub use acknowledged::{Acknowledgement, Acknowledgements, Standing};

/// A moment on the wall clock, ns since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WallTime(pub i64);

/// A process.
#[derive(Clone, PartialEq, Debug)]
pub struct ProcessView {
    /// PID as loiter sees it.
    pub pid: u32,
    /// Path of the executable.
    pub exe: String,
    /// `go`; `native` = its tasks are its threads.
    pub runtime: String,
    /// `go1.27.3`
    pub runtime_version: String,
    /// From the binary.
    pub build: BuildInfo,
    /// Container id.
    pub container: Option<String>,
    /// The pod of Kubernetes that it runs in.
    pub pod: Option<PodInfo>,
    /// Why less than everything may be told.
    pub degraded: Vec<String>,
}

/// A task.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskView {
    /// Sort of task.
    pub kind: TaskKind,
    /// goid, tid.
    pub id: u64,
    /// State.
    pub state: TaskState,
    /// The runtime's own word for what it waits for; empty if it does not wait.
    pub wait_reason: Arc<str>,
    /// The class of that.
    pub wait_class: Option<WaitClass>,
    /// For how long.
    pub waited: Waited,
    /// Parent's id.
    pub parent: Option<u64>,
    /// Belongs to the runtime.
    pub system: bool,
    /// Where it was created.
    pub created_by: Option<Arc<Frame>>,
    /// The function it runs.
    pub start: Option<Arc<Frame>>,
    /// Innermost first, hidden ones included.
    pub frames: Arc<[Arc<Frame>]>,
    /// Where it waits.
    pub wait_site: Option<Arc<Frame>>,
    /// What it waits on.
    pub waits_on: WaitsOn,
    /// pprof labels.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// Stack held.
    pub stack_bytes: u64,
    /// The thread it runs on or is locked to.
    pub thread: Option<u32>,
    /// Whether it is locked to it.
    pub locked_to_thread: bool,
    /// What it is if it waits by nature, such as `Redis event loop`.
    pub idle: Option<Arc<str>>,
}

/// All tasks of a process at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct DumpView {
    /// Whose.
    pub process: ProcessView,
    /// When the snapshot was complete.
    pub taken_at: WallTime,
    /// How it went.
    pub outcome: LookOutcome,
    /// By id.
    pub tasks: Vec<TaskView>,
}

/// A finding, with its evidence.
#[derive(Clone, PartialEq, Debug)]
pub struct FindingView {
    /// Equal for equal findings of the same binary, across runs.
    pub id: String,
    /// Sort.
    pub kind: FindingKind,
    /// How sure.
    pub confidence: Confidence,
    /// Why that sure.
    pub reasons: Vec<String>,
    /// In which process.
    pub process: ProcessView,
    /// The tests of the program's own test suite that they belong to, where stacks show it.
    pub tests: Vec<String>,
    /// Where the tasks were created.
    pub spawn_site: Option<Arc<Frame>>,
    /// Where they wait.
    pub wait_site: Option<Arc<Frame>>,
    /// The runtime's own word.
    pub wait_reason: Arc<str>,
    /// Its class.
    pub wait_class: Option<WaitClass>,
    /// Which sort of task they are.
    pub task_kind: TaskKind,
    /// Ids, at most [`FindingView::MAX_TASKS`] of `count`, oldest wait first.
    pub tasks: Vec<u64>,
    /// The waits of these tasks, as far as they still wait.
    pub waits: Vec<TaskWait>,
    /// How many there are.
    pub count: u64,
    /// The longest wait.
    pub oldest_wait: Waited,
    /// The shortest wait.
    pub youngest_wait: Waited,
    /// The objects waited on, most waiters first, bounded; with the number of waiters of each.
    pub objects: Vec<(WaitsOn, u64)>,
    /// How many distinct objects there are.
    pub object_count: u64,
    /// Last waker, where seen: how many of the tasks were last woken by this one, and whether it lives.
    pub last_waker: Option<WakerView>,
    /// What became of the tasks of the spawn site since tracing began; None without events.
    pub site: Option<SiteFate>,
    /// From whom most of the tasks descend: the parent, its parent, and so on as far as known.
    pub ancestors: Vec<AncestorView>,
    /// How fast there are more of them, where they are known to get more.
    pub climb: Option<Climb>,
    /// Of a deadlock: who waits for what the next one has; the last waits for the first.
    pub cycle: Vec<CycleStepView>,
    /// Tasks that wait for those of the circle; bounded.
    pub bystanders: Vec<u64>,
    /// How many there are.
    pub bystander_count: u64,
    /// Equal looks that show that none of the tasks ran.
    pub unchanged_looks: u32,
    /// Stack memory held by all of them, bytes.
    pub stack_bytes: u64,
    /// One stack that stands for them.
    pub stack: Arc<[Arc<Frame>]>,
    /// Labels the program gave them (in Go: pprof labels), most tasks first, bounded.
    pub labels: Vec<LabelCount>,
    /// What usually mends it; None if it fits no known pattern.
    pub advice: Option<AdviceView>,
    /// An acknowledgement of it that has expired: one that holds keeps it from being told.
    pub expired: Option<Acknowledgement>,
    /// When it was first found.
    pub first_seen: WallTime,
    /// The moment that this view tells of: waits are as long as they were then.
    pub as_of: WallTime,
}

impl FindingView {
    /// Most task ids a finding lists.
    pub const MAX_TASKS: usize = crate::detect::MAX_FINDING_TASKS;
}

/// One of a circle of tasks that wait for one another.
#[derive(Clone, PartialEq, Debug)]
pub struct CycleStepView {
    /// Who.
    pub id: u64,
    /// What it waits for; the next of the circle has it.
    pub waits_on: WaitsOn,
    /// Where it waits.
    pub wait_site: Option<Arc<Frame>>,
    /// The goroutine that a thread runs, where goroutines were read.
    pub runs: Option<u64>,
}

/// What usually mends a finding.
#[derive(Clone, PartialEq, Debug)]
pub struct AdviceView {
    /// The stable name of the pattern it fits, such as `send-full-buffer`.
    pub pattern: String,
    /// What usually mends it.
    pub text: String,
    /// The frame the pattern was known by.
    pub frame: Option<Arc<Frame>>,
}

/// An open finding that is acknowledged.
#[derive(Clone, PartialEq, Debug)]
pub struct AcknowledgedView {
    /// By whom, and until when.
    pub acknowledgement: Acknowledgement,
    /// Sort.
    pub kind: FindingKind,
    /// How many tasks.
    pub count: u64,
    /// Where they wait.
    pub wait_site: Option<Arc<Frame>>,
}

/// Findings open at the end, by how sure they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FindingCounts {
    /// May be normal.
    pub suspect: u64,
    /// Probably wrong.
    pub likely: u64,
    /// Wrong.
    pub certain: u64,
}

impl FindingCounts {
    /// Counts one more.
    pub fn add(&mut self, confidence: Confidence) {
        let count = match confidence {
            Confidence::Suspect => &mut self.suspect,
            Confidence::Likely => &mut self.likely,
            Confidence::Certain => &mut self.certain,
        };
        *count = count.saturating_add(1);
    }

    /// With others.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            suspect: self.suspect.saturating_add(other.suspect),
            likely: self.likely.saturating_add(other.likely),
            certain: self.certain.saturating_add(other.certain),
        }
    }

    /// All that are at least this sure.
    pub fn at_least(self, confidence: Confidence) -> u64 {
        match confidence {
            Confidence::Suspect => {
                self.suspect.saturating_add(self.likely).saturating_add(self.certain)
            }
            Confidence::Likely => self.likely.saturating_add(self.certain),
            Confidence::Certain => self.certain,
        }
    }

    /// All.
    pub fn all(self) -> u64 {
        self.at_least(Confidence::Suspect)
    }
}

/// The wait of one task of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskWait {
    /// The task's id.
    pub id: u64,
    /// When the wait began; where it is not exact, since when it is known.
    pub since: WallTime,
    /// The same on CLOCK_MONOTONIC.
    pub since_monotonic: KTime,
    /// How long it has lasted.
    pub waited: Waited,
}

/// A task from which those of a finding descend.
#[derive(Clone, PartialEq, Debug)]
pub struct AncestorView {
    /// Its id.
    pub id: u64,
    /// Where it was created, where that is known.
    pub spawn_site: Option<Arc<Frame>>,
    /// Whether it still exists.
    pub alive: bool,
}

/// Who last woke the tasks of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WakerView {
    /// Its id.
    pub id: u64,
    /// Whether it still exists.
    pub alive: bool,
}

/// A group of tasks that wait by nature and are not flagged.
#[derive(Clone, PartialEq, Debug)]
pub struct IdleView {
    /// The name of the pattern, such as `accept loop`.
    pub name: String,
    /// Why it is normal.
    pub why: String,
    /// How many tasks.
    pub count: u64,
}

/// Births and deaths of one spawn site.
#[derive(Clone, PartialEq, Debug)]
pub struct SpawnSiteView {
    /// The site.
    pub site: Arc<Frame>,
    /// Births seen.
    pub births: u64,
    /// Deaths seen of tasks from there.
    pub deaths: u64,
    /// Alive now.
    pub alive: u64,
}

/// What a watch cost, set against its budget.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CostView {
    /// What it might cost: a part of one CPU, or of what the target used if that was more.
    pub budget: f64,
    /// Hits of the probes.
    pub hits: u64,
    /// Processor time that the hits took of the target's, as calibrated against its own account.
    pub probes: Nanos,
    /// Processor time of loiter from the moment on at which the probes were on.
    pub loiter: Nanos,
    /// Processor time of the target meanwhile, probes included.
    pub target: Nanos,
    /// Over which time.
    pub over: Nanos,
    /// How often the probes were changed to keep the budget.
    pub changes: u32,
}

/// The end of a watch or diagnosis.
#[derive(Clone, PartialEq, Debug)]
pub struct SummaryView {
    /// Whose.
    pub process: ProcessView,
    /// The most that was traced.
    pub mode: Mode,
    /// How long each mode was on.
    pub modes: Vec<(Mode, Nanos)>,
    /// What it cost, where a budget was kept.
    pub cost: Option<CostView>,
    /// Why it ended, in words (`target exited`, `interrupted`, `time is up`).
    pub ended: String,
    /// When.
    pub ended_at: WallTime,
    /// How long it was watched.
    pub watched: Nanos,
    /// Births seen; None without lifecycle events.
    pub births: Option<u64>,
    /// Deaths seen; None without lifecycle events.
    pub deaths: Option<u64>,
    /// Tasks alive at the end, runtime's own left out.
    pub alive: u64,
    /// Looks taken.
    pub looks: u32,
    /// Losses by kind; kinds with none are left out.
    pub lost: Vec<(LossKind, u64)>,
    /// Findings told, by now open.
    pub findings: FindingCounts,
    /// Open findings that are acknowledged: neither told nor counted in `findings`.
    pub acknowledged: Vec<AcknowledgedView>,
    /// Tasks that wait by nature.
    pub idle: Vec<IdleView>,
    /// The busiest spawn sites, at most 20.
    pub spawn_sites: Vec<SpawnSiteView>,
    /// What threads waited for, longest in all first, at most 20; empty where their waits were not
    /// followed, and of a recording.
    pub thread_waits: Vec<ThreadWaitsView>,
    /// What became of what was sent elsewhere; empty where nothing is.
    pub deliveries: Vec<delivery::DeliveryView>,
}

/// The waits of threads for one thing that ended, short ones too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadWaitsView {
    /// The word of the wait.
    pub reason: String,
    /// `futex` or `epoll`, and its address or number; None for other waits.
    pub subject: Option<(&'static str, u64)>,
    /// How many ended.
    pub count: u64,
    /// How long they took in all.
    pub total: Nanos,
    /// How many by length: each class reaches to below the length beside it, `u64::MAX` ns = without
    /// end. Classes with none are left out.
    pub lengths: Vec<(Nanos, u64)>,
}
