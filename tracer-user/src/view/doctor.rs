//! What this kernel and these rights allow, what would be probed in a process, and what it would
//! cost.

use crate::base::Nanos;
use crate::stream::Mode;

use super::ProcessView;

/// The answer of `loiter doctor`.
#[derive(Clone, PartialEq, Debug)]
pub struct DoctorView {
    /// Kernel release, such as `6.18.0`.
    pub kernel: String,
    /// Machine, such as `x86_64`.
    pub machine: String,
    /// Where loiter runs, where it matters: `container`, `gVisor`, `PID namespace`; empty on a plain host.
    pub surroundings: Vec<String>,
    /// Kernel features.
    pub features: Vec<CheckView>,
    /// Rights.
    pub rights: Vec<CheckView>,
    /// The process asked about.
    pub target: Option<TargetPlanView>,
}

impl DoctorView {
    /// Whether nothing that is needed is missing.
    pub fn can_trace(&self) -> bool {
        self.features
            .iter()
            .chain(&self.rights)
            .all(|c| !matches!(c.state, CheckState::Missing { .. }))
    }
}

/// One thing that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckView {
    /// Its name: `BTF`, `ring buffer`, `CAP_SYS_PTRACE`.
    pub name: String,
    /// What it is good for, in a few words.
    pub needed_for: String,
    /// How it stands.
    pub state: CheckState,
}

/// How a checked thing stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckState {
    /// It is there. The detail may be empty.
    Ok {
        /// Such as `2 048 pages`, `effective`.
        detail: String,
    },
    /// It is not there, and loiter does without: slower, or telling less.
    Without {
        /// What is done instead.
        instead: String,
        /// What would help; may be empty.
        remedy: String,
    },
    /// It is not there, and loiter cannot trace without it.
    Missing {
        /// Why, as far as it is known.
        cause: String,
        /// What to do about it.
        remedy: String,
    },
}

impl CheckState {
    /// The word used in JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            CheckState::Ok { .. } => "ok",
            CheckState::Without { .. } => "without",
            CheckState::Missing { .. } => "missing",
        }
    }
}

/// What would be probed in a process, and what it would cost.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetPlanView {
    /// Which.
    pub process: ProcessView,
    /// Tasks alive, the runtime's own left out; None where they could not be read.
    pub tasks: Option<u64>,
    /// How long a look at all tasks took.
    pub look_took: Option<Nanos>,
    /// The sites, in order of kind, then address.
    pub sites: Vec<SiteView>,
    /// What these sites do not see, and why.
    pub degraded: Vec<PlanGapView>,
    /// For how long hits were counted; None = not measured.
    pub measured_for: Option<Nanos>,
    /// How often its threads sleep, where it has no sites and threads are all there is to follow.
    pub sleeps: Option<SleepsView>,
}

/// How often the threads of a process sleep.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SleepsView {
    /// How often a second, all threads together.
    pub per_second: f64,
    /// For how long they were counted.
    pub measured_for: Nanos,
    /// What following one costs, at most.
    pub cost_per_sleep: Nanos,
}

impl SleepsView {
    /// CPUs busy with following them, at most: 0.01 = one hundredth of one CPU.
    pub fn cpus(&self) -> f64 {
        self.per_second * self.cost_per_sleep.as_secs_f64()
    }
}

/// One probe site.
#[derive(Clone, PartialEq, Debug)]
pub struct SiteView {
    /// `birth`, `death`, `park`, `run`, `ready`.
    pub kind: String,
    /// The smallest mode in which it is attached.
    pub mode: Mode,
    /// The function it lies in.
    pub function: String,
    /// Virtual address in the file, as linked.
    pub address: u64,
    /// Offset in the file.
    pub file_offset: u64,
    /// Offset from the start of the function, where known.
    pub function_offset: Option<u64>,
    /// The instruction, as a disassembler prints it.
    pub instruction: String,
    /// Where the task's address is: `rax`, `[rsp+0x8]`.
    pub location: String,
    /// Why this instruction.
    pub why: String,
    /// Hits counted.
    pub hits: Option<u64>,
    /// What one hit costs, as far as it is known: measured here, or the figure of the documentation.
    pub cost_per_hit: Nanos,
}

impl SiteView {
    /// Hits a second, over `measured_for`.
    pub fn hits_per_second(&self, measured_for: Nanos) -> Option<f64> {
        (measured_for.0 > 0).then(|| self.hits.map(|h| h as f64 / measured_for.as_secs_f64()))?
    }

    /// CPUs busy with this site's probes at the measured rate: 0.01 = one hundredth of one CPU.
    pub fn cpus(&self, measured_for: Nanos) -> Option<f64> {
        Some(self.hits_per_second(measured_for)? * self.cost_per_hit.as_secs_f64())
    }
}

impl TargetPlanView {
    /// Hits a second and CPUs of all sites that a mode attaches; None if not measured.
    pub fn cost(&self, mode: Mode) -> Option<(f64, f64)> {
        let over = self.measured_for?;
        self.sites.iter().filter(|s| s.mode <= mode).try_fold((0.0, 0.0), |(hits, cpus), s| {
            Some((hits + s.hits_per_second(over)?, cpus + s.cpus(over)?))
        })
    }
}

/// Something the plan does not see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanGapView {
    /// `birth`, `death`, …
    pub kind: String,
    /// What is missed and why.
    pub reason: String,
}
