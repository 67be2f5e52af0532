//! Runs model and detectors over the stream of inputs and keeps the findings: each is told when it
//! opens, when it grows to twice what was told, becomes more sure or turns out to be of a kind that
//! says more, and when its tasks went on.
//!
//! A place has one finding, whoever speaks of it, under one id: a crowd that proves to be a leak
//! is told again as that and never closed in between. When what made it more is over (growth that
//! stops), it falls back to what is still true of it, which is no news.
//!
//! When a check happens depends on the inputs alone, so a replay finds the same at the same moment.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hashbrown::HashSet;

use crate::base::{FrameId, KTime, Nanos, ProcId, TaskId};
use crate::model::{GroupKey, Model, Process};
use crate::stream::{Command, Input, SnapshotWhy};

use super::advice::advice;
use super::idle::{IdleCount, IdleMatcher};
use super::left::{AtEnd, LeftBehind, left_behind};
use super::{
    Blocked, Check, Confidence, Crowd, Deadlock, Detector, Finding, FindingKind, Growth, Hog, Leak,
    Locks, LostWakeup, Pool, Settings, Standstill, Starved, Stuck, Verdicts,
};

/// A process is checked at least this often, by ticks.
const CHECK_EVERY: Nanos = Nanos::from_secs(1);
/// A finding that is no longer found is resolved after this: one that flickers stays open.
const RESOLVE_AFTER: Nanos = Nanos::from_secs(2);
/// A place keeps the kind that says most for so long after its detector fell silent: what is found
/// only by a look is not found between two of them.
const KEEP_KIND: Nanos = Nanos::from_secs(10);
/// A finding that grew this many times is told again.
const GROWTH: u64 = 2;
/// Most findings open in one process; the surest and largest come first.
const MAX_OPEN: usize = 1024;

