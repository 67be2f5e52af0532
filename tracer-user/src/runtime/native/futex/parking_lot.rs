//! Primitives of the crate parking_lot: a thread waits on a word of its own, and the address of the
//! lock lies near it, in the same structure (`ThreadData` of parking_lot_core 0.8 and 0.9). Its
//! fields have no fixed order, so the key is known by what it leads to.

use crate::stream::{FutexKind, FutexOf, Holder};

use super::{Recognised, Waiter};

/// How far from the word the key may lie.
const NEAR: u64 = 48;
/// What lies this near is part of the thread's own data, and not a lock.
const OWN: u64 = 4096;
/// `LOCKED_BIT | PARKED_BIT` of src/raw_mutex.rs.
const MUTEX_WAITED: u8 = 3;
/// Bits of src/raw_rwlock.rs: readers or a writer are parked, and somebody has it.
const RW_PARKED: u8 = 0b11;

pub(super) fn recognise(waiter: &Waiter<'_>, kind: FutexKind) -> Recognised {
    let object = key(waiter, kind).unwrap_or(waiter.call.address);
    Recognised { kind, of: FutexOf::ParkingLot, object, holder: Holder::Unknown }
}

/// The one word nearby that leads to a lock that is waited for.
fn key(waiter: &Waiter<'_>, kind: FutexKind) -> Option<u64> {
    let word = waiter.call.address;
    let fits = |key: &u64| {
        let far = key.abs_diff(word) > OWN && *key > OWN;
        let state = || (waiter.byte)(*key & !1);
        far && match kind {
            FutexKind::Mutex => (waiter.byte)(*key) == Some(MUTEX_WAITED),
            FutexKind::RwRead | FutexKind::RwWrite => {
                state().is_some_and(|state| state & RW_PARKED != 0)
            }
            _ => false,
        }
    };
    let first = (word & !7).checked_sub(NEAR)?;
    let places = (0..=2 * NEAR / 8).filter_map(|i| first.checked_add(i * 8));
    let mut keys: Vec<u64> =
        places.filter_map(|place| waiter.around.long(place)).filter(fits).collect();
    keys.sort_unstable();
    keys.dedup();
    match *keys {
        // A writer that waits for readers parks on the address behind.
        [key] if kind != FutexKind::Mutex => Some(key & !1),
        [key] => Some(key),
        _ => None,
    }
}
