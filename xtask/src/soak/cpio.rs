//! The root file system of a virtual machine, in the form the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const LINK: u32 = 0o120_777;
/// Of a file's mode: regular.
const REGULAR: u32 = 0o100_000;
/// Of a file's mode: who may do what.
const RIGHTS: u32 = 0o7_777;
const CONSOLE: u32 = 0o020_600;
/// The number of `/dev/console`.
const CONSOLE_DEVICE: (u32, u32) = (5, 1);

/// An archive that grows.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    /// A directory.
    ///
    /// # Errors
    /// If the archive is too large for its form.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(path, DIRECTORY, (0, 0), &[])
    }

    /// A program.
    ///
    /// # Errors
    /// As [`Cpio::directory`].
    pub fn program(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.entry(path, PROGRAM, (0, 0), content)
    }

    /// Any other file.
    ///
    /// # Errors
    /// As [`Cpio::directory`].
    pub fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.entry(path, PLAIN, (0, 0), content)
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// As [`Cpio::directory`].
    pub fn link(&mut self, path: &str, to: &Path) -> Result<()> {
        self.entry(path, LINK, (0, 0), to.as_os_str().as_bytes())
    }

    /// Everything below a directory of this machine, owned by root; without the parts whose path is among `without`.
    ///
    /// # Errors
    /// If something cannot be read, and as [`Cpio::directory`].
    pub fn tree(&mut self, root: &Path, without: &[&str]) -> Result<()> {
        self.below(root, "", without)
    }

    fn below(&mut self, root: &Path, at: &str, without: &[&str]) -> Result<()> {
        let dir = root.join(at);
        let entries = fs::read_dir(&dir)
            .and_then(|all| all.collect::<std::io::Result<Vec<_>>>())
            .with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_str().with_context(|| format!("{name:?} is not UTF-8"))?;
            let path = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
            if !without.contains(&&*path) {
                self.copy(root, &path, without)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, root: &Path, path: &str, without: &[&str]) -> Result<()> {
        let from = root.join(path);
        let unreadable = || format!("cannot read {}", from.display());
        let about = fs::symlink_metadata(&from).with_context(unreadable)?;
        if about.is_symlink() {
            return self.link(path, &fs::read_link(&from).with_context(unreadable)?);
        }
        if about.is_dir() {
            self.directory(path)?;
            return self.below(root, path, without);
        }
        let content = fs::read(&from).with_context(unreadable)?;
        let mode = REGULAR | (about.permissions().mode() & RIGHTS);
        self.entry(path, mode, (0, 0), &content)
    }

    /// What the first process writes to.
    ///
    /// # Errors
    /// As [`Cpio::directory`].
    pub fn console(&mut self) -> Result<()> {
        self.entry("dev/console", CONSOLE, CONSOLE_DEVICE, &[])
    }

    /// The finished archive.
    ///
    /// # Errors
    /// As [`Cpio::directory`].
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).context("too large for an initramfs")?;
        let name = u32::try_from(path.len())?.saturating_add(1);
        self.entries = self.entries.saturating_add(1);
        // Inode, mode, user, group, links, time, size, device of the file and of the node, name, sum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}
