//! Populations that climb while none of their old members goes on. Needs no events: looks tell who
//! is new and who has not run.
//!
//! There are two of them. At a place: tasks that stand, newly created ones joining all the time,
//! and none that has stood there for long going on. Of a spawn site: tasks that run now and then, as
//! one that ranges over a ticker does, but of which none ends. What fills up at the start and stays has
//! no new members; what comes and goes with the load has old ones that go.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::base::{FrameId, KTime, Nanos, ProcId, TaskState, WaitClass};
use crate::model::{Exactness, Group, GroupKey, OLD, Recent, Wait};

use super::evidence::{how_known, lower, waits_by_nature};
use super::gather::{Picked, gather, objects_in_words};
use super::leak::counts;
use super::{
    Check, Climb, Confidence, Detector, Finding, FindingKind, MemoryClimb, Settings, Verdicts,
};

/// The time looked at is cut into so many parts ...
const PARTS: usize = 6;
/// ... and new members in so many of them are a climb, not a burst ...
const CLIMBING: usize = 4;
/// ... in so many a steady one.
const STEADY: usize = 5;
/// A climb that is to be more than suspect has this many times as many new members.
const STRONG: usize = 2;
/// One old member in so many new ones may go on.
const RARELY: u64 = 20;
/// Input comes when the other side sends: so many times as much is asked of those that wait for it.
const READERS: usize = 2;
/// From a minute this leads beyond a year.
const MAX_DOUBLINGS: u32 = 20;
/// Memory that lasts longer than this at the present rate is no concern.
const FAR_OFF: f64 = 30.0 * 86_400.0;

/// Finds growth.
#[derive(Debug, Default)]
pub struct Growth {
    /// Where the tasks of a climbing spawn site wait, for the time between two looks in which
    /// that is not known. Only sites found are kept.
    places: HashMap<(ProcId, FrameId), GroupKey, RandomState>,
}

/// New members over a time.
#[derive(Clone, Copy, Debug)]
struct Arrivals {
    count: usize,
    over: Nanos,
    steady: bool,
    left: u64,
}

impl Detector for Growth {
    fn check(&mut self, check: &mut Check<'_>) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let process = check.process;
        let Some(from) = process.first_look() else { return verdicts };
        // Who was left out for want of room may turn up later and is not new then.
        let left_out = process.counts().not_followed > 0;
        if left_out || check.now.since(from) < shortest(check.settings) {
            return verdicts;
        }
        let mut told: HashSet<FrameId, RandomState> = HashSet::default();
        for group in process.groups() {
            let key = group.key();
            let placed = key.state == TaskState::Waiting && key.wait_site != FrameId::UNKNOWN;
            if let (true, true, Some(class)) = (
                placed,
                group.len() >= check.settings.growth_at_least,
                check.class(key).filter(|&c| counts(c)),
            ) && let Some(finding) = at_place(check, group, class, from)
            {
                told.insert(key.spawn_site);
                verdicts.findings.push(finding);
            }
        }
        self.of_sites(check, from, &told, &mut verdicts);
        verdicts
    }
}

/// The shortest time over which a climb is looked for.
fn shortest(settings: &Settings) -> Nanos {
    Nanos((settings.growth_after.0 / 2).max(OLD.0 * 2))
}

/// The longest time up to now over which tasks that came to be at these moments climb steadily;
/// if there is none, over which they climb at all.
fn climb(check: &Check<'_>, from: KTime, births: &[KTime], gone: &Recent) -> Option<Arrivals> {
    let mut best: Option<Arrivals> = None;
    for doublings in 0..MAX_DOUBLINGS {
        let over = Nanos(shortest(check.settings).0.saturating_mul(1 << doublings));
        let begin = KTime(check.now.0.saturating_sub(over.0));
        if begin < from {
            break;
        }
        if let Some(found) = arrivals(check, begin, births, gone)
            && (found.steady || best.is_none_or(|b| !b.steady))
        {
            best = Some(found);
        }
    }
    best
}

