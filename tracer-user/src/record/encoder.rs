//! Inputs into frames, and frames into segments: when a frame is complete, when a segment is.
//! Runs on the thread of the model; packing and writing are another's.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::{KTime, Nanos};
use crate::stream::{Input, ProcessDef, TaskLook};

use super::codec::{Batch, KindTotals};
use super::frame::{FrameKind, MAX_INPUTS, MAX_RAW};
use super::freeze::{Done, Kept};
use super::live::{Live, Meaning};
use super::recorder::Content;

/// A batch is written when it takes this many bytes ...
const BATCH_BYTES: usize = 512 << 10;
/// ... or holds this many inputs.
const BATCH_INPUTS: u32 = MAX_INPUTS;
/// What is kept ends where a look begins, but waits no longer for it than this.
const RELEASE_WITHIN: Nanos = Nanos::from_secs(5);
/// A segment waits for the beginning of a look to end, until it is this many times too large.
const MOST_TIMES_TOO_LARGE: u64 = 4;

/// A frame whose content is still to be packed.
#[derive(Debug)]
pub struct RawFrame {
    /// What it holds.
    pub kind: FrameKind,
    /// Its content.
    pub raw: Vec<u8>,
    /// Inputs in it.
    pub inputs: u32,
    /// Events among them.
    pub events: u32,
    /// The number of the first.
    pub number: u64,
    /// The earliest moment spoken of.
    pub from: KTime,
    /// The latest.
    pub until: KTime,
}

/// What the one who writes is told.
#[derive(Debug)]
pub enum Order {
    /// A segment begins; the last one ends with these totals.
    Segment {
        /// What the last one holds.
        totals: KindTotals,
        /// The number of the next input.
        number: u64,
        /// The moment up to which inputs were told.
        at: KTime,
    },
    /// A frame follows.
    Frame(RawFrame),
    /// What there is, and all that follows, is to be kept as a recording of its own.
    Freeze(Freeze),
    /// The segment ends, and with it what is kept.
    Release {
        /// What the segment holds.
        totals: KindTotals,
        /// Why it was kept, in words.
        why: String,
        /// The number of the next input.
        number: u64,
        /// The moment up to which inputs were told.
        at: KTime,
        /// Is told when it is complete.
        done: Done<Kept>,
    },
    /// The recording ends.
    End {
        /// What the last segment holds.
        totals: KindTotals,
        /// Why, in words.
        why: String,
        /// How many inputs there were.
        number: u64,
        /// The moment up to which inputs were told.
        at: KTime,
    },
}

/// Where a recording is kept.
#[derive(Debug)]
pub struct Freeze {
    /// A directory that is not there yet.
    pub to: PathBuf,
    /// Is told when what there is lies there.
    pub done: Done<()>,
}

/// When segments end.
#[derive(Clone, Copy, Debug)]
pub struct SegmentBounds {
    /// After this many bytes as stored.
    pub bytes: u64,
    /// After this time.
    pub age: Option<Nanos>,
}

/// How large the present segment is: told by the one who writes, behind what is encoded.
#[derive(Default, Debug)]
pub struct Stored(Mutex<Size>);

/// A segment by its count from 1, the bytes of its contents, and what they took.
#[derive(Clone, Copy, Default, Debug)]
struct Size {
    segment: u64,
    raw: u64,
    stored: u64,
}

impl Stored {
    /// The segment of this count, from 1, has so many bytes; they were `raw` more before packing.
    pub fn tell(&self, segment: u64, raw: u64, stored: u64) {
        let mut size = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if size.segment == segment { size.raw } else { 0 };
        *size = Size { segment, raw: before.saturating_add(raw), stored };
    }

    /// How large the segment is at least and at most, when so many bytes were handed over.
    fn bounds(&self, segment: u64, raw: u64) -> (u64, u64) {
        let size = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (packed, of) = if size.segment == segment { (size.stored, size.raw) } else { (0, 0) };
        (packed, packed.saturating_add(raw.saturating_sub(of)))
    }
}

/// How large a segment is, against its bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SegmentSize {
    Small,
    Large,
    FarTooLarge,
}

