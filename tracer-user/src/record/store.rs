//! Segments on disk: packs frames, writes each with one call, removes the oldest segments. Runs on
//! a thread of its own; when the disk refuses, what was written stays as it is.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::base::{KTime, Nanos};

use super::codec::KindTotals;
use super::encoder::{Freeze, Order, RawFrame, Stored};
use super::error::RecordError;
use super::frame::{Codec, FrameKind, HEAD, Head, checksum};
use super::freeze::{Frozen, Kept, OPEN_DIR};
use super::header::{EndKind, Meta, SegmentEnd, SegmentHead, VERSION};

/// How hard zstd tries. Measured on events: level 1 packs 6 % worse, level 6 halves the speed.
const LEVEL: i32 = 3;
/// Contents smaller than this are stored as they are.
const SMALLEST_PACKED: usize = 128;
/// Ends the name of a segment's file, and of a recording in one file.
pub const EXTENSION: &str = "loiter";

/// Where a recording goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// One file: nothing is ever removed.
    File(PathBuf),
    /// A directory of segments.
    Directory(PathBuf),
}

impl Place {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Place::File(path) | Place::Directory(path) => path,
        }
    }
}

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// At most so many bytes; None = as many as the disk takes.
    pub max_bytes: Option<u64>,
    /// At least this long; what is older is removed with its segment. None = all of it.
    pub keep: Option<Nanos>,
}

impl Limits {
    /// The least that [`Limits::max_bytes`] may be: two segments with what each begins with.
    pub const LEAST_BYTES: u64 = 1 << 20;
    /// A segment of a recording without bounds: what damage to its beginning can cost at most.
    const SEGMENT: u64 = 64 << 20;
    /// So many segments share the bounds: as exact as removing the oldest whole can be.
    const PARTS: u64 = 8;

    /// When a segment is large or old enough.
    pub(super) fn segment(&self) -> super::encoder::SegmentBounds {
        let bytes = self.max_bytes.map_or(Self::SEGMENT, |max| max / Self::PARTS);
        let age = self.keep.map(|keep| Nanos(keep.0 / Self::PARTS));
        super::encoder::SegmentBounds { bytes: bytes.min(Self::SEGMENT), age }
    }
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Inputs taken in, those since removed included.
    pub inputs: u64,
    /// Bytes that lie there now.
    pub bytes: u64,
    /// Segments that lie there now.
    pub segments: u64,
    /// Segments removed again.
    pub removed: u64,
}

struct Segment {
    name: String,
    file: File,
    /// Bytes in the file: a single file holds all segments.
    end: u64,
    begun_at: u64,
    id: u64,
}

struct Closed {
    name: String,
    bytes: u64,
    until: KTime,
}

/// See the module.
pub struct Store {
    place: Place,
    dir: OwnedFd,
    limits: Limits,
    recording: u64,
    meta: Meta,
    /// A file whose last segment has ended, or whose first has not begun, until the next begins.
    waiting: Option<Segment>,
    /// What is kept beside this recording.
    frozen: Option<Frozen>,
    stored: Arc<Stored>,
    packer: zstd::bulk::Compressor<'static>,
    packed: Vec<u8>,
    current: Option<Segment>,
    closed: VecDeque<Closed>,
    segments: u64,
    written: Written,
    /// Up to where inputs were written.
    until: KTime,
}

impl Store {
    /// Makes the file or directory. It must not be there, or be an empty directory: nothing is
    /// ever overwritten, and no link is followed.
    ///
    /// # Errors
    /// If it is there, or the system refuses.
    pub fn create(
        place: Place,
        limits: Limits,
        meta: Meta,
        stored: Arc<Stored>,
    ) -> Result<Self, RecordError> {
        let dir = match &place {
            Place::Directory(path) => directory(path)?,
            Place::File(path) => parent(path)?,
        };
        let packer = zstd::bulk::Compressor::new(LEVEL)
            .map_err(RecordError::io("prepare packing for", place.path()))?;
        let mut recording = [0; 8];
        rustix::rand::getrandom(&mut recording, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| RecordError::io("make a number for", place.path())(e.into()))?;
        let recording = u64::from_le_bytes(recording);
        let waiting = match &place {
            // It is there from the start.
            Place::File(path) => Some(create(&dir, name_of(path), path, segment_id(recording, 0))?),
            Place::Directory(_) => None,
        };
        Ok(Self {
            place,
            dir,
            limits,
            recording,
            meta,
            waiting,
            frozen: None,
            stored,
            packer,
            packed: Vec::new(),
            current: None,
            closed: VecDeque::new(),
            segments: 0,
            written: Written::default(),
            until: KTime(0),
        })
    }

    /// What was written so far.
    pub const fn written(&self) -> Written {
        self.written
    }

