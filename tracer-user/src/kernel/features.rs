//! What this kernel, these rights and this sandbox allow: facts for doctor, obstacles with their
//! remedies, limitations that cost something but not everything.

use std::fmt;
use std::fs;
use std::path::Path;

use super::confinement::{self, Confinement};
use super::{btf, process, sys};

/// Since then programs for uprobe_multi exist.
const MULTI_SINCE: (u32, u32) = (6, 6);
/// Since then its filter for one process is right in every release.
const MULTI_RIGHT_SINCE: (u32, u32) = (6, 11);
/// Where aya reads for how many CPUs a map has values.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";
/// Longest kernel log that is searched for the signature of a sandbox.
const MOST_LOG_BYTES: usize = 64 << 10;
/// Inode of the initial user namespace. Source: include/linux/proc_ns.h, `PROC_USER_INIT_INO`.
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;
/// Yama's scope in which nobody may read another process.
const YAMA_NOBODY: u8 = 3;

/// The kernel's release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelRelease {
    /// As `uname -r` shows it.
    pub text: String,
    /// Major and minor number; (0, 0) if it does not begin with two numbers.
    pub number: (u32, u32),
}

/// Rights of this process, as the kernel counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    effective: u64,
}

impl Capabilities {
    const SYS_PTRACE: u32 = 19;
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;

    fn has(self, capability: u32) -> bool {
        self.effective >> capability & 1 != 0
    }

    /// May load programs.
    pub fn bpf(self) -> bool {
        self.has(Self::BPF) || self.sys_admin()
    }

    /// May attach them.
    pub fn perfmon(self) -> bool {
        self.has(Self::PERFMON) || self.sys_admin()
    }

    /// May read other processes.
    pub fn sys_ptrace(self) -> bool {
        self.has(Self::SYS_PTRACE)
    }

    /// May do nearly all; perf-event uprobes need it.
    pub fn sys_admin(self) -> bool {
        self.has(Self::SYS_ADMIN)
    }

    /// What is missing for uprobe_multi.
    fn missing(self) -> Vec<&'static str> {
        let wanted = [
            (self.bpf(), "CAP_BPF"),
            (self.perfmon(), "CAP_PERFMON"),
            (self.sys_ptrace(), "CAP_SYS_PTRACE"),
        ];
        wanted.into_iter().filter(|(has, _)| !has).map(|(_, name)| name).collect()
    }
}

/// The kernel's lockdown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lockdown {
    /// None, or not in this kernel.
    Off,
    /// Integrity: costs nothing here.
    Integrity,
    /// Confidentiality: programs may not read kernel memory.
    Confidentiality,
}

/// A sandbox that is not a Linux kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sandbox {
    /// gVisor, which implements system calls itself and has no BPF.
    GVisor,
}

/// Whether uprobe_multi can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MultiSupport {
    /// The release is new enough.
    Expected,
    /// The release may have the filter that sees the main thread alone: it is tried at load.
    ToBeTried,
    /// Too old.
    Absent,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Features {
    /// Release of the kernel.
    pub kernel: KernelRelease,
    /// Rights.
    pub capabilities: Capabilities,
    /// Whether these rights count: not those in a user namespace of one's own.
    pub initial_user_namespace: bool,
    /// Whether loiter sees all of the host's processes.
    pub initial_pid_namespace: bool,
    /// Whether a seccomp filter is on this process.
    pub seccomp: bool,
    /// The security module that confines this process.
    pub confinement: Option<Confinement>,
    /// `kernel.yama.ptrace_scope`, where there is Yama.
    pub yama: Option<u8>,
    /// Attach cookies, which tell targets and sites apart: Linux 5.15, or backported. False also
    /// where the rights to try are missing.
    pub cookies: bool,
    /// Why bpf(2) cannot make a ring: error number; None = it can.
    pub ring_error: Option<i32>,
    /// The kernel's own types are there.
    pub btf: bool,
    /// `/sys` is mounted.
    pub sysfs: bool,
    /// The kernel has perf-event uprobes.
    pub uprobes: bool,
    /// uprobe_multi.
    pub multi: MultiSupport,
    /// Lockdown.
    pub lockdown: Lockdown,
    /// Sandbox, where one is recognised.
    pub sandbox: Option<Sandbox>,
    /// `kernel.unprivileged_bpf_disabled`, where it exists: 0 = also users without rights may load.
    pub unprivileged_bpf_disabled: Option<u8>,
}

