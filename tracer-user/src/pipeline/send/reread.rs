//! Files that are replaced while loiter runs - tokens, certificates - are read anew when they changed. One that is
//! wrong after a change is told, and the old content stays in force.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// So often it is looked whether a file changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file of these is no larger.
const MAX_FILE: u64 = 1 << 20;

/// What tells that a file is another one.
type Stamp = Vec<(u64, u64, i64, i64)>;

/// Makes something of files.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> anyhow::Result<T> + Send + Sync>;

/// Something made of files.
pub struct Reread<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    now: Mutex<Now<T>>,
}

struct Now<T> {
    value: Arc<T>,
    stamp: Stamp,
    looked: Instant,
}

impl<T> Reread<T> {
    /// Reads the files.
    ///
    /// # Errors
    /// If they cannot be read, or nothing can be made of them.
    pub fn new(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> anyhow::Result<T> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let make: Make<T> = Box::new(make);
        let stamp = stamp(&paths);
        let value = Arc::new(read(&paths, &make)?);
        let now = Now { value, stamp, looked: Instant::now() };
        Ok(Self { paths, make, now: Mutex::new(now) })
    }

    /// What the files say now.
    pub fn get(&self) -> Arc<T> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.looked.elapsed() >= LOOK_EVERY {
            now.looked = Instant::now();
            let stamp = stamp(&self.paths);
            if stamp != now.stamp {
                now.stamp = stamp;
                match read(&self.paths, &self.make) {
                    Ok(value) => now.value = Arc::new(value),
                    Err(why) => tracing::warn!("what was read before stays in force: {why:#}"),
                }
            }
        }
        Arc::clone(&now.value)
    }
}

fn stamp(paths: &[PathBuf]) -> Stamp {
    let of = |path: &PathBuf| {
        fs::metadata(path).map_or((0, 0, 0, 0), |m| (m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
    };
    paths.iter().map(of).collect()
}

fn read<T>(paths: &[PathBuf], make: &Make<T>) -> anyhow::Result<T> {
    let contents = paths.iter().map(|path| content(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    make(&contents).with_context(|| names.join(", "))
}

fn content(path: &Path) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let file = fs::File::open(path).with_context(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).with_context(failed)?;
    Ok(bytes)
}

/// A token, never shown.
pub struct Secret(String);

impl Secret {
    /// To send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A bearer token in a file; white space around it is none of it.
///
/// # Errors
/// If it cannot be read, is empty, or cannot be sent in a header.
pub fn secret(path: &Path) -> anyhow::Result<Reread<Secret>> {
    Reread::new(vec![path.to_owned()], |contents| {
        let text = contents.first().map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or(""));
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("no token: one line of printable ASCII without spaces is expected");
        }
        Ok(Secret(token.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_is_read_anew_and_a_wrong_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(secret(&path).is_err());
        fs::write(&path, " one\n").unwrap();
        let token = secret(&path).unwrap();
        assert_eq!(token.get().expose(), "one");
        let expect = |wanted: &str| {
            let end = Instant::now() + Duration::from_secs(60);
            while token.get().expose() != wanted {
                assert!(Instant::now() < end, "it stays {}", token.get().expose());
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        fs::write(&path, "another").unwrap();
        expect("another");
        fs::write(&path, "not one\n").unwrap();
        std::thread::sleep(LOOK_EVERY);
        expect("another");
        fs::remove_file(&path).unwrap();
        std::thread::sleep(LOOK_EVERY);
        expect("another");
    }
}
