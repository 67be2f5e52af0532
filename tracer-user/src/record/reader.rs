//! Reads a recording back: the inputs as they were, and where some are missing, how many and from
//! when to when. What is doubtful is left out, never guessed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::base::KTime;
use crate::stream::{Input, Loss, LossKind};

use super::codec::{KindTotals, decode, measure};
use super::error::{Malformed, RecordError};
use super::filter::Filter;
use super::frame::{FrameKind, Head};
use super::header::{EndKind, Meta, SegmentEnd, SegmentHead, VERSION};
use super::scan::{Depth, Found, Scanner};
use super::store::EXTENSION;

/// Most segments of a recording: more files than this are not made by the recorder.
const MAX_SEGMENTS: usize = 1 << 20;

/// A recording on disk.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    files: Vec<PathBuf>,
    meta: Meta,
    version: (u16, u16),
    recording: u64,
    bytes: u64,
}

/// What is to be told of a recording, one after another.
#[derive(Debug)]
pub enum Item {
    /// Inputs as the model ate them.
    Inputs(Vec<Input>),
    /// Here something is missing.
    Gap(Gap),
}

/// Something that is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// How many inputs.
    pub inputs: u64,
    /// Damaged bytes in its place.
    pub bytes: u64,
    /// They spoke of nothing before this ...
    pub since: KTime,
    /// ... and of nothing after this.
    pub until: KTime,
}

impl Gap {
    /// What the model is to be told; None where no input is missing.
    pub fn loss(&self) -> Option<Input> {
        let Gap { inputs, since, until, .. } = *self;
        let kind = LossKind::Recording;
        (inputs > 0).then_some(Input::Loss(Loss {
            process: None,
            kind,
            count: inputs,
            since,
            until,
        }))
    }
}

/// How a recording ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tail {
    /// Why the recording was ended, in words; None if it broke off.
    pub closed: Option<String>,
    /// Why the recorder could not go on, where it could still say so.
    pub stopped: Option<String>,
    /// Damaged bytes after the last whole frame.
    pub damaged: u64,
    /// Inputs of sorts that this version does not know.
    pub unknown: u64,
    /// Names and other words left out, because there are more of them than a reader keeps.
    pub left_out: u64,
    /// The last moment spoken of.
    pub until: KTime,
}

/// What the heads of the frames tell, without a look at their content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overview {
    /// Segments that are there.
    pub segments: u64,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes of all contents before packing.
    pub raw_bytes: u64,
    /// Frames with inputs.
    pub frames: u64,
    /// Inputs that are there, those told again left out.
    pub inputs: u64,
    /// Events among them.
    pub events: u64,
    /// Inputs of segments that were removed, as the recorder was told to.
    pub removed_inputs: u64,
    /// The first moment spoken of.
    pub from: KTime,
    /// The last.
    pub until: KTime,
    /// Bytes that are no frame.
    pub damaged: u64,
    /// What each sort of input takes, in the segments that have their end.
    pub totals: KindTotals,
    /// Why the recording was ended, in words; None if it broke off.
    pub closed: Option<String>,
    /// Why the recorder could not go on, where it could still say so.
    pub stopped: Option<String>,
}

impl Recording {
    /// Opens a file or a directory of segments.
    ///
    /// # Errors
    /// If there is none that this version can read.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let meta = std::fs::metadata(path).map_err(RecordError::io("open", path))?;
        let files = if meta.is_dir() { segments(path)? } else { vec![path.to_owned()] };
        let mut bytes = 0u64;
        let mut first = None;
        let mut why = "it has no segments".to_owned();
        for file in &files {
            let Some(scanner) = open_if_there(file)? else { continue };
            bytes = bytes.saturating_add(scanner.len());
            if first.is_none() {
                match first_head(file)? {
                    Ok(head) => first = Some(head),
                    Err(what) => what.clone_into(&mut why),
                }
            }
        }
        let head = first.ok_or(RecordError::NoRecording { path: path.to_owned(), why })?;
        let SegmentHead { version, recording, meta, .. } = head;
        Ok(Self { path: path.to_owned(), files, meta, version, recording, bytes })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The version of its format.
    pub const fn version(&self) -> (u16, u16) {
        self.version
    }

