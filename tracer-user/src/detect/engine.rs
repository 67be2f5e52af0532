//! Runs model and detectors over the stream of inputs and keeps the findings: each is told when it
//! opens, when it grows to twice what was told or becomes more sure, and when its tasks went on.
//!
//! When a check happens depends on the inputs alone, so a replay finds the same at the same moment.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::{FrameId, KTime, Nanos, ProcId};
use crate::model::{GroupKey, Model, Process};
use crate::stream::{Command, Input, SnapshotWhy};

use super::idle::{IdleCount, IdleMatcher};
use super::left::{AtEnd, LeftBehind, left_behind};
use super::{Check, Confidence, Crowd, Detector, Finding, Settings, Stuck, Verdicts};

/// A process is checked at least this often, by ticks.
const CHECK_EVERY: Nanos = Nanos::from_secs(1);
/// A finding that is no longer found is resolved after this: one that flickers stays open.
const RESOLVE_AFTER: Nanos = Nanos::from_secs(2);
/// A finding that grew this many times is told again.
const GROWTH: u64 = 2;
/// Most findings open in one process; the surest and largest come first.
const MAX_OPEN: usize = 1024;

/// News about a finding.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Found.
    Opened(Box<Finding>),
    /// Twice as many tasks as last told, or surer.
    Grown(Box<Finding>),
    /// Its tasks went on; as it was last found.
    Resolved(Box<Finding>),
}

impl Change {
    /// The finding it is about.
    pub fn finding(&self) -> &Finding {
        match self {
            Change::Opened(f) | Change::Grown(f) | Change::Resolved(f) => f,
        }
    }
}

/// An open finding.
#[derive(Debug)]
struct Open {
    finding: Finding,
    told_count: u64,
    told_confidence: Confidence,
    missing_since: Option<KTime>,
}

/// What is kept of a process.
#[derive(Debug, Default)]
struct Track {
    open: BTreeMap<Box<str>, Open>,
    opened: u64,
    next_check: Option<KTime>,
    /// A look asked for by a detector that has not come: not before when.
    look_asked: Option<KTime>,
}

/// Model and detectors together.
pub struct Engine {
    model: Model,
    settings: Settings,
    detectors: Vec<Box<dyn Detector>>,
    idle: IdleMatcher,
    tracks: BTreeMap<ProcId, Track>,
}

impl Engine {
    /// All detectors, with these settings. If two speak of the same tasks, the earlier is heard,
    /// unless the later one's finding is open already.
    pub fn new(settings: Settings) -> Self {
        Self {
            model: Model::new(),
            settings,
            detectors: vec![Box::new(Crowd::default()), Box::new(Stuck::default())],
            idle: IdleMatcher::default(),
            tracks: BTreeMap::new(),
        }
    }

    /// Everything known.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Findings open now, surest and largest first.
    pub fn open(&self, process: ProcId) -> Vec<&Finding> {
        let mut all: Vec<&Finding> = self
            .tracks
            .get(&process)
            .map(|t| t.open.values().map(|o| &o.finding).collect())
            .unwrap_or_default();
        all.sort_by(|a, b| order(a).cmp(&order(b)));
        all
    }

    /// How many findings were ever opened.
    pub fn opened(&self, process: ProcId) -> u64 {
        self.tracks.get(&process).map_or(0, |t| t.opened)
    }

    /// Tasks that wait by nature, most first.
    pub fn idle(&mut self, process: ProcId) -> Vec<IdleCount> {
        match self.model.process(process) {
            Some(p) => self.idle.census(self.model.names(), p, &self.settings),
            None => Vec::new(),
        }
    }

    /// What is left behind by a program that is held at its end; not kept among its findings.
    pub fn left_behind(&mut self, process: ProcId, end: &AtEnd) -> LeftBehind {
        let Self { model, settings, idle, .. } = self;
        let Some(process) = model.process(process) else { return LeftBehind::default() };
        let now = model.now();
        left_behind(&mut Check { model, process, settings, idle, now }, end)
    }

    /// Tells what has changed in open findings since they were told, however little: for the end.
    pub fn tell_rest(&mut self, process: ProcId, changes: &mut Vec<Change>) {
        let open = self.tracks.get_mut(&process).map(|track| track.open.values_mut());
        for one in open.into_iter().flatten().filter(|one| one.finding.count != one.told_count) {
            one.told_count = one.finding.count;
            changes.push(Change::Grown(Box::new(one.finding.clone())));
        }
    }

    /// Frees the tasks and findings of a process that ended and has been summed up.
    pub fn forget(&mut self, process: ProcId) {
        self.model.forget_tasks(process);
        if self.model.process(process).is_none_or(|p| p.ended().is_some()) {
            self.tracks.remove(&process);
        }
    }

    /// Takes in one input. News of findings go to `changes`, wishes to `commands`.
    pub fn feed(&mut self, input: Input, changes: &mut Vec<Change>, commands: &mut Vec<Command>) {
        let due = Due::of(&input);
        self.model.apply(input, commands);
        match due {
            Due::Nothing => {}
            Due::Process(id) => {
                if let Some(track) = self.tracks.get_mut(&id) {
                    track.look_asked = None;
                }
                self.check(id, changes, commands);
            }
            Due::Time(now) => {
                let due: Vec<ProcId> = self
                    .model
                    .processes()
                    .filter(|p| p.ended().is_none())
                    .map(Process::id)
                    .filter(|id| {
                        self.tracks.get(id).and_then(|t| t.next_check).is_none_or(|at| at <= now)
                    })
                    .collect();
                for id in due {
                    self.check(id, changes, commands);
                }
            }
        }
    }

