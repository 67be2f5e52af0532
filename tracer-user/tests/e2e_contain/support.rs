//! Namespaces as a container runtime makes them, and rights as it gives them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::loiter::Loiter;
use crate::common::{GoProc, NEWEST_GO, Variant, copy_program, go_build, need_bpf};

/// The rights of the manifests, as setpriv(1) calls them.
pub const RIGHTS: [&str; 3] = ["bpf", "perfmon", "sys_ptrace"];
/// Whom a container runs as: root without other rights, and nobody.
pub const USERS: [u32; 2] = [0, 65534];
/// Longest wait for a process to be there.
const PATIENCE: Duration = Duration::from_secs(120);
/// What waits in the program that is watched.
const WAITERS: &str = "300";

/// Which namespaces a container gets of its own.
#[derive(Clone, Copy, Debug)]
pub enum Pids {
    /// That of its surroundings.
    Shared,
    /// One of its own.
    Own,
}

/// A place for what is mounted or must be readable for nobody.
pub struct Room(tempfile::TempDir);

impl Room {
    pub fn new() -> Room {
        let dir = tempfile::Builder::new().prefix("loiter").tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Room(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// loiter, where anybody may run it.
    pub fn loiter(&self) -> PathBuf {
        let own = self.path().join("loiter");
        if !own.exists() {
            copy_program(Path::new(env!("CARGO_BIN_EXE_loiter")), &own);
            fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        }
        own
    }
}

/// A program with a crowd of goroutines at one lock.
pub fn crowded() -> Result<PathBuf, String> {
    need_bpf()?;
    go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped)
}

/// What holds the namespaces of a pod open; ends with all that is in it.
pub struct Pod {
    holder: Child,
}

impl Pod {
    pub fn start() -> Pod {
        let holder = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--kill-child", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pod = Pod { holder };
        let pause = child_of(pod.holder.id());
        wait_until("the pod", || {
            fs::read_to_string(format!("/proc/{pause}/comm")).is_ok_and(|name| name == "sleep\n")
        });
        pod
    }

    /// The words of a command that run what follows in the pod.
    fn enter(&self) -> Vec<String> {
        let pause = child_of(self.holder.id()).to_string();
        ["nsenter", "--target", &pause, "--pid", "--mount"].map(str::to_owned).to_vec()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A program in a container of its own: its file is in no other mount namespace.
pub struct Contained {
    _process: GoProc,
    /// Its PIDs, from this test's namespace inwards.
    pub pids: Vec<u32>,
    _room: Room,
}

impl Contained {
    pub fn start(pod: Option<&Pod>, program: &Path, pids: Pids) -> Contained {
        let room = Room::new();
        let script = format!(
            "mount -t tmpfs none {room} && cp {program} {room}/app && exec chroot {room} /app \"$@\"",
            room = room.path().display(),
            program = program.display()
        );
        let mut words = pod.map(Pod::enter).unwrap_or_default();
        words.extend(["unshare", "--mount", "--propagation", "private"].map(str::to_owned));
        if matches!(pids, Pids::Own) {
            words.extend(["--pid", "--fork", "--mount-proc", "--kill-child"].map(str::to_owned));
        }
        words.extend(["sh", "-c", &script, "sh", "-n", WAITERS].map(str::to_owned));
        let args: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let mut process = GoProc::start(Path::new(&words[0]), &args);
        process.wait_for("ready");
        // Entering a PID namespace and making one are a fork each.
        let forks = usize::from(pod.is_some()) + usize::from(matches!(pids, Pids::Own));
        let pid = (0..forks).fold(process.pid(), |pid, _| child_of(pid));
        Contained { _process: process, pids: namespace_pids(pid), _room: room }
    }
}

/// The rights and the surroundings that loiter's container has.
pub struct Container<'a> {
    pub room: &'a Room,
    pub user: u32,
    pub rights: &'a [&'a str],
}

impl Container<'_> {
    /// A mount and a network namespace of its own, everything read-only, no tracefs and no cgroups,
    /// these rights, and no way to get others.
    fn command(&self, pod: Option<&Pod>, args: &[&str]) -> Command {
        let given: Vec<String> = self.rights.iter().map(|name| format!(",+{name}")).collect();
        let given = given.concat();
        let script = format!(
            "set -e; mount -o remount,bind,ro /; \
             for at in /sys/kernel/tracing /sys/kernel/debug /sys/fs/cgroup; do umount -R $at 2>/dev/null || true; done; \
             mount -o remount,bind,ro /sys; \
             exec setpriv --reuid={user} --regid={user} --clear-groups --inh-caps=-all{given} \
             --ambient-caps=-all{given} --bounding-set=-all{given} --no-new-privs {loiter} \"$@\"",
            user = self.user,
            loiter = self.room.loiter().display(),
        );
        let mut words = pod.map(Pod::enter).unwrap_or_default();
        words
            .extend(["unshare", "--mount", "--net", "--propagation", "private"].map(str::to_owned));
        words.extend(["sh", "-c", &script, "sh"].map(str::to_owned));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(args).stdin(Stdio::null());
        command
    }

    /// Runs `loiter` to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(None, args).output().unwrap()
    }

    /// Starts `loiter watch`; gives its PID as this test sees it.
    pub fn watch(&self, pod: Option<&Pod>, pid: u32) -> (Loiter, u32) {
        let pid = pid.to_string();
        let args =
            ["watch", &pid, "--format", "jsonl", "--stuck-after", "1s", "--budget", "off", "-v"];
        let mut loiter = Loiter::spawn(self.command(pod, &args));
        loiter.wait_message("watching");
        let own = if pod.is_some() { child_of(loiter.pid()) } else { loiter.pid() };
        (loiter, own)
    }
}

pub fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < end, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The only child of a process.
pub fn child_of(pid: u32) -> u32 {
    let mut child = None;
    wait_until("a child", || {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        child = text.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
        child.is_some()
    });
    child.unwrap()
}

/// PIDs of a process from this test's namespace inwards.
fn namespace_pids(pid: u32) -> Vec<u32> {
    let words = status(pid, "NSpid:");
    words.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// A line of `/proc/PID/status`.
pub fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

/// A set of capabilities of a process.
pub fn capabilities(pid: u32, field: &str) -> u64 {
    u64::from_str_radix(&status(pid, field), 16).unwrap()
}
