//! What a process looks like in numbers, for those who gather them: bounded, whatever the process does.

use std::collections::BTreeMap;

use crate::base::{Frame, Nanos, ProcId, TaskKind, TaskState, Visibility, WaitClass};
use crate::detect::{Confidence, Engine, FindingKind};
use crate::model::{Lengths, Model, Process};
use crate::stream::{LossKind, Mode, SchedulerState};

use super::{Acknowledgements, CostView, ProcessView, SpawnSiteView, WallTime, build};

/// Most spawn sites told.
pub const MAX_SITES: usize = 20;
/// Most wait reasons told one by one: a runtime has some fifty.
const MAX_REASONS: usize = 64;

/// Tasks that wait for the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingView {
    /// The runtime's own word.
    pub reason: String,
    /// Its class.
    pub class: Option<WaitClass>,
    /// How many.
    pub count: u64,
}

/// What it costs and may cost at present: parts of one CPU.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RatesView {
    /// What may be spent.
    pub allowed: f64,
    /// What the probes take of the target's time.
    pub probes: f64,
    /// What loiter takes.
    pub loiter: f64,
}

/// How long waits for one class of things took that ended; of those whose begin and end were seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitLengthsView {
    /// Whose waits.
    pub kind: TaskKind,
    /// What for.
    pub class: WaitClass,
    /// How long they took in all.
    pub total: Nanos,
    /// How many by length: each class reaches to below the length beside it, `u64::MAX` ns = without
    /// end.
    pub lengths: Vec<(Nanos, u64)>,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct MetricsView {
    /// Of which process.
    pub process: ProcessView,
    /// From when on it was watched: counters count from then.
    pub since: WallTime,
    /// The program's own tasks that do not wait, by state; every state is there.
    pub states: Vec<(TaskState, u64)>,
    /// Those that wait, by what for.
    pub waiting: Vec<WaitingView>,
    /// Tasks of the runtime.
    pub runtime_tasks: u64,
    /// Births seen.
    pub births: u64,
    /// Deaths seen.
    pub deaths: u64,
    /// Lengths of waits that ended, where events tell them.
    pub waits: Vec<WaitLengthsView>,
    /// The runtime's scheduler at the last look, where it could be read.
    pub scheduler: Option<SchedulerState>,
    /// Records lost of this process; every kind is there.
    pub lost: Vec<(LossKind, u64)>,
    /// Records lost of which nobody knows whose they were: the same in the views of all processes that
    /// are watched together.
    pub lost_of_nobody: Vec<(LossKind, u64)>,
    /// Whether something lost is not made good for yet.
    pub in_doubt: bool,
    /// Open findings that are not acknowledged.
    pub findings: BTreeMap<(FindingKind, Confidence), u64>,
    /// Open findings that are acknowledged.
    pub acknowledged: u64,
    /// Findings ever opened.
    pub opened: u64,
    /// The spawn sites with most tasks, at most [`MAX_SITES`].
    pub sites: Vec<SpawnSiteView>,
    /// Tasks of all others together.
    pub other_sites: u64,
    /// How many spawn sites there are.
    pub site_count: u64,
    /// Which probes are on.
    pub mode: Mode,
    /// How long each mode was on.
    pub modes: Vec<(Mode, Nanos)>,
    /// Looks merged.
    pub looks: u32,
    /// The last one: when it was complete, and how long it took.
    pub last_look: Option<(WallTime, Nanos)>,
    /// Resident memory and the tightest limit of it, bytes.
    pub memory: Option<(u64, Option<u64>)>,
    /// Processor time that the process has used.
    pub cpu: Option<Nanos>,
    /// Whether it stands still as a whole.
    pub stopped: bool,
    /// What watching it cost, where a budget is kept.
    pub cost: Option<CostView>,
    /// What it costs at present.
    pub rates: Option<RatesView>,
}

impl MetricsView {
    /// Nothing but this process is watched: whatever was lost was its own.
    pub fn take_all_losses(&mut self) {
        for (kind, count) in std::mem::take(&mut self.lost_of_nobody) {
            if let Some((_, lost)) = self.lost.iter_mut().find(|(own, _)| *own == kind) {
                *lost = lost.saturating_add(count);
            }
        }
    }
}

