//! Files of a target, opened so that the target cannot make loiter open another.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::base::Pid;

use super::error::EXECUTABLE;
use super::{Mapping, TargetError, procfs};

/// Tells file contents apart: equal ids mean an unchanged file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Time of the last change to the contents, ns since the Unix epoch.
    pub modified_ns: i128,
    /// Length in bytes.
    pub len: u64,
}

/// A regular file, open for reading at offsets.
#[derive(Debug)]
pub struct FileAt {
    file: File,
    id: FileId,
}

impl FileAt {
    /// Opens the executable of a process, whatever its mount namespace and also if it was removed.
    ///
    /// # Errors
    /// If there is no such process, it is a kernel thread, or it may not be read.
    pub fn exe(pid: Pid) -> Result<Self, TargetError> {
        match File::open(procfs::path(pid, "exe")) {
            Ok(file) => Self::regular(file).map_err(|e| TargetError::from_io(pid, EXECUTABLE, &e)),
            Err(error) => Err(super::process::no_exe(pid, &error)),
        }
    }

    /// Opens a file that a process has left at a place that others may write to, by its path within
    /// the root of the process; only if it is its user's own.
    pub(super) fn left_by(pid: Pid, path: &Path) -> io::Result<Self> {
        let file = Self::in_root(pid, path)?;
        let owner = std::fs::metadata(procfs::path(pid, ""))?.uid();
        if ![0, owner].contains(&file.metadata()?.uid()) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        Self::regular(file)
    }

    /// Opens the file behind a mapping of a process: by the mapping itself where the kernel
    /// allows it, else by path within the root of the process, if inode and device still agree.
    ///
    /// # Errors
    /// If it cannot be opened, or another file is there now.
    pub fn mapped(pid: Pid, mapping: &Mapping) -> Result<Self, TargetError> {
        const WHAT: &str = "a mapped file";
        let by_range =
            procfs::path(pid, &format!("map_files/{:x}-{:x}", mapping.start, mapping.end));
        if let Ok(file) = File::open(by_range) {
            return Self::regular(file).map_err(|e| TargetError::from_io(pid, EXECUTABLE, &e));
        }
        let file = Self::in_root(pid, &mapping.path)
            .and_then(Self::regular)
            .map_err(|e| TargetError::from_io(pid, EXECUTABLE, &e).meanwhile())?;
        let expected = mapping.file.map(|key| key.inode);
        if expected != Some(file.id.inode) {
            return Err(TargetError::Malformed {
                pid,
                what: WHAT,
                detail: "its path now leads to another file",
            });
        }
        Ok(file)
    }

    /// Opens any file by a path of loiter's own mount namespace.
    ///
    /// # Errors
    /// If it cannot be opened or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::regular(File::open(path)?)
    }

    /// Opens a file by a path of the process's mount namespace.
    ///
    /// # Errors
    /// If it cannot be opened or is not a regular file.
    pub fn within_root_of(pid: Pid, path: &Path) -> io::Result<Self> {
        Self::regular(Self::in_root(pid, path)?)
    }

    /// Links are resolved inside the root of the process and never block (pipes, devices).
    fn in_root(pid: Pid, path: &Path) -> io::Result<File> {
        let root = rustix::fs::open(
            procfs::path(pid, "root"),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(
            root,
            OsStr::from_bytes(path.as_os_str().as_bytes()),
            flags,
            Mode::empty(),
            resolve,
        )?;
        Ok(File::from(fd))
    }

    fn regular(file: File) -> io::Result<Self> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let modified_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        let id = FileId { device: meta.dev(), inode: meta.ino(), modified_ns, len: meta.len() };
        Ok(Self { file, id })
    }

    /// Its length when it was opened.
    pub const fn len(&self) -> u64 {
        self.id.len
    }

    /// Whether it was empty when it was opened.
    pub const fn is_empty(&self) -> bool {
        self.id.len == 0
    }

    /// Which file it is.
    pub const fn id(&self) -> FileId {
        self.id
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// If the file ends before, or cannot be read.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    /// A path that leads to this very file as long as it is open, whatever happens to its name.
    pub fn fd_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

impl AsFd for FileAt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Maps;

    fn me() -> Pid {
        Pid(std::process::id())
    }

    #[test]
    fn the_executable_and_its_mapping_are_the_same_file() {
        let exe = FileAt::exe(me()).unwrap();
        let here = me as *const () as u64;
        let maps = Maps::of(me()).unwrap();
        let mapped = FileAt::mapped(me(), maps.find(here).unwrap()).unwrap();
        assert_eq!(exe.id(), mapped.id());
        let mut magic = [0; 4];
        mapped.read_at(0, &mut magic).unwrap();
        assert_eq!(&magic, b"\x7fELF");
        assert_eq!(FileAt::open(&exe.fd_path()).unwrap().id(), exe.id());
    }

    #[test]
    fn a_path_that_leads_to_another_file_now_is_refused() {
        let maps = Maps::of(me()).unwrap();
        let mut mapping = maps.find(me as *const () as u64).unwrap().clone();
        mapping.start = 0x1000;
        mapping.end = 0x2000;
        assert!(FileAt::mapped(me(), &mapping).is_ok());
        mapping.file.as_mut().unwrap().inode ^= 1;
        assert!(matches!(FileAt::mapped(me(), &mapping), Err(TargetError::Malformed { .. })));
    }

    #[test]
    fn a_directory_is_not_a_file_to_read() {
        assert!(FileAt::open(Path::new("/")).is_err());
    }
}
