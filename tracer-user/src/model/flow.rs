//! What the stream of events of a process is worth at a moment: which probes are on, since when,
//! and what was lost. Decides how far into the present a fact about a task still holds.

use crate::base::KTime;
use crate::stream::{Loss, Mode};

/// Stands for "never": CLOCK_MONOTONIC 0 is the boot, before any event.
pub(super) const NEVER: KTime = KTime(0);

/// The state of a process's event stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    mode: Mode,
    widest: Mode,
    /// When the mode became complete.
    since: KTime,
    /// Whether single parks and runs come. With `min_wait` only whole waits do, and silence of a
    /// task then proves nothing.
    raw: bool,
    /// The mode before, if it was [`Mode::All`]: when it began, and whether single runs came.
    before: Option<(KTime, bool)>,
    /// Since when births and deaths come.
    followed: Option<KTime>,
    /// Start of what was lost and has not been healed; [`NEVER`] = all is healed.
    lost_since: KTime,
    /// End of the last loss, healed or not.
    lost_until: KTime,
}

impl Flow {
    /// A process just defined: no probes.
    pub fn new(at: KTime) -> Self {
        Self {
            mode: Mode::None,
            widest: Mode::None,
            since: at,
            raw: false,
            before: None,
            followed: None,
            lost_since: NEVER,
            lost_until: NEVER,
        }
    }

    /// Which probes are on.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Since when births and deaths have come without a break.
    pub fn followed(&self) -> Option<KTime> {
        self.followed
    }

    /// The widest mode there was.
    pub fn widest(&self) -> Mode {
        self.widest
    }

    /// Whether every park and run of a task is told.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// The probes changed.
    pub fn change(&mut self, mode: Mode, at: KTime) {
        self.before = (self.mode == Mode::All).then_some((self.since, self.raw));
        self.followed = (mode > Mode::None).then(|| self.followed.unwrap_or(at));
        self.mode = mode;
        self.widest = self.widest.max(mode);
        self.since = self.since.max(at);
        self.raw = false;
    }

    /// A single run came at this time; true if it is the first since the change. Parks prove
    /// nothing: with `min_wait` those that go on for long are told too.
    pub fn saw_run(&mut self, at: KTime) -> bool {
        let first = !self.raw && self.mode == Mode::All && at >= self.since;
        self.raw |= first;
        first
    }

    /// Something was lost.
    pub fn lose(&mut self, loss: &Loss) {
        self.lost_since =
            if self.lost_since == NEVER { loss.since } else { self.lost_since.min(loss.since) };
        self.lost_until = self.lost_until.max(loss.until);
    }

    /// A complete look that began at `t0` was merged; true if nothing lost is left unhealed.
    pub fn heal(&mut self, t0: KTime) -> bool {
        if t0 > self.lost_until {
            self.lost_since = NEVER;
        }
        self.lost_since == NEVER
    }

    /// The end of the last loss, while one is not healed.
    pub fn unhealed(&self) -> Option<KTime> {
        (self.lost_since != NEVER).then_some(self.lost_until)
    }

    /// Whether what was known at `sure` may have been overtaken by something lost.
    pub fn in_doubt(&self, sure: KTime) -> bool {
        self.lost_until != NEVER && sure <= self.lost_until
    }

    /// Until when what was known at `sure` holds if no newer event of the task came. `parked` is
    /// when it parked, if that was told: the end of such a wait is told in any case.
    pub fn holds_until(&self, sure: KTime, parked: Option<KTime>, now: KTime) -> KTime {
        let told = |since: KTime, raw: bool| match parked {
            Some(at) => at >= since,
            None => raw && sure >= since,
        };
        let told_from = match self.before {
            _ if self.mode == Mode::All && told(self.since, self.raw) => now,
            Some((began, raw)) if sure < self.since && told(began, raw) => self.since,
            _ => sure,
        };
        if self.in_doubt(sure) {
            // Healed losses leave no start behind; then only `sure` itself is safe.
            let safe = if self.lost_since == NEVER { sure } else { self.lost_since };
            return told_from.min(safe).max(sure);
        }
        told_from.max(sure)
    }
}
