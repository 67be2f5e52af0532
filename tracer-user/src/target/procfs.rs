//! Bounded reads of files under `/proc/PID`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::base::Pid;

use super::TargetError;

/// Most bytes read of `stat`, `status`, `cgroup` and the like: the kernel writes less than a page
/// into most of them, and cgroup paths are bounded by PATH_MAX a hierarchy.
pub(super) const MAX_SMALL: usize = 128 << 10;

/// `/proc/PID/name`.
pub(super) fn path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The first `max` bytes of `/proc/PID/name`.
pub(super) fn read(
    pid: Pid,
    name: &str,
    what: &'static str,
    max: usize,
) -> Result<Vec<u8>, TargetError> {
    read_bounded(pid, name, max).map_err(|e| TargetError::from_io(pid, what, &e))
}

fn read_bounded(pid: Pid, name: &str, max: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path(pid, name))?;
    let mut bytes = Vec::new();
    file.take(max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Target text for display: at most `max` bytes, not UTF-8 and control characters replaced.
pub(super) fn display_text(bytes: &[u8], max: usize) -> Box<str> {
    let text = String::from_utf8_lossy(bytes.get(..max).unwrap_or(bytes));
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
