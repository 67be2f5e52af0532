//! Cgroups of a test's own: to freeze a target, to give it next to no processor time, to take its
//! memory away. Version 2, or the controller of version 1, whichever the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::need_root;

/// What a cgroup is made for.
#[derive(Clone, Copy, Debug)]
pub enum Controller {
    Memory,
    Cpu,
    Freezer,
}

#[derive(Clone, Copy, Debug)]
enum Version {
    One,
    Two,
}

impl Controller {
    /// A file that is there where the controller works.
    const fn file(self, version: Version) -> &'static str {
        match (self, version) {
            (Controller::Memory, Version::One) => "memory.limit_in_bytes",
            (Controller::Memory, Version::Two) => "memory.max",
            (Controller::Cpu, Version::One) => "cpu.cfs_quota_us",
            (Controller::Cpu, Version::Two) => "cpu.max",
            (Controller::Freezer, Version::One) => "freezer.state",
            (Controller::Freezer, Version::Two) => "cgroup.freeze",
        }
    }

    const fn legacy_root(self) -> &'static str {
        match self {
            Controller::Memory => "/sys/fs/cgroup/memory",
            Controller::Cpu => "/sys/fs/cgroup/cpu",
            Controller::Freezer => "/sys/fs/cgroup/freezer",
        }
    }
}

/// A cgroup; removed when dropped.
pub struct Cgroup {
    path: PathBuf,
    version: Version,
}

impl Cgroup {
    /// Makes one.
    ///
    /// # Errors
    /// Why there can be none here.
    pub fn new(controller: Controller) -> Result<Cgroup, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        need_root()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("loiter-test-{}-{number}", std::process::id());
        let roots = [("/sys/fs/cgroup", Version::Two), (controller.legacy_root(), Version::One)];
        let mut whys = Vec::new();
        for (root, version) in roots {
            let path = Path::new(root).join(&name);
            if let Err(why) = fs::create_dir(&path) {
                whys.push(format!("{}: {why}", path.display()));
                continue;
            }
            let cgroup = Cgroup { path, version };
            if cgroup.path.join(controller.file(version)).exists() {
                return Ok(cgroup);
            }
            whys.push(format!("{root}: no such controller"));
        }
        Err(format!("no cgroup can be made ({controller:?}): {}", whys.join("; ")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a process into it, with all its threads.
    pub fn add(&self, pid: u32) {
        self.must_set("cgroup.procs", &pid.to_string());
    }

    /// Lets it run for so many microseconds of each 100 ms.
    pub fn set_quota(&self, micros: u32) {
        match self.version {
            Version::Two => self.must_set("cpu.max", &format!("{micros} 100000")),
            Version::One => {
                self.must_set("cpu.cfs_period_us", "100000");
                self.must_set("cpu.cfs_quota_us", &micros.to_string());
            }
        }
    }

    /// Takes the quota away.
    pub fn lift_quota(&self) {
        match self.version {
            Version::Two => self.must_set("cpu.max", "max"),
            Version::One => self.must_set("cpu.cfs_quota_us", "-1"),
        }
    }

    /// Freezes what is in it.
    pub fn freeze(&self) {
        match self.version {
            Version::Two => self.must_set("cgroup.freeze", "1"),
            Version::One => self.must_set("freezer.state", "FROZEN"),
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        match self.version {
            Version::Two => self.must_set("cgroup.freeze", "0"),
            Version::One => self.must_set("freezer.state", "THAWED"),
        }
    }

    /// Takes the memory away from under what runs in it, until the kernel kills.
    pub fn starve_of_memory(&self) {
        match self.version {
            Version::Two => self.must_set("memory.max", "64K"),
            // A limit below what cannot be reclaimed is refused: it follows the use downwards
            // until the next page that is asked for is one too many.
            Version::One => {
                let end = Instant::now() + Duration::from_secs(60);
                while !self.killed() {
                    assert!(Instant::now() < end, "the kernel does not kill");
                    let used = fs::read_to_string(self.path.join("memory.usage_in_bytes")).unwrap();
                    let less = used.trim().parse::<u64>().unwrap().saturating_sub(4096);
                    let _ = self.set("memory.limit_in_bytes", &less.to_string());
                }
            }
        }
    }

    fn killed(&self) -> bool {
        let control = fs::read_to_string(self.path.join("memory.oom_control")).unwrap();
        control.lines().any(|line| line.starts_with("oom_kill ") && !line.ends_with(" 0"))
    }

    fn must_set(&self, file: &str, value: &str) {
        self.set(file, value).unwrap_or_else(|why| panic!("{file} = {value}: {why}"));
    }

    fn set(&self, file: &str, value: &str) -> std::io::Result<()> {
        fs::write(self.path.join(file), value)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What still runs in it is moved up, else it could not be removed.
        let above = self.path.parent().map(|dir| dir.join("cgroup.procs"));
        let inside = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            let _ = above.as_ref().map(|above| fs::write(above, pid));
        }
        let _ = fs::remove_dir(&self.path);
    }
}