/// Makes [`Order`]s of inputs.
pub struct Encoder {
    batch: Batch,
    live: Live,
    totals: KindTotals,
    content: Content,
    flush: Nanos,
    bounds: SegmentBounds,
    stored: Arc<Stored>,
    /// Segments begun, and bytes of contents handed over for the last of them.
    segments: u64,
    raw: u64,
    /// Whether the present segment is large enough.
    large: SegmentSize,
    /// The number of the first input of the batch.
    number: u64,
    /// The latest moment any input spoke of.
    now: KTime,
    /// When the batch was begun, and the segment.
    batch_begun: Option<KTime>,
    segment_begun: Option<KTime>,
    /// Whether anything is in the present segment.
    begun: bool,
    /// What is kept ends with this segment.
    release: Option<Release>,
}

/// A wish that what is kept may end.
struct Release {
    why: String,
    done: Done<Kept>,
    /// At the latest.
    by: KTime,
}

impl Encoder {
    /// One that has told nothing yet.
    pub fn new(content: Content, flush: Nanos, bounds: SegmentBounds, stored: Arc<Stored>) -> Self {
        Self {
            batch: Batch::default(),
            live: Live::default(),
            totals: KindTotals::default(),
            content,
            flush,
            bounds,
            stored,
            segments: 0,
            raw: 0,
            large: SegmentSize::Small,
            number: 0,
            now: KTime(0),
            batch_begun: None,
            segment_begun: None,
            begun: false,
            release: None,
        }
    }

    /// From here on everything is kept, with what there is already.
    pub fn freeze(&mut self, freeze: Freeze, out: &mut Vec<Order>) {
        self.flush(out);
        out.push(Order::Freeze(freeze));
    }

    /// No more needs to be kept than up to the next look.
    pub fn release(&mut self, why: &str, done: Done<Kept>) {
        let by = self.now.after(RELEASE_WITHIN);
        self.release = Some(Release { why: why.to_owned(), done, by });
    }

    /// Ends the segment and what is kept; another segment must follow.
    fn let_go(&mut self, release: Release, out: &mut Vec<Order>) {
        self.flush(out);
        let Release { why, done, by: _ } = release;
        let totals = std::mem::take(&mut self.totals);
        out.push(Order::Release { totals, why, number: self.number, at: self.now, done });
    }

    /// Takes in one input; what is to be written goes to `out`.
    pub fn take(&mut self, input: &Input, out: &mut Vec<Order>) {
        self.roll_if_due(input, out);
        match redacted(input, self.content) {
            Some(less) => self.add(&less),
            None => self.add(input),
        }
        if let Some(at) = input.time() {
            self.now = self.now.max(at);
        }
        let begun = *self.batch_begun.get_or_insert(self.now);
        let old = self.now.since(begun) >= self.flush;
        let inputs = self.batch.inputs();
        // Bytes are counted now and then only: that takes a walk over the columns.
        let large = inputs.is_multiple_of(64) || matches!(input, Input::ProcessDef(_));
        if old || inputs >= BATCH_INPUTS || (large && self.batch.size() >= BATCH_BYTES) {
            self.flush(out);
        }
    }

    fn add(&mut self, input: &Input) {
        self.batch.add(input);
        self.live.note(input);
    }

    /// Segments begin where a look does, so that a reader that begins there knows all tasks at
    /// once.
    fn roll_if_due(&mut self, input: &Input, out: &mut Vec<Order>) {
        let changed = self.live.meaning(input) == Meaning::Changed;
        if !self.begun || changed {
            self.roll(out, changed);
            return;
        }
        let look = matches!(input, Input::SnapshotBegin { .. });
        let late = self.release.as_ref().is_some_and(|release| self.now >= release.by);
        let due = match self.large {
            _ if late => true,
            SegmentSize::FarTooLarge => true,
            SegmentSize::Large => look,
            SegmentSize::Small => {
                let age = self.segment_begun.map_or(Nanos(0), |begun| self.now.since(begun));
                let old = self.bounds.age.is_some_and(|most| age >= most);
                look && (old || self.release.is_some())
            }
        };
        if due {
            self.roll(out, false);
        }
    }

