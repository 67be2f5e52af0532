//! What looks bring, and the life of the image they look at.

use anyhow::Context as _;

use crate::base::{Nanos, ProcId};
use crate::pipeline::looker::Look;
use crate::pipeline::settings::Threads;
use crate::pipeline::tracer::Tracer;
use crate::pipeline::{thread_calls, thread_waits};
use crate::runtime::link::LookError;
use crate::stream::{EndHow, Input, Mode, Stop};
use crate::view::watch::Notice;

use super::serve::Watch;
use super::{Ended, clock};

/// After this many failed looks in a row the watch gives up.
const MAX_FAILED_LOOKS: u32 = 20;

impl Watch<'_> {
    /// Merges a look: first every record up to its end, then the look itself.
    pub async fn looked(&mut self, look: Look) -> anyhow::Result<Option<Ended>> {
        let Look { process, eyes, found, spent } = look;
        // Of a process that was let go meanwhile nobody wants to know.
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(None) };
        session.eyes = Some(eyes);
        let (inputs, outcome) = match found {
            Ok(found) => found,
            Err(LookError::Gone) => return self.gone(process).await,
            Err(LookError::OtherImage) => {
                self.replaced(process).await?;
                return Ok(None);
            }
            Err(LookError::Failed(why)) => return self.look_failed(process, &why).await,
        };
        session.failed_looks = 0;
        self.tell_stopped(process, outcome.vitals.stopped);
        self.look_ends(process, outcome.took, spent);
        self.drain().await?;
        self.settle_look(process).await?;
        self.long_parks(process).await?;
        self.eat_defs().await?;
        self.judge.eat(inputs).await?;
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(None) };
        session.looks_taken += 1;
        let taken = session.looks_taken;
        self.tell_healed(process).await?;
        self.tell_look(process, outcome.took).await?;
        let last = self.job.looks.is_some_and(|looks| taken >= looks);
        Ok(last.then_some(Ended::Looked))
    }

    /// What was lost before the end of a look is known before it is merged. With one process that is
    /// a tick as any other; with many, ticks for each look would be most of the work.
    async fn settle_look(&mut self, process: ProcId) -> anyhow::Result<()> {
        if self.is_alone() {
            self.tracer.as_mut().map_or(Ok(()), Tracer::settle_missed)?;
            return self.tick().await;
        }
        let slot = self.sessions.get(&process).and_then(|session| session.slot);
        let Some(tracer) = &mut self.tracer else { return Ok(()) };
        tracer.settle(slot.as_slice())?;
        let inputs = tracer.take();
        self.count_losses(&inputs);
        self.judge.eat(inputs).await
    }

    /// Says that the target stands still as a whole, and that it goes on.
    fn tell_stopped(&mut self, process: ProcId, stopped: Option<Stop>) {
        let Some(session) = self.sessions.get_mut(&process) else { return };
        let before = std::mem::replace(&mut session.stopped, stopped);
        let reason = match (before, stopped) {
            (before, Some(stop)) if before != stopped => format!(
                "the target is {}: nothing in it can run, so waits are not judged until it goes on",
                stop.words()
            ),
            (Some(_), None) => "the target goes on; waits are judged from now on".to_owned(),
            _ => return,
        };
        self.tell(process, &Notice::Degraded { reason });
    }

    async fn look_failed(&mut self, process: ProcId, why: &str) -> anyhow::Result<Option<Ended>> {
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(None) };
        session.failed_looks += 1;
        session.pace.looked(clock::now(), Nanos(0), Nanos(0));
        let failed = session.failed_looks;
        if failed < MAX_FAILED_LOOKS {
            let reason = format!("a look failed: {why}");
            self.tell(process, &Notice::Degraded { reason });
            return Ok(None);
        }
        let reason = format!("{MAX_FAILED_LOOKS} looks in a row failed, the last one: {why}");
        self.unreadable(process, reason).await?;
        Ok(None)
    }

    /// A look at a process does not come to its end.
    pub async fn held_up(&mut self, process: ProcId) -> anyhow::Result<()> {
        let reason = "a read of its memory does not come to an end: the page that is read would have to be brought by somebody who does not answer, such as a file system in user space or a server";
        self.unreadable(process, reason.to_owned()).await
    }

    async fn unreadable(&mut self, process: ProcId, reason: String) -> anyhow::Result<()> {
        if self.is_alone() {
            anyhow::bail!("{reason}");
        }
        self.tell(process, &Notice::Degraded { reason });
        self.let_go(process, EndHow::Detached, "it could not be read any more").await
    }

    /// With `min_wait` a wait leaves a record when it ends; those that go on are asked for.
    async fn long_parks(&mut self, process: ProcId) -> anyhow::Result<()> {
        let Some(session) = self.sessions.get(&process) else { return Ok(()) };
        let (min_wait, mode) = (session.tune.min_wait, session.mode);
        let (Some(tracer), Some(slot)) = (&mut self.tracer, session.slot) else {
            return Ok(());
        };
        if min_wait.0 == 0 || mode != Mode::All {
            return Ok(());
        }
        let parks = tracer.long_parks(slot, min_wait, clock::now())?;
        self.judge.eat(parks).await
    }

    async fn tell_look(&mut self, process: ProcId, took: Nanos) -> anyhow::Result<()> {
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(()) };
        let first = !std::mem::replace(&mut session.first_look_told, true);
        if !first && self.job.looks.is_none() {
            return Ok(());
        }
        let tasks = self.judge.alive(process).await?;
        let Some(session) = self.sessions.get(&process) else { return Ok(()) };
        let told = if let Some(of) = self.job.looks {
            Notice::Looked { number: session.looks_taken, of, tasks, took }
        } else {
            let now = clock::now();
            Notice::Attached {
                at: self.wall(now),
                pid: session.probing.pid().0,
                runtime_version: session.probing.runtime_version().to_owned(),
                mode: session.mode,
                probes: session.probes,
                tasks,
                took: now.since(session.opened_at),
            }
        };
        self.tell(process, &told);
        Ok(())
    }

    /// The target called exec: its tasks are gone, and what runs now is examined afresh.
    pub async fn replaced(&mut self, process: ProcId) -> anyhow::Result<()> {
        if !self.is_alone() {
            return self.replaced_one(process).await;
        }
        self.release(process).await?;
        let end = Input::ProcessEnd { process, at: clock::now(), how: EndHow::Exec };
        self.judge.eat(vec![end]).await?;
        let reason = "the target replaced its image (exec); watching the new one".to_owned();
        self.sink.notice(&Notice::Degraded { reason });
        let Some(old) = self.sessions.remove(&process) else { return Ok(()) };
        let number = self.number();
        let opened = self
            .opener
            .open(&old.target, number)
            .context("the target replaced its image (exec), and the new one cannot be traced")?;
        let process = self.take_on(opened, old.target).await?;
        let most = self.tracer.as_ref().map_or(Mode::None, Tracer::most_of_threads);
        if let Some(session) = self.sessions.get_mut(&process) {
            // What had goroutines may have threads now, for which the kernel part has no room.
            let has_threads = session.probing.threads() == Threads::Read;
            session.mode = if has_threads { old.mode.min(most) } else { old.mode };
            session.looks_taken = old.looks_taken;
            session.losses = old.losses;
            session.charge = old.charge;
            session.spending = old.spending.map(|mut spending| {
                spending.begin_again();
                spending
            });
        }
        self.attach(process).await
    }

    /// Takes the probes off and feeds what they still told.
    pub async fn release(&mut self, process: ProcId) -> anyhow::Result<()> {
        let Some(session) = self.sessions.get_mut(&process) else { return Ok(()) };
        let (Some(tracer), Some(slot)) = (&mut self.tracer, session.slot.take()) else {
            return Ok(());
        };
        tracer.detach(slot)?;
        session.thread_waits = thread_waits::told(tracer.wait_totals(slot)?);
        session.thread_calls = thread_calls::told(tracer.call_totals(slot)?);
        let inputs = tracer.take();
        self.eat_defs().await?;
        self.judge.eat(inputs).await
    }
}
