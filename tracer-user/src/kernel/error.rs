//! What can go wrong between loiter and the kernel: what failed, on what, why, and the remedy.

use std::io;
use std::path::PathBuf;

use crate::base::Pid;
use crate::runtime::plan::SiteKind;

use super::features::Obstacle;

/// An error of this layer.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// This binary has no kernel part.
    #[error(
        "this loiter was built without its kernel part, so it cannot attach probes; \
         run `cargo xtask setup`, then build again (snapshots work without: `--events none`)"
    )]
    NotBuilt,
    /// This kernel, these rights or this sandbox do not allow probes.
    #[error("probes cannot be used here: {0}")]
    Obstacle(#[from] Obstacle),
    /// The object does not fit the code around it.
    #[error("the embedded kernel part is not usable: {why}; build loiter again")]
    Object {
        /// What is wrong with it.
        why: String,
    },
    /// A map could not be made or used.
    #[error("the kernel refuses the map {map}: {why}; {}", map_remedy(.why))]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        why: String,
    },
    /// A program was refused.
    #[error("the kernel refuses the program {program}: {source}; {}", log_tail(.log))]
    Program {
        /// Its name.
        program: &'static str,
        /// The error number.
        source: io::Error,
        /// What the verifier said.
        log: String,
    },
    /// A setting is out of range.
    #[error("{setting} = {value} cannot be used: {why}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// What is allowed.
        why: &'static str,
    },
    /// The target is gone, or another process has its PID now.
    #[error("process {pid} exited meanwhile")]
    Gone {
        /// Its PID.
        pid: Pid,
    },
    /// The binary could not be read.
    #[error("cannot read the binary {} of process {pid}: {source}", path.display())]
    Binary {
        /// The process.
        pid: Pid,
        /// The binary.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process does not run the file at this path.
    #[error(
        "process {pid} does not map the file at {}: it was replaced on disk since the process \
         started; give the mapped one (/proc/{pid}/exe or /proc/{pid}/map_files/...)",
        path.display()
    )]
    NotMapped {
        /// The process.
        pid: Pid,
        /// The file.
        path: PathBuf,
    },
    /// The bytes under a probe are not those of the plan.
    #[error(
        "the binary of process {pid} has {found} at file offset {offset:#x} ({function}) where the \
         plan has {planned}: the plan was made from another file; make a new plan"
    )]
    Changed {
        /// The process.
        pid: Pid,
        /// The function of the site.
        function: Box<str>,
        /// The site's offset.
        offset: u64,
        /// What the plan says.
        planned: String,
        /// What is there.
        found: String,
    },
    /// The plan has no site of a kind that is asked for.
    #[error("the plan has no {} site", kind.word())]
    NoSites {
        /// The kind.
        kind: SiteKind,
    },
    /// More sites than a link can have.
    #[error("the plan has {sites} sites; at most {most} can be attached")]
    TooManySites {
        /// In the plan.
        sites: usize,
        /// The bound.
        most: usize,
    },
    /// The runtime's layout is not one the kernel part can read.
    #[error("the layout of this runtime's tasks cannot be read by the kernel part: {0:?}")]
    Layout(tracer_common::config::TargetConfig),
    /// The kernel refused to attach.
    #[error("cannot attach the {} probes to process {pid}: {source}; {}", kind.word(), attach_remedy(.source))]
    Attach {
        /// The process.
        pid: Pid,
        /// Which probes.
        kind: SiteKind,
        /// Why.
        source: io::Error,
    },
    /// All slots are taken, or their last records were not drained yet.
    #[error(
        "{in_use} processes are traced and {waiting} more slots wait to be drained: drain the ring, or trace fewer"
    )]
    NoSlot {
        /// Slots in use.
        in_use: usize,
        /// Slots released whose records may still be in the ring.
        waiting: usize,
    },
    /// The slot is not in use.
    #[error("slot {slot} is not in use")]
    BadSlot {
        /// Its number.
        slot: u16,
    },
    /// Processes that are no targets cannot be followed.
    #[error(
        "the processes of this host cannot be followed as they start: {why}; give the PIDs of those to watch instead of --all"
    )]
    HostLives {
        /// Why.
        why: String,
    },
    /// Threads cannot be followed here.
    #[error("threads cannot be followed: {why}; `loiter doctor` tells what this kernel allows")]
    Threads {
        /// Why.
        why: String,
    },
    /// A map could not be read.
    #[error("reading the map of {of} failed: {source}")]
    ReadMap {
        /// What is in it.
        of: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another system call failed.
    #[error("{what} failed: {source}")]
    System {
        /// What was done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Longest piece of the verifier's log that is shown: its end says why.
const LOG_SHOWN: usize = 600;

fn log_tail(log: &str) -> String {
    let log = log.trim();
    if log.is_empty() {
        return "the verifier says nothing; `loiter doctor` tells what this kernel allows"
            .to_owned();
    }
    let start = log.len().saturating_sub(LOG_SHOWN);
    let start = (start..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
    format!("the verifier says: {}", log.get(start..).unwrap_or(log))
}

fn map_remedy(why: &str) -> &'static str {
    if why.contains("os error 12") {
        "memory is short, or its limit for this cgroup is: use a smaller ring"
    } else {
        "`loiter doctor` tells what this kernel allows"
    }
}

fn attach_remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE are needed, below Linux 6.6 CAP_SYS_ADMIN too; a security module may forbid it as well"
        }
        Some(libc::ESRCH) => "the process exited meanwhile",
        Some(libc::EINVAL) => {
            "its file system may not allow probes (it must support mapping and writing private pages)"
        }
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => "this kernel was built without uprobes",
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit on open files (`ulimit -n`)",
        _ => "`loiter doctor` tells what this kernel allows",
    }
}
