//! The processes of a host as they come: which are waited for until they have lived long enough, which
//! wait for room, which were refused. Knows nothing of those that are watched.

mod filter;
mod queue;

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::base::{Nanos, Pid, ProcId};
use crate::target::{PidFd, list, stat};

use super::clock;
use super::ready::readiness;
use super::settings::{GoMinor, TargetSettings, Threads};

use queue::Queue;

pub use filter::{About, Filter, Glob, Verdict};

/// Processes that are waited for at most: a host that starts more in half a second is not told of
/// those beyond, unless they are still there when `/proc` is read again.
const MAX_PENDING: usize = 8192;
/// A process is opened so often: at its start it may not have made its first goroutine.
const MAX_TRIES: u32 = 5;
/// Programs of which is remembered that a refusal was told.
const MAX_TOLD: usize = 1024;

/// Which processes of the host are watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostSettings {
    /// What they must be like.
    pub filter: Filter,
    /// Those that live for less are left alone.
    pub settle: Nanos,
    /// At most so many at a time.
    pub most: usize,
    /// As for one process.
    pub assume_go: Option<GoMinor>,
    /// Whether programs without a runtime that is known are watched, and threads of all.
    pub threads: Threads,
}

/// What happened to processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    /// One that is watched has ended.
    Exited(ProcId),
    /// One that is not has lived long enough.
    Settled(Pid),
    /// One that is not has ended before that.
    Passed(Pid),
}

/// See the module.
pub struct Host {
    settings: HostSettings,
    pending: HashMap<Pid, AbortHandle>,
    /// Told to have lived long enough, and nobody has heard it yet.
    announced: HashSet<Pid>,
    tries: HashMap<Pid, u32>,
    waiting: Queue,
    /// Who tells of the end of those that wait.
    ends: HashMap<Pid, AbortHandle>,
    /// How many were not waited for, and whether that was told.
    passed_over: u64,
    passed_over_told: bool,
    told: HashSet<Box<str>>,
}

impl Host {
    /// Nothing is known yet.
    pub fn new(settings: HostSettings) -> Self {
        Self {
            settings,
            pending: HashMap::new(),
            announced: HashSet::new(),
            tries: HashMap::new(),
            waiting: Queue::default(),
            ends: HashMap::new(),
            passed_over: 0,
            passed_over_told: false,
            told: HashSet::new(),
        }
    }

    /// What it goes by.
    pub const fn settings(&self) -> &HostSettings {
        &self.settings
    }

    /// Goes by this from now on.
    pub fn set(&mut self, settings: HostSettings) {
        self.settings = settings;
    }

    /// As a process of the host is opened.
    pub const fn target(&self, pid: Pid) -> TargetSettings {
        TargetSettings { pid, assume_go: self.settings.assume_go, threads: self.settings.threads }
    }

    /// Whether a process is meant; the kernel's and those that are gone are not.
    pub fn verdict(&self, pid: Pid) -> Verdict {
        let filter = &self.settings.filter;
        if pid.0 == std::process::id() {
            return Verdict::Left;
        }
        About::read(pid, filter).map_or(Verdict::Left, |about| filter.verdict(&about))
    }

    /// All there are now: those that have lived long enough are told at once.
    pub fn scan(&mut self, news: &UnboundedSender<Happening>) -> std::io::Result<()> {
        let (boot, _) = clock::boot_and_wall();
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        for pid in list()? {
            let Ok(stat) = stat(pid) else { continue };
            let age = boot.0.saturating_sub(stat.start_ticks.saturating_mul(tick));
            let left = self.settings.settle.0.saturating_sub(age);
            if left == 0 {
                self.announced.insert(pid);
                let _nobody_listens = news.send(Happening::Settled(pid));
            } else {
                self.expect(pid, Nanos(left), news);
            }
        }
        Ok(())
    }

