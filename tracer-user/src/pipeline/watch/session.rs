//! One process under watch: an incarnation, its probes, its looks and what it costs.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::base::{KTime, ProcId};
use crate::pipeline::budget::Turn;
use crate::pipeline::looker::Eyes;
use crate::pipeline::open::{Opened, Probing};
use crate::pipeline::pace::{Pace, Share};
use crate::pipeline::ready::readiness;
use crate::pipeline::settings::{BudgetSettings, TargetSettings, Threads, Tune};
use crate::stream::{Input, Mode, Stop};
use crate::view::ThreadWaitsView;
use crate::view::watch::Who;

use super::costs::{Charge, Spending};
use super::flow::Losses;
use super::many::Happening;

/// The incarnation that is watched now.
pub(super) struct Session {
    pub process: ProcId,
    pub target: TargetSettings,
    pub who: Who,
    pub tune: Tune,
    pub exit: Exit,
    /// None while a look is under way.
    pub eyes: Option<Eyes>,
    pub probing: Probing,
    pub slot: Option<u16>,
    pub probes: u32,
    pub first_look_told: bool,
    pub failed_looks: u32,
    pub stopped: Option<Stop>,
    pub opened_at: KTime,
    /// The probes that are on.
    pub mode: Mode,
    pub spending: Option<Spending>,
    pub charge: Charge,
    /// Changes of the probes that are not told yet.
    pub turns: Vec<(KTime, Turn)>,
    pub pace: Pace,
    pub looks_taken: u32,
    pub losses: Losses,
    /// Once its probes are off.
    pub thread_waits: Vec<ThreadWaitsView>,
}

impl Session {
    /// Watches for its end from now on; what happens goes to `news`.
    pub fn new(
        opened: Opened,
        target: TargetSettings,
        tune: Tune,
        share: Share,
        news: &UnboundedSender<Happening>,
    ) -> anyhow::Result<(Self, Input)> {
        let process = opened.def.process;
        let ceiling = ceiling(&tune, opened.probing.threads());
        let session = Self {
            process,
            target,
            who: Who { pid: target.pid.0, exe: opened.def.exe.to_string() },
            tune,
            exit: Exit::of(readiness(opened.exit.as_fd())?, process, news.clone()),
            eyes: Some(Eyes::new(opened.looks, opened.memory, process)),
            probing: opened.probing,
            slot: None,
            probes: 0,
            first_look_told: false,
            failed_looks: 0,
            stopped: None,
            opened_at: opened.def.at,
            mode: tune.mode,
            spending: tune
                .budget
                .map(|budget| Spending::new(budget.budget, ceiling, tune.mode, target.pid)),
            charge: Charge::default(),
            turns: Vec::new(),
            pace: Pace::new(tune.interval, share),
            looks_taken: 0,
            losses: Losses::none(),
            thread_waits: Vec::new(),
        };
        Ok((session, Input::ProcessDef(Box::new(opened.def))))
    }

    /// Whether a look is under way.
    pub const fn looking(&self) -> bool {
        self.eyes.is_none()
    }
}

/// Tells when the process ends.
pub(super) struct Exit {
    fd: Arc<AsyncFd<OwnedFd>>,
    waits: AbortHandle,
}

impl Exit {
    fn of(fd: AsyncFd<OwnedFd>, process: ProcId, news: UnboundedSender<Happening>) -> Self {
        let fd = Arc::new(fd);
        let waited_for = Arc::clone(&fd);
        let waits = tokio::spawn(async move {
            // An error would come at once and again; looks notice the end as well.
            if let Ok(mut ready) = waited_for.readable().await {
                ready.retain_ready();
                let _nobody_listens = news.send(Happening::Exited(process));
            }
        });
        Self { fd, waits: waits.abort_handle() }
    }

    /// The handle of the process.
    pub fn fd(&self) -> &OwnedFd {
        self.fd.get_ref()
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        self.waits.abort();
    }
}

/// The richest mode that may come. The probes for waits of threads are at the scheduler, where every
/// program of the machine passes: only who asks for them gets them.
pub(super) fn ceiling(tune: &Tune, threads: Threads) -> Mode {
    let free = match threads {
        Threads::Left => Mode::All,
        Threads::Read => Mode::Lifecycle,
    };
    let of_budget = |budget: BudgetSettings| budget.ceiling.unwrap_or(free);
    tune.budget.map_or(tune.mode, of_budget)
}

/// Which events of threads are followed.
pub(super) const fn threads_mode(threads: Threads, mode: Mode) -> Mode {
    match threads {
        Threads::Left => Mode::None,
        Threads::Read => mode,
    }
}
