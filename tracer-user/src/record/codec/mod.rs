//! A batch of inputs as bytes and back. Each sort of input has a section of its own, so that like
//! lies beside like, and a list of runs says in which order they came.
//!
//! Sections begin with their sort, count and columns, each with its length: a reader passes over
//! sorts, columns and ends of rows that a later minor version added.

mod events;
mod looks;
mod rows;
mod threads;

use crate::base::KTime;
use crate::stream::Input;

use super::bytes::{Put as _, Take};
use super::error::Malformed;
use super::frame::MAX_INPUTS;
use events::{EventReader, EventWriter};
use looks::{LookReader, LookWriter};

/// Sorts of input, by their number in the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Sort {
    /// [`Input::ProcessDef`]
    ProcessDef = 1,
    /// [`Input::ProcessEnd`]
    ProcessEnd = 2,
    /// [`Input::NameDef`]
    NameDef = 3,
    /// [`Input::StackDef`]
    StackDef = 4,
    /// [`Input::ReasonDef`]
    ReasonDef = 5,
    /// [`Input::Event`]
    Event = 6,
    /// [`Input::SnapshotBegin`]
    SnapshotBegin = 7,
    /// [`Input::SnapshotTask`]
    SnapshotTask = 8,
    /// [`Input::SnapshotEnd`]
    SnapshotEnd = 9,
    /// [`Input::Loss`]
    Loss = 10,
    /// [`Input::ModeChange`]
    ModeChange = 11,
    /// [`Input::ClockAnchor`]
    ClockAnchor = 12,
    /// [`Input::Tick`]
    Tick = 13,
    /// [`Input::Memory`]
    Memory = 14,
    /// [`Input::GcCycle`]
    GcCycle = 15,
    /// [`Input::Call`]
    Call = 16,
}

impl Sort {
    /// All of them, in the order of their numbers, which are theirs for ever.
    pub const ALL: [Sort; SORTS] = [
        Sort::ProcessDef,
        Sort::ProcessEnd,
        Sort::NameDef,
        Sort::StackDef,
        Sort::ReasonDef,
        Sort::Event,
        Sort::SnapshotBegin,
        Sort::SnapshotTask,
        Sort::SnapshotEnd,
        Sort::Loss,
        Sort::ModeChange,
        Sort::ClockAnchor,
        Sort::Tick,
        Sort::Memory,
        Sort::GcCycle,
        Sort::Call,
    ];

    /// Of an input: the one place that a new sort of input is added to, beside [`rows`].
    pub const fn of(input: &Input) -> Sort {
        match input {
            Input::ProcessDef(_) => Sort::ProcessDef,
            Input::ProcessEnd { .. } => Sort::ProcessEnd,
            Input::NameDef { .. } => Sort::NameDef,
            Input::StackDef { .. } => Sort::StackDef,
            Input::ReasonDef { .. } => Sort::ReasonDef,
            Input::Event(_) => Sort::Event,
            Input::SnapshotBegin { .. } => Sort::SnapshotBegin,
            Input::SnapshotTask(_) => Sort::SnapshotTask,
            Input::SnapshotEnd { .. } => Sort::SnapshotEnd,
            Input::Loss(_) => Sort::Loss,
            Input::ModeChange { .. } => Sort::ModeChange,
            Input::ClockAnchor { .. } => Sort::ClockAnchor,
            Input::Tick(_) => Sort::Tick,
            Input::Memory { .. } => Sort::Memory,
            Input::GcCycle { .. } => Sort::GcCycle,
            Input::Call(_) => Sort::Call,
        }
    }

    /// The word used in JSON and text.
    pub const fn word(self) -> &'static str {
        match self {
            Sort::ProcessDef => "process",
            Sort::ProcessEnd => "process_end",
            Sort::NameDef => "name",
            Sort::StackDef => "stack",
            Sort::ReasonDef => "reason",
            Sort::Event => "event",
            Sort::SnapshotBegin => "snapshot_begin",
            Sort::SnapshotTask => "snapshot_task",
            Sort::SnapshotEnd => "snapshot_end",
            Sort::Loss => "loss",
            Sort::ModeChange => "mode",
            Sort::ClockAnchor => "clock",
            Sort::Tick => "tick",
            Sort::Memory => "memory",
            Sort::GcCycle => "gc",
            Sort::Call => "call",
        }
    }

    fn numbered(number: u64) -> Option<Sort> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        Sort::ALL.get(index).copied()
    }

    const fn index(self) -> usize {
        self as usize - 1
    }
}