    fn note_size(&mut self) {
        let (least, most) = self.stored.bounds(self.segments, self.raw);
        self.large = if least >= self.bounds.bytes.saturating_mul(MOST_TIMES_TOO_LARGE) {
            SegmentSize::FarTooLarge
        } else if most >= self.bounds.bytes {
            SegmentSize::Large
        } else {
            SegmentSize::Small
        };
    }

    fn roll(&mut self, out: &mut Vec<Order>, forget: bool) {
        self.flush(out);
        if self.begun
            && let Some(release) = self.release.take()
        {
            self.let_go(release, out);
        }
        if forget {
            self.live.forget_definitions();
        }
        let totals = std::mem::take(&mut self.totals);
        out.push(Order::Segment { totals, number: self.number, at: self.now });
        self.segments += 1;
        (self.raw, self.large) = (0, SegmentSize::Small);
        self.segment_begun = Some(self.now);
        if !std::mem::replace(&mut self.begun, true) {
            return;
        }
        let (number, now) = (self.number, self.now);
        let mut not_counted = KindTotals::default();
        self.live.tell(&mut self.batch, |batch| {
            if let Some(frame) = frame(batch, FrameKind::Prelude, number, now, &mut not_counted) {
                self.raw = self.raw.saturating_add(frame.raw.len() as u64);
                out.push(Order::Frame(frame));
            }
        });
    }

    /// Makes a frame of what there is.
    pub fn flush(&mut self, out: &mut Vec<Order>) {
        self.batch_begun = None;
        let inputs = u64::from(self.batch.inputs());
        let kind = FrameKind::Inputs;
        let made = frame(&mut self.batch, kind, self.number, self.now, &mut self.totals);
        self.raw = self.raw.saturating_add(made.as_ref().map_or(0, |f| f.raw.len() as u64));
        out.extend(made.map(Order::Frame));
        self.note_size();
        self.number = self.number.saturating_add(inputs);
    }

    /// Makes the end.
    pub fn end(&mut self, why: &str, out: &mut Vec<Order>) {
        self.flush(out);
        if let Some(mut release) = self.release.take() {
            // One end for both.
            release.why = format!("{}; {why}", release.why);
            self.let_go(release, out);
        }
        let totals = std::mem::take(&mut self.totals);
        let why = why.to_owned();
        out.push(Order::End { totals, why, number: self.number, at: self.now });
    }
}

/// None if there is nothing in the batch, or if it is too large for any reader: then the numbers
/// tell that it is missing.
fn frame(
    batch: &mut Batch,
    kind: FrameKind,
    number: u64,
    now: KTime,
    totals: &mut KindTotals,
) -> Option<RawFrame> {
    let (inputs, events) = (batch.inputs(), batch.events());
    if inputs == 0 {
        return None;
    }
    let (from, until) = batch.span().unwrap_or((now, now));
    let mut raw = Vec::with_capacity(batch.size() + 256);
    batch.encode(&mut raw, totals);
    (raw.len() <= MAX_RAW && inputs <= MAX_INPUTS).then_some(RawFrame {
        kind,
        raw,
        inputs,
        events,
        number,
        from,
        until,
    })
}

/// The input without what may be secret; None if nothing is to be left out.
fn redacted(input: &Input, content: Content) -> Option<Input> {
    if content == Content::Full {
        return None;
    }
    match input {
        Input::SnapshotTask(task) if !task.labels.is_empty() => {
            let labels = Box::default();
            Some(Input::SnapshotTask(Box::new(TaskLook { labels, ..(**task).clone() })))
        }
        Input::ProcessDef(def) if !def.build.settings.is_empty() => {
            let mut build = def.build.clone();
            // Build flags are arguments: `-ldflags` may set anything. What tells the sources apart
            // stays.
            build.settings.retain(|(key, _)| key.starts_with("vcs"));
            Some(Input::ProcessDef(Box::new(ProcessDef { build, ..(**def).clone() })))
        }
        _ => None,
    }
}
