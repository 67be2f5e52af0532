//! Files to be packed, and archives of them that are the same bytes whoever packs them, and when.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};

/// Rights of what can be run, and of directories.
pub const PROGRAM: u32 = 0o755;
/// Rights of everything else.
pub const PLAIN: u32 = 0o644;

/// One file of a package.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it lies, without a slash in front: `usr/bin/loiter`.
    pub path: String,
    /// Its rights.
    pub mode: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

impl File {
    /// A file that is only read.
    pub fn plain(path: impl Into<String>, content: impl Into<Vec<u8>>) -> File {
        File { path: path.into(), mode: PLAIN, content: content.into() }
    }

    /// A file that is run.
    pub fn program(path: impl Into<String>, content: impl Into<Vec<u8>>) -> File {
        File { path: path.into(), mode: PROGRAM, content: content.into() }
    }

    /// A file of this machine, elsewhere in a package.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn copy(from: &Path, path: impl Into<String>) -> Result<File> {
        Ok(File::plain(path, read(from)?))
    }
}

/// A file's content.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// All files directly in a directory, by name.
///
/// # Errors
/// If it cannot be read.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    Ok(found)
}

/// Writes a file.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// A tar archive: sorted, owned by root, all of one time.
///
/// # Errors
/// If a path does not fit into an archive.
pub fn tar(files: &[File], epoch: u64) -> Result<Vec<u8>> {
    let mut sorted: Vec<&File> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut archive = tar::Builder::new(Vec::new());
    for dir in directories(&sorted) {
        let mut header = header(tar::EntryType::Directory, PROGRAM, 0, epoch);
        archive.append_data(&mut header, format!("{dir}/"), std::io::empty())?;
    }
    for file in sorted {
        let size = u64::try_from(file.content.len())?;
        let mut header = header(tar::EntryType::Regular, file.mode, size, epoch);
        archive
            .append_data(&mut header, &file.path, file.content.as_slice())
            .with_context(|| format!("cannot pack {}", file.path))?;
    }
    Ok(archive.into_inner()?)
}

fn header(kind: tar::EntryType, mode: u32, size: u64, epoch: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(epoch);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Each directory before those in it.
fn directories(files: &[&File]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files {
        for (at, _) in file.path.match_indices('/') {
            found.extend(file.path.get(..at).map(str::to_owned));
        }
    }
    found
}

/// Packed with gzip as small as it goes, which Debian's policy asks for, without a name or a time.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    packer.write_all(content)?;
    Ok(packer.finish()?)
}

/// Writes files below a directory, all of one time.
///
/// # Errors
/// If one cannot be written.
pub fn unpack(files: &[File], into: &Path, epoch: u64) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
    for file in files {
        let path = into.join(&file.path);
        let dir = path.parent().unwrap_or(into);
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        write(&path, &file.content)?;
        let set = || {
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
            fs::File::options().append(true).open(&path)?.set_modified(time)
        };
        set().with_context(|| format!("cannot set rights and time of {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn some() -> Vec<File> {
        vec![File::plain("usr/share/b", "b"), File::program("usr/bin/a", "a")]
    }

    #[test]
    fn an_archive_is_the_same_in_whatever_order_files_come() {
        let mut turned = some();
        turned.reverse();
        assert_eq!(tar(&some(), 7).unwrap(), tar(&turned, 7).unwrap());
        assert_eq!(gzip(b"abc").unwrap(), gzip(b"abc").unwrap());
    }

    #[test]
    fn what_was_packed_is_read_back_with_rights_and_time() {
        let packed = tar(&some(), 7).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (path, header.mode().unwrap(), header.mtime().unwrap())
            })
            .collect();
        let expected = [
            ("usr/", PROGRAM),
            ("usr/bin/", PROGRAM),
            ("usr/share/", PROGRAM),
            ("usr/bin/a", PROGRAM),
            ("usr/share/b", PLAIN),
        ];
        assert_eq!(seen, expected.map(|(path, mode)| (path.to_owned(), mode, 7)));
    }
}
