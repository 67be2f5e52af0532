//! How much debug information of one process is kept: its files share one bound, and each gives
//! back what it took when it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes of DWARF of all files of a process, unpacked. What comes when they are used up has
/// names without lines.
const MAX_OF_ALL: u64 = 512 << 20;
/// Most bytes of DWARF of one file, unpacked. What is larger goes without lines.
const MAX_OF_ONE: u64 = 384 << 20;

/// What the files of one process may still take.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU64::new(MAX_OF_ALL))
    }
}

/// What one file has taken of it.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Budget>,
    bytes: u64,
}

impl Share {
    /// Nothing yet.
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self { of: Arc::clone(budget), bytes: 0 }
    }

    /// How many bytes it could take now.
    pub(super) fn left(&self) -> u64 {
        self.of.0.load(Ordering::Relaxed).min(MAX_OF_ONE.saturating_sub(self.bytes))
    }

    /// Takes so many bytes, if there are as many left.
    pub(super) fn take(&mut self, bytes: u64) -> Option<()> {
        let taken = self.bytes.checked_add(bytes).filter(|&taken| taken <= MAX_OF_ONE)?;
        let less = |left: u64| left.checked_sub(bytes);
        self.of.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        self.bytes = taken;
        Some(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_share_what_they_may_take_and_give_it_back_when_they_go() {
        let budget = Arc::new(Budget::default());
        let (mut one, mut other) = (Share::of(&budget), Share::of(&budget));
        assert_eq!(one.take(300 << 20), Some(()));
        assert_eq!((one.left(), other.left()), (84 << 20, 212 << 20));
        assert_eq!(other.take(213 << 20), None);
        assert_eq!(other.take(212 << 20), Some(()));
        assert_eq!((one.left(), one.take(1)), (0, None));
        drop(other);
        assert_eq!((one.left(), one.take(1)), (84 << 20, Some(())));
        drop(one);
        assert_eq!(budget.0.load(Ordering::Relaxed), MAX_OF_ALL);
    }

    #[test]
    fn one_file_does_not_take_all() {
        let budget = Arc::new(Budget::default());
        let mut one = Share::of(&budget);
        assert_eq!(one.take(MAX_OF_ONE + 1), None);
        assert_eq!(one.take(u64::MAX), None);
        assert_eq!(one.take(MAX_OF_ONE), Some(()));
        assert_eq!(one.take(1), None);
    }
}
