//! The root file system of a virtual machine, in the form the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
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
