//! Where the answer goes: stdout, or a file that is replaced as a whole, so that a failure loses
//! nothing that was there. May use: cli::exit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::exit;

/// The mode of a new file, before the umask.
const NEW_FILE: u32 = 0o666;

/// When the file is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    /// It is replaced by the whole answer, at its end.
    AtEnd,
    /// It is emptied when the first finding is written, and then grows: a long watch may end in a
    /// power cut, and what was found until then must be there.
    AtFirstByte,
}

/// A writer for the answer. Nothing is opened before the first byte.
pub struct Destination {
    file: Option<PathBuf>,
    touch: Touch,
    open: Option<BufWriter<Box<dyn Write>>>,
    replacement: Option<Replacement>,
}

impl Destination {
    /// Stdout, or a file. `-` is stdout.
    ///
    /// # Errors
    /// A usage error if the file cannot be written: before any work is done.
    pub fn new(file: Option<&Path>, touch: Touch) -> anyhow::Result<Self> {
        let file = file.filter(|p| *p != Path::new("-")).map(check).transpose()?;
        Ok(Self { file, touch, open: None, replacement: None })
    }

    /// Whether the answer goes to a file.
    pub fn is_file(&self) -> bool {
        self.file.is_some()
    }

    fn writer(&mut self) -> io::Result<&mut BufWriter<Box<dyn Write>>> {
        if self.open.is_none() {
            let raw: Box<dyn Write> = match &self.file {
                None => Box::new(io::stdout().lock()),
                Some(path) if self.touch == Touch::AtFirstByte || !is_replaceable(path) => {
                    Box::new(OpenOptions::new().write(true).create(true).truncate(true).open(path)?)
                }
                Some(path) => {
                    let (file, replacement) = Replacement::create(path)?;
                    self.replacement = Some(replacement);
                    Box::new(file)
                }
            };
            self.open = Some(BufWriter::with_capacity(64 << 10, raw));
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("no writer"))
    }

    /// Completes the answer: everything is written, and the file is the new one.
    ///
    /// # Errors
    /// If it could not be written; the file is then as it was.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let done = self.finish_io();
        done.map_err(|e| self.named(&e)).context("the answer is not complete")
    }

    /// The error with the name of what could not be written.
    fn named(&self, error: &io::Error) -> io::Error {
        let to = self.file.as_deref().map_or("stdout".to_owned(), |p| p.display().to_string());
        io::Error::new(error.kind(), format!("cannot write to {to}: {error}"))
    }

    fn finish_io(&mut self) -> io::Result<()> {
        self.writer()?.flush()?;
        self.open = None;
        match self.replacement.take() {
            Some(replacement) => replacement.put_in_place(),
            None => Ok(()),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.writer().and_then(|w| w.write(buf));
        written.map_err(|e| self.named(&e))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.writer().and_then(Write::flush);
        flushed.map_err(|e| self.named(&e))
    }
}

/// Pipes and devices cannot be replaced: they are written to.
fn is_replaceable(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(meta) => {
            let kind = meta.file_type();
            !(kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket())
        }
        Err(_) => true,
    }
}

/// Follows links, so that a link stays one, and refuses what can be seen to fail later.
fn check(path: &Path) -> anyhow::Result<PathBuf> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real.is_dir() {
        return Err(exit::usage(format!("{} is a directory: a file is wanted", path.display())));
    }
    let parent = match real.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let place = if is_replaceable(&real) { parent } else { &real };
    match rustix::fs::access(place, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Ok(real),
        Err(e) => {
            Err(exit::usage(format!("cannot write to {}: {}", path.display(), io::Error::from(e))))
        }
    }
}

/// A file beside the one it is to replace; removed if it does not come to that.
struct Replacement {
    beside: PathBuf,
    path: PathBuf,
    file: File,
    done: bool,
}

impl Replacement {
    fn create(path: &Path) -> io::Result<(File, Self)> {
        let name = path.file_name().ok_or_else(|| io::Error::other("the path has no file name"))?;
        let beside = path.with_file_name(format!(
            ".{}.loiter-{}",
            name.to_string_lossy(),
            std::process::id()
        ));
        // O_EXCL: never through a link that somebody has put there.
        let file = OpenOptions::new().write(true).create_new(true).mode(NEW_FILE).open(&beside)?;
        let replacement =
            Self { beside, path: path.to_owned(), file: file.try_clone()?, done: false };
        if let Ok(meta) = fs::metadata(path) {
            replacement
                .file
                .set_permissions(fs::Permissions::from_mode(meta.permissions().mode()))?;
        }
        Ok((file, replacement))
    }

    fn put_in_place(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.beside, &self.path)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.done {
            let _nothing_more_can_be_done = fs::remove_file(&self.beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut to = Destination::new(Some(&path), Touch::AtEnd).unwrap();
        to.write_all(b"new").unwrap();
        to.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        to.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(files(dir.path()), ["out"]);
    }

    #[test]
    fn a_failure_loses_nothing_that_was_there_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut to = Destination::new(Some(&path), Touch::AtEnd).unwrap();
        to.write_all(b"half of it").unwrap();
        drop(to);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(files(dir.path()), ["out"]);
    }

    #[test]
    fn a_watch_touches_its_file_only_with_the_first_finding() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut to = Destination::new(Some(&path), Touch::AtFirstByte).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        to.write_all(b"finding").unwrap();
        to.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"finding");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut to = Destination::new(Some(&link), Touch::AtEnd).unwrap();
        to.write_all(b"new").unwrap();
        to.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let mut to = Destination::new(Some(Path::new("/dev/null")), Touch::AtEnd).unwrap();
        to.write_all(b"gone").unwrap();
        to.finish().unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_full_disk_is_named_with_the_file() {
        let mut to = Destination::new(Some(Path::new("/dev/full")), Touch::AtEnd).unwrap();
        to.write_all(b"text").unwrap();
        let error = format!("{:#}", to.finish().unwrap_err());
        assert!(error.contains("/dev/full") && error.contains("No space left"), "{error}");
    }

    #[test]
    fn a_directory_and_a_missing_one_are_refused_before_any_work() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Destination::new(Some(dir.path()), Touch::AtEnd).is_err());
        assert!(Destination::new(Some(&dir.path().join("missing/out")), Touch::AtEnd).is_err());
    }
}