    /// Its bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything in it, in order.
    pub fn items(&self) -> Items {
        Items::new(self)
    }

    /// What it holds, from the heads of its frames.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn overview(&self) -> Result<Overview, RecordError> {
        let mut all = Overview { from: KTime(u64::MAX), ..Overview::default() };
        let mut first_number = None;
        for file in &self.files {
            let Some(mut scanner) = open_if_there(file)? else { continue };
            all.bytes = all.bytes.saturating_add(scanner.len());
            while let Some(found) = scanner.next(Depth::Head)? {
                match found {
                    Found::Damage(bytes) => all.damaged = all.damaged.saturating_add(bytes),
                    Found::Frame(head) => all.add(&head, scanner.content(), &mut first_number),
                }
            }
        }
        all.removed_inputs = first_number.unwrap_or(0);
        all.from = all.from.min(all.until);
        Ok(all)
    }

    /// What each sort of input takes, before packing: reads all of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn totals(&self, mut progress: impl FnMut(u64)) -> Result<KindTotals, RecordError> {
        let mut totals = KindTotals::default();
        let mut passed = 0u64;
        for file in &self.files {
            let Some(mut scanner) = open_if_there(file)? else { continue };
            while let Some(found) = scanner.next(Depth::Content)? {
                if let Found::Frame(Head { kind: Some(FrameKind::Inputs), inputs, .. }) = found
                    && let Ok(some) = measure(scanner.content(), inputs)
                {
                    totals.merge(&some);
                }
                progress(passed.saturating_add(scanner.position()));
            }
            passed = passed.saturating_add(scanner.len());
        }
        Ok(totals)
    }
}

impl Overview {
    fn add(&mut self, head: &Head, content: &[u8], first_number: &mut Option<u64>) {
        match head.kind {
            Some(FrameKind::Segment) => {
                (self.closed, self.stopped) = (None, None);
                self.segments = self.segments.saturating_add(1);
                first_number.get_or_insert(head.number);
            }
            Some(FrameKind::Inputs) => {
                self.frames = self.frames.saturating_add(1);
                self.inputs = self.inputs.saturating_add(u64::from(head.inputs));
                self.events = self.events.saturating_add(u64::from(head.events));
                self.raw_bytes = self.raw_bytes.saturating_add(u64::from(head.raw));
                self.from = self.from.min(head.from);
                self.until = self.until.max(head.until);
            }
            Some(FrameKind::End) => {
                let Ok(end) = SegmentEnd::decode(content) else { return };
                self.totals.merge(&end.totals);
                match end.kind {
                    EndKind::Rolled => {}
                    EndKind::Closed => self.closed = Some(end.why),
                    EndKind::Stopped => self.stopped = Some(end.why),
                }
            }
            Some(FrameKind::Prelude) | None => {}
        }
    }
}

