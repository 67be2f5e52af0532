//! From the ring to the model: draining, ticks, and what was lost on the way.

use std::time::Duration;

use crate::base::{KTime, Nanos, ProcId};
use crate::pipeline::settings::RingSize;
use crate::pipeline::tracer::BATCH;
use crate::stream::{Input, Loss, LossKind};
use crate::view::watch::Notice;

use super::clock;
use super::serve::{ANCHOR_EVERY, Watch};

/// Between two notices of losses, at least this.
const TELL_LOSSES_EVERY: Nanos = Nanos::from_secs(1);

/// While the model is behind, the budget is looked after this often.
const MIND_EVERY: Duration = Duration::from_millis(100);

/// What was lost, as far as it is not told yet.
pub(super) struct Losses {
    untold: [(LossKind, u64); LossKind::ALL.len()],
    told: Option<KTime>,
    /// Something lost was told, and not yet that a look made good for it.
    to_heal: bool,
}

impl Losses {
    pub fn none() -> Self {
        Self { untold: LossKind::ALL.map(|kind| (kind, 0)), told: None, to_heal: false }
    }

    fn count(&mut self, loss: &Loss) {
        let untold = self.untold.iter_mut().find(|(kind, _)| *kind == loss.kind);
        if let Some((_, count)) = untold {
            *count = count.saturating_add(loss.count);
        }
    }

    /// What is to be told now: at most once in a second, since a ring that is too small loses all the
    /// time.
    fn take(&mut self, now: KTime) -> Vec<(LossKind, u64)> {
        let early = self.told.is_some_and(|told| now.since(told) < TELL_LOSSES_EVERY);
        if early || self.are_told() {
            return Vec::new();
        }
        (self.told, self.to_heal) = (Some(now), true);
        let untold = self.untold.iter_mut().filter(|(_, count)| *count > 0);
        untold.map(|(kind, count)| (*kind, std::mem::take(count))).collect()
    }

    fn are_told(&self) -> bool {
        self.untold.iter().all(|(_, count)| *count == 0)
    }
}

/// In so many batches everything is taken that was in a ring at the beginning.
const fn most_batches(ring: RingSize) -> usize {
    /// No record takes less: a header of the ring's and one of its own.
    const LEAST_RECORD: usize = 24;
    ring.bytes() as usize / (LEAST_RECORD * BATCH) + 1
}

impl Watch<'_> {
    /// Takes what is in the ring now and feeds it to the model. Not more: under a load that loiter
    /// cannot follow the ring never runs empty, and nothing else would be done ever again. Where it
    /// costs too much, the budget ends it earlier.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        for _ in 0..most_batches(self.job.ring) {
            if !self.drain_some().await? {
                break;
            }
            self.mind_budget()?;
        }
        self.tell_turns().await
    }

    /// Takes a batch out of the ring and feeds it to the model; tells whether there may be more.
    pub async fn drain_some(&mut self) -> anyhow::Result<bool> {
        let slots = self.slots();
        let Some(tracer) = &mut self.tracer else { return Ok(false) };
        let more = tracer.drain();
        let stepped = tracer.take_stepped();
        if stepped {
            tracer.settle(&slots)?;
        }
        let inputs = tracer.take();
        if stepped {
            self.count_losses(&inputs);
        }
        while !self.judge.has_room(MIND_EVERY).await {
            self.mind_budget()?;
        }
        self.eat_defs().await?;
        self.judge.eat(inputs).await?;
        Ok(more)
    }

    pub async fn tick(&mut self) -> anyhow::Result<()> {
        let (slots, mut inputs) = (self.slots(), Vec::new());
        if let Some(tracer) = &mut self.tracer {
            tracer.settle(&slots)?;
            inputs = tracer.take();
            self.count_losses(&inputs);
            self.tell_losses();
        }
        self.mind_budget()?;
        if self.sessions.values().any(|session| !session.turns.is_empty()) {
            self.judge.eat(std::mem::take(&mut inputs)).await?;
            self.drain().await?;
        }
        let now = clock::now();
        if now.since(self.anchored) >= ANCHOR_EVERY {
            inputs.push(self.anchor());
        }
        inputs.push(Input::Tick(now));
        self.judge.eat(inputs).await?;
        self.mind_memory(now);
        Ok(())
    }

    pub fn count_losses(&mut self, inputs: &[Input]) {
        for input in inputs {
            let Input::Loss(loss) = input else { continue };
            let whose = loss.process.and_then(|process| self.sessions.get_mut(&process));
            whose.map_or(&mut self.losses, |session| &mut session.losses).count(loss);
        }
    }

    pub fn tell_losses(&mut self) {
        let now = clock::now();
        let at = self.wall(now);
        for (kind, count) in self.losses.take(now) {
            self.sink.notice(&Notice::Lost { at, kind, count });
        }
        let mut told: Vec<(ProcId, Notice)> = Vec::new();
        for (process, session) in &mut self.sessions {
            let lost = session.losses.take(now).into_iter();
            told.extend(lost.map(|(kind, count)| (*process, Notice::Lost { at, kind, count })));
        }
        for (process, notice) in told {
            self.tell(process, &notice);
        }
    }

    /// Says that a look has made good for what was lost. Losses of nobody in particular are healed by
    /// a look at each; that is told of one process that is alone.
    pub async fn tell_healed(&mut self, process: ProcId) -> anyhow::Result<()> {
        let alone = self.is_alone();
        let Some(session) = self.sessions.get(&process) else { return Ok(()) };
        let all = self.losses.to_heal && alone;
        let to_heal = session.losses.to_heal || all;
        let untold = !session.losses.are_told() || (alone && !self.losses.are_told());
        if !to_heal || untold || self.judge.is_in_doubt(process).await? {
            return Ok(());
        }
        self.losses.to_heal = false;
        if let Some(session) = self.sessions.get_mut(&process) {
            session.losses.to_heal = false;
        }
        let healed = Notice::Healed { at: self.wall(clock::now()) };
        self.tell(process, &healed);
        Ok(())
    }
}
