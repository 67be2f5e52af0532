//! From the ring to the model: draining, ticks, and what was lost on the way.

use std::time::Duration;

use crate::base::{KTime, Nanos};
use crate::pipeline::settings::RingSize;
use crate::pipeline::tracer::BATCH;
use crate::stream::{Input, LossKind};
use crate::view::watch::Notice;

use super::{ANCHOR_EVERY, Watch, clock};

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
    pub(super) async fn drain(&mut self) -> anyhow::Result<()> {
        for _ in 0..most_batches(self.job.ring) {
            if !self.drain_some().await? {
                break;
            }
            self.mind_budget()?;
        }
        self.tell_turns().await
    }

    /// Takes a batch out of the ring and feeds it to the model; tells whether there may be more.
    pub(super) async fn drain_some(&mut self) -> anyhow::Result<bool> {
        let Some(tracer) = &mut self.tracer else { return Ok(false) };
        let more = tracer.drain();
        let stepped = tracer.take_stepped();
        if stepped {
            tracer.settle(self.session.slot.as_slice())?;
        }
        let inputs = tracer.take();
        if stepped {
            self.count_losses(&inputs);
        }
        while !self.judge.has_room(MIND_EVERY).await {
            self.mind_budget()?;
        }
        self.judge.eat(self.session.probing.take_defs()).await?;
        self.judge.eat(inputs).await?;
        Ok(more)
    }

    pub(super) async fn tick(&mut self) -> anyhow::Result<()> {
        if let Some(tracer) = &mut self.tracer {
            tracer.settle(self.session.slot.as_slice())?;
            let inputs = tracer.take();
            self.count_losses(&inputs);
            self.tell_losses();
            self.judge.eat(inputs).await?;
        }
        self.mind_budget()?;
        if !self.turns.is_empty() {
            self.drain().await?;
        }
        let now = clock::now();
        if now.since(self.anchored) >= ANCHOR_EVERY {
            let anchor = self.anchor();
            self.judge.eat(vec![anchor]).await?;
        }
        self.judge.eat(vec![Input::Tick(now)]).await?;
        self.mind_memory(now);
        Ok(())
    }

    pub(super) fn count_losses(&mut self, inputs: &[Input]) {
        for input in inputs {
            if let Input::Loss(loss) = input {
                let told = self.losses.untold.iter_mut().find(|(kind, _)| *kind == loss.kind);
                if let Some((_, count)) = told {
                    *count = count.saturating_add(loss.count);
                }
            }
        }
    }

    /// At most one notice of a kind in a second: a ring that is too small loses all the time.
    pub(super) fn tell_losses(&mut self) {
        let now = clock::now();
        if self.losses.told.is_some_and(|told| now.since(told) < TELL_LOSSES_EVERY) {
            return;
        }
        let at = self.wall(now);
        for (kind, count) in &mut self.losses.untold {
            if *count > 0 {
                self.sink.notice(&Notice::Lost { at, kind: *kind, count: *count });
                *count = 0;
                self.losses.told = Some(now);
                self.losses.to_heal = true;
            }
        }
    }

    pub(super) async fn tell_healed(&mut self) -> anyhow::Result<()> {
        let untold = self.losses.untold.iter().any(|(_, count)| *count > 0);
        let healed = self.losses.to_heal && !untold;
        if healed && !self.judge.is_in_doubt(self.session.process).await? {
            self.losses.to_heal = false;
            self.sink.notice(&Notice::Healed { at: self.wall(clock::now()) });
        }
        Ok(())
    }
}
