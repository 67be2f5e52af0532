//! Frames out of a file, one after another, whatever state the file is in. What is damaged is
//! passed over and told; memory is bounded by one frame.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::error::RecordError;
use super::frame::{Codec, FrameKind, HEAD, Head, MAGIC, checksum};

/// Bytes looked through at once for the next frame.
const STRIDE: usize = 256 << 10;

/// What lies at a place of the file.
#[derive(Debug)]
pub enum Found {
    /// A frame; its content is in [`Scanner::content`].
    Frame(Head),
    /// So many bytes that are no frame.
    Damage(u64),
}

/// How much of a frame is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Head and content, checked.
    Content,
    /// The head alone, and the content of ends of segments: fast.
    Head,
}

/// See the module.
pub struct Scanner {
    path: PathBuf,
    file: File,
    len: u64,
    at: u64,
    stored: Vec<u8>,
    raw: Vec<u8>,
    unpacker: zstd::bulk::Decompressor<'static>,
}

impl Scanner {
    /// Opens a file; what is appended to it later is not seen.
    ///
    /// # Errors
    /// If it cannot be opened, or is no plain file.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        // Without waiting: a pipe would wait for its writer.
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nonblock)
            .open(path)
            .map_err(RecordError::io("open", path))?;
        let meta = file.metadata().map_err(RecordError::io("read", path))?;
        if !meta.is_file() {
            let why = "it is no plain file".to_owned();
            return Err(RecordError::NoRecording { path: path.to_owned(), why });
        }
        let unpacker =
            zstd::bulk::Decompressor::new().map_err(RecordError::io("prepare unpacking", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            len: meta.len(),
            at: 0,
            stored: Vec::new(),
            raw: Vec::new(),
            unpacker,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes passed.
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Bytes of the file.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The content of the last frame.
    pub fn content(&self) -> &[u8] {
        &self.raw
    }

    /// What comes next; None at the end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next(&mut self, depth: Depth) -> Result<Option<Found>, RecordError> {
        let start = self.at;
        if start >= self.len {
            return Ok(None);
        }
        let Some(head) = self.head(start)? else {
            self.at = self.next_head(start + 1)?;
            return Ok(Some(Found::Damage(self.at - start)));
        };
        let end = start + HEAD as u64 + u64::from(head.stored);
        if end > self.len {
            self.at = self.len;
            return Ok(Some(Found::Damage(self.at - start)));
        }
        // Also when the content is damaged: a head that is whole says where the next one is.
        self.at = end;
        let wanted = depth == Depth::Content || head.kind == Some(FrameKind::End);
        if wanted && !self.unpack(start + HEAD as u64, &head)? {
            return Ok(Some(Found::Damage(end - start)));
        }
        Ok(Some(Found::Frame(head)))
    }

    fn head(&self, at: u64) -> Result<Option<Head>, RecordError> {
        let mut bytes = [0; HEAD];
        if !self.read(at, &mut bytes)? {
            return Ok(None);
        }
        Ok(Head::decode(&bytes).ok())
    }

    /// False where the file is too short.
    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<bool, RecordError> {
        match self.file.read_exact_at(bytes, at) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(RecordError::io("read", &self.path)(e)),
        }
    }

    /// Whether the content is what the head says.
    fn unpack(&mut self, at: u64, head: &Head) -> Result<bool, RecordError> {
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(head.stored as usize, 0);
        let whole = self.read(at, &mut stored)? && checksum(&stored) == head.sum;
        let unpacked = whole && self.unpack_into(&stored, head);
        self.stored = stored;
        Ok(unpacked)
    }

    fn unpack_into(&mut self, stored: &[u8], head: &Head) -> bool {
        match head.codec {
            Codec::Plain => {
                self.raw.clear();
                self.raw.extend_from_slice(stored);
                true
            }
            Codec::Zstd => {
                let raw = head.raw as usize;
                self.raw.resize(raw, 0);
                // A slice: what unpacks to more than the head says is refused.
                let unpacked = self.unpacker.decompress_to_buffer(stored, self.raw.as_mut_slice());
                unpacked.is_ok_and(|n| n == raw)
            }
        }
    }

    /// The next place, from `at`, where a whole head lies; the end of the file if there is none.
    fn next_head(&self, mut at: u64) -> Result<u64, RecordError> {
        let mut window = vec![0; STRIDE];
        while at < self.len {
            let left = usize::try_from(self.len - at).unwrap_or(usize::MAX);
            let size = left.min(STRIDE);
            let Some(here) = window.get_mut(..size) else { break };
            if !self.read(at, here)? {
                break;
            }
            for found in memmem::find_iter(here, &MAGIC) {
                let place = at + found as u64;
                if self.head(place)?.is_some() {
                    return Ok(place);
                }
            }
            if size < STRIDE {
                break;
            }
            // The magic may lie across two windows.
            at += (size - MAGIC.len() + 1) as u64;
        }
        Ok(self.len)
    }
}