    /// Carries out an order. After an error nothing more is written: the file ends with its last
    /// whole frame, and where there is room with the reason.
    ///
    /// # Errors
    /// If the disk refuses, or the bound of a single file is reached.
    pub fn carry_out(&mut self, order: Order) -> Result<(), RecordError> {
        let done = match order {
            Order::Segment { totals, number, at } => self.begin(totals, number, at),
            Order::Frame(frame) => self.frame(&frame),
            Order::Freeze(Freeze { to, done }) => {
                done.tell(self.freeze(to));
                Ok(())
            }
            Order::Release { totals, why, number, at, done } => {
                self.release(&why, totals, number, at).map(|kept| done.tell(kept))
            }
            Order::End { totals, why, number, at } => {
                self.finish(EndKind::Closed, &why, totals, number, at).and_then(|()| self.sync())
            }
        };
        if let Err(why) = &done {
            let (number, at) = (self.written.inputs, self.until);
            let why = why.to_string();
            let _no_room_for_it_either =
                self.finish(EndKind::Stopped, &why, KindTotals::default(), number, at);
            self.current = None;
        }
        done
    }

    /// Brings what was written to the disk.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync(&mut self) -> Result<(), RecordError> {
        match &self.current {
            Some(segment) => {
                segment.file.sync_data().map_err(RecordError::io("write", self.place.path()))
            }
            None => Ok(()),
        }
    }

    fn begin(&mut self, totals: KindTotals, number: u64, at: KTime) -> Result<(), RecordError> {
        self.finish(EndKind::Rolled, "", totals, number, at)?;
        let index = self.segments;
        self.segments += 1;
        let last = self.current.take().or_else(|| self.waiting.take());
        let id = segment_id(self.recording, index);
        let segment = match (&self.place, last) {
            (Place::File(_), Some(last)) => Segment { begun_at: last.end, id, ..last },
            (_, last) => {
                self.close(last, at)?;
                self.create_segment(index, id)?
            }
        };
        self.current = Some(segment);
        self.written.segments += 1;
        let head = SegmentHead {
            version: VERSION,
            recording: self.recording,
            index,
            meta: self.meta.clone(),
        };
        self.write(FrameKind::Segment, &head.encode(), 0, 0, number, (at, at))
    }

    fn create_segment(&mut self, index: u64, id: u64) -> Result<Segment, RecordError> {
        let name = format!("{index:08}.{EXTENSION}");
        let path = self.path(&name);
        let segment = create(&self.dir, name, &path, id)?;
        // Without it a power cut could take the name away, and with it what was synced.
        sync_dir(&self.dir, self.place.path())?;
        if let Some(frozen) = &mut self.frozen {
            frozen.add(&self.dir, &segment.name);
        }
        Ok(segment)
    }

    /// Keeps the segments there are.
    fn freeze(&mut self, to: PathBuf) -> Result<(), RecordError> {
        if self.frozen.is_some() || matches!(self.place, Place::File(_)) {
            return Err(RecordError::CannotKeep { path: to });
        }
        let mut frozen = Frozen::create(to)?;
        let here = self.waiting.iter().chain(&self.current).map(|segment| &segment.name);
        for name in self.closed.iter().map(|closed| &closed.name).chain(here) {
            frozen.add(&self.dir, name);
        }
        frozen.begun()?;
        self.frozen = Some(frozen);
        Ok(())
    }

    /// Ends the segment, and what is kept; this recording goes on with the next segment.
    fn release(
        &mut self,
        why: &str,
        totals: KindTotals,
        number: u64,
        at: KTime,
    ) -> Result<Result<Kept, RecordError>, RecordError> {
        self.finish(EndKind::Closed, why, totals, number, at)?;
        self.sync()?;
        self.waiting = self.current.take();
        let Some(frozen) = self.frozen.take() else {
            return Ok(Err(RecordError::CannotKeep { path: self.place.path().to_owned() }));
        };
        Ok(frozen.ended())
    }

    /// Of a segment in a directory.
    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A whole segment of a directory is there for good.
    fn close(&mut self, segment: Option<Segment>, until: KTime) -> Result<(), RecordError> {
        if let Some(segment) = segment {
            segment
                .file
                .sync_data()
                .map_err(RecordError::io("write", &self.path(&segment.name)))?;
            let bytes = segment.end;
            self.closed.push_back(Closed { name: segment.name, bytes, until });
        }
        Ok(())
    }

    /// Before so many bytes more are written.
    fn make_room(&mut self, more: u64) -> Result<(), RecordError> {
        let now = self.until;
        while let Some(oldest) = self.closed.front() {
            let bytes = self.written.bytes.saturating_add(more);
            let too_many = self.limits.max_bytes.is_some_and(|max| bytes > max);
            let too_old = self.limits.keep.is_some_and(|keep| now.since(oldest.until) > keep);
            if !too_many && !too_old {
                break;
            }
            rustix::fs::unlinkat(&self.dir, &oldest.name, AtFlags::empty())
                .map_err(|e| RecordError::io("remove", &self.path(&oldest.name))(e.into()))?;
            self.written.bytes = self.written.bytes.saturating_sub(oldest.bytes);
            self.written.segments = self.written.segments.saturating_sub(1);
            self.written.removed += 1;
            self.closed.pop_front();
        }
        Ok(())
    }

    fn finish(
        &mut self,
        kind: EndKind,
        why: &str,
        totals: KindTotals,
        number: u64,
        at: KTime,
    ) -> Result<(), RecordError> {
        if self.current.is_none() {
            return Ok(());
        }
        let end = SegmentEnd { kind, why: why.to_owned(), totals };
        self.write(FrameKind::End, &end.encode(), 0, 0, number, (at, at))
    }

    fn frame(&mut self, frame: &RawFrame) -> Result<(), RecordError> {
        if frame.kind == FrameKind::Inputs && self.is_full(frame.raw.len()) {
            let path = self.place.path().to_owned();
            return Err(RecordError::Full { path, limit: self.limits.max_bytes.unwrap_or(0) });
        }
        // Packing makes it smaller; with its head it is this at most.
        self.make_room((frame.raw.len() + 2 * HEAD) as u64)?;
        let span = (frame.from, frame.until);
        self.write(frame.kind, &frame.raw, frame.inputs, frame.events, frame.number, span)?;
        if frame.kind == FrameKind::Inputs {
            self.written.inputs = frame.number.saturating_add(u64::from(frame.inputs));
            self.until = self.until.max(frame.until);
        }
        Ok(())
    }

    /// Whether a single file has no room for this; a directory makes room.
    fn is_full(&self, more: usize) -> bool {
        let here = self.current.as_ref().map_or(0, |s| s.end);
        matches!(self.place, Place::File(_))
            && self.limits.max_bytes.is_some_and(|max| here.saturating_add(more as u64) > max)
    }

    fn write(
        &mut self,
        kind: FrameKind,
        raw: &[u8],
        inputs: u32,
        events: u32,
        number: u64,
        (from, until): (KTime, KTime),
    ) -> Result<(), RecordError> {
        let Some(segment) = &mut self.current else { return Ok(()) };
        let path = self.place.path();
        self.packed.clear();
        self.packed.resize(HEAD, 0);
        let codec = if raw.len() < SMALLEST_PACKED {
            self.packed.extend_from_slice(raw);
            Codec::Plain
        } else {
            let packed =
                self.packer.compress(raw).map_err(RecordError::io("pack a frame of", path))?;
            self.packed.extend_from_slice(&packed);
            Codec::Zstd
        };
        let stored = self.packed.get(HEAD..).unwrap_or_default();
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let head = Head {
            kind: Some(kind),
            codec,
            stored: size(stored.len()),
            raw: size(raw.len()),
            inputs,
            events,
            segment: segment.id,
            number,
            from: from.min(until),
            until,
            sum: checksum(stored),
        };
        if let Some(to) = self.packed.first_chunk_mut::<HEAD>() {
            *to = head.encode();
        }
        if let Err(error) = segment.file.write_all(&self.packed) {
            // Half a frame would be damage; without it the file ends as it should.
            let _stays_damaged = segment.file.set_len(segment.end);
            let _see_above = io::Seek::seek(&mut segment.file, io::SeekFrom::Start(segment.end));
            return Err(RecordError::io("write", path)(error));
        }
        let bytes = self.packed.len() as u64;
        segment.end += bytes;
        self.written.bytes += bytes;
        let counted = if kind == FrameKind::Segment { 0 } else { raw.len() as u64 };
        self.stored.tell(self.segments, counted, segment.end - segment.begun_at);
        Ok(())
    }
}

