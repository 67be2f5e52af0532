//! From model and findings to what is shown: ids become names, moments become wall-clock times.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{
    Frame, FrameId, KTime, Nanos, ProcId, StackId, TaskKind, TaskState, Visibility, WaitClass,
};
use crate::detect::{Engine, Finding, IdleMatcher, Settings};
use crate::model::{Model, Names, Process, Task, Waited};
use crate::stream::{LossKind, Mode, ProcessDef};

use super::{
    AcknowledgedView, Acknowledgement, Acknowledgements, AdviceView, AncestorView, CycleStepView,
    DumpView, FindingCounts, FindingView, IdleView, ProcessView, SpawnSiteView, SummaryView,
    TaskView, TaskWait, WakerView, WallTime,
};

/// Most spawn sites a summary shows.
const MAX_SPAWN_SITES: usize = 20;

/// A process, as it is shown.
pub fn process(process: &Process) -> ProcessView {
    let def = process.def();
    let mut degraded: Vec<String> = def.degraded.iter().map(ToString::to_string).collect();
    let not_followed = process.counts().not_followed;
    if not_followed > 0 {
        degraded
            .push(format!("too many tasks at once: {not_followed} were counted and not followed"));
    }
    if process.groups_overflowed() {
        degraded.push("too many different places to wait at: some tasks are in no group".into());
    }
    ProcessView { degraded, ..described(def) }
}

/// A process of which no more is known than its definition.
pub fn described(def: &ProcessDef) -> ProcessView {
    ProcessView {
        pid: def.pid.0,
        exe: def.exe.to_string(),
        runtime: def.runtime.to_string(),
        runtime_version: def.runtime_version.to_string(),
        build: def.build.clone(),
        container: def.container.as_deref().map(Into::into),
        pod: def.pod.clone(),
        degraded: def.degraded.iter().map(ToString::to_string).collect(),
    }
}

/// A moment on the wall clock; the epoch before the clocks were tied.
pub fn wall(model: &Model, at: KTime) -> WallTime {
    WallTime(model.wall_ns(at).unwrap_or(0))
}

/// All tasks of a process as of its last look; None before the first one is merged. Those that wait
/// by nature are named by the table of the settings.
pub fn dump(model: &Model, id: ProcId, settings: &Settings) -> Option<DumpView> {
    let whose = model.process(id)?;
    let look = whose.last_look()?;
    let mut build = TaskBuilder::new(model, whose);
    let mut idle = IdleNames::new(model, whose, settings);
    let mut tasks: Vec<TaskView> =
        whose.tasks().iter().map(|t| TaskView { idle: idle.name(t), ..build.task(t) }).collect();
    tasks.sort_unstable_by_key(|t| (t.kind, t.id));
    Some(DumpView {
        process: process(whose),
        taken_at: wall(model, look.t1),
        outcome: look.outcome,
        tasks,
    })
}

/// Names what tasks are that wait by nature.
struct IdleNames<'a> {
    names: &'a Names,
    settings: &'a Settings,
    matcher: IdleMatcher,
    known: HashMap<usize, Arc<str>, RandomState>,
}

impl<'a> IdleNames<'a> {
    fn new(model: &'a Model, process: &Process, settings: &'a Settings) -> Self {
        let mut matcher = IdleMatcher::default();
        matcher.count(model.names(), process, settings);
        Self { names: model.names(), settings, matcher, known: HashMap::default() }
    }

    fn name(&mut self, task: &Task) -> Option<Arc<str>> {
        if task.state() != TaskState::Waiting {
            return None;
        }
        let class = self.names.class(task.reason());
        let index = self.matcher.find(self.names, &self.settings.idle, task, class)?;
        let pattern = self.settings.idle.get(index)?;
        Some(self.known.entry(index).or_insert_with(|| Arc::from(&*pattern.name)).clone())
    }
}