/// The numbers of a process. None if it is not known.
pub fn metrics(engine: &Engine, id: ProcId, known: &Acknowledgements) -> Option<MetricsView> {
    let model = engine.model();
    let whose = model.process(id)?;
    let now = build::wall(model, model.now());
    let (mut findings, mut acknowledged) = (BTreeMap::new(), 0u64);
    for finding in engine.open(id) {
        if known.in_force(&finding.id, now).is_some() {
            acknowledged += 1;
        } else {
            *findings.entry((finding.kind, finding.confidence)).or_default() += 1;
        }
    }
    let (sites, other_sites, site_count) = sites(model, whose);
    let counts = whose.counts();
    let states = TaskState::ALL.into_iter().filter(|state| *state != TaskState::Waiting);
    Some(MetricsView {
        process: build::process(whose),
        since: build::wall(model, whose.def().at),
        states: states.map(|state| (state, whose.in_state(state))).collect(),
        waiting: waiting(model, whose),
        runtime_tasks: whose.alive_system(),
        births: counts.births,
        deaths: counts.deaths,
        waits: waits(model, whose),
        scheduler: whose.last_look().and_then(|look| look.outcome.vitals.scheduler),
        lost: LossKind::ALL.map(|kind| (kind, whose.lost(kind))).to_vec(),
        lost_of_nobody: LossKind::ALL.map(|kind| (kind, model.lost_unattributed(kind))).to_vec(),
        in_doubt: whose.is_in_doubt(),
        findings,
        acknowledged,
        opened: engine.opened(id),
        sites,
        other_sites,
        site_count,
        mode: whose.mode(),
        modes: whose.time_in_modes(model.now()),
        looks: counts.looks,
        last_look: whose.last_look().map(|l| (build::wall(model, l.t1), l.outcome.took)),
        memory: whose.memory().map(|m| (m.rss_bytes, m.limit_bytes)),
        cpu: whose.last_look().and_then(|look| look.outcome.vitals.cpu),
        stopped: whose.history().stopped().is_some(),
        cost: None,
        rates: None,
    })
}

fn waiting(model: &Model, whose: &Process) -> Vec<WaitingView> {
    let mut by_reason: BTreeMap<String, (Option<WaitClass>, u64)> = BTreeMap::new();
    let mut named = 0u64;
    for group in whose.groups().filter(|group| group.key().state == TaskState::Waiting) {
        let reason = model.names().reason(group.key().reason);
        let word = reason.map_or("unknown", |reason| &reason.word);
        if by_reason.len() < MAX_REASONS || by_reason.contains_key(word) {
            let entry = by_reason.entry(word.to_owned()).or_default();
            *entry = (reason.map(|r| r.class), entry.1.saturating_add(group.len() as u64));
            named = named.saturating_add(group.len() as u64);
        }
    }
    let rest = whose.in_state(TaskState::Waiting).saturating_sub(named);
    if rest > 0 {
        let other = by_reason.entry("other".to_owned()).or_default();
        other.1 = other.1.saturating_add(rest);
    }
    let view = |(reason, (class, count))| WaitingView { reason, class, count };
    by_reason.into_iter().map(view).collect()
}

/// Lengths of ended waits by kind of task and class.
fn waits(model: &Model, whose: &Process) -> Vec<WaitLengthsView> {
    let mut by_class: BTreeMap<_, (TaskKind, WaitClass, Lengths)> = BTreeMap::new();
    for (kind, reason, lengths) in whose.wait_lengths() {
        let class = model.names().reason(reason).map_or(WaitClass::Other, |reason| reason.class);
        let none = (kind, class, Lengths::default());
        by_class.entry((kind, class.word())).or_insert(none).2.add(lengths);
    }
    let view = |(kind, class, lengths): (TaskKind, WaitClass, Lengths)| WaitLengthsView {
        kind,
        class,
        total: lengths.total(),
        lengths: lengths.classes().collect(),
    };
    by_class.into_values().map(view).collect()
}

/// The spawn sites with most tasks, then with most births; tasks of all others; and how many sites there are.
fn sites(model: &Model, whose: &Process) -> (Vec<SpawnSiteView>, u64, u64) {
    let shown = |frame: &Frame| frame.visibility == Visibility::Shown;
    let mut all: Vec<_> = whose
        .spawn_sites()
        .filter(|(_, site)| site.alive > 0 || site.births > 0)
        .filter(|(id, _)| model.names().frame(*id).is_some_and(|frame| shown(frame)))
        .collect();
    let count = all.len() as u64;
    all.sort_by_key(|(id, site)| (std::cmp::Reverse((site.alive, site.births)), *id));
    let others =
        all.iter().skip(MAX_SITES).map(|(_, site)| site.alive).fold(0, u64::saturating_add);
    all.truncate(MAX_SITES);
    let named = all.into_iter().filter_map(|(id, site)| {
        Some(SpawnSiteView {
            site: model.names().frame(id)?.clone(),
            births: site.births,
            deaths: site.deaths,
            alive: site.alive,
        })
    });
    (named.collect(), others, count)
}