/// How many sorts there are.
pub const SORTS: usize = 16;

/// How many inputs there were of each sort, and what they took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KindTotals {
    by_sort: [(u64, u64); SORTS],
}

impl KindTotals {
    fn add(&mut self, sort: Sort, inputs: u64, bytes: u64) {
        if let Some((n, b)) = self.by_sort.get_mut(sort.index()) {
            *n = n.saturating_add(inputs);
            *b = b.saturating_add(bytes);
        }
    }

    /// Adds another count.
    pub fn merge(&mut self, other: &KindTotals) {
        for (sort, (inputs, bytes)) in Sort::ALL.into_iter().zip(other.by_sort) {
            self.add(sort, inputs, bytes);
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.number(SORTS as u64);
        for (sort, (inputs, bytes)) in Sort::ALL.into_iter().zip(self.by_sort) {
            out.push(sort as u8);
            out.number(inputs);
            out.number(bytes);
        }
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        let mut totals = Self::default();
        for _ in 0..take.count()? {
            let (sort, inputs, bytes) = (take.number()?, take.number()?, take.number()?);
            if let Some(sort) = Sort::numbered(sort) {
                totals.add(sort, inputs, bytes);
            }
        }
        Ok(totals)
    }

    /// The sort's word, how many inputs, and their bytes before compression; those there were.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, u64)> + '_ {
        let all = Sort::ALL.into_iter().zip(self.by_sort);
        all.filter(|(_, (n, _))| *n > 0).map(|(sort, (n, bytes))| (sort.word(), n, bytes))
    }
}

/// Inputs on their way into a frame.
#[derive(Default)]
pub struct Batch {
    /// How many of the same sort follow one another.
    runs: Vec<(Sort, u32)>,
    rows: [Vec<u8>; SORTS],
    counts: [u32; SORTS],
    events: EventWriter,
    looks: LookWriter,
    inputs: u32,
    span: Option<(KTime, KTime)>,
}

impl Batch {
    /// Adds an input.
    pub fn add(&mut self, input: &Input) {
        let sort = Sort::of(input);
        self.note(sort, 1);
        if let Some(at) = input.time() {
            self.span =
                Some(self.span.map_or((at, at), |(from, until)| (from.min(at), until.max(at))));
        }
        match input {
            Input::Event(event) => self.events.add(event),
            Input::SnapshotTask(task) => self.looks.add(task),
            other => {
                if let Some(rows) = self.rows.get_mut(sort.index()) {
                    rows::write(other, rows);
                }
            }
        }
    }

    /// Adds rows that were written before: see [`row`].
    pub fn add_rows(&mut self, sort: Sort, count: u32, bytes: &[u8]) {
        self.note(sort, count);
        if let Some(rows) = self.rows.get_mut(sort.index()) {
            rows.extend_from_slice(bytes);
        }
    }

    fn note(&mut self, sort: Sort, count: u32) {
        self.inputs = self.inputs.saturating_add(count);
        if let Some(n) = self.counts.get_mut(sort.index()) {
            *n = n.saturating_add(count);
        }
        match self.runs.last_mut() {
            Some((last, n)) if *last == sort => *n = n.saturating_add(count),
            _ => self.runs.push((sort, count)),
        }
    }

    /// Inputs in it.
    pub const fn inputs(&self) -> u32 {
        self.inputs
    }

    /// Events in it.
    pub fn events(&self) -> u32 {
        self.counts.get(Sort::Event.index()).copied().unwrap_or(0)
    }

    /// The earliest and latest moment spoken of; None if there is none.
    pub const fn span(&self) -> Option<(KTime, KTime)> {
        self.span
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let rows: usize = self.rows.iter().map(Vec::len).sum();
        rows + self.events.size() + self.looks.size() + 4 * self.runs.len()
    }