/// A finding, named. None if its process is no longer known.
pub fn finding(model: &Model, finding: &Finding) -> Option<FindingView> {
    let whose = model.process(finding.process)?;
    let names = model.names();
    let reason = names.reason(finding.key.reason);
    Some(FindingView {
        id: finding.id.to_string(),
        kind: finding.kind,
        confidence: finding.confidence,
        reasons: finding.reasons.clone(),
        process: process(whose),
        tests: Vec::new(),
        spawn_site: names.frame(finding.key.spawn_site).cloned(),
        wait_site: names.frame(finding.key.wait_site).cloned(),
        wait_reason: reason.map_or_else(|| Arc::from(""), |r| r.word.clone()),
        wait_class: reason.map(|r| r.class),
        task_kind: finding.tasks.first().map_or(TaskKind::Goroutine, |t| t.kind),
        tasks: finding.tasks.iter().map(|t| t.number).collect(),
        waits: waits(model, whose, finding),
        count: finding.count,
        oldest_wait: finding.oldest_wait,
        youngest_wait: finding.youngest_wait,
        objects: finding.objects.clone(),
        object_count: finding.object_count,
        last_waker: finding.last_waker.map(|w| WakerView { id: w.task.number, alive: w.alive }),
        site: finding.site,
        ancestors: finding
            .ancestors
            .iter()
            .map(|a| AncestorView {
                id: a.task.number,
                spawn_site: names
                    .frame(a.spawn_site)
                    .filter(|_| a.spawn_site != FrameId::UNKNOWN)
                    .cloned(),
                alive: a.alive,
            })
            .collect(),
        climb: finding.climb,
        cycle: finding
            .cycle
            .iter()
            .map(|step| CycleStepView {
                id: step.task.number,
                waits_on: step.waits_on.clone(),
                wait_site: names.frame(step.wait_site).cloned(),
                runs: step.runs.map(|task| task.number),
            })
            .collect(),
        bystanders: finding.bystanders.iter().map(|t| t.number).collect(),
        bystander_count: finding.bystander_count,
        unchanged_looks: finding.unchanged_looks,
        stack_bytes: finding.stack_bytes,
        stack: named_stack(names, finding.stack, &unknown_frame()),
        labels: finding.labels.clone(),
        advice: finding.advice.as_ref().map(|advice| AdviceView {
            pattern: advice.pattern.to_string(),
            text: advice.text.to_string(),
            frame: names.frame(advice.frame).cloned(),
        }),
        expired: None,
        first_seen: wall(model, finding.first_seen),
        as_of: wall(model, finding.at),
    })
}

fn waits(model: &Model, whose: &Process, finding: &Finding) -> Vec<TaskWait> {
    let tasks = finding.tasks.iter().filter_map(|&id| whose.task(id));
    let waiting = tasks.filter_map(|task| Some((task, whose.wait(task, finding.at)?)));
    waiting
        .map(|(task, wait)| TaskWait {
            id: task.id().number,
            since: wall(model, wait.since),
            since_monotonic: wait.since,
            waited: wait.waited(),
        })
        .collect()
}

/// The end of a watch: `ended` says why it ended. None if the process was never known.
/// Every open finding counts; [`set_apart`] takes those out that are acknowledged.
pub fn summary(engine: &mut Engine, id: ProcId, ended: &str) -> Option<SummaryView> {
    let idle = engine.idle(id);
    let mut findings = FindingCounts::default();
    engine.open(id).iter().for_each(|f| findings.add(f.confidence));
    let model = engine.model();
    let whose = model.process(id)?;
    let counts = whose.counts();
    let mode = whose.widest_mode();
    let told = mode > Mode::None;
    Some(SummaryView {
        process: process(whose),
        mode,
        modes: whose.time_in_modes(model.now()),
        cost: None,
        ended: ended.to_owned(),
        ended_at: wall(model, model.now()),
        watched: watched(model, id),
        births: told.then_some(counts.births),
        deaths: told.then_some(counts.deaths),
        alive: whose.alive(),
        looks: counts.looks,
        lost: LossKind::ALL
            .into_iter()
            .map(|kind| (kind, whose.lost(kind).saturating_add(unattributed(model, whose, kind))))
            .filter(|&(_, n)| n > 0)
            .collect(),
        findings,
        acknowledged: Vec::new(),
        idle: idle
            .into_iter()
            .map(|i| IdleView { name: i.name, why: i.why, count: i.count })
            .collect(),
        spawn_sites: spawn_sites(model, whose),
        thread_waits: Vec::new(),
        thread_calls: Vec::new(),
        deliveries: Vec::new(),
    })
}

/// What was lost of nobody in particular is of the only process there is. Of several nobody's summary has
/// it: it is told by itself, as it happens.
fn unattributed(model: &Model, whose: &Process, kind: LossKind) -> u64 {
    let pid = whose.def().pid;
    let alone = model.processes().all(|process| process.def().pid == pid);
    if alone { model.lost_unattributed(kind) } else { 0 }
}

/// Sets the findings apart that are acknowledged: named in the summary, and not counted.
pub fn set_apart(summary: &mut SummaryView, engine: &Engine, id: ProcId, known: &Acknowledgements) {
    let model = engine.model();
    let now = wall(model, model.now());
    let mut counts = FindingCounts::default();
    let mut acknowledged = Vec::new();
    for finding in engine.open(id) {
        match known.in_force(&finding.id, now) {
            Some(by) => acknowledged.push(self::acknowledged(model, finding, by)),
            None => counts.add(finding.confidence),
        }
    }
    (summary.findings, summary.acknowledged) = (counts, acknowledged);
}