/// Why probes cannot be used at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Obstacle {
    /// Not a Linux kernel.
    #[error(
        "this is a gVisor sandbox, which has no eBPF and hides other processes; run loiter on the \
         host, outside of the sandbox"
    )]
    GVisor,
    /// What the kernel tells of the machine is not to be seen.
    #[error(
        "/sys is not mounted: without it the number of CPUs is not known, for which eBPF maps are \
         read; mount it, read-only is enough (`mount -t sysfs -o ro sysfs /sys`), or use \
         `--events none`, which works with /proc alone"
    )]
    NoSys,
    /// Too old.
    #[error(
        "Linux {release} has no attach cookies for probes: 5.15 or later is needed; \
         `--events none` works with snapshots alone"
    )]
    TooOld {
        /// What runs.
        release: String,
    },
    /// Rights are missing.
    #[error(
        "{} missing: run loiter as root, or give it CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE \
         (`setcap`, `--cap-add`, or securityContext.capabilities)",
        names.join(", ")
    )]
    Capabilities {
        /// Their names.
        names: Vec<&'static str>,
    },
    /// The rights do not count.
    #[error(
        "loiter runs in a user namespace, where capabilities do not count for eBPF; run it in the \
         initial one (without `--userns`, hostUsers: true)"
    )]
    UserNamespace,
    /// bpf(2) is forbidden although the rights are there.
    #[error(
        "bpf(2) is refused ({}) although the capabilities are there: {}",
        std::io::Error::from_raw_os_error(*errno),
        by
    )]
    Refused {
        /// The error number.
        errno: i32,
        /// Who refuses it, as far as can be told.
        by: Refuser,
    },
    /// Nobody may read another process.
    #[error(
        "Yama forbids reading other processes (kernel.yama.ptrace_scope = 3); only a reboot with another \
         value lifts that"
    )]
    Yama,
    /// The kernel lacks bpf(2) or ring buffers.
    #[error("this kernel has no BPF ring buffer ({}); CONFIG_BPF_SYSCALL is needed", std::io::Error::from_raw_os_error(*errno))]
    NoRing {
        /// The error number.
        errno: i32,
    },
    /// The kernel lacks uprobes.
    #[error("this kernel was built without uprobes (CONFIG_UPROBE_EVENTS)")]
    NoUprobes,
    /// The wanted method does not work in this kernel.
    #[error(
        "uprobe_multi does not work in this kernel: it came with Linux 6.6, and early releases of 6.6 \
         to 6.9 see the main thread of a process alone; use perf events (the default there)"
    )]
    NoMulti,
    /// Perf-event uprobes need more rights.
    #[error(
        "CAP_SYS_ADMIN missing: without uprobe_multi (Linux 6.6) uprobes are perf events, and those \
         need it; run loiter as root"
    )]
    PerfEventNeedsAdmin,
}

/// Who refuses what the capabilities allow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refuser {
    /// A seccomp filter.
    Seccomp,
    /// A security module.
    Module(Confinement),
    /// It cannot be told.
    Unknown,
}

impl fmt::Display for Refuser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refuser::Seccomp => f.write_str(
                "a seccomp filter is active; allow bpf and perf_event_open in it \
                 (`--security-opt seccomp=unconfined`, seccompProfile: Unconfined, or a profile)",
            ),
            Refuser::Module(Confinement::AppArmor { profile }) => write!(
                f,
                "AppArmor confines loiter by the profile {profile}; run it without \
                 (`--security-opt apparmor=unconfined`, appArmorProfile: Unconfined)"
            ),
            Refuser::Module(Confinement::SeLinux { context }) => write!(
                f,
                "SELinux confines loiter as {context}; run it as spc_t \
                 (`--security-opt label=type:spc_t`, seLinuxOptions: type: spc_t)"
            ),
            Refuser::Unknown => f.write_str(
                "a security module (SELinux, AppArmor) or lockdown forbids it; the audit log says which",
            ),
        }
    }
}