/// News about a finding.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Found.
    Opened(Box<Finding>),
    /// Twice as many tasks as last told, surer, or of a kind that says more.
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
    /// Of those told, the kind that says most.
    told_kind: FindingKind,
    /// Since when only kinds were found that say less.
    says_less_since: Option<KTime>,
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
    /// All detectors, with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            model: Model::new(),
            settings,
            // Who says all there is of a task comes first.
            detectors: vec![
                Box::new(Deadlock::default()),
                Box::new(LostWakeup::default()),
                Box::new(Standstill),
                Box::new(Pool),
                Box::new(Blocked),
                Box::new(Leak),
                Box::new(Growth::default()),
                Box::new(Crowd::default()),
                Box::new(Locks::default()),
                Box::new(Stuck::default()),
                Box::new(Starved),
                Box::new(Hog::default()),
            ],
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
            Some(p) => {
                self.idle.count(self.model.names(), p, &self.settings);
                self.idle.census(self.model.names(), p, &self.settings)
            }
            None => Vec::new(),
        }
    }

    /// What is left behind by a program that is held at its end; not kept among its findings.
    pub fn left_behind(&mut self, process: ProcId, end: &AtEnd) -> LeftBehind {
        let Self { model, settings, idle, .. } = self;
        let Some(process) = model.process(process) else { return LeftBehind::default() };
        let now = model.now();
        let none = HashSet::new();
        let mut left =
            left_behind(&mut Check { model, process, settings, idle, now, spoken_for: &none }, end);
        left.findings.retain(|f| f.confidence >= settings.least_confidence);
        for finding in &mut left.findings {
            finding.advice = advice(model.names(), process, &settings.patterns, finding);
        }
        left
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

    /// Forgets a process that ended and has been summed up altogether.
    pub fn forget_all(&mut self, process: ProcId) {
        self.forget(process);
        self.model.remove(process);
        for detector in &mut self.detectors {
            detector.forget(process);
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
        let mut all_spoken_for: HashSet<TaskId> = HashSet::new();
        idle.count(model.names(), process, settings);
        let stands_still = stands_still(process, settings, now);
        for detector in
            detectors.iter_mut().filter(|d| !stands_still || d.sees_through_standstill())
        {
            let spoken_for = &all_spoken_for;
            let mut check = Check { model, process, settings, idle, now, spoken_for };
            let said = detector.check(&mut check);
            all_spoken_for.extend(said.spoken_for);
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
        // Nobody knows whether a task went on while something lost is not healed; and in a process
        // that stands still none did.
        let unsure = process.is_in_doubt() || stands_still;
        let mut findings = one_for_each_place(all.findings);
        for finding in findings.values_mut() {
            finding.advice = advice(model.names(), process, &settings.patterns, finding);
        }
        track.update(findings, unsure, settings.least_confidence, now, changes);
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

/// Whether a process stands still as a whole, or has gone on too recently for a wait to say
/// anything: what began before the standstill lasted because of it.
fn stands_still(process: &Process, settings: &Settings, now: KTime) -> bool {
    let history = process.history();
    let is_fresh = |since: KTime| now.since(since) < settings.stuck_after;
    history.stopped().is_some() || history.went_on_at().is_some_and(is_fresh)
}

/// Surest first, then largest; the rest makes it one order for all runs.
fn order(f: &Finding) -> (Reverse<(Confidence, u64)>, &str, FrameId, FrameId) {
    (Reverse((f.confidence, f.count)), &f.id, f.key.spawn_site, f.key.wait_site)
}

/// Which kind says most of a place: what cannot end, what did not end, what gets more, what is
/// many, what is long.
const fn rank(kind: FindingKind) -> u8 {
    match kind {
        FindingKind::Deadlock => 10,
        FindingKind::LostWakeup => 9,
        FindingKind::BlockedForEver => 8,
        FindingKind::PoolBlocked => 7,
        FindingKind::LockHeld => 6,
        FindingKind::Leak => 5,
        FindingKind::Growth => 4,
        FindingKind::Crowd => 3,
        FindingKind::Stuck => 2,
        FindingKind::Starved => 1,
        FindingKind::Hog => 0,
    }
}

/// One finding for each place, by id: see [`merged`].
fn one_for_each_place(findings: Vec<Finding>) -> BTreeMap<Box<str>, Finding> {
    let mut by_place: hashbrown::HashMap<(Box<str>, GroupKey), Vec<Finding>> =
        hashbrown::HashMap::new();
    for finding in findings {
        by_place.entry((finding.id.clone(), finding.key)).or_default().push(finding);
    }
    let mut found: Vec<Finding> = by_place.into_values().filter_map(merged).collect();
    found.sort_by(|a, b| order(a).cmp(&order(b)));
    found.truncate(MAX_OPEN);
    let mut by_id = BTreeMap::new();
    for finding in found {
        // Two places of one name have one id: the larger stands for both.
        by_id.entry(finding.id.clone()).or_insert(finding);
    }
    by_id
}

/// What several detectors say of one place: the surest of them is heard, of those as sure the one
/// that says most; with the most tasks that one as sure speaks of, so that the count does not fall
/// when the kind changes; and the reasons of all that are as sure, each once.
fn merged(mut said: Vec<Finding>) -> Option<Finding> {
    said.sort_by_key(|f| Reverse((f.confidence, rank(f.kind))));
    let mut said = said.into_iter();
    let mut first = said.next()?;
    for other in said {
        first.climb = first.climb.or(other.climb);
        let as_sure = other.confidence == first.confidence;
        if as_sure && other.count > first.count {
            speak_of(&mut first, &other);
        }
        for reason in other.reasons.into_iter().filter(|_| as_sure) {
            if first.reasons.iter().all(|r| !alike(r, &reason)) {
                first.reasons.push(reason);
            }
        }
    }
    Some(first)
}

/// Makes `finding` speak of the tasks of another one of the same place.
fn speak_of(finding: &mut Finding, other: &Finding) {
    finding.tasks.clone_from(&other.tasks);
    finding.count = other.count;
    finding.oldest_wait = other.oldest_wait;
    finding.youngest_wait = other.youngest_wait;
    finding.objects.clone_from(&other.objects);
    finding.object_count = other.object_count;
    finding.unchanged_looks = other.unchanged_looks;
    finding.stack_bytes = other.stack_bytes;
    finding.labels.clone_from(&other.labels);
}

/// Whether two reasons say the same but for their numbers.
fn alike(a: &str, b: &str) -> bool {
    let words = |text: &'_ str| -> String {
        text.split(';').next().unwrap_or(text).chars().filter(|c| !c.is_ascii_digit()).collect()
    };
    words(a) == words(b)
}

impl Track {
    fn update(
        &mut self,
        mut found: BTreeMap<Box<str>, Finding>,
        unsure: bool,
        least: Confidence,
        now: KTime,
        changes: &mut Vec<Change>,
    ) {
        let mut gone = Vec::new();
        for (id, open) in &mut self.open {
            match found.remove(id) {
                Some(finding) => open.extends(finding, changes),
                None => {
                    let since = *open.missing_since.get_or_insert(now);
                    if now.since(since) >= RESOLVE_AFTER && !unsure {
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
                self.start(finding, changes);
            }
        }
    }

    fn start(&mut self, finding: Finding, changes: &mut Vec<Change>) {
        self.opened += 1;
        let open = Open {
            told_count: finding.count,
            told_confidence: finding.confidence,
            told_kind: finding.kind,
            says_less_since: None,
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
        let kind = self.finding.kind;
        let surer = finding.confidence > self.finding.confidence;
        if surer || rank(finding.kind) >= rank(kind) {
            self.says_less_since = None;
        } else if finding.at.since(*self.says_less_since.get_or_insert(finding.at)) < KEEP_KIND {
            finding.kind = kind;
        } else {
            self.says_less_since = None;
        }
        let says_more = rank(finding.kind) > rank(self.told_kind);
        let grown = finding.count >= self.told_count.saturating_mul(GROWTH);
        if grown || says_more || finding.confidence > self.told_confidence {
            // A kind that says more may be sure of fewer at first: no reason to tell each of them.
            self.told_count = self.told_count.max(finding.count);
            self.told_confidence = finding.confidence;
            if says_more {
                self.told_kind = finding.kind;
            }
            changes.push(Change::Grown(Box::new(finding.clone())));
        }
        self.finding = finding;
    }
}
