//! From the tasks a detector picked out of a group to the facts of a finding.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{Nanos, StackId, TaskId};
use crate::model::{Exactness, GroupKey, Task, Wait, Waited};
use crate::stream::{ChannelState, LockKind, WaitsOn};

use super::identity::finding_id;
use super::{
    Ancestor, Check, Confidence, Finding, FindingKind, LabelCount, LastWaker, MAX_FINDING_LABELS,
    MAX_FINDING_OBJECTS, MAX_FINDING_TASKS, SiteFate,
};

/// Most ancestors a finding names; programs nest a few deep, and a loop of numbers must end.
const MAX_ANCESTORS: usize = 8;
/// Births and deaths of a spawn site are told once they have come for so long: of moments alone they say little.
const FOLLOWED: Nanos = Nanos::from_secs(1);

/// A task picked, with its wait.
pub(super) type Picked<'a> = (&'a Task, Wait);

/// The facts about the tasks picked; None if there are none.
pub(super) fn gather(
    check: &Check<'_>,
    kind: FindingKind,
    key: GroupKey,
    mut picked: Vec<Picked<'_>>,
) -> Option<Finding> {
    let by_age = |a: &Picked<'_>, b: &Picked<'_>| (a.1.since, a.0.id()).cmp(&(b.1.since, b.0.id()));
    if picked.len() > MAX_FINDING_TASKS {
        picked.select_nth_unstable_by(MAX_FINDING_TASKS - 1, by_age);
    }
    let listed = picked.len().min(MAX_FINDING_TASKS);
    picked.get_mut(..listed)?.sort_unstable_by(by_age);
    let youngest = picked.iter().map(|p| p.1).max_by_key(|w| (w.since, w.exactness))?;
    let (objects, object_count) = objects(&picked);
    Some(Finding {
        id: finding_id(check.model, check.process, kind, key),
        kind,
        confidence: Confidence::Suspect,
        reasons: Vec::new(),
        process: check.process.id(),
        key,
        tasks: picked.iter().take(MAX_FINDING_TASKS).map(|p| p.0.id()).collect(),
        count: picked.len() as u64,
        oldest_wait: longest(&picked),
        youngest_wait: youngest.waited(),
        objects,
        object_count,
        last_waker: last_waker(check, &picked),
        site: site_fate(check, key),
        ancestors: ancestors(check, &picked),
        climb: None,
        cycle: Vec::new(),
        bystanders: Vec::new(),
        bystander_count: 0,
        unchanged_looks: picked.iter().map(|p| p.0.still_looks()).min().unwrap_or(0),
        stack_bytes: picked.iter().map(|p| p.0.stack_bytes()).fold(0, u64::saturating_add),
        stack: most_frequent_stack(&picked),
        labels: labels(&picked),
        advice: None,
        first_seen: check.now,
        at: check.now,
    })
}

/// The longest wait. While one start is not known, any of them may have waited longer than the
/// longest that is known.
fn longest(picked: &[Picked<'_>]) -> Waited {
    let known = picked.iter().map(|p| p.1.length()).max().unwrap_or_default();
    if picked.iter().all(|p| p.1.exactness == Exactness::Exact) {
        Waited::Exact(known)
    } else {
        Waited::AtLeast(known)
    }
}

/// The identity of an object, whatever its content at the moment.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum ObjectKey {
    Channel(u64),
    Channels(Box<[u64]>),
    Lock(u64),
    /// An epoll, or the first of the files.
    Files(u32, u32),
}

fn object_key(on: &WaitsOn) -> Option<ObjectKey> {
    match on {
        WaitsOn::Unknown | WaitsOn::Timer { .. } => None,
        WaitsOn::Lock { address, .. } => Some(ObjectKey::Lock(*address)),
        WaitsOn::Futex(futex) => Some(ObjectKey::Lock(futex.object)),
        WaitsOn::Files(set) => Some(ObjectKey::Files(
            set.epoll.unwrap_or(u32::MAX),
            set.files.first().map_or(u32::MAX, |f| f.fd),
        )),
        WaitsOn::Channels(list) => match **list {
            [] => None,
            [ChannelState { address, .. }] => Some(ObjectKey::Channel(address)),
            _ => Some(ObjectKey::Channels(list.iter().map(|c| c.address).collect())),
        },
    }
}

fn objects(picked: &[Picked<'_>]) -> (Vec<(WaitsOn, u64)>, u64) {
    let mut counted: HashMap<ObjectKey, (WaitsOn, u64), RandomState> = HashMap::default();
    for (task, _) in picked {
        let on = task.waits_on();
        if let Some(key) = object_key(&on) {
            counted.entry(key).or_insert((on, 0)).1 += 1;
        }
    }
    let distinct = counted.len() as u64;
    let mut all: Vec<(ObjectKey, (WaitsOn, u64))> = counted.into_iter().collect();
    all.sort_unstable_by(|a, b| b.1.1.cmp(&a.1.1).then_with(|| a.0.cmp(&b.0)));
    (all.into_iter().take(MAX_FINDING_OBJECTS).map(|(_, object)| object).collect(), distinct)
}

fn site_fate(check: &Check<'_>, key: GroupKey) -> Option<SiteFate> {
    let site = check.process.spawn_site(key.spawn_site)?;
    (check.process.followed_for(check.now) >= FOLLOWED).then(|| SiteFate {
        births: site.births,
        deaths: site.deaths,
        alive: site.alive,
        median_life: site.lifetimes.at_most(50),
        p99_life: site.lifetimes.at_most(99),
        outlived: None,
    })
}

/// The parent most of them have, and from there upwards. What has ended is known by where it was
/// created only if one of its children remembers.
fn ancestors(check: &Check<'_>, picked: &[Picked<'_>]) -> Vec<Ancestor> {
    let mut counted: BTreeMap<TaskId, (u64, &Task)> = BTreeMap::new();
    for (task, _) in picked {
        if let Some(parent) = task.parent() {
            counted.entry(parent).or_insert((0, task)).0 += 1;
        }
    }
    let most = counted.iter().max_by_key(|&(&id, &(n, _))| (n, std::cmp::Reverse(id)));
    let mut next = most.map(|(&id, &(_, child))| (id, child));
    let mut all: Vec<Ancestor> = Vec::new();
    while let Some((id, child)) = next
        && all.len() < MAX_ANCESTORS
        && all.iter().all(|a| a.task != id)
    {
        let task = check.process.task(id);
        let spawn_site = task.map_or(child.parent_spawn_site(), Task::spawn_site);
        all.push(Ancestor { task: id, spawn_site, alive: task.is_some() });
        next = task.and_then(|t| Some((t.parent()?, t)));
    }
    all
}

