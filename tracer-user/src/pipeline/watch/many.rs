//! Many processes: how they come to be watched, and what becomes of those that cannot be.

use anyhow::Context as _;

use crate::base::{Pid, ProcId};
use crate::kernel::KernelError;
use crate::pipeline::host::{Host, Verdict};
use crate::pipeline::open::Opened;
use crate::pipeline::settings::{TargetSettings, Whom};
use crate::runtime::go::{DetectError, LocateError};
use crate::stream::{EndHow, Input, Mode};
use crate::target::{PidFd, TargetError, exe_link};
use crate::view::watch::{Notice, Who};

pub(super) use crate::pipeline::host::Happening;

use super::serve::Watch;
use super::{Ended, clock};

const EXEC: &str = "the target replaced its image (exec)";

/// Why a process of a pod is left out though it may be meant; told once.
const NO_NAMES: &str = "left out, as others may be: the filter asks for names of pods, and the kubelet's files do not tell those of its pod; the node's /var/log must be seen (--host-root)";

/// What is to be done about a process that could not be opened.
enum Refusal {
    /// It is gone, or not of those that are meant.
    Silent,
    /// It may be too early.
    Early,
    /// It never will.
    Final,
}

impl Watch<'_> {
    pub fn begin_with_many(&mut self) -> anyhow::Result<()> {
        if let Whom::Several(targets) = &self.job.whom {
            for target in targets.clone() {
                self.open_one(target);
            }
        }
        if let Some(host) = &self.host {
            let most = host.settings().most;
            self.sink.notice(&Notice::Host { most });
        }
        self.scan()?;
        let expected = self.host.iter().flat_map(Host::expected);
        self.unlooked = self.opening.keys().copied().chain(expected).collect();
        Ok(())
    }

    /// Looks at all processes of the host: at the start, and when news of them were lost.
    pub fn scan(&mut self) -> anyhow::Result<()> {
        match &mut self.host {
            Some(host) => host.scan(&self.tell_news).context("cannot list /proc"),
            None => Ok(()),
        }
    }

    fn open_one(&mut self, target: TargetSettings) {
        let process = self.number();
        self.opening.insert(target.pid, process);
        self.lookers.open(target, process);
    }

    /// Whether there is nothing left to watch, nor will be.
    pub fn is_done(&self) -> bool {
        !self.is_alone()
            && self.host.is_none()
            && self.opening.is_empty()
            && self.sessions.is_empty()
    }

    pub async fn happened(&mut self, happening: Happening) -> anyhow::Result<Option<Ended>> {
        match happening {
            Happening::Exited(process) => return self.gone(process).await,
            Happening::Settled(pid) => self.settled(pid),
            Happening::Passed(pid) => {
                if let Some(host) = &mut self.host {
                    host.passed(pid);
                }
            }
        }
        Ok(None)
    }

    fn settled(&mut self, pid: Pid) {
        let known = self.opening.contains_key(&pid) || self.session_of(pid).is_some();
        let full = self.is_full();
        let Some(host) = &mut self.host else { return };
        host.settled(pid);
        // Only who was opened is known to be of those that want room: it is not opened again for nothing.
        if known || (full && host.waits(pid)) {
            return;
        }
        match host.verdict(pid) {
            Verdict::Taken => {
                host.take_out(pid);
                let target = host.target(pid);
                self.open_one(target);
            }
            Verdict::Unsure => self.unsure(pid),
            Verdict::Left => host.passed(pid),
        }
    }

    /// Whether there is no room for one more of the host, those included that may yet be refused.
    fn is_full(&self) -> bool {
        let taken = self.sessions.len() + self.opening.len();
        self.host.as_ref().is_some_and(|host| taken >= host.settings().most)
    }

    /// Whether a process is meant hangs on names of its pod that nobody knows yet.
    fn unsure(&mut self, pid: Pid) {
        let Some(host) = &mut self.host else { return };
        if !host.try_again(pid, &self.tell_news) && host.is_news(NO_NAMES) {
            let reason = NO_NAMES.to_owned();
            self.sink.notice_of(&who(pid), &Notice::Degraded { reason });
        }
    }

    /// After whatever happened: room that became free goes to those that wait, and it is told that there
    /// were too many to be waited for.
    pub fn mind_host(&mut self) {
        self.fill_up();
        if let Some(reason) = self.host.as_mut().and_then(Host::passed_over_news) {
            self.sink.notice(&Notice::Degraded { reason });
        }
    }

    /// One at a time: who is gone or not meant any more takes no room.
    fn fill_up(&mut self) {
        while !self.is_full()
            && let Some(pid) = self.host.as_mut().and_then(Host::next_waiting)
        {
            self.settled(pid);
        }
    }

    /// A process was opened, or could not be.
    pub async fn opened(
        &mut self,
        process: ProcId,
        target: TargetSettings,
        opened: anyhow::Result<Box<Opened>>,
    ) -> anyhow::Result<()> {
        let pid = target.pid;
        if self.opening.get(&pid) == Some(&process) {
            self.opening.remove(&pid);
        }
        match opened {
            Ok(_) if self.session_of(pid).is_some() => Ok(()),
            Ok(_) if self.finds_no_room(pid) => Ok(()),
            Ok(opened) => {
                let process = self.take_on(*opened, target).await?;
                self.attach_or_look(process).await
            }
            Err(why) => self.refused(pid, why),
        }
    }

    /// Whether a process that was opened has to wait; the first one is told.
    fn finds_no_room(&mut self, pid: Pid) -> bool {
        let Some(host) = &mut self.host else { return false };
        host.opened(pid);
        if self.sessions.len() < host.settings().most {
            host.never_waits(pid);
            return false;
        }
        if let Some(reason) = host.no_room(pid, &self.tell_news) {
            self.sink.notice(&Notice::Degraded { reason });
        }
        true
    }

    /// A process on which probes cannot be put is looked at.
    async fn attach_or_look(&mut self, process: ProcId) -> anyhow::Result<()> {
        let Err(why) = self.attach(process).await else {
            self.opened_any = true;
            return Ok(());
        };
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(()) };
        let gone = PidFd::open(session.target.pid).is_ok_and(|fd| fd.has_exited());
        if gone || matches!(why.downcast_ref(), Some(KernelError::Gone { .. })) {
            return self.let_go(process, EndHow::Exit, Ended::Exited.words()).await;
        }
        self.opened_any = true;
        session.mode = Mode::None;
        let reason = format!("no events, only looks: {why:#}");
        self.tell(process, &Notice::Degraded { reason });
        let why = "probes cannot be put on".into();
        let at = clock::now();
        self.judge.eat(vec![Input::ModeChange { process, at, mode: Mode::None, why }]).await
    }

    fn refused(&mut self, pid: Pid, why: anyhow::Error) -> anyhow::Result<()> {
        let who = who(pid);
        let Some(host) = &mut self.host else {
            let reason = format!("cannot be watched: {why:#}");
            self.sink.notice_of(&who, &Notice::Degraded { reason });
            // The last one that is refused is the error, if nothing is left to watch.
            let none = !self.opened_any && self.opening.is_empty() && self.sessions.is_empty();
            return if none { Err(why) } else { Ok(()) };
        };
        host.never_waits(pid);
        let told = match refusal(&why) {
            Refusal::Silent => {
                host.passed(pid);
                false
            }
            Refusal::Early => !host.try_again(pid, &self.tell_news) && !who.exe.is_empty(),
            Refusal::Final => true,
        };
        if told && host.is_news(&format!("{} {}", who.exe, kind_of(&why))) {
            let reason = format!("cannot be watched: {why:#}");
            self.sink.notice_of(&who, &Notice::Degraded { reason });
        }
        Ok(())
    }

    /// What the kernel part has told of the lives of processes.
    pub async fn follow_lives(&mut self) -> anyhow::Result<()> {
        let Some(tracer) = &mut self.tracer else { return Ok(()) };
        let (replaced, born) = (tracer.take_exec(), tracer.take_born());
        let lost = tracer.take_lives_lost();
        for process in replaced {
            if self.sessions.contains_key(&process) {
                self.replaced(process).await?;
            }
        }
        for life in born {
            let running = self.session_of(life.pid);
            match running.and_then(|process| Some((process, self.sessions.get(&process)?))) {
                // It was opened after that.
                Some((_, session)) if session.opened_at >= life.at => {}
                Some((process, _)) => self.replaced_one(process).await?,
                None => {
                    if let Some(host) = &mut self.host {
                        host.born(life.pid, &self.tell_news);
                    }
                }
            }
        }
        if lost { self.scan() } else { Ok(()) }
    }

    /// One of many called exec.
    pub async fn replaced_one(&mut self, process: ProcId) -> anyhow::Result<()> {
        let Some(session) = self.sessions.get(&process) else { return Ok(()) };
        let target = session.target;
        let reason = format!("{EXEC}; watching the new one");
        self.tell(process, &Notice::Degraded { reason });
        self.let_go(process, EndHow::Exec, EXEC).await?;
        match &mut self.host {
            Some(host) => host.born(target.pid, &self.tell_news),
            None => self.open_one(target),
        }
        Ok(())
    }
}

