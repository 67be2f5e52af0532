//! What a reader that begins with a later segment must be told first: the definitions in use, the
//! processes with their probes, the clock. Its first look comes right after, since segments begin
//! with one.

use std::collections::BTreeMap;

use crate::base::ProcId;
use crate::stream::Input;

use super::codec::{Batch, Sort, row};
use super::frame::MAX_INPUTS;

/// Bytes of definitions kept together: what goes into one frame.
const CHUNK: usize = 256 << 10;

/// Whether an input means what it meant before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// It adds to what is known.
    Kept,
    /// It gives an id another meaning: a new segment must begin before it.
    Changed,
}

/// Definitions of one sort, as they were written.
#[derive(Default)]
struct Rows {
    chunks: Vec<(Vec<u8>, u32)>,
    /// The first id never defined; they are given out in order.
    next: u32,
}

impl Rows {
    fn add(&mut self, input: &Input, id: u32) {
        self.next = self.next.max(id.saturating_add(1));
        let full = |(bytes, n): &(Vec<u8>, u32)| bytes.len() >= CHUNK || *n >= MAX_INPUTS / 2;
        if self.chunks.last().is_none_or(full) {
            self.chunks.push((Vec::new(), 0));
        }
        if let Some((bytes, n)) = self.chunks.last_mut() {
            row(input, bytes);
            *n += 1;
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct Live {
    frames: Rows,
    stacks: Rows,
    reasons: Rows,
    /// Definition, and the last change of its probes.
    processes: BTreeMap<ProcId, (Input, Option<Input>)>,
    anchor: Option<Input>,
}

impl Live {
    /// Whether this input fits what was defined.
    pub fn meaning(&self, input: &Input) -> Meaning {
        let again = match input {
            Input::NameDef { id, .. } => id.0 < self.frames.next,
            Input::StackDef { id, .. } => id.0 < self.stacks.next,
            Input::ReasonDef { id, .. } => u32::from(id.0) < self.reasons.next,
            _ => false,
        };
        if again { Meaning::Changed } else { Meaning::Kept }
    }

    /// Forgets all definitions: ids are given out anew.
    pub fn forget_definitions(&mut self) {
        self.frames = Rows::default();
        self.stacks = Rows::default();
        self.reasons = Rows::default();
    }

    /// Keeps what a later reader must know.
    pub fn note(&mut self, input: &Input) {
        match input {
            Input::NameDef { id, .. } => self.frames.add(input, id.0),
            Input::StackDef { id, .. } => self.stacks.add(input, id.0),
            Input::ReasonDef { id, .. } => self.reasons.add(input, u32::from(id.0)),
            Input::ProcessDef(def) => {
                self.processes.insert(def.process, (input.clone(), None));
            }
            Input::ModeChange { process, .. } => {
                if let Some((_, mode)) = self.processes.get_mut(process) {
                    *mode = Some(input.clone());
                }
            }
            Input::ProcessEnd { process, .. } => {
                self.processes.remove(process);
            }
            Input::ClockAnchor { .. } => self.anchor = Some(input.clone()),
            Input::Event(_)
            | Input::SnapshotBegin { .. }
            | Input::SnapshotTask(_)
            | Input::SnapshotEnd { .. }
            | Input::Loss(_)
            | Input::Memory { .. }
            | Input::GcCycle { .. }
            | Input::Call(_)
            | Input::Tick(_) => {}
        }
    }

    /// All of it, in batches that each fit a frame.
    pub fn tell(&self, batch: &mut Batch, mut full: impl FnMut(&mut Batch)) {
        self.anchor.iter().for_each(|anchor| batch.add(anchor));
        for (def, mode) in self.processes.values() {
            batch.add(def);
            mode.iter().for_each(|mode| batch.add(mode));
        }
        full(batch);
        let sorts = [
            (Sort::NameDef, &self.frames),
            (Sort::StackDef, &self.stacks),
            (Sort::ReasonDef, &self.reasons),
        ];
        for (sort, rows) in sorts {
            for (bytes, count) in &rows.chunks {
                batch.add_rows(sort, *count, bytes);
                full(batch);
            }
        }
    }
}
