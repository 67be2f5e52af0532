//! What the service manager is told, where there is one (sd_notify(3)): that the watch has begun, is
//! alive, takes over another configuration, and ends. A failure to tell is no failure of the watch.

use sd_notify::NotifyState;

use crate::base::{KTime, Nanos};

use super::clock;

/// See the module.
pub struct Service {
    /// How often it wants to hear that all is well.
    watchdog: Option<Nanos>,
    told: KTime,
}

impl Service {
    /// From the environment.
    pub fn of_environment() -> Self {
        let asked = sd_notify::watchdog_enabled();
        // Half of what it waits for, as the manual asks.
        let watchdog = asked.map(|t| Nanos(u64::try_from(t.as_nanos()).unwrap_or(u64::MAX) / 2));
        Self { watchdog, told: KTime(0) }
    }

    /// It watches.
    pub fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// It takes over another configuration; [`Service::ready`] follows.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// It ends.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// All is well: to be called by the loop alone, which stands still where something hangs.
    pub fn alive(&mut self) {
        let now = clock::now();
        if self.watchdog.is_some_and(|every| now.since(self.told) >= every) {
            self.told = now;
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(state) {
        tracing::debug!("the service manager cannot be told: {why}");
    }
}
