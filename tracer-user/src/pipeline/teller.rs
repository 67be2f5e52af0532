//! Model and detectors with what of their news is told: the same for a process that runs and for a
//! recording.

use std::collections::HashSet;
use std::io;

use crate::base::ProcId;
use crate::detect::{Change, Engine, Settings};
use crate::stream::{Command, Input};
use crate::view::metrics::{self, MetricsView};
use crate::view::watch::WatchSink;
use crate::view::{Acknowledgements, FindingView, Standing, SummaryView, build};

/// News of a finding.
pub enum Told {
    /// It is new.
    Opened(Box<FindingView>),
    /// It changed enough to be told again.
    Updated(Box<FindingView>),
    /// It is over.
    Resolved(Box<FindingView>),
}

impl Told {
    /// Tells it.
    ///
    /// # Errors
    /// The sink's.
    pub fn to(&self, sink: &mut dyn WatchSink) -> io::Result<()> {
        match self {
            Told::Opened(finding) => sink.opened(finding),
            Told::Updated(finding) => sink.updated(finding),
            Told::Resolved(finding) => sink.resolved(finding),
        }
    }
}

/// See the module.
pub struct Teller {
    engine: Engine,
    /// What is acknowledged.
    known: Acknowledgements,
    /// Open findings that were not told because of that.
    silent: HashSet<String>,
}

impl Teller {
    /// One that knows nothing yet. What is `known` is not told.
    pub fn new(settings: Settings, known: Acknowledgements) -> Self {
        Self { engine: Engine::new(settings), known, silent: HashSet::new() }
    }

    /// Model and open findings.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes in one input.
    pub fn feed(&mut self, input: Input, told: &mut Vec<Told>, commands: &mut Vec<Command>) {
        let mut changes = Vec::new();
        self.engine.feed(input, &mut changes, commands);
        told.extend(changes.into_iter().filter_map(|change| self.tell(&change)));
    }

    /// What is still to be told at the end, and the summary, with the reason of the end in words.
    /// None if the process is not known.
    pub fn summary(
        &mut self,
        process: ProcId,
        ended: &str,
        told: &mut Vec<Told>,
    ) -> Option<SummaryView> {
        let mut changes = Vec::new();
        self.engine.tell_rest(process, &mut changes);
        told.extend(changes.into_iter().filter_map(|change| self.tell(&change)));
        let mut summary = build::summary(&mut self.engine, process, ended)?;
        build::set_apart(&mut summary, &self.engine, process, &self.known);
        Some(summary)
    }

    /// Forgets a process that has ended and was summed up.
    pub fn forget(&mut self, process: ProcId) {
        self.engine.forget_all(process);
    }

    /// The process in numbers.
    pub fn metrics(&self, process: ProcId) -> Option<MetricsView> {
        metrics::metrics(&self.engine, process, &self.known)
    }

    fn tell(&mut self, change: &Change) -> Option<Told> {
        let mut view = build::finding(self.engine.model(), change.finding())?;
        let was_silent = self.silent.remove(&view.id);
        let by = self.known.of(&view.id);
        match by.map(|by| by.standing(view.as_of)) {
            Some(Standing::Holds) => {
                if !matches!(change, Change::Resolved(_)) {
                    self.silent.insert(view.id);
                }
                return None;
            }
            Some(Standing::Expired) => view.expired = by.cloned(),
            None => {}
        }
        let view = Box::new(view);
        Some(match change {
            Change::Resolved(_) if was_silent => return None,
            Change::Grown(_) if was_silent => Told::Opened(view),
            Change::Opened(_) => Told::Opened(view),
            Change::Grown(_) => Told::Updated(view),
            Change::Resolved(_) => Told::Resolved(view),
        })
    }
}
