//! How much memory a process has, and how much its cgroups allow it: cgroup v1 and v2.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::base::Pid;

use super::TargetError;
use super::procfs::{self, MAX_SMALL};

/// Most bytes read of loiter's own table of mounts.
const MAX_MOUNTS: usize = 4 << 20;
/// Most levels of cgroups looked at: each may set a limit.
const MAX_LEVELS: usize = 64;
/// A limit is a number of at most 20 digits, or `max`.
const MAX_LIMIT: u64 = 64;
/// What v1 says where there is no limit is near 2^63; no machine has so much.
const NO_LIMIT: u64 = 1 << 60;

/// Memory of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryUse {
    /// Resident, bytes.
    pub rss_bytes: u64,
    /// The tightest limit that its cgroups set, bytes; None = none is set, or none can be read.
    pub limit_bytes: Option<u64>,
}

/// Reads the memory of one process again and again.
#[derive(Clone, Debug)]
pub struct MemoryGauge {
    pid: Pid,
    /// Where its cgroups keep their limits. A process that is moved later is rare; it is then
    /// held against its first cgroups.
    limits: Vec<PathBuf>,
}

impl MemoryGauge {
    /// For this process. Where its cgroups are not visible there will be no limit.
    pub fn of(pid: Pid) -> Self {
        Self { pid, limits: limits_of(pid) }
    }

    /// Memory now.
    ///
    /// # Errors
    /// If the process is gone or may not be read.
    pub fn read(&self) -> Result<MemoryUse, TargetError> {
        let status = procfs::read(self.pid, "status", "the status", MAX_SMALL)?;
        let rss_bytes = rss(&status).ok_or(TargetError::Malformed {
            pid: self.pid,
            what: "the status",
            detail: "the resident size is missing or not a number",
        })?;
        let limit = |path: &PathBuf| {
            let mut text = String::new();
            File::open(path).ok()?.take(MAX_LIMIT).read_to_string(&mut text).ok()?;
            parse_limit(&text)
        };
        Ok(MemoryUse { rss_bytes, limit_bytes: self.limits.iter().filter_map(limit).min() })
    }
}

/// The cgroups that count the memory of a process, the outermost first.
pub(super) fn memory_dirs(pid: Pid) -> Vec<PathBuf> {
    limits_of(pid).iter().filter_map(|file| Some(file.parent()?.to_owned())).collect()
}

fn limits_of(pid: Pid) -> Vec<PathBuf> {
    let cgroup = procfs::read(pid, "cgroup", "the cgroups", MAX_SMALL).unwrap_or_default();
    let mut mounts = Vec::new();
    if let Ok(file) = File::open("/proc/self/mountinfo") {
        // What could be read serves; the rest would only name more limits.
        let _ = file.take(MAX_MOUNTS as u64).read_to_end(&mut mounts);
    }
    limit_files(&cgroup, &mounts)
}

/// `VmRSS:  123 kB`
fn rss(status: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(status);
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&limit| limit < NO_LIMIT)
}

/// Which hierarchy keeps limits of memory, and where.
struct Hierarchy {
    is_v2: bool,
    mount_point: String,
    /// The part of the hierarchy that is mounted.
    root: String,
}

/// The files that may hold a limit: of the process's cgroup and of all above it.
fn limit_files(cgroup: &[u8], mounts: &[u8]) -> Vec<PathBuf> {
    let cgroup = String::from_utf8_lossy(cgroup);
    let mounts = String::from_utf8_lossy(mounts);
    let mut files = Vec::new();
    for hierarchy in mounts.lines().filter_map(hierarchy) {
        let Some(path) = cgroup.lines().find_map(|line| cgroup_path(line, hierarchy.is_v2)) else {
            continue;
        };
        let Some(inside) = path.strip_prefix(hierarchy.root.trim_end_matches('/')) else {
            continue;
        };
        let name = if hierarchy.is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        let mut dir = PathBuf::from(&hierarchy.mount_point);
        files.push(dir.join(name));
        for part in inside.split('/').filter(|p| !p.is_empty()).take(MAX_LEVELS) {
            if part == ".." {
                // A cgroup outside of what loiter's cgroup namespace shows.
                break;
            }
            dir.push(part);
            files.push(dir.join(name));
        }
    }
    files
}