    /// Writes it out and empties it; what each sort took is added to `totals`.
    pub fn encode(&mut self, out: &mut Vec<u8>, totals: &mut KindTotals) {
        out.number(self.runs.len() as u64);
        for (sort, count) in self.runs.drain(..) {
            out.push(sort as u8);
            out.number(u64::from(count));
        }
        for sort in Sort::ALL {
            let count = self.counts.get(sort.index()).copied().unwrap_or(0);
            if count == 0 {
                continue;
            }
            let before = out.len();
            out.push(sort as u8);
            out.number(u64::from(count));
            match sort {
                Sort::Event => section(out, &self.events.columns()),
                Sort::SnapshotTask => section(out, &self.looks.columns()),
                _ => section(out, &[self.rows.get(sort.index()).map_or(&[], |r| r.as_slice())]),
            }
            totals.add(sort, u64::from(count), (out.len() - before) as u64);
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.rows.iter_mut().for_each(Vec::clear);
        self.counts = [0; SORTS];
        self.events.clear();
        self.looks.clear();
        self.inputs = 0;
        self.span = None;
    }
}

fn section(out: &mut Vec<u8>, columns: &[&[u8]]) {
    out.number(columns.len() as u64);
    for column in columns {
        out.number(column.len() as u64);
    }
    for column in columns {
        out.extend_from_slice(column);
    }
}

/// One input as the row that [`Batch::add_rows`] takes; not for events and tasks of snapshots,
/// which have columns.
pub fn row(input: &Input, out: &mut Vec<u8>) {
    rows::write(input, out);
}

/// What a frame holds.
#[derive(Default, Debug)]
pub struct Decoded {
    /// In their order.
    pub inputs: Vec<Input>,
    /// Inputs of sorts that this version does not know, passed over.
    pub unknown: u32,
}

/// Reads the content of a frame that should hold this many inputs.
///
/// # Errors
/// If it is not what the format says; nothing of it is then to be believed.
pub fn decode(raw: &[u8], inputs: u32) -> Result<Decoded, Malformed> {
    let mut take = Take(raw);
    let runs = runs(&mut take, inputs)?;
    let mut sections = Sections::read(&mut take)?;
    let mut decoded = Decoded { inputs: Vec::with_capacity(inputs as usize), unknown: 0 };
    for (sort, count) in runs {
        match sort {
            None => decoded.unknown += count,
            Some(sort) => sections.take(sort, count, &mut decoded.inputs)?,
        }
    }
    sections.check_all_taken()?;
    Ok(decoded)
}

/// What each sort takes in the content of a frame.
///
/// # Errors
/// As [`decode`].
pub fn measure(raw: &[u8], inputs: u32) -> Result<KindTotals, Malformed> {
    let mut take = Take(raw);
    runs(&mut take, inputs)?;
    let mut totals = KindTotals::default();
    while take.left() > 0 {
        let before = take.left();
        let section = Section::read(&mut take)?;
        if let Some(sort) = section.sort {
            totals.add(sort, u64::from(section.count), (before - take.left()) as u64);
        }
    }
    Ok(totals)
}

fn runs(take: &mut Take<'_>, inputs: u32) -> Result<Vec<(Option<Sort>, u32)>, Malformed> {
    if inputs > MAX_INPUTS {
        return Err(Malformed("more inputs than a frame may hold"));
    }
    let n = take.count()?;
    let mut runs = Vec::with_capacity(n.min(MAX_INPUTS as usize));
    let mut left = inputs;
    for _ in 0..n {
        let sort = Sort::numbered(take.number()?);
        let count: u32 = take.narrow()?;
        left = left.checked_sub(count).ok_or(Malformed("the runs hold more than the frame"))?;
        runs.push((sort, count));
    }
    if left > 0 {
        return Err(Malformed("the runs hold less than the frame"));
    }
    Ok(runs)
}

/// A section as it lies there.
struct Section<'a> {
    /// None: not known.
    sort: Option<Sort>,
    count: u32,
    columns: Vec<&'a [u8]>,
}

