//! A part of a recording that is kept as one of its own: a directory with links to the segments, so
//! that keeping costs no copy, is there at once, and grows with the recording until it is let go.
//! Whatever happens to loiter meanwhile, what is linked is a recording.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::error::RecordError;
use super::store::sync_dir;

/// How directories are opened.
pub(super) const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Is told how something went on the thread that writes. Never called if the recording stops
/// before.
pub struct Done<T>(Box<dyn FnOnce(Result<T, RecordError>) + Send>);

impl<T> Done<T> {
    /// Calls this.
    pub fn new(call: impl FnOnce(Result<T, RecordError>) + Send + 'static) -> Self {
        Self(Box::new(call))
    }

    pub(super) fn tell(self, how: Result<T, RecordError>) {
        (self.0)(how);
    }
}

impl<T> fmt::Debug for Done<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

/// See the module.
pub(super) struct Frozen {
    path: PathBuf,
    dir: OwnedFd,
    names: Vec<String>,
    /// Of what could not be kept, the first.
    failed: Option<RecordError>,
}

impl Frozen {
    /// Makes the directory; only its owner may enter.
    pub fn create(path: PathBuf) -> Result<Self, RecordError> {
        rustix::fs::mkdir(&path, Mode::RWXU)
            .map_err(|e| RecordError::io("create the directory", &path)(e.into()))?;
        let dir = rustix::fs::open(&path, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|e| RecordError::io("open the directory", &path)(e.into()))?;
        Ok(Self { path, dir, names: Vec::new(), failed: None })
    }

    /// Keeps a segment of the directory `from`.
    pub fn add(&mut self, from: &OwnedFd, name: &str) {
        match rustix::fs::linkat(from, name, &self.dir, name, AtFlags::empty()) {
            Ok(()) => self.names.push(name.to_owned()),
            Err(why) => {
                let what = "link a segment into (the file system must have hard links)";
                let error = RecordError::io(what, &self.path)(why.into());
                self.failed.get_or_insert(error);
            }
        }
    }

    /// What there is lies there; if not all of it does, nothing is left behind.
    pub fn begun(&mut self) -> Result<(), RecordError> {
        if let Some(error) = self.failed.take() {
            for name in &self.names {
                let _stays_behind = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
            }
            let _see_above = rustix::fs::rmdir(&self.path);
            return Err(error);
        }
        sync_dir(&self.dir, &self.path)
    }

    /// Nothing is added any more.
    pub fn ended(self) -> Result<Kept, RecordError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        sync_dir(&self.dir, &self.path)?;
        let mut kept = Kept::default();
        for name in &self.names {
            let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| RecordError::io("read", &self.path)(e.into()))?;
            kept.bytes = kept.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            kept.segments += 1;
        }
        Ok(kept)
    }
}