/// A finding that is acknowledged.
pub fn acknowledged(model: &Model, finding: &Finding, by: &Acknowledgement) -> AcknowledgedView {
    AcknowledgedView {
        acknowledgement: by.clone(),
        kind: finding.kind,
        count: finding.count,
        wait_site: model.names().frame(finding.key.wait_site).cloned(),
    }
}

/// The busiest spawn sites: most births, then most alive.
fn spawn_sites(model: &Model, whose: &Process) -> Vec<SpawnSiteView> {
    let names = model.names();
    let mut sites: Vec<SpawnSiteView> = whose
        .spawn_sites()
        .filter_map(|(id, site)| {
            Some(SpawnSiteView {
                site: names.frame(id)?.clone(),
                births: site.births,
                deaths: site.deaths,
                alive: site.alive,
            })
        })
        // The runtime's own are in no dump either.
        .filter(|s| s.site.visibility == Visibility::Shown)
        .filter(|s| s.births + s.deaths + s.alive > 0)
        .collect();
    let order = |s: &SpawnSiteView| std::cmp::Reverse((s.births, s.alive, s.deaths));
    sites.sort_by(|a, b| {
        order(a)
            .cmp(&order(b))
            .then_with(|| a.site.function.cmp(&b.site.function))
            .then(a.site.line.cmp(&b.site.line))
    });
    sites.truncate(MAX_SPAWN_SITES);
    sites
}

/// Names tasks; stacks that many share are named once.
struct TaskBuilder<'a> {
    model: &'a Model,
    process: &'a Process,
    stacks: HashMap<StackId, Arc<[Arc<Frame>]>, RandomState>,
    unknown: Arc<Frame>,
    no_word: Arc<str>,
}

impl<'a> TaskBuilder<'a> {
    fn new(model: &'a Model, process: &'a Process) -> Self {
        Self {
            model,
            process,
            stacks: HashMap::default(),
            unknown: unknown_frame(),
            no_word: Arc::from(""),
        }
    }

    fn task(&mut self, task: &Task) -> TaskView {
        let names = self.model.names();
        let (word, class) = self.reason(task);
        let unknown = &self.unknown;
        let frames = self
            .stacks
            .entry(task.stack())
            .or_insert_with_key(|&id| named_stack(names, id, unknown))
            .clone();
        TaskView {
            kind: task.id().kind,
            id: task.id().number,
            state: task.state(),
            wait_reason: word,
            wait_class: class,
            waited: self
                .process
                .wait(task, self.model.now())
                .map_or(Waited::Unknown, |w| w.waited()),
            parent: task.parent().map(|p| p.number),
            system: task.is_system(),
            created_by: names.frame(task.spawn_site()).cloned(),
            start: names.frame(task.start()).cloned(),
            frames,
            wait_site: self.frame_if_blocked(task),
            waits_on: task.waits_on(),
            labels: task.labels().to_vec(),
            stack_bytes: task.stack_bytes(),
            thread: task.thread().map(|t| t.0),
            locked_to_thread: task.is_locked_to_thread(),
            idle: None,
        }
    }

    fn frame_if_blocked(&self, task: &Task) -> Option<Arc<Frame>> {
        let blocked = matches!(task.state(), TaskState::Waiting | TaskState::Syscall);
        let site = if blocked { task.wait_site() } else { FrameId::UNKNOWN };
        self.model.names().frame(site).cloned()
    }

    fn reason(&self, task: &Task) -> (Arc<str>, Option<WaitClass>) {
        match self.model.names().reason(task.reason()) {
            Some(reason) => (reason.word.clone(), Some(reason.class)),
            None => (self.no_word.clone(), None),
        }
    }
}

fn named_stack(names: &Names, id: StackId, unknown: &Arc<Frame>) -> Arc<[Arc<Frame>]> {
    names.stack(id).iter().map(|&f| names.frame(f).unwrap_or(unknown).clone()).collect()
}

/// Stands for a frame of a stack that has no name.
fn unknown_frame() -> Arc<Frame> {
    Arc::new(Frame {
        function: "?".into(),
        file: "".into(),
        line: 0,
        kind: crate::base::FrameKind::Call,
        visibility: crate::base::Visibility::Shown,
    })
}

/// How long a process has been watched up to now.
pub fn watched(model: &Model, id: ProcId) -> Nanos {
    model
        .process(id)
        .map_or(Nanos(0), |p| p.ended().map_or(model.now(), |(at, _)| at).since(p.def().at))
}