/// A new file that only its owner may read.
fn create(dir: &OwnedFd, name: String, path: &Path, id: u64) -> Result<Segment, RecordError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, &name, flags, Mode::RUSR | Mode::WUSR);
    let file = file.map_err(|e| match e {
        rustix::io::Errno::EXIST => RecordError::Occupied(path.to_owned()),
        e => RecordError::io("create", path)(e.into()),
    })?;
    Ok(Segment { name, file: file.into(), end: 0, begun_at: 0, id })
}

/// Brings the names in a directory to the disk. File systems that cannot do that keep them anyway.
pub(super) fn sync_dir(dir: &OwnedFd, path: &Path) -> Result<(), RecordError> {
    match rustix::fs::fsync(dir) {
        Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
        Err(e) => Err(RecordError::io("write the directory", path)(e.into())),
    }
}

/// Frames of other segments, left over on the disk or made up by a target, do not fit.
fn segment_id(recording: u64, index: u64) -> u64 {
    checksum(&[recording.to_le_bytes(), index.to_le_bytes()].concat())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn parent(path: &Path) -> Result<OwnedFd, RecordError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    rustix::fs::open(parent, OPEN_DIR, Mode::empty())
        .map_err(|e| RecordError::io("open the directory", parent)(e.into()))
}

/// A new directory that only its owner may enter, or one that is there and empty.
fn directory(path: &Path) -> Result<OwnedFd, RecordError> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(e) => return Err(RecordError::io("create the directory", path)(e.into())),
    }
    let dir = rustix::fs::open(path, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|e| RecordError::io("open the directory", path)(e.into()))?;
    let mut entries = std::fs::read_dir(path).map_err(RecordError::io("read", path))?;
    if entries.next().is_some() { Err(RecordError::Occupied(path.to_owned())) } else { Ok(dir) }
}
