//! The processes of a host as they come: which are waited for until they have lived long enough, which
//! wait for room, which were refused. Knows nothing of those that are watched.

mod filter;

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::base::{Nanos, Pid, ProcId};
use crate::target::{PidFd, list, stat};

use super::clock;
use super::ready::readiness;
use super::settings::{GoMinor, TargetSettings, Threads};

pub use filter::{About, Filter, Glob, Verdict};

/// Processes that are waited for at most: a host that starts more in half a second is not told of
/// those beyond, unless they are still there when `/proc` is read again.
const MAX_PENDING: usize = 8192;
/// Processes that wait for room at most.
const MAX_WAITING: usize = 4096;
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
    tries: HashMap<Pid, u32>,
    waiting: VecDeque<Pid>,
    /// How many found no room.
    beyond: u64,
    told: HashSet<Box<str>>,
}

impl Host {
    /// Nothing is known yet.
    pub fn new(settings: HostSettings) -> Self {
        Self {
            settings,
            pending: HashMap::new(),
            tries: HashMap::new(),
            waiting: VecDeque::new(),
            beyond: 0,
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
        self.expect(pid, self.settings.settle, news);
    }

    fn expect(&mut self, pid: Pid, after: Nanos, news: &UnboundedSender<Happening>) {
        if self.pending.len() >= MAX_PENDING && !self.pending.contains_key(&pid) {
            self.beyond = self.beyond.saturating_add(1);
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
    }

    /// A process has ended.
    pub fn passed(&mut self, pid: Pid) {
        self.tries.remove(&pid);
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

    /// There is no room for a process; whether it is the first.
    pub fn no_room(&mut self, pid: Pid) -> bool {
        self.beyond = self.beyond.saturating_add(1);
        if self.waiting.len() < MAX_WAITING && !self.waiting.contains(&pid) {
            self.waiting.push_back(pid);
        }
        self.beyond == 1
    }

    /// There is room again for one that waits.
    pub fn next_waiting(&mut self) -> Option<Pid> {
        self.waiting.pop_front()
    }

    /// Whether a refusal of this program is to be told: once.
    pub fn is_news(&mut self, why: &str) -> bool {
        self.told.len() < MAX_TOLD && self.told.insert(why.into())
    }

    /// How many found no room, in words.
    pub fn beyond(&self) -> Option<String> {
        (self.beyond > 0).then(|| {
            format!(
                "{} found no room among the {} that are watched at most (--max-targets)",
                if self.beyond == 1 {
                    "1 process".to_owned()
                } else {
                    format!("{} processes", self.beyond)
                },
                self.settings.most
            )
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.pending.values().for_each(AbortHandle::abort);
    }
}
