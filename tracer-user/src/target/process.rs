//! Which processes there are, and what `/proc` says of one.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::base::{Nanos, Pid};

use super::TargetError;
use super::error::EXECUTABLE;
use super::procfs::{self, MAX_SMALL};

/// Most bytes kept of a command line.
const MAX_CMDLINE: usize = 4096;
/// Most bytes kept of a thread name; the kernel's limit is 15.
const MAX_COMM: usize = 64;
/// Most PID namespace levels; the kernel's MAX_PID_NS_LEVEL is 32.
const MAX_PID_LEVELS: usize = 33;
/// `PF_KTHREAD` of include/linux/sched.h.
const PF_KTHREAD: u64 = 0x0020_0000;

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessStat {
    /// Its PID.
    pub pid: Pid,
    /// Name of its main thread; control characters replaced.
    pub comm: Box<str>,
    /// State letter, such as `S`; `Z` = has exited and waits for its parent.
    pub state: char,
    /// Its parent's PID.
    pub parent: Pid,
    /// Whether it is a kernel thread.
    pub kernel_thread: bool,
    /// How many threads it has.
    pub threads: u64,
    /// Processor time that all its threads have used, the ended ones too; to a clock tick.
    pub cpu: Nanos,
    /// The part of it that they spent in the kernel.
    pub system: Nanos,
    /// Start time in clock ticks since boot: tells reused PIDs apart.
    pub start_ticks: u64,
    /// Where the main thread's stack began: its frames are below, the arguments and variables of the
    /// environment above. None if that may not be known, or the process has exited.
    pub stack_base: Option<u64>,
}

impl ProcessStat {
    /// Whether it has exited: there is no memory to read any more.
    pub const fn has_exited(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    fn parse(pid: Pid, text: &[u8]) -> Result<Self, TargetError> {
        Self::fields(pid, text).ok_or(TargetError::Malformed {
            pid,
            what: "the stat file",
            detail: "fields are missing or not numbers",
        })
    }

    /// The name is in parentheses and may hold anything, parentheses and spaces too: the last
    /// `)` ends it.
    fn fields(pid: Pid, text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&b| b == b'(')?;
        let close = text.iter().rposition(|&b| b == b')')?;
        let comm = text.get(open.checked_add(1)?..close)?;
        let rest = std::str::from_utf8(text.get(close.checked_add(1)?..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(26).collect();
        // Fields are numbered from 1; the state is number 3 and the first here.
        let number = |field: usize| fields.get(field.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            pid,
            comm: procfs::display_text(comm, MAX_COMM),
            state: fields.first()?.chars().next()?,
            parent: Pid(u32::try_from(number(4)?).ok()?),
            kernel_thread: number(9)? & PF_KTHREAD != 0,
            threads: number(20)?,
            cpu: ticks(number(14)?.saturating_add(number(15)?)),
            system: ticks(number(15)?),
            start_ticks: number(22)?,
            stack_base: number(28).filter(|&address| address > 0),
        })
    }
}

/// Clock ticks as a length.
fn ticks(ticks: u64) -> Nanos {
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Nanos(ticks.saturating_mul(1_000_000_000 / a_second))
}

/// Where `/proc/PID/exe` leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExeLink {
    /// The path as the process's own mount namespace has it.
    pub path: PathBuf,
    /// Whether the file was removed or replaced since it was started.
    pub deleted: bool,
}

/// A process in more detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessInfo {
    /// From `stat`.
    pub stat: ProcessStat,
    /// Real user id, as loiter's user namespace shows it.
    pub uid: u32,
    /// Its PIDs from loiter's namespace inwards: the last is the one it knows itself by.
    pub namespace_pids: Box<[u32]>,
    /// Command line, arguments separated by spaces; control characters replaced, cut at 4 KiB.
    pub cmdline: Box<str>,
}

/// The processes that `/proc` shows, in rising order of PID.
///
/// # Errors
/// If `/proc` cannot be listed.
pub fn list() -> std::io::Result<Vec<Pid>> {
    let mut pids: Vec<Pid> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid))
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Reads `/proc/PID/stat`.
///
/// # Errors
/// If there is no such process, or the file cannot be read.
pub fn stat(pid: Pid) -> Result<ProcessStat, TargetError> {
    ProcessStat::parse(pid, &procfs::read(pid, "stat", "the stat file", MAX_SMALL)?)
}

/// Reads where the executable is.
///
/// # Errors
/// [`TargetError::KernelThread`] where there is none; otherwise as [`stat`].
pub fn exe_link(pid: Pid) -> Result<ExeLink, TargetError> {
    match fs::read_link(procfs::path(pid, "exe")) {
        Ok(path) => Ok(exe_path(path)),
        Err(error) => Err(no_exe(pid, &error)),
    }
}

/// Kernel threads and zombies have no executable: the link reads as "no such file".
pub(super) fn no_exe(pid: Pid, error: &std::io::Error) -> TargetError {
    match stat(pid) {
        Ok(stat) if stat.kernel_thread => TargetError::KernelThread { pid },
        Ok(stat) if stat.has_exited() => TargetError::Gone { pid },
        Ok(_) => TargetError::from_io(pid, EXECUTABLE, error),
        Err(other) => other,
    }
}

