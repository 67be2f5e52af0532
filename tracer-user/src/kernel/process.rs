//! The life of traced processes: typed tracepoints for exec, exit and fork, and what `/proc` says
//! of a process's identity.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use tracer_common::config::KernelLayout;
use tracer_common::ids::name::{HOST_PROGRAMS, PROCESS_PROGRAMS, SCHED_PROGRAMS};

use crate::base::Pid;

use super::KernelError;
use super::btf::{self, KernelTypes};
use super::multi::Instructions;
use super::sys;

/// Inode of the initial PID namespace. Source: include/linux/proc_ns.h, `PROC_PID_INIT_INO`.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// What is told of processes that are no targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostLives {
    /// Nothing.
    #[default]
    Untold,
    /// Which program each runs.
    Execs,
    /// The same, and which go on in another process with the program they have.
    ExecsAndForks,
}

/// The programs on the kernel's own tracepoints, attached.
#[derive(Default)]
pub struct ProcessPrograms {
    programs: Vec<OwnedFd>,
    _links: Vec<OwnedFd>,
}

impl ProcessPrograms {
    /// Loads and attaches them.
    ///
    /// # Errors
    /// In words: which, and why.
    pub fn attach(from: &Instructions, types: &KernelTypes) -> Result<Self, String> {
        Self::attach_all(from, types, &PROCESS_PROGRAMS)
    }

    /// Those that tell of all processes of the host.
    ///
    /// # Errors
    /// If they cannot be attached.
    pub fn of_host(
        lives: HostLives,
        from: &Instructions,
        types: Result<&KernelTypes, &String>,
    ) -> Result<Self, KernelError> {
        let count = match lives {
            HostLives::Untold => return Ok(Self::default()),
            HostLives::Execs => 1,
            HostLives::ExecsAndForks => HOST_PROGRAMS.len(),
        };
        let failed = |why| KernelError::HostLives { why };
        let types = types.map_err(|why| failed(why.clone()))?;
        if types.layout().is_none() || (count > 1 && !types.has_threads()) {
            return Err(failed("this kernel's types lack a field that is needed".to_owned()));
        }
        let wanted = HOST_PROGRAMS.get(..count).unwrap_or(&HOST_PROGRAMS);
        Self::attach_all(from, types, wanted).map_err(failed)
    }

    fn attach_all(
        from: &Instructions,
        types: &KernelTypes,
        wanted: &[(&'static str, &'static str)],
    ) -> Result<Self, String> {
        let mut programs = Vec::new();
        let mut links = Vec::new();
        for (name, tracepoint) in wanted {
            let known = PROCESS_PROGRAMS.iter().position(|(_, other)| other == tracepoint);
            let id = known.and_then(|at| types.tracepoints.get(at)).copied().flatten();
            let btf_id = id.ok_or_else(|| format!("this kernel has no tracepoint {tracepoint}"))?;
            let program = from.load(name, sys::ProgramKind::Tracepoint { btf_id }).map_err(
                |(why, log)| format!("the kernel refuses {name}: {why}; {}", log.trim()),
            )?;
            let link = sys::link_tracepoint(program.as_fd())
                .map_err(|why| format!("cannot attach to {tracepoint}: {why}"))?;
            programs.push(program);
            links.push(link);
        }
        Ok(Self { programs, _links: links })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &OwnedFd> {
        self.programs.iter()
    }
}

/// What BTF says that is needed; its tracepoints are those of the programs for processes, then those
/// of the programs for threads.
///
/// # Errors
/// In words.
pub fn kernel_types() -> Result<KernelTypes, String> {
    let mut bytes = Vec::new();
    File::open(btf::PATH)
        .and_then(|file| file.take(btf::MOST_BYTES).read_to_end(&mut bytes))
        .map_err(|why| format!("cannot read {}: {why}", btf::PATH))?;
    let tracepoints = PROCESS_PROGRAMS.iter().chain(&SCHED_PROGRAMS);
    let tracepoints: Vec<&str> = tracepoints.map(|(_, tracepoint)| *tracepoint).collect();
    btf::scan(&bytes, &tracepoints)
        .ok_or_else(|| format!("{} is not of a form this loiter knows", btf::PATH))
}

/// Adds whether this kernel is one of PREEMPT_RT.
pub fn with_realtime(layout: KernelLayout) -> KernelLayout {
    let realtime = fs::read("/sys/kernel/realtime").is_ok_and(|text| text.starts_with(b"1"));
    KernelLayout { realtime: u32::from(realtime), ..layout }
}

/// Adds loiter's own PID namespace to the offsets, if it is not the initial one.
///
/// # Errors
/// If `/proc` does not tell.
pub fn with_pid_namespace(layout: KernelLayout) -> io::Result<KernelLayout> {
    let about = fs::metadata("/proc/self/ns/pid")?;
    if about.ino() == INITIAL_PID_NAMESPACE {
        return Ok(layout);
    }
    let device = about.dev();
    // The helper compares with the kernel's own encoding: include/linux/kdev_t.h, MKDEV.
    let device = u64::from(libc::major(device)) << 20 | u64::from(libc::minor(device));
    Ok(KernelLayout { pidns_dev: device, pidns_ino: about.ino(), ..layout })
}

/// Whether loiter runs in the initial PID namespace; None if `/proc` does not tell.
pub fn in_initial_pid_namespace() -> Option<bool> {
    Some(fs::metadata("/proc/self/ns/pid").ok()?.ino() == INITIAL_PID_NAMESPACE)
}

/// When a process started, in clock ticks since boot (`/proc/PID/stat`, field 22). None if it is
/// gone.
pub fn start_ticks(pid: Pid) -> Option<u64> {
    start_ticks_of(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name may hold spaces and parentheses: fields are counted from its end.
fn start_ticks_of(stat: &[u8]) -> Option<u64> {
    /// State is field 3, the first after the name.
    const STARTTIME: usize = 22 - 3;
    let after = stat.get(memchr::memrchr(b')', stat)?..)?.get(2..)?;
    let field = after.split(|byte| *byte == b' ').nth(STARTTIME)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let fields: Vec<String> = (4..=30).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) b (c)) S {}", fields.join(" "));
        assert_eq!(start_ticks_of(stat.as_bytes()), Some(22));
        for len in 0..stat.len() {
            let _whatever = start_ticks_of(&stat.as_bytes()[..len]);
        }
    }

    #[test]
    fn our_own_start_is_known() {
        assert!(start_ticks(Pid(std::process::id())).is_some());
        assert_eq!(start_ticks(Pid(u32::MAX)), None);
    }
}
