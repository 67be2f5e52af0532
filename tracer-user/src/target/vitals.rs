//! Whether a process stands still as a whole, and how much processor time it had.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::base::{Nanos, Pid};

use super::TargetError;
use super::process::stat;
use super::procfs::{self, MAX_SMALL};

/// Most bytes read of a file of a cgroup.
const MAX_CGROUP_FILE: u64 = 16 << 10;
/// Most lines of `/proc/PID/cgroup` looked at.
const MAX_LINES: usize = 64;
/// Most threads whose time in the queue is read.
const MAX_THREADS: usize = 256;
/// Where cgroup v2 is mounted: alone, or beside v1.
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Where each controller of cgroup v1 is mounted.
const LEGACY: &str = "/sys/fs/cgroup";

/// What the kernel says of a process as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessVitals {
    /// State letter of its first thread: `T` = stopped by a signal, `t` = by a debugger.
    pub state: char,
    /// Processor time that all its threads have used.
    pub cpu: Nanos,
    /// Whether its cgroup is frozen.
    pub frozen: bool,
    /// For how long the CPU quota of its cgroup kept it from running; None where there is none.
    pub throttled: Option<Nanos>,
    /// For how long its threads were ready and another had the processor, all together; None where
    /// the kernel keeps no such account.
    pub queued: Option<Nanos>,
}

/// Reads the vitals of one process again and again.
#[derive(Debug)]
pub struct VitalsReader {
    pid: Pid,
    events: Vec<PathBuf>,
    quota: Vec<PathBuf>,
}

impl VitalsReader {
    /// For a process, in the cgroups that it is in now.
    pub fn new(pid: Pid) -> Self {
        let text = procfs::read(pid, "cgroup", "the cgroups", MAX_SMALL).unwrap_or_default();
        let (events, quota) = files(&String::from_utf8_lossy(&text));
        Self { pid, events, quota }
    }

    /// Reads them.
    ///
    /// # Errors
    /// If there is no such process. What its cgroup does not tell is left out.
    pub fn read(&self) -> Result<ProcessVitals, TargetError> {
        let stat = stat(self.pid)?;
        Ok(ProcessVitals {
            state: stat.state,
            cpu: stat.cpu,
            frozen: self.events.iter().filter_map(small).any(|text| says_frozen(&text)),
            throttled: self.quota.iter().filter_map(small).find_map(|text| throttled(&text)),
            queued: queued(self.pid),
        })
    }
}

/// The files of a process's cgroups that say whether it is frozen, and those that say what its
/// quota did. A line is `hierarchy:controllers:path`; controllers are empty for v2, see cgroups(7).
fn files(text: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut events, mut quota) = (Vec::new(), Vec::new());
    for line in text.lines().take(MAX_LINES) {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let below = path.strip_prefix('/').unwrap_or(path);
        // A cgroup outside of loiter's cgroup namespace has no path here.
        if below.split('/').any(|part| part == "..") {
            continue;
        }
        let in_legacy = |name: &str, file: &str| {
            controllers
                .split(',')
                .any(|c| c == name)
                .then(|| PathBuf::from(LEGACY).join(name).join(below).join(file))
        };
        if controllers.is_empty() {
            let unified = UNIFIED.map(|root| PathBuf::from(root).join(below));
            events.extend(unified.iter().map(|dir| dir.join("cgroup.events")));
            quota.extend(unified.iter().map(|dir| dir.join("cpu.stat")));
        }
        events.extend(in_legacy("freezer", "freezer.state"));
        quota.extend(in_legacy("cpu", "cpu.stat"));
    }
    (events, quota)
}

/// Sum of the second number of `/proc/PID/task/TID/schedstat`, see the kernel's
/// Documentation/scheduler/sched-stats.rst. Of a process of very many threads, of the first ones.
fn queued(pid: Pid) -> Option<Nanos> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks
        .take(MAX_THREADS)
        .filter_map(|task| waited_for_processor(&small(task.ok()?.path().join("schedstat"))?))
        .reduce(|sum, one| Nanos(sum.0.saturating_add(one.0)))
}

fn waited_for_processor(text: &str) -> Option<Nanos> {
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Nanos)
}

fn small(path: impl AsRef<Path>) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_CGROUP_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `frozen 1` of v2; v1 says `FROZEN`, or `FREEZING` before all threads are.
fn says_frozen(text: &str) -> bool {
    text.lines().any(|line| matches!(line.trim(), "frozen 1" | "FROZEN"))
}

/// `throttled_usec` of v2, `throttled_time` (nanoseconds) of v1.
fn throttled(text: &str) -> Option<Nanos> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        let value: u64 = value.trim().parse().ok()?;
        match key {
            "throttled_usec" => Some(Nanos(value.saturating_mul(1_000))),
            "throttled_time" => Some(Nanos(value)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_say_where_to_look() {
        let (events, quota) = files("3:cpu,cpuacct:/a/b\n5:freezer:/\n0::/a/b\n7:pids:/x\n");
        let paths = |list: &[PathBuf]| -> Vec<String> {
            list.iter().map(|p| p.display().to_string()).collect()
        };
        assert_eq!(
            paths(&events),
            [
                "/sys/fs/cgroup/freezer/freezer.state",
                "/sys/fs/cgroup/a/b/cgroup.events",
                "/sys/fs/cgroup/unified/a/b/cgroup.events"
            ]
        );
        assert_eq!(
            paths(&quota),
            [
                "/sys/fs/cgroup/cpu/a/b/cpu.stat",
                "/sys/fs/cgroup/a/b/cpu.stat",
                "/sys/fs/cgroup/unified/a/b/cpu.stat"
            ]
        );
    }

    #[test]
    fn a_path_that_leads_out_is_not_followed_and_every_prefix_is_survived() {
        assert_eq!(files("0::/../../etc").0, Vec::<PathBuf>::new());
        let text = "3:cpu,cpuacct:/a/b\n0::/a\n";
        (0..text.len()).for_each(|end| drop(files(&text[..end])));
    }

    #[test]
    fn frozen_and_throttled_are_read_in_both_forms() {
        assert!(says_frozen("populated 1\nfrozen 1\n") && says_frozen("FROZEN\n"));
        assert!(!says_frozen("populated 1\nfrozen 0\n") && !says_frozen("THAWED\n"));
        let v2 = "usage_usec 9\nnr_throttled 2\nthrottled_usec 30\n";
        let v1 = "nr_periods 9\nnr_throttled 2\nthrottled_time 30\n";
        assert_eq!((throttled(v2), throttled(v1)), (Some(Nanos(30_000)), Some(Nanos(30))));
        assert_eq!(throttled("throttled_usec x\n"), None);
    }

    #[test]
    fn time_in_the_queue_is_the_second_number() {
        assert_eq!(waited_for_processor("7188 204 17\n"), Some(Nanos(204)));
        assert_eq!((waited_for_processor("7188"), waited_for_processor("1 -2 3")), (None, None));
        assert!(queued(Pid(std::process::id())).is_some());
    }

    #[test]
    fn this_process_is_neither_stopped_nor_frozen() {
        let vitals = VitalsReader::new(Pid(std::process::id())).read().unwrap();
        assert!(!vitals.frozen && !matches!(vitals.state, 'T' | 't'), "{vitals:?}");
    }
}