/// The kernel appends ` (deleted)` to the path of a file without a name.
fn exe_path(path: PathBuf) -> ExeLink {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(name) => {
            ExeLink { path: PathBuf::from(OsString::from_vec(name.to_vec())), deleted: true }
        }
        None => ExeLink { path, deleted: false },
    }
}

/// Reads `stat`, `status` and `cmdline`.
///
/// # Errors
/// As [`stat`].
pub fn describe(pid: Pid) -> Result<ProcessInfo, TargetError> {
    let stat = stat(pid)?;
    let status = procfs::read(pid, "status", "the status file", MAX_SMALL)
        .map_err(TargetError::meanwhile)?;
    let cmdline = procfs::read(pid, "cmdline", "the command line", MAX_CMDLINE)
        .map_err(TargetError::meanwhile)?;
    let status = String::from_utf8_lossy(&status);
    Ok(ProcessInfo {
        stat,
        uid: status_numbers(&status, "Uid").first().copied().unwrap_or(u32::MAX),
        namespace_pids: status_numbers(&status, "NSpid").into(),
        cmdline: command_line(&cmdline),
    })
}

/// The numbers on the line `key:` of a `status` file.
pub(super) fn status_numbers(status: &str, key: &str) -> Vec<u32> {
    let value =
        status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or("");
    value.split_ascii_whitespace().take(MAX_PID_LEVELS).map_while(|n| n.parse().ok()).collect()
}

fn command_line(raw: &[u8]) -> Box<str> {
    let end = raw.iter().rposition(|&b| b != 0).map_or(0, |last| last.saturating_add(1));
    let spaced: Vec<u8> = raw.iter().take(end).map(|&b| if b == 0 { b' ' } else { b }).collect();
    procfs::display_text(&spaced, MAX_CMDLINE)
}

/// What to add to a CLOCK_MONOTONIC time of this process to have it on loiter's clock, in
/// nanoseconds: other than zero only across time namespaces (time_namespaces(7)). A kernel
/// without them has no offset.
pub fn monotonic_offset(pid: Pid) -> i64 {
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/timens_offsets")).unwrap_or_default();
        parse_monotonic_offset(&text)
    };
    of("self").saturating_sub(of(&pid.to_string()))
}

fn parse_monotonic_offset(text: &str) -> i64 {
    let parse = |line: &str| {
        let mut words = line.strip_prefix("monotonic")?.split_ascii_whitespace();
        let seconds: i64 = words.next()?.parse().ok()?;
        let nanos: i64 = words.next()?.parse().ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
    };
    text.lines().find_map(parse).unwrap_or(0)
}

/// Entry for fuzzing: no bytes of `stat`, `status` or `cmdline` may cause a panic.
pub fn fuzz_stat(bytes: &[u8]) {
    let _ = ProcessStat::parse(Pid(1), bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = status_numbers(&text, "NSpid");
    let _ = command_line(bytes);
    let _ = parse_monotonic_offset(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] =
        b"4242 (a) (b) S 1 4242 4242 0 -1 4194560 133 0 0 0 0 0 0 0 20 0 7 0 98765 12 3 4 5 6 140722";

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = ProcessStat::parse(Pid(4242), STAT).unwrap();
        assert_eq!(&*stat.comm, "a) (b");
        assert_eq!((stat.state, stat.threads, stat.start_ticks), ('S', 7, 98765));
        assert!(!stat.kernel_thread);
        assert_eq!(stat.stack_base, Some(140_722));
    }

    #[test]
    fn a_cut_stat_file_is_refused_or_read_but_never_panics() {
        for end in 0..STAT.len() {
            fuzz_stat(&STAT[..end]);
        }
        assert!(ProcessStat::parse(Pid(1), &STAT[..40]).is_err());
    }

    #[test]
    fn this_process_is_found_and_described() {
        let me = Pid(std::process::id());
        assert!(list().unwrap().contains(&me));
        let info = describe(me).unwrap();
        assert!(info.stat.threads >= 1 && !info.stat.kernel_thread);
        // Tests run in threads of their own: the main thread's stack is another mapping.
        let maps = super::super::Maps::of(me).unwrap();
        assert!(maps.find(info.stat.stack_base.unwrap()).is_some());
        assert!(info.namespace_pids.contains(&me.0));
        assert!(!info.cmdline.is_empty());
        assert!(exe_link(me).unwrap().path.is_absolute());
    }

    #[test]
    fn a_pid_that_is_not_in_use_is_no_such_process() {
        let pid = Pid(0x3fff_ffff);
        assert_eq!(stat(pid), Err(TargetError::NoSuchProcess { pid }));
        assert_eq!(exe_link(pid), Err(TargetError::NoSuchProcess { pid }));
    }

    #[test]
    fn control_characters_of_a_hostile_name_do_not_reach_the_terminal() {
        assert_eq!(&*command_line(b"sh\0-c\0\x1b[2Jrm\0\0"), "sh -c \u{fffd}[2Jrm");
    }

    #[test]
    fn a_removed_executable_is_told_apart() {
        let link = exe_path(PathBuf::from("/app/server (deleted)"));
        assert_eq!(link, ExeLink { path: PathBuf::from("/app/server"), deleted: true });
    }

    #[test]
    fn offsets_of_a_time_namespace_are_nanoseconds() {
        assert_eq!(parse_monotonic_offset("monotonic  100 5\nboottime 7 0\n"), 100_000_000_005);
        assert_eq!(parse_monotonic_offset(""), 0);
    }
}
