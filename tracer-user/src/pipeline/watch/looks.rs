//! What looks bring, and the life of the image they look at.

use anyhow::Context as _;

use crate::base::{Nanos, ProcId};
use crate::pipeline::looker::{Answer, Taken};
use crate::pipeline::open::open;
use crate::pipeline::pace::Pace;
use crate::pipeline::{thread_calls, thread_waits};
use crate::runtime::link::LookError;
use crate::stream::{EndHow, Input, Mode, Stop};
use crate::view::watch::Notice;

use super::{Ended, Session, Watch, clock};

/// After this many failed looks in a row the watch gives up.
const MAX_FAILED_LOOKS: u32 = 20;

impl Watch<'_> {
    /// Merges a look: first every record up to its end, then the look itself.
    pub(super) async fn looked(&mut self, answer: Answer) -> anyhow::Result<Option<Ended>> {
        let (inputs, outcome) = match answer {
            Ok(Taken::Part(inputs)) => {
                self.judge.eat(self.session.probing.take_defs()).await?;
                self.judge.eat(inputs).await?;
                return Ok(None);
            }
            Ok(Taken::Whole(inputs, outcome)) => (inputs, outcome),
            Err(LookError::Gone) => return Ok(Some(Ended::Exited)),
            Err(LookError::OtherImage) => {
                self.reopen().await?;
                return Ok(None);
            }
            Err(LookError::Failed(why)) => return self.look_failed(&why),
        };
        self.session.failed_looks = 0;
        self.tell_stopped(outcome.vitals.stopped);
        self.look_ends(outcome.took);
        self.drain().await?;
        self.tick().await?;
        self.long_parks().await?;
        self.judge.eat(self.session.probing.take_defs()).await?;
        self.judge.eat(inputs).await?;
        self.looks_taken += 1;
        self.tell_healed().await?;
        self.tell_look(outcome.took).await?;
        let last = self.job.looks.is_some_and(|looks| self.looks_taken >= looks);
        Ok(last.then_some(Ended::Looked))
    }

    /// Says that the target stands still as a whole, and that it goes on.
    pub(super) fn tell_stopped(&mut self, stopped: Option<Stop>) {
        let before = std::mem::replace(&mut self.session.stopped, stopped);
        let reason = match (before, stopped) {
            (before, Some(stop)) if before != stopped => format!(
                "the target is {}: nothing in it can run, so waits are not judged until it goes on",
                stop.words()
            ),
            (Some(_), None) => "the target goes on; waits are judged from now on".to_owned(),
            _ => return,
        };
        self.sink.notice(&Notice::Degraded { reason });
    }

    pub(super) fn look_failed(&mut self, why: &str) -> anyhow::Result<Option<Ended>> {
        self.session.failed_looks += 1;
        if self.session.failed_looks >= MAX_FAILED_LOOKS {
            anyhow::bail!("{MAX_FAILED_LOOKS} looks in a row failed, the last one: {why}");
        }
        let reason = format!("a look failed: {why}");
        self.sink.notice(&Notice::Degraded { reason });
        self.pace.looked(clock::now(), Nanos(0), Nanos(0));
        Ok(None)
    }

    /// With `min_wait` a wait leaves a record when it ends; those that go on are asked for.
    pub(super) async fn long_parks(&mut self) -> anyhow::Result<()> {
        let min_wait = self.job.min_wait;
        let (Some(tracer), Some(slot)) = (&mut self.tracer, self.session.slot) else {
            return Ok(());
        };
        if min_wait.0 == 0 || self.mode != Mode::All {
            return Ok(());
        }
        let parks = tracer.long_parks(slot, min_wait, clock::now())?;
        self.judge.eat(parks).await
    }

    pub(super) async fn tell_look(&mut self, took: Nanos) -> anyhow::Result<()> {
        let first = !std::mem::replace(&mut self.session.first_look_told, true);
        if !first && self.job.looks.is_none() {
            return Ok(());
        }
        let tasks = self.judge.alive(self.session.process).await?;
        if let Some(of) = self.job.looks {
            let number = self.looks_taken;
            self.sink.notice(&Notice::Looked { number, of, tasks, took });
        } else {
            let now = clock::now();
            self.sink.notice(&Notice::Attached {
                at: self.wall(now),
                pid: self.session.probing.pid().0,
                runtime_version: self.session.probing.runtime_version().to_owned(),
                mode: self.mode,
                probes: self.session.probes,
                tasks,
                took: now.since(self.session.opened_at),
            });
        }
        Ok(())
    }

    /// Whether the target replaced its image.
    pub(super) fn replaced(&mut self) -> bool {
        let process = self.session.process;
        self.tracer.as_mut().is_some_and(|tracer| tracer.take_exec().contains(&process))
    }

    /// The target called exec: its tasks are gone, and what runs now is examined afresh.
    pub(super) async fn reopen(&mut self) -> anyhow::Result<()> {
        self.release().await?;
        let end = Input::ProcessEnd {
            process: self.session.process,
            at: clock::now(),
            how: EndHow::Exec,
        };
        self.judge.eat(vec![end]).await?;
        let reason = "the target replaced its image (exec); watching the new one".to_owned();
        self.sink.notice(&Notice::Degraded { reason });
        let opened = open(&self.job.target, ProcId(self.next_process))
            .context("the target replaced its image (exec), and the new one cannot be traced")?;
        self.next_process += 1;
        let (session, def) = Session::new(opened)?;
        self.session = session;
        self.pace = Pace::new(self.job.interval, self.job.share);
        if let Some(spending) = &mut self.spending {
            spending.begin_again();
        }
        self.judge.eat(vec![def]).await?;
        self.attach().await
    }

    /// Takes the probes off and feeds what they still told.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        let (Some(tracer), Some(slot)) = (&mut self.tracer, self.session.slot.take()) else {
            return Ok(());
        };
        tracer.detach(slot)?;
        self.thread_waits = thread_waits::told(tracer.wait_totals(slot)?);
        self.thread_calls = thread_calls::told(tracer.call_totals(slot)?);
        let inputs = tracer.take();
        self.judge.eat(self.session.probing.take_defs()).await?;
        self.judge.eat(inputs).await
    }
}
