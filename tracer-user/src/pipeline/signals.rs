//! The signals that end a watch, and the word each leaves in the summary.

use anyhow::Context as _;
pub use tokio::signal::unix::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// SIGHUP, which would end loiter otherwise; inside the tokio runtime.
///
/// # Errors
/// If the handler cannot be installed.
pub fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot install a signal handler")
}

/// SIGINT and SIGTERM.
pub struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl EndSignals {
    /// Takes them over; inside the tokio runtime.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn new() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Waits for one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "terminated",
        }
    }
}
