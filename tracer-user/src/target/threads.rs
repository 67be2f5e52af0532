//! Thread ids across PID namespaces: a runtime notes a thread's id as its own namespace has it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::base::{Pid, Tid};

use super::FileAt;
use super::process::status_numbers;
use super::procfs::{self, MAX_SMALL};

/// Most threads looked at: the kernel's own limit a process is lower (`kernel.threads-max`).
const MAX_THREADS: usize = 1 << 17;

/// Whether a thread belongs to a process; ids as loiter sees them.
pub fn is_thread_of(pid: Pid, thread: Tid) -> bool {
    procfs::path(pid, &format!("task/{thread}")).exists()
}

/// Translates thread ids that a process knows into those that loiter sees.
#[derive(Debug)]
pub struct ThreadIds {
    pid: Pid,
    same_namespace: bool,
    known: HashMap<u64, Tid>,
}

/// The map of the code that a process compiled while it ran, where it writes one.
pub fn perf_map(pid: Pid) -> Option<FileAt> {
    let status = procfs::read(pid, "status", "the status file", MAX_SMALL).ok()?;
    let numbers = status_numbers(&String::from_utf8_lossy(&status), "NSpid");
    // It is named by the number that the process has for itself.
    let own = numbers.last()?;
    FileAt::left_by(pid, Path::new(&format!("/tmp/perf-{own}.map"))).ok()
}

impl ThreadIds {
    /// For one process. Where it shares loiter's PID namespace, nothing has to be translated.
    pub fn of(pid: Pid) -> Self {
        let status = procfs::read(pid, "status", "the status file", MAX_SMALL).unwrap_or_default();
        let levels = status_numbers(&String::from_utf8_lossy(&status), "NSpid").len();
        Self { pid, same_namespace: levels <= 1, known: HashMap::new() }
    }

    /// Ids stay as they are: for a core file or a recording.
    pub fn untranslated() -> Self {
        Self { pid: Pid(0), same_namespace: true, known: HashMap::new() }
    }

    /// Looks at the threads there are now; to be called once before a series of [`Self::ours`].
    pub fn refresh(&mut self) {
        if self.same_namespace {
            return;
        }
        self.known.clear();
        let Ok(entries) = fs::read_dir(procfs::path(self.pid, "task")) else {
            return;
        };
        for entry in entries.take(MAX_THREADS).flatten() {
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let status =
                procfs::read(self.pid, &format!("task/{tid}/status"), "the status file", MAX_SMALL);
            let numbers =
                status_numbers(&String::from_utf8_lossy(&status.unwrap_or_default()), "NSpid");
            if let Some(&inner) = numbers.last() {
                self.known.insert(u64::from(inner), Tid(tid));
            }
        }
    }

    /// The id that loiter sees for the thread that calls itself `theirs`; None if not known.
    pub fn ours(&self, theirs: u64) -> Option<Tid> {
        if theirs == 0 {
            return None;
        }
        if self.same_namespace {
            return u32::try_from(theirs).ok().map(Tid);
        }
        self.known.get(&theirs).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_same_namespace_ids_stay_and_zero_is_no_thread() {
        let mut ids = ThreadIds::of(Pid(std::process::id()));
        ids.refresh();
        assert_eq!(ids.ours(u64::from(std::process::id())), Some(Tid(std::process::id())));
        assert_eq!(ids.ours(0), None);
        assert_eq!(ids.ours(u64::MAX), None);
    }
}