fn arrivals(check: &Check<'_>, begin: KTime, births: &[KTime], gone: &Recent) -> Option<Arrivals> {
    let over = check.now.since(begin);
    // Who came just now may be on the way out.
    let counted = over.0.checked_sub(OLD.0).filter(|&n| n > 0)?;
    let mut parts = [0usize; PARTS];
    for birth in births.iter().filter(|&&b| b > begin) {
        let part = u128::from(birth.since(begin).0) * PARTS as u128 / u128::from(counted);
        if let Some(n) = usize::try_from(part).ok().and_then(|p| parts.get_mut(p)) {
            *n += 1;
        }
    }
    let count: usize = parts.iter().sum();
    let filled = parts.iter().filter(|&&n| n > 0).count();
    let goes_on = parts.iter().rev().take(2).any(|&n| n > 0);
    let left = gone.after(begin);
    let climbs = count >= check.settings.growth_at_least
        && filled >= CLIMBING
        && goes_on
        && left < Recent::MANY
        && left.saturating_mul(RARELY) <= count as u64;
    let least = check.settings.growth_at_least * STRONG;
    let steady = filled >= STEADY && count >= least && over >= check.settings.growth_after;
    climbs.then_some(Arrivals { count, over, steady, left })
}

/// Growth of those that stand at a place.
fn at_place(
    check: &mut Check<'_>,
    group: &Group,
    class: WaitClass,
    from: KTime,
) -> Option<Finding> {
    let process = check.process;
    let mut picked: Vec<Picked<'_>> = Vec::new();
    for task in process.members(group) {
        if !process.is_doubtful(task)
            && !waits_by_nature(check, task, class)
            && let Some(wait) = process.wait(task, check.now)
            && wait.length() >= OLD
        {
            picked.push((task, wait));
        }
    }
    let births: Vec<KTime> = picked.iter().map(|(task, _)| task.known_since()).collect();
    let gone = process.ended_waits(group.key()).map_or_else(Recent::default, |w| *w.old());
    let found = climb(check, from, &births, &gone)?;
    let settings = check.settings;
    let (least, after) = if class == WaitClass::Io {
        (settings.growth_at_least * STRONG * READERS, settings.growth_after.0 * READERS as u64)
    } else {
        (0, 0)
    };
    let sure = found.steady && found.count >= least && found.over.0 >= after;
    let mut finding = gather(check, FindingKind::Growth, group.key(), picked)?;
    let stayed = match found.left {
        0 => "none of those that stood here for long went on".to_owned(),
        n => format!("only {n} of those that stood here for long went on"),
    };
    finding.reasons.push(format!(
        "{} new ones in the last {}, all the time and not at once; {stayed}",
        found.count, found.over
    ));
    if class == WaitClass::Io {
        finding.reasons.push("how long input takes is up to the other side".into());
    }
    Some(judge(check, finding, found, sure))
}

fn judge(check: &Check<'_>, mut finding: Finding, found: Arrivals, sure: bool) -> Finding {
    finding.confidence = if sure { Confidence::Likely } else { Confidence::Suspect };
    if !sure {
        finding.reasons.push("only suspect: so far a slow ramp of load looks the same".into());
    }
    let begin = KTime(check.now.0.saturating_sub(found.over.0));
    let memory = memory_climb(check, begin);
    let counted = found.over.as_secs_f64() - OLD.as_secs_f64();
    let per_minute = found.count as f64 * 60.0 / counted.max(1.0);
    finding.climb = Some(Climb { tasks_per_minute: per_minute, over: found.over, memory });
    finding.reasons.push(format!("{per_minute:.1} more each minute"));
    finding.reasons.extend(memory.and_then(memory_in_words));
    finding.reasons.extend(objects_in_words(&finding));
    let marks = finding.unchanged_looks;
    how_known(&mut finding, marks);
    lower(check, &mut finding);
    finding
}

fn memory_climb(check: &Check<'_>, begin: KTime) -> Option<MemoryClimb> {
    let memory = check.process.memory()?;
    let slope = check.process.memory_slope(begin).filter(|&s| s > 0.0)?;
    let left =
        memory.limit_bytes.map(|limit| limit.saturating_sub(memory.rss_bytes) as f64 / slope);
    Some(MemoryClimb {
        rss_bytes: memory.rss_bytes,
        bytes_per_minute: slope * 60.0,
        limit_bytes: memory.limit_bytes,
        limit_in: left.filter(|&s| s < FAR_OFF).map(|s| Nanos::from_secs(s as u64)),
    })
}

