//! Tasks that wait by nature: named, counted, never flagged. The table comes from outside.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::base::{FrameId, FunctionAt, IdlePattern, Numbers, Peers, Place, StackId, WaitClass};
use crate::model::{Group, Names, Origin, Process, Task};
use crate::stream::WaitsOn;

use super::Settings;

/// Shapes remembered; beyond, all are matched afresh.
const MAX_SHAPES: usize = 1 << 17;

/// All that decides which pattern a task matches.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    stack: StackId,
    wait_site: FrameId,
    start: FrameId,
    spawn_site: FrameId,
    class: Option<WaitClass>,
    /// Whether it waits for other sides alone.
    for_peers: bool,
}

/// How many tasks wait by nature, and why that is normal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdleCount {
    /// The pattern's name.
    pub name: String,
    /// Why it is normal.
    pub why: String,
    /// How many tasks.
    pub count: u64,
}

/// Matches tasks against a table of patterns; the first that fits counts.
#[derive(Default)]
pub struct IdleMatcher {
    known: HashMap<Shape, Option<u16>, RandomState>,
    /// Patterns that too many tasks of the process fit for it to be normal.
    crowded: HashSet<usize, RandomState>,
}

impl IdleMatcher {
    /// Takes note of the shapes that this process has more of than the few that are normal; before
    /// its tasks are matched. Members of a group are alike: one stands for all.
    pub fn count(&mut self, names: &Names, process: &Process, settings: &Settings) {
        self.crowded.clear();
        let table = &settings.idle;
        for group in process.groups().filter(|g| g.len() > settings.few_at_most) {
            let class = names.class(group.key().reason);
            let Some(task) = process.members(group).next() else { continue };
            if let Some(index) = self.match_of(names, table, task, class)
                && table.get(index).is_some_and(|p| p.numbers == Numbers::Few)
            {
                self.crowded.insert(index);
            }
        }
    }

    /// The pattern a task matches, by its index in the table.
    pub fn find(
        &mut self,
        names: &Names,
        table: &[IdlePattern],
        task: &Task,
        class: Option<WaitClass>,
    ) -> Option<usize> {
        self.match_of(names, table, task, class).filter(|index| !self.crowded.contains(index))
    }

    fn match_of(
        &mut self,
        names: &Names,
        table: &[IdlePattern],
        task: &Task,
        class: Option<WaitClass>,
    ) -> Option<usize> {
        let shape = Shape {
            stack: task.stack(),
            wait_site: task.wait_site(),
            start: task.start(),
            spawn_site: task.spawn_site(),
            class,
            for_peers: matches!(task.waits_on(), WaitsOn::Files(files) if files.is_peers_only()),
        };
        if let Some(&found) = self.known.get(&shape) {
            return found.map(usize::from);
        }
        let found = table.iter().position(|p| fits(p, names, &shape));
        if self.known.len() >= MAX_SHAPES {
            self.known.clear();
        }
        self.known.insert(shape, found.and_then(|i| u16::try_from(i).ok()));
        found
    }

    /// All tasks of a process that wait by nature, by pattern.
    pub fn census(
        &mut self,
        names: &Names,
        process: &Process,
        settings: &Settings,
    ) -> Vec<IdleCount> {
        let mut counts = vec![0u64; settings.idle.len()];
        let mut lone = 0;
        for group in process.groups() {
            let class = names.class(group.key().reason);
            let mut rest = 0;
            for task in process.members(group) {
                match self.find(names, &settings.idle, task, class) {
                    Some(i) => counts.iter_mut().skip(i).take(1).for_each(|n| *n += 1),
                    None => rest += 1,
                }
            }
            if class.is_some_and(waits_for_work) && is_lone(process, group, rest, settings) {
                lone += rest as u64;
            }
        }
        let named = settings.idle.iter().zip(counts).map(|(p, count)| IdleCount {
            name: p.name.to_string(),
            why: p.why.to_string(),
            count,
        });
        let lone = IdleCount {
            name: "background worker".into(),
            why: "few tasks of one spawn site wait for work here and none was created while watched; \
                  every program has such"
                .into(),
            count: lone,
        };
        let mut all: Vec<IdleCount> = Vec::new();
        for one in named.chain([lone]).filter(|i| i.count > 0) {
            match all.iter_mut().find(|i| (&i.name, &i.why) == (&one.name, &one.why)) {
                Some(same) => same.count = same.count.saturating_add(one.count),
                None => all.push(one),
            }
        }
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        all
    }
}

/// Whether a wait of this class is also the shape of a worker that has nothing to do.
pub(super) const fn waits_for_work(class: WaitClass) -> bool {
    match class {
        WaitClass::ChanReceive
        | WaitClass::Select
        | WaitClass::Group
        | WaitClass::Coroutine
        | WaitClass::Other => true,
        WaitClass::ChanSend
        | WaitClass::Never
        | WaitClass::Lock
        | WaitClass::Io
        | WaitClass::Sleep
        | WaitClass::Runtime => false,
    }
}

/// Whether a group is a few old workers; `count` of its tasks match no pattern.
pub(super) fn is_lone(process: &Process, group: &Group, count: usize, settings: &Settings) -> bool {
    let old = |t: &Task| matches!(t.origin(), Origin::Before | Origin::Event);
    count <= settings.lone_at_most && process.members(group).all(old)
}

fn fits(pattern: &IdlePattern, names: &Names, shape: &Shape) -> bool {
    let class_fits = pattern.classes.is_empty()
        || shape.class.is_some_and(|class| pattern.classes.contains(&class));
    let peers_fit = pattern.peers == Peers::Normal || !shape.for_peers;
    class_fits && peers_fit && pattern.functions.iter().all(|f| is_there(f, names, shape))
}

fn is_there(wanted: &FunctionAt, names: &Names, shape: &Shape) -> bool {
    let named = |id: FrameId| wanted.names(names.function(id));
    match wanted.place {
        Place::WaitSite => named(shape.wait_site),
        Place::Start => named(shape.start),
        Place::SpawnSite => named(shape.spawn_site),
        Place::Stack => names.stack(shape.stack).iter().any(|&f| named(f)),
    }
}
