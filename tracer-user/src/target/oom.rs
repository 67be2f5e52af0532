//! Whether the kernel's out-of-memory killer was at work: how many processes it has killed in the
//! cgroup of a process, or on the whole machine where no cgroup tells.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use crate::base::Pid;

use super::usage::memory_dirs;

/// Bytes of such a file: some ten lines; of `/proc/vmstat` some two hundred.
const MAX_BYTES: u64 = 32 << 10;

/// Reads the count for one process again and again, also when the process is gone.
#[derive(Clone, Debug)]
pub struct OomGauge {
    /// The first that is there tells.
    files: Vec<PathBuf>,
}

impl OomGauge {
    /// For this process.
    pub fn of(pid: Pid) -> Self {
        // Its own cgroup first: others may lose processes as well.
        let dirs = memory_dirs(pid);
        let names = ["memory.events", "memory.oom_control"];
        let mut files: Vec<PathBuf> =
            dirs.iter().rev().flat_map(|dir| names.map(|name| dir.join(name))).collect();
        files.push(PathBuf::from("/proc/vmstat"));
        Self { files }
    }

    /// How many it has killed; None if nothing tells.
    pub fn kills(&self) -> Option<u64> {
        self.files.iter().find_map(|path| {
            let mut text = String::new();
            File::open(path).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
            kills(&text)
        })
    }
}

/// `oom_kill 3`, in all three files (mm/memcontrol.c, mm/vmstat.c).
fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_each_file() {
        assert_eq!(kills("low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(kills("oom_kill x\n"), None);
    }

    #[test]
    fn this_machine_tells() {
        assert!(OomGauge::of(Pid(std::process::id())).kills().is_some());
    }
}
