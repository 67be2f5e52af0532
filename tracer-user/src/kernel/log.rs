//! What the kernel part says when something happens that cannot happen, through aya-log: passed on
//! to `tracing` and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where aya-log writes to.
#[derive(Clone, Default)]
pub struct Diagnostics(Arc<AtomicU64>);

impl Diagnostics {
    /// Messages so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ::log::Log for Diagnostics {
    fn enabled(&self, _metadata: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        tracing::error!(target: "loiter::kernel", "kernel part: {}", record.args());
    }

    fn flush(&self) {}
}