fn who(pid: Pid) -> Who {
    let exe = exe_link(pid).map(|link| link.path.to_string_lossy().into_owned());
    Who { pid: pid.0, exe: exe.unwrap_or_default() }
}

fn refusal(why: &anyhow::Error) -> Refusal {
    let gone = |why: &TargetError| {
        matches!(
            why,
            TargetError::Gone { .. }
                | TargetError::NoSuchProcess { .. }
                | TargetError::KernelThread { .. }
        )
    };
    for cause in why.chain() {
        match cause.downcast_ref() {
            Some(DetectError::NotGo { .. } | DetectError::Format { .. }) => return Refusal::Silent,
            Some(DetectError::Target(why)) if gone(why) => return Refusal::Silent,
            Some(DetectError::Target(_) | DetectError::NotMapped { .. }) => return Refusal::Early,
            Some(_) => return Refusal::Final,
            None => {}
        }
        if cause.downcast_ref().is_some_and(gone) {
            return Refusal::Silent;
        }
        if let Some(LocateError::NoTable | LocateError::Table(_)) = cause.downcast_ref() {
            return Refusal::Final;
        }
    }
    Refusal::Early
}

/// Errors that differ in a PID alone are the same news.
fn kind_of(why: &anyhow::Error) -> String {
    why.root_cause().to_string().chars().filter(|c| !c.is_ascii_digit()).collect()
}
