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
    /// Whose.
    pub(super) tid: Tid,
    /// Where its innermost end is; None = it runs, and nobody knows.
    pub(super) sp: Option<u64>,
    /// The lock it waits for itself.
    pub(super) waits_for: Option<u64>,
}

/// Whether the holder of this is to be looked for.
pub(super) fn is_sought(futex: &FutexState) -> bool {
    // A word in the waiter's own thread stands for a lock that was not found.
    let found = futex.of != FutexOf::ParkingLot || futex.object != futex.word_address;
    futex.kind.has_holder() && futex.holder == Holder::Unknown && found
}

/// For each lock sought, who may hold it.
pub(super) fn candidates(
    sought: &HashSet<u64, RandomState>,
    stacks: &[Stack],
    maps: &Maps,
    mem: &dyn ReadMem,
) -> HashMap<u64, Holder, RandomState> {
    let mut found: HashMap<u64, Vec<Tid>, RandomState> = HashMap::default();
    // Who was not searched may hold any of them.
    let mut all_searched = true;
    let mut left = SEARCHED_IN_ALL;
    for stack in stacks {
        let Some(sp) = stack.sp.filter(|_| left > 0) else {
            all_searched = false;
            continue;
        };
        left = left.saturating_sub(SEARCHED);
        let mut copy = StackCopy::new(mem, maps, sp);
        let mut seen: HashSet<u64, RandomState> = HashSet::default();
        for word in copy.words(SEARCHED) {
            if sought.contains(&word) && stack.waits_for != Some(word) && seen.insert(word) {
                found.entry(word).or_default().push(stack.tid);
            }
        }
    }
    let holder = |tids: Vec<Tid>| match *tids {
        [only] if all_searched => Holder::Inferred(only),
        _ => Holder::Candidates(tids.into_iter().take(MAX_HOLDERS).collect()),
    };
    found.into_iter().map(|(lock, tids)| (lock, holder(tids))).collect()
}
