//! Births and deaths of a process's tasks, told by events or found by looks, in whichever order
//! they come.

use crate::base::{FrameId, KTime, Nanos, TaskId};

use super::process::Process;
use super::task::{Origin, Task};
use super::tombs::{End, Tomb};

impl Process {
    pub(super) fn birth(
        &mut self,
        id: TaskId,
        parent: u64,
        spawn_site: FrameId,
        start: FrameId,
        at: KTime,
    ) {
        if let Some(tomb) = self.tombs.get_mut(id) {
            let before = *tomb;
            tomb.origin = Some(Origin::Born);
            return self.late_birth(before, spawn_site, at);
        }
        if let Some(slot) = self.tasks.find(id) {
            return self.birth_of_known(slot, parent, spawn_site, start, at);
        }
        self.counts.births += 1;
        self.sites.at(spawn_site).births += 1;
        let parent_slot = self.tasks.find(TaskId { kind: id.kind, number: parent });
        if let Some(parent) = parent_slot.and_then(|slot| self.tasks.get_mut(slot)) {
            parent.children = parent.children.saturating_add(1);
        }
        let mut task = Task::known(id, Origin::Born, at);
        task.on_birth(at);
        task.parent = parent;
        task.parent_site = self.site_of(id.kind, parent);
        task.spawn_site = spawn_site;
        task.start = start;
        self.add(task);
    }

    /// The birth of a task that an event or a look told of first.
    fn birth_of_known(
        &mut self,
        slot: u32,
        parent: u64,
        spawn_site: FrameId,
        start: FrameId,
        at: KTime,
    ) {
        let Some(task) = self.tasks.get_mut(slot) else { return };
        let origin = task.origin;
        if origin == Origin::Born {
            return;
        }
        task.on_birth(at);
        self.fill(slot, parent, spawn_site, start);
        let site = self.tasks.get(slot).map_or(spawn_site, Task::spawn_site);
        self.take_back(origin, site);
        self.counts.births += 1;
        self.sites.at(site).births += 1;
        self.reindex(slot);
    }

    /// The birth of a task that has ended already.
    fn late_birth(&mut self, tomb: Tomb, spawn_site: FrameId, at: KTime) {
        match (tomb.origin, tomb.end) {
            (Some(Origin::Born), _) => return,
            (None, _) => self.counts.unknown_deaths = self.counts.unknown_deaths.saturating_sub(1),
            (Some(Origin::Event), End::Missed) => {
                self.counts.phantoms = self.counts.phantoms.saturating_sub(1);
                self.counts.vanished += 1;
            }
            (Some(origin), _) => self.take_back(origin, tomb.spawn_site),
        }
        self.counts.births += 1;
        self.sites.at(spawn_site).births += 1;
        if tomb.end == End::Seen {
            if tomb.spawn_site != spawn_site {
                self.sites.move_death(tomb.spawn_site, spawn_site);
            }
            self.sites.add_lifetime(spawn_site, tomb.at.since(at));
        }
    }

    /// A task counted as known without its birth turns out to have been born.
    fn take_back(&mut self, origin: Origin, site: FrameId) {
        match origin {
            Origin::Born => {}
            Origin::Before => self.counts.before = self.counts.before.saturating_sub(1),
            Origin::Event => self.counts.appeared = self.counts.appeared.saturating_sub(1),
            Origin::Appeared => {
                self.counts.appeared = self.counts.appeared.saturating_sub(1);
                let site = self.sites.at(site);
                site.appeared = site.appeared.saturating_sub(1);
            }
        }
    }

    pub(super) fn death(&mut self, id: TaskId, at: KTime) {
        if let Some(tomb) = self.tombs.get_mut(id) {
            if tomb.end == End::Missed {
                tomb.end = End::Seen;
                let tomb = *tomb;
                self.late_death(tomb);
            }
            return;
        }
        self.counts.deaths += 1;
        let Some(slot) = self.tasks.find(id) else {
            self.counts.unknown_deaths += 1;
            self.sites.at(FrameId::UNKNOWN).deaths += 1;
            let tomb = Tomb { at, spawn_site: FrameId::UNKNOWN, end: End::Seen, origin: None };
            self.tombs.bury(id, tomb, at);
            return;
        };
        self.bury(slot, at, End::Seen);
    }

    /// The death of a task that a look found gone before the record came.
    fn late_death(&mut self, tomb: Tomb) {
        self.counts.deaths += 1;
        if tomb.origin == Some(Origin::Event) {
            self.counts.phantoms = self.counts.phantoms.saturating_sub(1);
            self.counts.appeared += 1;
        } else {
            self.counts.vanished = self.counts.vanished.saturating_sub(1);
        }
        let site = self.sites.at(tomb.spawn_site);
        site.vanished = site.vanished.saturating_sub(1);
        site.deaths += 1;
    }

    /// Takes a task out and remembers that it ended.
    pub(super) fn bury(&mut self, slot: u32, at: KTime, end: End) {
        self.wait_ends(slot, at);
        let Some(task) = self.remove(slot) else { return };
        let lived: Option<Nanos> =
            task.born().map(|born| at.since(born)).filter(|_| end == End::Seen);
        self.sites.end(task.spawn_site, lived, at);
        let site = self.sites.at(task.spawn_site);
        match (end, task.origin) {
            (End::Seen, _) => site.deaths += 1,
            (End::Missed, Origin::Event) => {
                site.vanished += 1;
                self.counts.phantoms += 1;
                self.counts.appeared = self.counts.appeared.saturating_sub(1);
            }
            (End::Missed, _) => {
                site.vanished += 1;
                self.counts.vanished += 1;
            }
        }
        let tomb = Tomb { at, spawn_site: task.spawn_site, end, origin: Some(task.origin) };
        self.tombs.bury(task.id(), tomb, at);
    }
}