impl<'a> Section<'a> {
    fn read(take: &mut Take<'a>) -> Result<Self, Malformed> {
        let sort = Sort::numbered(take.number()?);
        let count: u32 = take.narrow()?;
        let n = take.count()?;
        let mut lengths = Vec::with_capacity(n.min(MAX_COLUMNS));
        if n > MAX_COLUMNS {
            return Err(Malformed("too many columns"));
        }
        for _ in 0..n {
            lengths.push(take.narrow::<usize>()?);
        }
        let columns =
            lengths.into_iter().map(|len| take.bytes(len)).collect::<Result<_, Malformed>>()?;
        Ok(Self { sort, count, columns })
    }
}

/// Most columns of a section: there are some twenty.
const MAX_COLUMNS: usize = 256;

/// The sections of a frame, while inputs are taken out of them.
#[derive(Default)]
struct Sections<'a> {
    rows: [(u32, Take<'a>); SORTS],
    events: Option<EventReader<'a>>,
    looks: Option<LookReader<'a>>,
}

impl<'a> Sections<'a> {
    fn read(take: &mut Take<'a>) -> Result<Self, Malformed> {
        let mut all = Self::default();
        while take.left() > 0 {
            let section = Section::read(take)?;
            match section.sort {
                None => {}
                Some(Sort::Event) if all.events.is_none() => {
                    all.events = Some(EventReader::new(section.count, &section.columns)?);
                }
                Some(Sort::SnapshotTask) if all.looks.is_none() => {
                    all.looks = Some(LookReader::new(section.count, &section.columns)?);
                }
                Some(sort) => {
                    let rows = all.rows.get_mut(sort.index());
                    let (count, bytes) = rows.ok_or(Malformed("no such sort"))?;
                    if *count > 0 {
                        return Err(Malformed("a section comes twice"));
                    }
                    *count = section.count;
                    *bytes = Take(section.columns.first().copied().unwrap_or_default());
                }
            }
        }
        Ok(all)
    }

    fn take(&mut self, sort: Sort, count: u32, out: &mut Vec<Input>) -> Result<(), Malformed> {
        const NONE: Malformed = Malformed("a run without its section");
        match sort {
            Sort::Event => {
                let events = self.events.as_mut().ok_or(NONE)?;
                for _ in 0..count {
                    out.push(Input::Event(events.next()?));
                }
            }
            Sort::SnapshotTask => {
                let looks = self.looks.as_mut().ok_or(NONE)?;
                for _ in 0..count {
                    out.push(Input::SnapshotTask(Box::new(looks.next()?)));
                }
            }
            _ => {
                let (left, bytes) = self.rows.get_mut(sort.index()).ok_or(NONE)?;
                *left = left.checked_sub(count).ok_or(NONE)?;
                for _ in 0..count {
                    out.push(rows::read(sort, bytes)?);
                }
            }
        }
        Ok(())
    }

    fn check_all_taken(&self) -> Result<(), Malformed> {
        let events = self.events.as_ref().map_or(0, EventReader::left);
        let looks = self.looks.as_ref().map_or(0, LookReader::left);
        let rows = self.rows.iter().any(|(left, bytes)| *left > 0 || bytes.left() > 0);
        if events > 0 || looks > 0 || rows {
            return Err(Malformed("a section holds more than its runs"));
        }
        Ok(())
    }
}

/// Entry for fuzzing: a number of inputs, then content that should hold them.
pub fn fuzz_content(bytes: &[u8]) {
    let mut take = Take(bytes);
    if let Ok(inputs) = take.narrow() {
        let _whatever = decode(take.0, inputs);
        let _whatever = measure(take.0, inputs);
    }
}

/// What [`fuzz_content`] takes, of real inputs.
pub fn fuzz_encode(inputs: &[Input]) -> Vec<u8> {
    let mut batch = Batch::default();
    inputs.iter().for_each(|input| batch.add(input));
    let mut out = Vec::new();
    out.number(u64::from(batch.inputs()));
    batch.encode(&mut out, &mut KindTotals::default());
    out
}