/// The path in a line of `/proc/PID/cgroup`, if it is of the hierarchy that limits memory.
fn cgroup_path(line: &str, is_v2: bool) -> Option<&str> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let fits = if is_v2 {
        number == "0" && controllers.is_empty()
    } else {
        controllers.split(',').any(|c| c == "memory")
    };
    fits.then_some(path)
}

/// A line of mountinfo, see proc_pid_mountinfo(5): `36 35 98:0 ROOT POINT OPTIONS [TAGS] - TYPE
/// SOURCE SUPEROPTIONS`.
fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (fs, _source, options) = (kind.next()?, kind.next()?, kind.next()?);
    let is_v2 = fs == "cgroup2";
    if !is_v2 && (fs != "cgroup" || options.split(',').all(|o| o != "memory")) {
        return None;
    }
    let mut place = place.split(' ').skip(3);
    let (root, mount_point) = (place.next()?, place.next()?);
    Some(Hierarchy { is_v2, mount_point: unescape(mount_point), root: unescape(root) })
}

/// Spaces and the like are written as three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Entry for fuzzing: no bytes may cause a panic.
pub fn fuzz_limits(bytes: &[u8]) {
    let half = bytes.len() / 2;
    if let Some((cgroup, mounts)) = bytes.split_at_checked(half) {
        let _ = (limit_files(cgroup, mounts), rss(bytes));
        let _ = parse_limit(&String::from_utf8_lossy(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n";
    const V2: &str =
        "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn files(cgroup: &str, mounts: &str) -> Vec<String> {
        let all = limit_files(cgroup.as_bytes(), mounts.as_bytes());
        all.into_iter().map(|p| p.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_level_of_a_v2_hierarchy_may_set_a_limit() {
        assert_eq!(
            files("0::/kubepods.slice/pod1\n", V2),
            [
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/kubepods.slice/memory.max",
                "/sys/fs/cgroup/kubepods.slice/pod1/memory.max",
            ]
        );
    }

    #[test]
    fn of_v1_only_the_memory_hierarchy_counts() {
        assert_eq!(
            files("4:memory:/docker/1\n3:cpu:/other\n0::/\n", V1),
            [
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
            ]
        );
    }

    #[test]
    fn where_only_a_part_of_the_hierarchy_is_mounted_the_rest_of_the_path_leads_on() {
        let mounts = V1.replace(" / /sys/fs/cgroup/memory ", " /docker/1 /sys/fs/cgroup/memory ");
        assert_eq!(
            files("4:memory:/docker/1/sub\n", &mounts),
            [
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/sub/memory.limit_in_bytes",
            ]
        );
        assert!(files("4:memory:/elsewhere\n", &mounts).is_empty());
    }

    #[test]
    fn no_path_leads_out_of_the_mount() {
        assert_eq!(files("0::/../../etc\n", V2), ["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn no_limit_is_told_from_a_limit() {
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("9223372036854771712\n"), None);
        assert_eq!(parse_limit("536870912\n"), Some(512 << 20));
    }

    #[test]
    fn this_process_has_memory() {
        let read = MemoryGauge::of(Pid(std::process::id())).read().unwrap();
        assert!(read.rss_bytes > 1 << 20, "{read:?}");
    }

    #[test]
    fn every_prefix_is_survived() {
        let text = format!("4:memory:/a/b\n0::/x\n{V1}{V2}VmRSS:\t12 kB\n");
        for end in 0..text.len() {
            fuzz_limits(&text.as_bytes()[..end]);
        }
    }
}
