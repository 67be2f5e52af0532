//! Who may hold a lock that does not say so: threads that have its address on their stacks, as who
//! holds it must know it to give it back. Others may know it too - who made it, who just gave it
//! back - so that only one who is the only one is named.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::base::Tid;
use crate::stream::{FutexOf, FutexState, Holder, MAX_HOLDERS};
use crate::target::{Maps, ReadMem};

use super::super::unwind::StackCopy;

/// Bytes of each stack that are searched, from its innermost end.
const SEARCHED: u64 = 16 << 10;
/// Bytes of all stacks together.
const SEARCHED_IN_ALL: u64 = 64 << 20;

/// A thread whose stack can be searched.
pub(super) struct Stack {
    /// Whose; None = one of those that run.
    pub(super) tid: Option<Tid>,
    /// Where its innermost end is.
    pub(super) sp: u64,
    /// The lock it waits for itself.
    pub(super) waits_for: Option<u64>,
}

/// Whether the holder of this is to be looked for.
pub(super) fn is_sought(futex: &FutexState) -> bool {
    // A word in the waiter's own thread stands for a lock that was not found.
    let found = match futex.of {
        FutexOf::ParkingLot => futex.object != futex.word_address,
        // These are known by their own structures, or not at all.
        FutexOf::Java | FutexOf::Python | FutexOf::PythonGil => false,
        _ => true,
    };
    futex.kind.has_holder() && futex.holder == Holder::Unknown && found
}

/// By how much a thread that runs may have gone on since its stack pointer was known.
pub(super) const MOVED: u64 = 2 << 10;

/// For each lock sought, who may hold it. Unless `all_known` there are other threads, of which any
/// may hold it.
pub(super) fn candidates(
    (sought, all_known): (&HashSet<u64, RandomState>, bool),
    stacks: &[Stack],
    maps: &Maps,
    mem: &dyn ReadMem,
) -> HashMap<u64, Holder, RandomState> {
    let mut found: HashMap<u64, Vec<Option<Tid>>, RandomState> = HashMap::default();
    // Who was not searched may hold any of them.
    let mut all_searched = all_known;
    let mut left = SEARCHED_IN_ALL;
    for stack in stacks {
        if left == 0 {
            all_searched = false;
            break;
        }
        left = left.saturating_sub(SEARCHED);
        let mut copy = StackCopy::new(mem, maps, stack.sp);
        let mut seen: HashSet<u64, RandomState> = HashSet::default();
        for word in copy.words(SEARCHED) {
            if sought.contains(&word) && stack.waits_for != Some(word) && seen.insert(word) {
                found.entry(word).or_default().push(stack.tid);
            }
        }
    }
    let holder = |tids: Vec<Option<Tid>>| match *tids {
        [Some(only)] if all_searched => Holder::Inferred(only),
        _ => Holder::Candidates(tids.into_iter().flatten().take(MAX_HOLDERS).collect()),
    };
    found.into_iter().map(|(lock, tids)| (lock, holder(tids))).collect()
}
