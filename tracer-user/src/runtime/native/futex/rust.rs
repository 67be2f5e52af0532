//! Primitives of Rust's standard library: library/std/src/sys/sync of 1.70 to 1.95. None of them
//! says who holds it.

use crate::stream::{FutexKind, FutexOf, Holder};

use super::{Recognised, Waiter};

/// `RwLock { state, writer_notify }`: writers wait on the second word.
const WRITER_NOTIFY: u64 = 4;

pub(super) fn recognise(waiter: &Waiter<'_>, kind: FutexKind) -> Recognised {
    let word = waiter.call.address;
    let object = match kind {
        FutexKind::RwWrite => word.wrapping_sub(WRITER_NOTIFY),
        _ => word,
    };
    Recognised { kind, of: FutexOf::RustStd, object, holder: Holder::Unknown }
}
