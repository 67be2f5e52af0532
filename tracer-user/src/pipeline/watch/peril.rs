//! Whether the target is about to be killed for its memory, and how it ended: what a flight recorder
//! must know of a process before and after its death.

use std::os::fd::BorrowedFd;

use crate::base::{KTime, Nanos, Pid};
use crate::target::{MemoryGauge, OomGauge, exit_status};

/// Of its limit the target may have so much before looks hurry: in hundredths.
const NEAR: u64 = 95;
/// Between two looks because of that.
const PAUSE: Nanos = Nanos::from_secs(1);
/// Between two reads of its memory.
const READ_EVERY: Nanos = Nanos::from_millis(500);
/// From the kernel's decision to kill a process until its end is told no more than this passes.
const DYING: Nanos = Nanos::from_secs(30);

/// See the module.
pub struct Peril {
    pid: Pid,
    memory: MemoryGauge,
    oom: OomGauge,
    killed: Killed,
    read_at: Option<KTime>,
    hurried_at: Option<KTime>,
}

/// How many processes of the target's cgroup the kernel had killed: now and then, so that a kill is seen as
/// one for [`DYING`].
#[derive(Clone, Copy, Debug)]
struct Killed {
    before: Option<u64>,
    since: Option<(KTime, Option<u64>)>,
}

impl Killed {
    fn note(&mut self, now: KTime, kills: Option<u64>) {
        match self.since {
            Some((at, _)) if now.since(at) < DYING => {}
            Some((_, then)) => {
                self.before = then;
                self.since = Some((now, kills));
            }
            None => self.since = Some((now, kills)),
        }
    }

    /// Whether there are more than there were.
    fn more(&self, kills: Option<u64>) -> bool {
        matches!((self.before, kills), (Some(before), Some(now)) if now > before)
    }
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// As it should: with code 0.
    Well,
    /// In words.
    Badly(String),
}

impl Peril {
    /// Of this process.
    pub fn of(pid: Pid) -> Self {
        let oom = OomGauge::of(pid);
        let killed = Killed { before: oom.kills(), since: None };
        let memory = MemoryGauge::of(pid);
        Self { pid, memory, oom, killed, read_at: None, hurried_at: None }
    }

    /// Whether a look should be taken at once: once the target is dead, its tasks cannot be read.
    pub fn hurries(&mut self, now: KTime) -> bool {
        let early = |last: Option<KTime>, pause| last.is_some_and(|at| now.since(at) < pause);
        if early(self.read_at, READ_EVERY) {
            return false;
        }
        self.read_at = Some(now);
        self.killed.note(now, self.oom.kills());
        let Ok(used) = self.memory.read() else { return false };
        let near = used.limit_bytes.is_some_and(|limit| used.rss_bytes / NEAR >= limit / 100);
        if !near || early(self.hurried_at, PAUSE) {
            return false;
        }
        self.hurried_at = Some(now);
        true
    }

    /// How it ended. What an event told of it counts where the kernel itself does not say.
    pub fn fate(&self, pidfd: BorrowedFd<'_>, told: Option<u32>) -> Fate {
        let oom = self.killed.more(self.oom.kills());
        words(exit_status(self.pid, pidfd).or(told), oom)
    }
}

/// A raw wait status, see wait(2).
fn words(status: Option<u32>, oom: bool) -> Fate {
    let Some(status) = status else {
        return Fate::Badly("the target ended, and nobody saw how".to_owned());
    };
    let (signal, code) = (status & 0x7f, status >> 8 & 0xff);
    match (signal, code) {
        (0, 0) => Fate::Well,
        (0, code) => Fate::Badly(format!("the target exited with code {code}")),
        (9, _) if oom => Fate::Badly(
            "the target was killed by SIGKILL when the kernel was out of memory for it".to_owned(),
        ),
        (signal, _) => Fate::Badly(format!("the target was killed by {}", name(signal))),
    }
}

/// As people know it.
fn name(signal: u32) -> String {
    const NAMES: [(u32, &str); 12] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
        (31, "SIGSYS"),
    ];
    let known = NAMES.iter().find(|(number, _)| *number == signal);
    known.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_counts_also_when_it_was_seen_before_the_end_and_not_for_ever() {
        let at = |seconds: u64| KTime(seconds * 1_000_000_000);
        let mut killed = Killed { before: Some(0), since: None };
        killed.note(at(0), Some(0));
        for second in 1..29 {
            killed.note(at(second), Some(1));
            assert!(killed.more(Some(1)), "{second}");
        }
        killed.note(at(100), Some(1));
        killed.note(at(131), Some(1));
        assert!(!killed.more(Some(1)), "it was another process");
        assert!(killed.more(Some(2)));
    }

    #[test]
    fn an_end_is_told_in_words() {
        let badly = |status, oom| match words(status, oom) {
            Fate::Badly(words) => words,
            Fate::Well => "well".to_owned(),
        };
        assert_eq!(badly(Some(0), false), "well");
        assert_eq!(badly(Some(0), true), "well");
        assert_eq!(badly(Some(2 << 8), false), "the target exited with code 2");
        assert_eq!(badly(Some(0x80 | 11), false), "the target was killed by SIGSEGV");
        assert_eq!(badly(Some(9), false), "the target was killed by SIGKILL");
        assert!(badly(Some(9), true).contains("out of memory"));
        assert!(badly(None, false).contains("nobody saw"));
    }
}
