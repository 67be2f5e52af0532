//! What a futex is: which primitive of which library, by the function that waits and by the words
//! in memory around it; and who holds it, where the primitive says so.
//!
//! A function's name alone says the kind; the layout then says where the primitive begins and who
//! holds it. Without names (a stripped program without the library's own table) only what the words
//! themselves prove is told.

mod parking_lot;
mod pthread;
mod rust;
mod table;

use crate::base::Tid;
use crate::stream::{FutexKind, FutexOf, FutexState, Holder};
use crate::symbolize::native::Resolved;

use super::syscalls::futex as op;

pub use table::Primitive;

/// Bytes read before and behind the word.
pub const BEFORE: u64 = 64;
/// See [`BEFORE`].
pub const BEHIND: u64 = 64;
/// Words of the waiting thread's own stack that may hold the primitive's address.
pub const OWN_STACK: usize = 128;

/// A wait on a futex, by its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FutexCall {
    /// Address of the word.
    pub address: u64,
    /// The operation, without flags.
    pub operation: u64,
    /// The value for which it sleeps; None = the operation has none.
    pub expected: Option<u32>,
    /// Whether it ends by itself.
    pub timed: bool,
    /// Whether the word may be in memory shared with others.
    pub shared: bool,
}

impl FutexCall {
    /// From the arguments of `futex` (futex(2)).
    pub fn of_futex(arguments: &[u64; 6]) -> Self {
        let [address, flags, value, timeout, ..] = *arguments;
        let operation = flags & !op::FLAGS;
        let has_value = !matches!(operation, op::LOCK_PI | op::LOCK_PI2);
        Self {
            address,
            operation,
            expected: has_value.then_some(value as u32),
            timed: timeout != 0,
            shared: flags & 128 == 0,
        }
    }

    /// From the arguments of `futex_wait` (include/linux/syscalls.h): address, value, mask, flags,
    /// timeout, clock.
    pub fn of_futex_wait(arguments: &[u64; 6]) -> Self {
        /// `FUTEX2_PRIVATE` of include/uapi/linux/futex.h.
        const PRIVATE: u64 = 128;
        let [address, value, _, flags, timeout, _] = *arguments;
        Self {
            address,
            operation: op::WAIT_BITSET,
            expected: Some(value as u32),
            timed: timeout != 0,
            shared: flags & PRIVATE == 0,
        }
    }
}

/// Memory around a futex word.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Address of the first byte.
    pub start: u64,
    /// The bytes; empty where they could not be read.
    pub bytes: Vec<u8>,
}

impl Around {
    /// The 32-bit word at an address.
    pub fn word(&self, address: u64) -> Option<u32> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        Some(u32::from_le_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    /// The 64-bit word at an address.
    pub fn long(&self, address: u64) -> Option<u64> {
        let (low, high) = (self.word(address)?, self.word(address.checked_add(4)?)?);
        Some(u64::from(low) | u64::from(high) << 32)
    }
}

/// What is known of a thread that waits on a futex.
pub struct Waiter<'a> {
    /// Who waits.
    pub tid: Tid,
    /// How.
    pub call: FutexCall,
    /// Its frames, innermost first.
    pub frames: &'a [Resolved],
    /// Memory around the word.
    pub around: &'a Around,
    /// The innermost words of its stack.
    pub stack: &'a [u64],
    /// The thread of the same process that calls itself so; None if there is none.
    pub thread: &'a dyn Fn(u32) -> Option<Tid>,
    /// The byte at an address; None where there is no memory.
    pub byte: &'a dyn Fn(u64) -> Option<u8>,
}

/// What was recognised.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Recognised {
    kind: FutexKind,
    of: FutexOf,
    object: u64,
    holder: Holder,
}

/// Says what a futex is.
pub fn recognise(waiter: &Waiter<'_>) -> FutexState {
    let call = waiter.call;
    let found =
        kernel_lock(waiter).or_else(|| by_frames(waiter)).or_else(|| pthread::by_words(waiter));
    let found = found.unwrap_or(Recognised {
        kind: FutexKind::Unknown,
        of: table::library(waiter.frames),
        object: call.address,
        holder: Holder::Unknown,
    });
    FutexState {
        kind: found.kind,
        of: found.of,
        word_address: call.address,
        object: found.object,
        expected: call.expected,
        word: waiter.around.word(call.address),
        holder: found.holder,
        timed: call.timed,
        shared: call.shared,
    }
}

fn by_frames(waiter: &Waiter<'_>) -> Option<Recognised> {
    let primitive = table::find(waiter.frames)?;
    Some(match primitive.of {
        FutexOf::Pthread => pthread::recognise(waiter, primitive.kind),
        FutexOf::RustStd => rust::recognise(waiter, primitive.kind),
        FutexOf::ParkingLot => parking_lot::recognise(waiter, primitive.kind),
        of => {
            let object = waiter.call.address;
            Recognised { kind: primitive.kind, of, object, holder: Holder::Unknown }
        }
    })
}

/// A futex lock with an owner: the kernel itself demands that the word names it (futex(2),
/// "Priority-inheritance futexes").
fn kernel_lock(waiter: &Waiter<'_>) -> Option<Recognised> {
    /// `FUTEX_TID_MASK` of include/uapi/linux/futex.h.
    const TID: u32 = 0x3fff_ffff;
    if !matches!(waiter.call.operation, op::LOCK_PI | op::LOCK_PI2) {
        return None;
    }
    let owner = waiter.around.word(waiter.call.address).map(|word| word & TID);
    let holder = owner.and_then(waiter.thread).map_or(Holder::Unknown, Holder::Written);
    let of = match table::find(waiter.frames) {
        Some(Primitive { of: FutexOf::Pthread, .. }) => FutexOf::Pthread,
        _ => FutexOf::Kernel,
    };
    Some(Recognised { kind: FutexKind::Mutex, of, object: waiter.call.address, holder })
}

#[cfg(test)]
mod tests;
