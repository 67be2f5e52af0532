//! The first reading: which sites and tasks matter most, and when the recording begins and ends. Bounded by the
//! number of spawn sites. May use: view, base.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use crate::base::{Frame, KTime, ProcId, TaskId};
use crate::view::timeline::{Moment, Slice, TimelineSink};
use crate::view::{Names, WallTime};

use super::{MAX_SITES, MAX_TASKS, Place};

/// Most sites weighed; a program has fewer `go` statements.
const MAX_WEIGHED: usize = 1 << 16;

/// A site, as far as the first reading knows it.
struct Weighed {
    frame: Option<Arc<Frame>>,
    /// Time of all its tasks together, ns.
    time: u128,
    /// The tasks with the longest slices: how long, and who.
    longest: Vec<(u64, TaskId)>,
}

/// See the module.
#[derive(Default)]
pub struct Survey {
    sites: BTreeMap<Place, Weighed>,
    /// Where the tasks of findings were created.
    named_sites: HashSet<(ProcId, Arc<Frame>)>,
    pub(super) named: HashSet<(ProcId, u64)>,
    pub(super) from: Option<KTime>,
    pub(super) wall: Option<WallTime>,
    pub(super) until: KTime,
}

/// A site that is shown.
pub(super) struct Chosen {
    pub place: Place,
    pub frame: Option<Arc<Frame>>,
    pub named: bool,
    pub tasks: Vec<TaskId>,
}

impl Survey {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sites that are shown, most important first, and how many are not.
    pub(super) fn choose(&mut self) -> (Vec<Chosen>, usize) {
        let sites = std::mem::take(&mut self.sites);
        let all = sites.len();
        let mut weighed: Vec<(bool, Place, Weighed)> = sites
            .into_iter()
            .map(|(place, site)| (self.is_named(place, &site), place, site))
            .collect();
        let runtime = |place: &Place| matches!(place, Place::Runtime(_));
        weighed.sort_by_key(|(named, place, site)| {
            (runtime(place), !*named, std::cmp::Reverse(site.time), *place)
        });
        weighed.truncate(MAX_SITES);
        let left_out = all - weighed.len();
        let chosen = weighed.into_iter().map(|(named, place, site)| {
            let tasks = site.longest.into_iter().map(|(_, task)| task).collect();
            Chosen { place, frame: site.frame, named, tasks }
        });
        (chosen.collect(), left_out)
    }

    fn is_named(&self, place: Place, site: &Weighed) -> bool {
        match (place, &site.frame) {
            (Place::Site(process, _), Some(frame)) => {
                self.named_sites.contains(&(process, frame.clone()))
            }
            _ => false,
        }
    }

    fn slice(&mut self, slice: &Slice, names: &Names) {
        self.until = self.until.max(slice.until);
        let place = Place::of(slice.process, slice.origin);
        if self.sites.len() >= MAX_WEIGHED && !self.sites.contains_key(&place) {
            return;
        }
        let site = self.sites.entry(place).or_insert_with(|| Weighed {
            frame: match place {
                Place::Site(_, site) => names.frame(site).cloned(),
                Place::Runtime(_) => None,
            },
            time: 0,
            longest: Vec::new(),
        });
        let length = slice.until.since(slice.since.max(self.from.unwrap_or_default())).0;
        site.time += u128::from(length);
        site.weigh(length, slice.task);
    }
}

impl Weighed {
    fn weigh(&mut self, length: u64, task: TaskId) {
        if let Some((longest, _)) = self.longest.iter_mut().find(|(_, t)| *t == task) {
            *longest = length.max(*longest);
        } else if self.longest.len() < MAX_TASKS {
            self.longest.push((length, task));
        } else if let Some(least) = self.longest.iter_mut().min()
            && least.0 < length
        {
            *least = (length, task);
        }
    }
}

impl TimelineSink for Survey {
    fn moment(&mut self, moment: &Moment<'_>, names: &Names) -> io::Result<()> {
        let at = match moment {
            Moment::Process { at, wall, .. } => {
                if self.from.is_none() {
                    (self.from, self.wall) = (Some(*at), *wall);
                }
                *at
            }
            Moment::Slice(slice) => {
                self.slice(slice, names);
                slice.until
            }
            Moment::Finding { process, at, finding, .. } => {
                self.named_sites.extend(finding.spawn_site.clone().map(|f| (*process, f)));
                self.named.extend(finding.tasks.iter().map(|&task| (*process, task)));
                *at
            }
            Moment::Counts(counts) => counts.at,
            Moment::Memory { at, .. } | Moment::Mode { at, .. } | Moment::ProcessEnd { at, .. } => {
                *at
            }
            Moment::Loss(loss) => loss.until,
            Moment::Wake(_) | Moment::Phase(_) => return Ok(()),
        };
        self.until = self.until.max(at);
        Ok(())
    }
}