    /// Asks all detectors about a process now.
    pub fn check(&mut self, id: ProcId, changes: &mut Vec<Change>, commands: &mut Vec<Command>) {
        let Self { model, settings, detectors, idle, tracks } = self;
        let Some(process) = model.process(id).filter(|p| p.ended().is_none()) else { return };
        let now = model.now();
        let mut all = Verdicts::default();
        for detector in detectors {
            let mut check = Check { model, process, settings, idle, now };
            let said = detector.check(&mut check);
            all.findings.extend(said.findings);
            said.recheck_at.into_iter().for_each(|at| all.recheck(at));
            said.look_at.into_iter().for_each(|at| all.look(at));
            all.commands.extend(said.commands);
        }
        commands.append(&mut all.commands);
        let track = tracks.entry(id).or_default();
        let regular = now.after(CHECK_EVERY);
        track.next_check =
            Some(all.recheck_at.map_or(regular, |at| at.max(now.after(Nanos(1))).min(regular)));
        if let Some(at) = all.look_at
            && track.look_asked.is_none_or(|asked| now > asked.after(RESOLVE_AFTER))
        {
            track.look_asked = Some(at.max(now));
            commands.push(Command::NeedSnapshot {
                process: id,
                why: SnapshotWhy::Recheck,
                not_before: at.max(now),
            });
        }
        let findings = one_for_each_place(track, all.findings);
        track.update(findings, process, settings.least_confidence, now, changes, commands);
    }
}

/// What an input makes due.
enum Due {
    Nothing,
    Process(ProcId),
    Time(KTime),
}

impl Due {
    fn of(input: &Input) -> Self {
        match input {
            Input::SnapshotEnd { process, .. } => Due::Process(*process),
            Input::Tick(at) => Due::Time(*at),
            _ => Due::Nothing,
        }
    }
}

/// Surest first, then largest; the rest makes it one order for all runs.
fn order(f: &Finding) -> (Reverse<(Confidence, u64)>, &str, FrameId, FrameId) {
    (Reverse((f.confidence, f.count)), &f.id, f.key.spawn_site, f.key.wait_site)
}

/// If several detectors speak of one place, one is heard: whose finding is open, else the first.
fn one_for_each_place(track: &Track, findings: Vec<Finding>) -> BTreeMap<Box<str>, Finding> {
    let mut by_place: hashbrown::HashMap<GroupKey, Finding> = hashbrown::HashMap::new();
    for finding in findings {
        let is_open = |f: &Finding| track.open.contains_key(&f.id);
        match by_place.get(&finding.key) {
            Some(first) if is_open(first) || !is_open(&finding) => {}
            _ => {
                by_place.insert(finding.key, finding);
            }
        }
    }
    let mut found: Vec<Finding> = by_place.into_values().collect();
    found.sort_by(|a, b| order(a).cmp(&order(b)));
    found.truncate(MAX_OPEN);
    let mut by_id = BTreeMap::new();
    for finding in found {
        // Two places of one name have one id: the larger stands for both.
        by_id.entry(finding.id.clone()).or_insert(finding);
    }
    by_id
}

impl Track {
    fn update(
        &mut self,
        mut found: BTreeMap<Box<str>, Finding>,
        process: &Process,
        least: Confidence,
        now: KTime,
        changes: &mut Vec<Change>,
        commands: &mut Vec<Command>,
    ) {
        let mut gone = Vec::new();
        for (id, open) in &mut self.open {
            match found.remove(id) {
                Some(finding) => open.extends(finding, changes),
                None => {
                    let since = *open.missing_since.get_or_insert(now);
                    // While something lost is not healed nobody knows whether they went on.
                    if now.since(since) >= RESOLVE_AFTER && !process.is_in_doubt() {
                        gone.push(id.clone());
                    }
                }
            }
        }
        for id in gone {
            if let Some(open) = self.open.remove(&id) {
                changes.push(Change::Resolved(Box::new(open.finding)));
            }
        }
        let mut fresh: Vec<Finding> =
            found.into_values().filter(|f| f.confidence >= least).collect();
        fresh.sort_by(|a, b| order(a).cmp(&order(b)));
        for finding in fresh {
            if self.open.len() < MAX_OPEN {
                self.start(finding, process, changes, commands);
            }
        }
    }

    fn start(
        &mut self,
        finding: Finding,
        process: &Process,
        changes: &mut Vec<Change>,
        commands: &mut Vec<Command>,
    ) {
        self.opened += 1;
        if finding.confidence >= Confidence::Likely {
            commands.push(Command::Freeze {
                process: process.id(),
                why: format!("finding {} ({}) opened", finding.id, finding.kind.word()),
            });
        }
        let open = Open {
            told_count: finding.count,
            told_confidence: finding.confidence,
            missing_since: None,
            finding: finding.clone(),
        };
        self.open.insert(finding.id.clone(), open);
        changes.push(Change::Opened(Box::new(finding)));
    }
}

impl Open {
    fn extends(&mut self, mut finding: Finding, changes: &mut Vec<Change>) {
        finding.first_seen = self.finding.first_seen;
        self.missing_since = None;
        let grown = finding.count >= self.told_count.saturating_mul(GROWTH);
        if grown || finding.confidence > self.told_confidence {
            self.told_count = finding.count;
            self.told_confidence = finding.confidence;
            changes.push(Change::Grown(Box::new(finding.clone())));
        }
        self.finding = finding;
    }
}