    /// A process began, or runs another program now: it is told when it has lived long enough.
    pub fn born(&mut self, pid: Pid, news: &UnboundedSender<Happening>) {
        self.tries.remove(&pid);
        self.take_out(pid);
        self.expect(pid, self.settings.settle, news);
    }

    fn expect(&mut self, pid: Pid, after: Nanos, news: &UnboundedSender<Happening>) {
        if self.pending.len() >= MAX_PENDING && !self.pending.contains_key(&pid) {
            self.passed_over = self.passed_over.saturating_add(1);
            self.tries.remove(&pid);
            return;
        }
        // Gone already, or no descriptor to be had: then it is not there, or there is no room.
        let Some(exit) = PidFd::open(pid).ok().and_then(|fd| readiness(fd.as_fd()).ok()) else {
            self.passed(pid);
            return;
        };
        let news = news.clone();
        let waits = tokio::spawn(async move {
            let happened = tokio::select! {
                _ = exit.readable() => Happening::Passed(pid),
                () = tokio::time::sleep(Duration::from_nanos(after.0)) => Happening::Settled(pid),
            };
            let _nobody_listens = news.send(happened);
        });
        if let Some(before) = self.pending.insert(pid, waits.abort_handle()) {
            before.abort();
        }
    }

    /// A process has lived long enough.
    pub fn settled(&mut self, pid: Pid) {
        self.pending.remove(&pid);
        self.announced.remove(&pid);
    }

    /// Those that lived when `/proc` was read, or began since, and were not told as
    /// [`Happening::Settled`] yet, or not heard.
    pub fn expected(&self) -> impl Iterator<Item = Pid> {
        self.pending.keys().chain(&self.announced).copied()
    }

    /// Whether a process is one of [`Host::expected`].
    pub fn expects(&self, pid: Pid) -> bool {
        self.pending.contains_key(&pid) || self.announced.contains(&pid)
    }

    /// A process has ended, or is not meant: nothing more is known of it.
    pub fn passed(&mut self, pid: Pid) {
        self.tries.remove(&pid);
        self.announced.remove(&pid);
        self.never_waits(pid);
        if let Some(waits) = self.pending.remove(&pid) {
            waits.abort();
        }
    }

    /// A process could not be opened, or it is not known whether it is meant; whether it is tried again.
    pub fn try_again(&mut self, pid: Pid, news: &UnboundedSender<Happening>) -> bool {
        let tries = self.tries.entry(pid).or_default();
        *tries += 1;
        if *tries >= MAX_TRIES {
            self.tries.remove(&pid);
            return false;
        }
        let after = self.settings.settle.0.max(100_000_000).saturating_mul(1 << *tries);
        self.expect(pid, Nanos(after), news);
        true
    }

    /// A process was opened.
    pub fn opened(&mut self, pid: Pid) {
        self.tries.remove(&pid);
    }

    /// There is no room for a process: it waits, unless it ends. Says that this is the first, once.
    pub fn no_room(&mut self, pid: Pid, news: &UnboundedSender<Happening>) -> Option<String> {
        let first = self.waiting.put(pid);
        if self.waiting.has(pid) && !self.ends.contains_key(&pid) {
            self.mind_end(pid, news);
        }
        if first { self.no_room_words() } else { None }
    }

    /// Who waits and cannot be followed to its end is found to be gone when its turn comes.
    fn mind_end(&mut self, pid: Pid, news: &UnboundedSender<Happening>) {
        let Some(exit) = PidFd::open(pid).ok().and_then(|fd| readiness(fd.as_fd()).ok()) else {
            return;
        };
        let news = news.clone();
        let waits = tokio::spawn(async move {
            if exit.readable().await.is_ok() {
                let _nobody_listens = news.send(Happening::Passed(pid));
            }
        });
        self.ends.insert(pid, waits.abort_handle());
    }

    /// There is room again for one that waits.
    pub fn next_waiting(&mut self) -> Option<Pid> {
        let next = self.waiting.take_first()?;
        self.mind_no_end(next);
        Some(next)
    }

