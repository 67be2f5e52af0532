//! The directory of a flight recorder: the ring of segments it fills now, and what was frozen.
//!
//! `DIR/ring` is the recording that goes on, `DIR/frozen/TIME-CAUSE` what was kept of it, each a
//! recording of its own; `DIR/control` is where `loiter freeze` asks. One loiter at a time has it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

use crate::pipeline::settings::Retention;
use crate::record::Recording;

const RING: &str = "ring";
const FROZEN: &str = "frozen";
/// What is being removed: a crash in between leaves no half recording under its name.
const REMOVED: &str = ".removed-";
/// Recordings of one second and cause.
const MOST_OF_A_NAME: u32 = 1_000;
/// Others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// See the module. Others are kept out until it is dropped.
pub struct Home {
    path: PathBuf,
    lock: File,
}

/// What a loiter before left in the ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Left {
    /// Nothing that tells anything new.
    Nothing,
    /// It broke off, and is kept here.
    Kept(PathBuf),
}

impl Home {
    /// Makes the directory, or takes over one that no loiter has now. A ring that broke off - with
    /// its recorder, perhaps with the machine - is kept; one that was ended makes room.
    ///
    /// # Errors
    /// If it is another's, not a recorder's, or the system refuses.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Left)> {
        let what = || format!("cannot keep a flight recorder in {}", path.display());
        make_dir(path).with_context(what)?;
        let home = Self { path: path.to_owned(), lock: owned(path).with_context(what)? };
        home.check_content().with_context(what)?;
        make_dir(&home.path.join(FROZEN)).with_context(what)?;
        home.sweep().with_context(what)?;
        let left = home.clear_ring().with_context(what)?;
        Ok((home, left))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself.
    pub const fn dir(&self) -> &File {
        &self.lock
    }

    /// The recording that goes on.
    pub fn ring(&self) -> PathBuf {
        self.path.join(RING)
    }

    /// A path that is not there yet, for what is kept at this time because of this.
    ///
    /// # Errors
    /// If there are too many of this second.
    pub fn new_frozen(&self, wall_ns: i64, cause: &str) -> anyhow::Result<PathBuf> {
        let at = jiff::Timestamp::from_nanosecond(i128::from(wall_ns)).unwrap_or_default();
        let name = format!("{}-{cause}", at.strftime("%Y-%m-%dT%H-%M-%SZ"));
        let frozen = self.path.join(FROZEN);
        (1..=MOST_OF_A_NAME)
            .map(|n| frozen.join(if n == 1 { name.clone() } else { format!("{name}-{n}") }))
            .find(|path| fs::symlink_metadata(path).is_err())
            .with_context(|| format!("{} has too many of {name}", frozen.display()))
    }

    /// Removes the oldest until so many are left, `keep` in any case.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn retain(&self, most: Retention, keep: Option<&Path>) -> anyhow::Result<u64> {
        let mut all = self.frozen()?;
        let mut bytes: u64 = all.iter().map(|(_, bytes)| bytes).sum();
        let mut removed = 0;
        while all.len() > most.count || bytes > most.bytes {
            let Some(oldest) = all.iter().position(|(path, _)| Some(path.as_path()) != keep) else {
                break;
            };
            let (path, size) = all.remove(oldest);
            remove(&path)?;
            bytes = bytes.saturating_sub(size);
            removed += 1;
        }
        Ok(removed)
    }

    /// What is kept, with its bytes, the oldest first: names begin with the time.
    fn frozen(&self) -> anyhow::Result<Vec<(PathBuf, u64)>> {
        let dir = self.path.join(FROZEN);
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
            if is_dir && !is_removed(&path) {
                let bytes = bytes_in(&path);
                all.push((path, bytes));
            }
        }
        all.sort();
        Ok(all)
    }

    /// A directory of something else is not to be filled, nor cleared.
    fn check_content(&self) -> anyhow::Result<()> {
        let mut entries = fs::read_dir(&self.path)?;
        let ours = |name: &str| [RING, FROZEN, super::control::SOCKET].contains(&name);
        let strange = entries.find_map(|entry| {
            let name = entry.ok()?.file_name();
            let known = name.to_str().is_some_and(ours);
            (!known).then(|| name.to_string_lossy().into_owned())
        });
        match strange {
            None => Ok(()),
            Some(name) => bail!(
                "it holds {name}, which is no recorder's: give a new or empty directory, or a recorder's"
            ),
        }
    }

    /// What a removal left behind that was cut short.
    fn sweep(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(self.path.join(FROZEN))? {
            let path = entry?.path();
            if is_removed(&path) {
                fs::remove_dir_all(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn clear_ring(&self) -> anyhow::Result<Left> {
        let ring = self.ring();
        let Ok(meta) = fs::symlink_metadata(&ring) else { return Ok(Left::Nothing) };
        let overview = Recording::open(&ring).and_then(|recording| recording.overview());
        let broke_off = overview.is_ok_and(|all| all.closed.is_none() && all.inputs > 0);
        if !broke_off {
            fs::remove_dir_all(&ring)
                .with_context(|| format!("cannot remove {}", ring.display()))?;
            return Ok(Left::Nothing);
        }
        // The directory changed last when its last segment began.
        let wall_ns = meta.mtime().saturating_mul(1_000_000_000);
        let kept = self.new_frozen(wall_ns, "broken-off")?;
        fs::rename(&ring, &kept).with_context(|| format!("cannot keep {}", ring.display()))?;
        Ok(Left::Kept(kept))
    }
}

fn is_removed(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(REMOVED))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let away = path.with_file_name(format!("{REMOVED}{}", name.unwrap_or_default()));
    fs::rename(path, &away)
        .and_then(|()| fs::remove_dir_all(&away))
        .with_context(|| format!("cannot remove {}", path.display()))
}

fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.filter_map(|e| Some(e.ok()?.metadata().ok()?.len())).sum()
}

/// Only its owner may enter.
fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Opens and locks a directory in which nobody else can put anything.
fn owned(path: &Path) -> anyhow::Result<File> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let dir = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = dir.metadata()?;
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & OTHERS_WRITE != 0 {
        bail!("others may write in it: give a directory of your own with mode 0700");
    }
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(dir),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("another loiter records there: give each its own directory")
        }
        Err(why) => Err(io::Error::from(why).into()),
    }
}