/// The labels most of them have.
fn labels(picked: &[Picked<'_>]) -> Vec<LabelCount> {
    let mut counted: HashMap<(&str, &str), u64, RandomState> = HashMap::default();
    for (key, value) in picked.iter().flat_map(|(task, _)| task.labels()) {
        *counted.entry((key, value)).or_default() += 1;
    }
    let mut all: Vec<((&str, &str), u64)> = counted.into_iter().collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all.into_iter()
        .take(MAX_FINDING_LABELS)
        .map(|((key, value), tasks)| LabelCount { key: key.into(), value: value.into(), tasks })
        .collect()
}

fn last_waker(check: &Check<'_>, picked: &[Picked<'_>]) -> Option<LastWaker> {
    let mut counted: BTreeMap<TaskId, u64> = BTreeMap::new();
    for waker in picked.iter().filter_map(|(task, _)| task.last_waker()) {
        *counted.entry(waker).or_default() += 1;
    }
    let (&task, _) = counted.iter().max_by_key(|&(&task, &n)| (n, std::cmp::Reverse(task)))?;
    Some(LastWaker { task, alive: check.process.task(task).is_some() })
}

fn most_frequent_stack(picked: &[Picked<'_>]) -> StackId {
    let mut counted: BTreeMap<StackId, u64> = BTreeMap::new();
    for stack in picked.iter().map(|(task, _)| task.stack()).filter(|&s| s != StackId::EMPTY) {
        *counted.entry(stack).or_default() += 1;
    }
    counted
        .iter()
        .max_by_key(|&(&stack, &n)| (n, std::cmp::Reverse(stack)))
        .map_or(StackId::EMPTY, |(&stack, _)| stack)
}

/// What a finding's tasks wait on, in words; None if it is not known.
pub(super) fn objects_in_words(finding: &Finding) -> Option<String> {
    let (on, waiters) = finding.objects.first()?;
    let name = match on {
        WaitsOn::Lock { kind, address, held } => {
            let held = held.map(|held| held_in_words(*kind, held)).unwrap_or_default();
            format!("{} at {address:#x}{held}", lock_word(*kind))
        }
        WaitsOn::Channels(list) => match **list {
            [ChannelState { address: 0, .. }] => "a nil channel".into(),
            [c] => channel_in_words(&c),
            _ => format!("the same {} channels", list.len()),
        },
        WaitsOn::Futex(futex) => futex.words(),
        WaitsOn::Files(files) => files.words(),
        WaitsOn::Unknown | WaitsOn::Timer { .. } => return None,
    };
    let count = finding.count;
    Some(match finding.object_count {
        1 if *waiters == count && count > 1 => format!("all {count} wait on one object: {name}"),
        1 if *waiters == count => format!("it waits on {name}"),
        1 => format!("{waiters} of {count} wait on one object: {name}"),
        n => format!("they wait on {n} objects; the most, {waiters} of {count}, on {name}"),
    })
}

fn channel_in_words(c: &ChannelState) -> String {
    let closed = if c.closed { ", closed" } else { "" };
    match c.capacity {
        0 => format!("an unbuffered channel at {:#x}{closed}", c.address),
        n => format!("a channel at {:#x} that holds {} of {n}{closed}", c.address, c.length),
    }
}

/// The name of a sort of lock.
const fn lock_word(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Mutex => "a mutex",
        LockKind::RwRead => "a read-write lock, to read,",
        LockKind::RwWrite => "a read-write lock, to write,",
        LockKind::WaitGroup => "a wait group",
        LockKind::Cond => "a condition variable",
        LockKind::Semaphore => "a semaphore",
    }
}

/// What a lock's own words say, to be put after its address.
fn held_in_words(kind: LockKind, held: u32) -> String {
    match (kind, held) {
        (LockKind::Mutex, 0) => ", not locked when looked at".into(),
        (LockKind::Mutex, _) => ", locked".into(),
        (LockKind::RwRead, 0) => ", without a writer when looked at".into(),
        (LockKind::RwRead, _) => ", which a writer has or waits for".into(),
        (LockKind::RwWrite, 0) => ", which no reader held when looked at".into(),
        (LockKind::RwWrite, n) => format!(", which {n} of its readers have not given back"),
        (LockKind::WaitGroup, n) => format!(", which lacks {n} calls of Done"),
        (LockKind::Cond | LockKind::Semaphore, _) => String::new(),
    }
}