/// What costs something, but not everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limitation {
    /// No BTF.
    NoBtf,
    /// Perf events instead of uprobe_multi.
    PerfEvents,
    /// Lockdown is on.
    Lockdown,
    /// Not all processes are seen.
    PidNamespace,
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limitation::NoBtf => {
                "no BTF (/sys/kernel/btf/vmlinux): execs, exits and forks are noticed late, by looking"
            }
            Limitation::PerfEvents => {
                "no uprobe_multi (Linux 6.6): attaching and detaching take a second, and CAP_SYS_ADMIN is needed"
            }
            Limitation::Lockdown => {
                "the kernel is locked down for confidentiality: probes work, and what the kernel's own memory tells may be missing"
            }
            Limitation::PidNamespace => {
                "in a PID namespace: processes outside it cannot be traced, and execs, exits and forks in nested ones are noticed late"
            }
        })
    }
}

impl Features {
    /// Looks. Reads files and makes one small map; attaches nothing.
    pub fn detect() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let version = fs::read_to_string("/proc/version").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = release_of(release.trim());
        let uid_map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        Self {
            capabilities: Capabilities { effective: status_hex(&status, "CapEff:").unwrap_or(0) },
            initial_user_namespace: is_initial_map(&uid_map) && in_initial_user_namespace(),
            initial_pid_namespace: process::in_initial_pid_namespace().unwrap_or(true),
            seccomp: status_hex(&status, "Seccomp:").is_some_and(|mode| mode != 0),
            confinement: Confinement::here(),
            yama: confinement::yama_scope(),
            cookies: aya::features().bpf_cookie(),
            ring_error: sys::try_ring(super::page_size()).err().and_then(|e| e.raw_os_error()),
            btf: Path::new(btf::PATH).exists(),
            sysfs: Path::new(POSSIBLE_CPUS).exists(),
            uprobes: Path::new("/sys/bus/event_source/devices/uprobe/type").exists(),
            multi: multi_support(kernel.number),
            lockdown: lockdown_of(
                &fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default(),
            ),
            sandbox: sandbox_of(&version, &kernel_log()),
            unprivileged_bpf_disabled: fs::read_to_string(
                "/proc/sys/kernel/unprivileged_bpf_disabled",
            )
            .ok()
            .and_then(|text| text.trim().parse().ok()),
            kernel,
        }
    }

    /// What stands in the way of probes, the root cause first.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let mut found = Vec::new();
        if self.sandbox == Some(Sandbox::GVisor) {
            return vec![Obstacle::GVisor];
        }
        if !self.sysfs {
            return vec![Obstacle::NoSys];
        }
        let names = self.capabilities.missing();
        let complete = names.is_empty();
        if !complete {
            found.push(Obstacle::Capabilities { names });
        } else if !self.initial_user_namespace {
            found.push(Obstacle::UserNamespace);
        }
        match self.ring_error {
            Some(errno @ (libc::EPERM | libc::EACCES))
                if complete && self.initial_user_namespace =>
            {
                found.push(Obstacle::Refused { errno, by: self.refuser(errno) });
            }
            Some(libc::EPERM | libc::EACCES) | None => {}
            Some(libc::EINVAL) => {
                found.push(Obstacle::TooOld { release: self.kernel.text.clone() });
            }
            Some(errno) => found.push(Obstacle::NoRing { errno }),
        }
        if !self.cookies && complete && self.ring_error.is_none() {
            found.push(Obstacle::TooOld { release: self.kernel.text.clone() });
        }
        if !self.uprobes && self.multi == MultiSupport::Absent {
            found.push(Obstacle::NoUprobes);
        }
        if self.yama == Some(YAMA_NOBODY) {
            found.push(Obstacle::Yama);
        }
        found
    }

    /// SELinux refuses with EACCES, a filter mostly with EPERM; AppArmor takes capabilities away,
    /// which is EPERM too and rarer than a filter.
    fn refuser(&self, errno: i32) -> Refuser {
        match (&self.confinement, self.seccomp) {
            (Some(module @ Confinement::SeLinux { .. }), _) if errno == libc::EACCES => {
                Refuser::Module(module.clone())
            }
            (_, true) if errno == libc::EPERM => Refuser::Seccomp,
            (Some(module), _) => Refuser::Module(module.clone()),
            (None, true) => Refuser::Seccomp,
            (None, false) => Refuser::Unknown,
        }
    }

    /// What stands in the way of perf-event uprobes.
    pub fn perf_event_obstacle(&self) -> Option<Obstacle> {
        if !self.uprobes {
            return Some(Obstacle::NoUprobes);
        }
        (!self.capabilities.sys_admin()).then_some(Obstacle::PerfEventNeedsAdmin)
    }

    /// What costs something, but not everything.
    pub fn limitations(&self) -> Vec<Limitation> {
        let all = [
            (!self.btf, Limitation::NoBtf),
            (self.multi == MultiSupport::Absent, Limitation::PerfEvents),
            (self.lockdown == Lockdown::Confidentiality, Limitation::Lockdown),
            (!self.initial_pid_namespace, Limitation::PidNamespace),
        ];
        all.into_iter().filter(|(applies, _)| *applies).map(|(_, limitation)| limitation).collect()
    }
}