fn memory_in_words(memory: MemoryClimb) -> Option<String> {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let rate = mib(memory.bytes_per_minute);
    let (limit, ends) = (memory.limit_bytes?, memory.limit_in?);
    Some(format!(
        "resident memory is {:.0} MiB and climbs by {rate:.1} MiB a minute: at this rate the limit of {:.0} MiB is reached in about {ends}",
        mib(memory.rss_bytes as f64),
        mib(limit as f64),
    ))
}

impl Growth {
    /// Growth of spawn sites whose tasks run but do not end.
    fn of_sites(
        &mut self,
        check: &mut Check<'_>,
        from: KTime,
        told: &HashSet<FrameId, RandomState>,
        verdicts: &mut Verdicts,
    ) {
        let process = check.process;
        let recently = KTime(check.now.0.saturating_sub(shortest(check.settings).0));
        let mut births: HashMap<FrameId, Vec<KTime>, RandomState> = process
            .spawn_sites()
            .filter(|(id, site)| {
                *id != FrameId::UNKNOWN
                    && !told.contains(id)
                    && site.alive >= check.settings.growth_at_least as u64
                    && site.births + site.appeared > 0
                    && site.ends.after(recently) < Recent::MANY
            })
            .map(|(id, _)| (id, Vec::new()))
            .collect();
        for task in process.tasks() {
            if let Some(list) = births.get_mut(&task.spawn_site())
                && check.now.since(task.known_since()) >= OLD
            {
                list.push(task.known_since());
            }
        }
        let mut found: Vec<(FrameId, Arrivals)> = births
            .into_iter()
            .filter_map(|(id, births)| {
                let gone = process.spawn_site(id)?.ends;
                Some((id, climb(check, from, &births, &gone)?))
            })
            .collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        self.places.retain(|(whose, id), _| {
            *whose != process.id() || found.iter().any(|(found, _)| found == id)
        });
        for (id, arrivals) in found {
            verdicts.findings.extend(self.of_site(check, id, arrivals));
        }
    }

    fn of_site(&mut self, check: &mut Check<'_>, id: FrameId, found: Arrivals) -> Option<Finding> {
        let process = check.process;
        let key = self.place(check, id)?;
        let mut picked: Vec<Picked<'_>> = Vec::new();
        for task in process.tasks().iter().filter(|t| t.spawn_site() == id) {
            let class = check.model.names().class(task.reason());
            if task.is_system()
                || process.is_doubtful(task)
                || class.is_some_and(|class| waits_by_nature(check, task, class))
            {
                continue;
            }
            picked
                .push((task, process.wait(task, check.now).unwrap_or_else(|| no_wait(check.now))));
        }
        if picked.len() < found.count {
            return None;
        }
        // All of the time but its beginning: the first look may come before the probes.
        let events = process.followed_for(check.now).0 >= found.over.0 / 10 * 9;
        let least = check.settings.growth_at_least * STRONG * READERS;
        let sure = found.steady && events && found.left == 0 && found.count >= least;
        let busy = picked.iter().filter(|(_, wait)| wait.length() < OLD).count();
        let mut finding = gather(check, FindingKind::Growth, key, picked)?;
        let ended = match found.left {
            0 => "none ended".to_owned(),
            n => format!("only {n} ended"),
        };
        finding.reasons.push(format!(
            "{} new ones from this spawn site in the last {}, all the time and not at once, and {ended}; {busy} of {} ran in the last {OLD}",
            found.count, found.over, finding.count
        ));
        Some(judge(check, finding, found, sure))
    }

    /// Where most tasks of a spawn site wait.
    fn place(&mut self, check: &Check<'_>, id: FrameId) -> Option<GroupKey> {
        let groups = check.process.groups().filter(|g| {
            let key = g.key();
            key.spawn_site == id && key.wait_site != FrameId::UNKNOWN
        });
        let now = groups.max_by_key(|g| (g.len(), g.key().wait_site)).map(Group::key);
        match self.places.get(&(check.process.id(), id)) {
            Some(&known) => Some(known),
            None => now.inspect(|&key| {
                self.places.insert((check.process.id(), id), key);
            }),
        }
    }
}

/// Stands for the wait of a task that does not wait.
fn no_wait(now: KTime) -> Wait {
    Wait { since: now, until: now, exactness: Exactness::AtLeast }
}
