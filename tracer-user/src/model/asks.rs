//! What the model asks for: snapshots that heal a loss or tell who an unknown task is. One of a
//! kind at a time, and never so often that looking becomes the load.

use crate::base::{KTime, Nanos, ProcId};
use crate::stream::{Command, SnapshotWhy};

/// Between two looks for the same reason, at least this.
const PAUSE: Nanos = Nanos::from_millis(250);
/// Looks asked for by the model take at most one part in this many of the time.
const SHARE: u64 = 10;
/// The longest pause.
const MAX_PAUSE: Nanos = Nanos::from_secs(10);
/// After this a look that was asked for and did not come is asked for again.
const ASK_AGAIN: Nanos = Nanos::from_secs(10);
/// Tasks nobody knows are no emergency: some are born where no probe is.
const UNKNOWN_PAUSE: Nanos = Nanos::from_secs(5);

/// The wishes of one process that are not fulfilled yet.
#[derive(Debug)]
pub(super) struct Asks {
    process: ProcId,
    loss: Option<KTime>,
    unknown: Option<KTime>,
    /// No look for an unknown task before this.
    unknown_from: KTime,
    /// No look for a loss before this.
    loss_from: KTime,
}

impl Asks {
    pub fn new(process: ProcId) -> Self {
        Self { process, loss: None, unknown: None, unknown_from: KTime(0), loss_from: KTime(0) }
    }

    /// Something was lost until then.
    pub fn loss(&mut self, until: KTime, commands: &mut Vec<Command>) {
        if self.loss.is_none() {
            let not_before = until.after(Nanos(1)).max(self.loss_from);
            self.loss = Some(not_before);
            commands.push(self.snapshot(SnapshotWhy::Loss, not_before));
        }
    }

    /// A task nobody knows did something.
    pub fn unknown(&mut self, at: KTime, commands: &mut Vec<Command>) {
        if self.unknown.is_none() {
            let not_before = at.max(self.unknown_from);
            self.unknown = Some(not_before);
            commands.push(self.snapshot(SnapshotWhy::Unknown, not_before));
        }
    }

    /// A look was merged; `unhealed` is the end of what is still lost.
    pub fn looked(
        &mut self,
        t1: KTime,
        took: Nanos,
        unhealed: Option<KTime>,
        commands: &mut Vec<Command>,
    ) {
        let pause = Nanos(took.0.saturating_mul(SHARE)).clamp(PAUSE, MAX_PAUSE);
        self.unknown = None;
        self.unknown_from = t1.after(pause.max(UNKNOWN_PAUSE));
        self.loss = None;
        self.loss_from = t1.after(pause);
        if let Some(until) = unhealed {
            self.loss(until, commands);
        }
    }

    /// Time passes: what did not come is asked for again.
    pub fn tick(&mut self, now: KTime, commands: &mut Vec<Command>) {
        for (ask, why) in
            [(&mut self.loss, SnapshotWhy::Loss), (&mut self.unknown, SnapshotWhy::Unknown)]
        {
            if let Some(not_before) = ask
                && now > not_before.after(ASK_AGAIN)
            {
                *not_before = now;
                commands.push(Command::NeedSnapshot {
                    process: self.process,
                    why,
                    not_before: now,
                });
            }
        }
    }

    fn snapshot(&self, why: SnapshotWhy, not_before: KTime) -> Command {
        Command::NeedSnapshot { process: self.process, why, not_before }
    }
}
