//! Waiting for descriptors inside the event loop.

use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::Context as _;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that the event loop waits for: a duplicate, so that it stays open as long as the
/// loop knows it.
///
/// # Errors
/// If there can be no more descriptors, or this one cannot be waited for.
pub fn readiness(fd: BorrowedFd<'_>) -> anyhow::Result<AsyncFd<OwnedFd>> {
    let own = fd.try_clone_to_owned().context("cannot duplicate a file descriptor")?;
    // SAFETY: an OwnedFd is always the same open descriptor, and AsyncFd gives out no way to
    // close it while it is registered.
    let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
    registered.map_err(std::io::Error::from).context("cannot wait for a file descriptor")
}