    /// Whether a process waits for room.
    pub fn waits(&self, pid: Pid) -> bool {
        self.waiting.has(pid)
    }

    /// A process is to be opened, or has become another: it waits no more for now.
    pub fn take_out(&mut self, pid: Pid) {
        self.waiting.take_out(pid);
        self.mind_no_end(pid);
    }

    /// A process got its room, or cannot be watched.
    pub fn never_waits(&mut self, pid: Pid) {
        self.waiting.forget(pid);
        self.mind_no_end(pid);
    }

    fn mind_no_end(&mut self, pid: Pid) {
        if let Some(waits) = self.ends.remove(&pid) {
            waits.abort();
        }
    }

    /// Whether a refusal of this program is to be told: once.
    pub fn is_news(&mut self, why: &str) -> bool {
        self.told.len() < MAX_TOLD && self.told.insert(why.into())
    }

    /// Says that processes were not waited for, the first time.
    pub fn passed_over_news(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.passed_over_told, self.passed_over > 0) {
            return None;
        }
        self.passed_over_words()
    }

    /// How many found no room, or were not waited for, in words.
    pub fn beyond(&self) -> Option<String> {
        let all = [self.no_room_words(), self.passed_over_words()];
        let words: Vec<String> = all.into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    fn no_room_words(&self) -> Option<String> {
        let beyond = processes(self.waiting.beyond())?;
        let most = self.settings.most;
        Some(format!(
            "{beyond} found no room among the {most} that are watched at most (--max-targets)"
        ))
    }

    fn passed_over_words(&self) -> Option<String> {
        let passed = processes(self.passed_over)?;
        Some(format!(
            "{passed} passed over: more than {MAX_PENDING} began within --settle, and are found only when /proc is read again"
        ))
    }
}

/// So many of them, in words; None of none.
fn processes(count: u64) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 process".to_owned()),
        _ => Some(format!("{count} processes")),
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.pending.values().chain(self.ends.values()).for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn host() -> Host {
        let (filter, settle) = (Filter::default(), Nanos::from_secs(1));
        Host::new(HostSettings { filter, settle, most: 2, assume_go: None, threads: Threads::Left })
    }

    /// PIDs that no process has: nobody is waited for.
    const ONE: Pid = Pid(u32::MAX >> 1);
    const OTHER: Pid = Pid(ONE.0 - 1);

    #[test]
    fn the_first_that_finds_no_room_is_told_also_when_others_were_passed_over() {
        let (mut host, (news, _)) = (host(), unbounded_channel());
        host.passed_over = 9;
        let words = "1 process found no room among the 2 that are watched at most (--max-targets)";
        assert_eq!(host.no_room(ONE, &news).as_deref(), Some(words));
        assert_eq!(host.no_room(OTHER, &news), None);
    }

    #[test]
    fn those_passed_over_are_told_once_and_not_blamed_on_the_number_of_targets() {
        let mut host = host();
        assert_eq!(host.passed_over_news(), None);
        host.passed_over = 3;
        let words = host.passed_over_news().unwrap();
        assert!(words.starts_with("3 processes passed over"), "{words}");
        assert!(!words.contains("--max-targets"), "{words}");
        host.passed_over = 4;
        assert_eq!(host.passed_over_news(), None);
        assert!(
            host.beyond().unwrap().starts_with("4 processes passed over"),
            "at the end as well"
        );
    }

    #[test]
    fn of_a_process_that_has_passed_nothing_is_kept() {
        let (mut host, (news, _)) = (host(), unbounded_channel());
        host.no_room(ONE, &news);
        host.announced.insert(ONE);
        host.tries.insert(ONE, 2);
        host.passed(ONE);
        assert!(!host.waits(ONE) && !host.expects(ONE));
        assert!(host.tries.is_empty() && host.ends.is_empty());
        assert_eq!(host.next_waiting(), None);
    }
}