/// The files of a directory that are named as segments are, oldest first.
fn segments(path: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(RecordError::io("read", path))? {
        let entry = entry.map_err(RecordError::io("read", path))?.path();
        let digits = |stem: &std::ffi::OsStr| stem.to_str()?.parse::<u64>().ok();
        if entry.extension().is_some_and(|e| e == EXTENSION)
            && let Some(index) = entry.file_stem().and_then(digits)
        {
            files.push((index, entry));
        }
        if files.len() > MAX_SEGMENTS {
            let why = format!("more than {MAX_SEGMENTS} segments");
            return Err(RecordError::NoRecording { path: path.to_owned(), why });
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// None for a file that is gone: a recorder at work removes the oldest.
fn open_if_there(file: &Path) -> Result<Option<Scanner>, RecordError> {
    match Scanner::open(file) {
        Ok(scanner) => Ok(Some(scanner)),
        Err(RecordError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// How the first segment that can be read in a file begins, or why there is none.
fn first_head(file: &Path) -> Result<Result<SegmentHead, &'static str>, RecordError> {
    let Some(mut scanner) = open_if_there(file)? else { return Ok(Err("it is gone")) };
    if scanner.len() == 0 {
        return Ok(Err("it is empty"));
    }
    while let Some(found) = scanner.next(Depth::Content)? {
        if let Found::Frame(Head { kind: Some(FrameKind::Segment), .. }) = found
            && let Ok(head) = SegmentHead::decode(scanner.content())
        {
            return refuse_newer(file, head).map(Ok);
        }
    }
    Ok(Err("no beginning of a segment in it is whole; is it a recording of loiter?"))
}

fn refuse_newer(file: &Path, head: SegmentHead) -> Result<SegmentHead, RecordError> {
    if head.version.0 > VERSION.0 {
        return Err(RecordError::Newer {
            path: file.to_owned(),
            major: head.version.0,
            minor: head.version.1,
            ours: VERSION.0,
            writer: head.meta.writer,
        });
    }
    Ok(head)
}

/// Whether what a segment tells first is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Prelude {
    /// All was told before.
    Known,
    /// Something is missing, or nothing was told yet.
    Needed,
}

/// The items of a recording: see [`Recording::items`].
pub struct Items {
    files: VecDeque<PathBuf>,
    recording: u64,
    scanner: Option<Scanner>,
    /// The segment whose frames are believed.
    segment: Option<u64>,
    /// The moment up to which inputs had been told when that segment began.
    segment_at: KTime,
    /// The number of the next input; None before the first segment.
    next: Option<u64>,
    prelude: Prelude,
    filter: Filter,
    passed: u64,
    tail: Tail,
    queue: VecDeque<Item>,
}

impl Items {
    fn new(recording: &Recording) -> Self {
        Self {
            files: recording.files.iter().cloned().collect(),
            recording: recording.recording,
            scanner: None,
            segment: None,
            segment_at: KTime(0),
            next: None,
            prelude: Prelude::Needed,
            filter: Filter::default(),
            passed: 0,
            tail: Tail::default(),
            queue: VecDeque::new(),
        }
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.passed.saturating_add(self.scanner.as_ref().map_or(0, Scanner::position))
    }

    /// How it ends, once there is no next item.
    pub const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The next item; None at the end.
    ///
    /// # Errors
    /// If it cannot be read, or a later segment is of a later version.
    pub fn next_item(&mut self) -> Result<Option<Item>, RecordError> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Ok(Some(item));
            }
            let Some(scanner) = &mut self.scanner else {
                match self.files.pop_front() {
                    Some(file) => self.scanner = open_if_there(&file)?,
                    None => return Ok(None),
                }
                continue;
            };
            match scanner.next(Depth::Content)? {
                None => {
                    self.passed = self.passed.saturating_add(scanner.len());
                    self.scanner = None;
                }
                Some(Found::Damage(bytes)) => self.damaged(bytes),
                Some(Found::Frame(head)) => self.frame(&head)?,
            }
        }
    }

    fn damaged(&mut self, bytes: u64) {
        self.tail.damaged = self.tail.damaged.saturating_add(bytes);
    }

    fn frame(&mut self, head: &Head) -> Result<(), RecordError> {
        let taken = match head.kind {
            // Of a later minor version.
            None => Ok(()),
            Some(FrameKind::Segment) => return self.segment(head),
            _ if self.segment != Some(head.segment) => Err(Malformed("of another segment")),
            Some(FrameKind::Prelude) => self.prelude(head),
            Some(FrameKind::Inputs) => self.inputs(head),
            Some(FrameKind::End) => self.end(head),
        };
        if taken.is_err() {
            self.damaged(head_and(head));
        }
        Ok(())
    }

    fn content(&self) -> &[u8] {
        self.scanner.as_ref().map_or(&[], Scanner::content)
    }

    fn segment(&mut self, head: &Head) -> Result<(), RecordError> {
        self.segment = None;
        let Ok(begin) = SegmentHead::decode(self.content()) else {
            self.damaged(head_and(head));
            return Ok(());
        };
        let begin = refuse_newer(self.path(), begin)?;
        if begin.recording != self.recording {
            self.damaged(head_and(head));
            return Ok(());
        }
        self.segment = Some(head.segment);
        self.segment_at = head.until;
        self.next.get_or_insert(head.number);
        self.tail.closed = None;
        self.tail.stopped = None;
        Ok(())
    }

    fn path(&self) -> &Path {
        self.scanner.as_ref().map_or(Path::new(""), Scanner::path)
    }

    fn prelude(&mut self, head: &Head) -> Result<(), Malformed> {
        if self.next.is_some_and(|next| head.number > next) {
            self.gap(head.number, head.from);
        }
        if self.prelude == Prelude::Known {
            return Ok(());
        }
        let mut decoded = decode(self.content(), head.inputs)?;
        self.filter.again(&mut decoded.inputs, self.segment_at);
        self.tell(decoded.inputs);
        Ok(())
    }

    fn inputs(&mut self, head: &Head) -> Result<(), Malformed> {
        let next = self.next.unwrap_or(head.number);
        if head.number < next {
            return Err(Malformed("inputs that came before"));
        }
        let decoded = decode(self.content(), head.inputs)?;
        if head.number > next || self.tail.damaged > 0 {
            self.gap(head.number, head.from);
        }
        self.next = Some(head.number.saturating_add(u64::from(head.inputs)));
        self.prelude = Prelude::Known;
        self.tail.unknown = self.tail.unknown.saturating_add(u64::from(decoded.unknown));
        self.tail.until = self.tail.until.max(head.until);
        let mut inputs = decoded.inputs;
        self.filter.first_time(&mut inputs);
        self.tail.left_out = self.filter.left_out();
        self.tell(inputs);
        Ok(())
    }

    fn end(&mut self, head: &Head) -> Result<(), Malformed> {
        let end = SegmentEnd::decode(self.content())?;
        if self.next.is_some_and(|next| head.number > next) {
            self.gap(head.number, head.until);
        }
        match end.kind {
            EndKind::Rolled => {}
            EndKind::Closed => self.tail.closed = Some(end.why),
            EndKind::Stopped => self.tail.stopped = Some(end.why),
        }
        Ok(())
    }

    fn tell(&mut self, inputs: Vec<Input>) {
        if !inputs.is_empty() {
            self.queue.push_back(Item::Inputs(inputs));
        }
    }

    /// Up to the input of this number, told at this moment, something is missing.
    fn gap(&mut self, number: u64, until: KTime) {
        let inputs = number.saturating_sub(self.next.unwrap_or(number));
        let bytes = std::mem::take(&mut self.tail.damaged);
        let since = self.tail.until;
        let gap = Gap { inputs, bytes, since, until: until.max(since) };
        self.next = Some(number);
        if inputs > 0 {
            self.prelude = Prelude::Needed;
            self.filter.lost();
        }
        self.queue.push_back(Item::Gap(gap));
        self.tell(gap.loss().into_iter().collect());
    }
}

fn head_and(head: &Head) -> u64 {
    super::frame::HEAD as u64 + u64::from(head.stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_major_version_is_refused_by_name_with_what_helps() {
        let writer = "loiter 9.1, eBPF part 12".to_owned();
        let meta = Meta { writer, ..Meta::default() };
        let head = SegmentHead { version: (VERSION.0 + 1, 2), recording: 1, index: 0, meta };
        let refused = refuse_newer(Path::new("night.loiter"), head).unwrap_err().to_string();
        for word in ["night.loiter", "2.2", "up to 1", "loiter 9.1", "a later one"] {
            assert!(refused.contains(word), "{word}: {refused}");
        }
    }
}