/// `6.1.0-28-cloud-amd64` -> (6, 1).
fn release_of(text: &str) -> KernelRelease {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let number = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    };
    KernelRelease { text: text.to_owned(), number }
}

/// What the release of this kernel says of uprobe_multi.
pub(super) fn multi_of_this_release() -> MultiSupport {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    multi_support(release_of(release.trim()).number)
}

fn multi_support(release: (u32, u32)) -> MultiSupport {
    if release < MULTI_SINCE {
        MultiSupport::Absent
    } else if release < MULTI_RIGHT_SINCE {
        MultiSupport::ToBeTried
    } else {
        MultiSupport::Expected
    }
}

/// A field of `/proc/self/status`, in hex; `Seccomp` has one digit.
fn status_hex(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The initial user namespace maps every id to itself.
fn is_initial_map(uid_map: &str) -> bool {
    let words: Vec<&str> = uid_map.split_whitespace().collect();
    words.is_empty() || words == ["0", "0", "4294967295"]
}

/// True where `/proc` does not tell: the map has told already.
fn in_initial_user_namespace() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self/ns/user").map_or(true, |about| about.ino() == INITIAL_USER_NAMESPACE)
}

/// `none [integrity] confidentiality`.
fn lockdown_of(text: &str) -> Lockdown {
    if text.contains("[confidentiality]") {
        Lockdown::Confidentiality
    } else if text.contains("[integrity]") {
        Lockdown::Integrity
    } else {
        Lockdown::Off
    }
}

/// gVisor shows one fixed version and opens its kernel log with its name. Source: gVisor,
/// pkg/sentry/kernel/version.go and syslog.go.
fn sandbox_of(version: &str, log: &str) -> Option<Sandbox> {
    let fixed =
        version.starts_with("Linux version 4.4.0 ") && version.contains("Jan 10 15:06:54 PST 2016");
    let named = log.contains("Starting gVisor") || version.contains("gvisor");
    (fixed || named).then_some(Sandbox::GVisor)
}

fn kernel_log() -> String {
    /// `SYSLOG_ACTION_READ_ALL`: reads without consuming.
    const READ_ALL: libc::c_int = 3;
    let mut log = vec![0u8; MOST_LOG_BYTES];
    let room = libc::c_int::try_from(log.len()).unwrap_or(0);
    // SAFETY: the buffer is as long as is said.
    let read = unsafe { libc::klogctl(READ_ALL, log.as_mut_ptr().cast(), room) };
    log.truncate(usize::try_from(read).unwrap_or(0));
    String::from_utf8_lossy(&log).into_owned()
}

#[cfg(test)]
mod tests;
