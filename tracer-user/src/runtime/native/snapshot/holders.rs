//! Who may hold a lock that does not say so: threads that have its address on their stacks, as who
//! holds it must know it to give it back. Others may know it too - who made it, who just gave it
//! back - so that only one who is the only one is named, and only where all stacks were searched
//! up to their outermost ends.

use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::base::Tid;
use crate::stream::{FutexOf, FutexState, Holder, MAX_HOLDERS};
use crate::target::{Maps, ReadMem};

use super::super::unwind::{MAX_STACK, StackCopy};

/// Bytes of all stacks together; of each as many as are copied ([`MAX_STACK`]).
const SEARCHED_IN_ALL: u64 = 64 << 20;
/// By how much a thread that runs may have gone on since its stack pointer was known.
const MOVED: u64 = 2 << 10;

/// A thread whose stack can be searched.
pub(super) struct Stack {
    /// Whose; None = one of those that run.
    pub(super) tid: Option<Tid>,
    /// Where its innermost end is, or was when one that runs was last seen.
    pub(super) sp: u64,
    /// The lock it waits for itself.
    pub(super) waits_for: Option<u64>,
}

impl Stack {
    /// The part in use: to the end of the mapping, as frames may lie that far out. None where there
    /// is no memory.
    fn used(&self, maps: &Maps) -> Option<Range<u64>> {
        let mapping = maps.find(self.sp).filter(|m| m.perms.read)?;
        let moved = if self.tid.is_none() { MOVED } else { 0 };
        let start = self.sp.saturating_sub(moved).max(mapping.start) & !7;
        Some(start..mapping.end)
    }
}

/// What a stack was found to hold.
#[derive(Default)]
struct Searched {
    /// Locks sought, each once.
    locks: HashSet<u64, RandomState>,
    bytes: u64,
    /// Whether nothing of the part in use was left out.
    whole: bool,
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

/// For each lock sought, who may hold it. Unless `all_known` there are other threads, of which any
/// may hold it.
pub(super) fn candidates(
    (sought, all_known): (&HashSet<u64, RandomState>, bool),
    stacks: &[Stack],
    maps: &Maps,
    mem: &dyn ReadMem,
) -> HashMap<u64, Holder, RandomState> {
    let mut found: HashMap<u64, Vec<Option<Tid>>, RandomState> = HashMap::default();
    // Who was not searched to the end may hold any of them.
    let mut all_searched = all_known;
    let mut left = SEARCHED_IN_ALL;
    for stack in stacks {
        let searched = search(stack, sought, left, maps, mem);
        left = left.saturating_sub(searched.bytes);
        all_searched &= searched.whole;
        for lock in searched.locks {
            found.entry(lock).or_default().push(stack.tid);
        }
    }
    let holder = |tids: Vec<Option<Tid>>| match *tids {
        [Some(only)] if all_searched => Holder::Inferred(only),
        _ => Holder::Candidates(tids.into_iter().flatten().take(MAX_HOLDERS).collect()),
    };
    found.into_iter().map(|(lock, tids)| (lock, holder(tids))).collect()
}

/// Searches one stack, at most `left` bytes of it.
fn search(
    stack: &Stack,
    sought: &HashSet<u64, RandomState>,
    left: u64,
    maps: &Maps,
    mem: &dyn ReadMem,
) -> Searched {
    if stack.sp == 0 {
        // A worker of the kernel's own (io_uring) has no stack, and no lock (`copy_thread` of
        // arch/x86/kernel/process.c).
        return Searched { whole: true, ..Searched::default() };
    }
    let Some(used) = stack.used(maps) else { return Searched::default() };
    let mut searched = Searched::default();
    let mut copy = StackCopy::new(mem, maps, used.start);
    for word in copy.words(MAX_STACK.min(left)) {
        searched.bytes = searched.bytes.saturating_add(8);
        // Who waits for a lock has its address for that, so that it says nothing: one that waits
        // for what it holds itself is not known as its holder.
        if sought.contains(&word) && stack.waits_for != Some(word) {
            searched.locks.insert(word);
        }
    }
    searched.whole = used.start.saturating_add(searched.bytes) >= used.end;
    searched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::FixtureMem;

    const LOCK: u64 = 0x60_0040;
    const MAPPED: u64 = 256 << 10;

    /// Stacks in memory, each in a mapping of its own of [`MAPPED`] bytes.
    #[derive(Default)]
    struct Threads {
        maps: String,
        mem: FixtureMem,
        stacks: Vec<Stack>,
    }

    impl Threads {
        /// A thread that uses so many bytes, with `LOCK` at some distances from its innermost end.
        fn thread(mut self, tid: u32, used: u64, at: &[u64]) -> Self {
            let start = 0x7f00_0000_0000 + u64::from(tid) * 2 * MAPPED;
            let sp = start + MAPPED - used;
            let mut bytes = vec![0; usize::try_from(MAPPED).unwrap()];
            for distance in at {
                let place = usize::try_from(sp + distance - start).unwrap();
                bytes[place..place + 8].copy_from_slice(&LOCK.to_le_bytes());
            }
            self.mem.put(start, bytes);
            self.maps += &format!("{start:x}-{:x} rw-p 00000000 00:00 0 \n", start + MAPPED);
            self.stacks.push(Stack { tid: Some(Tid(tid)), sp, waits_for: None });
            self
        }

        /// The thread added last runs.
        fn that_runs(mut self) -> Self {
            self.stacks.last_mut().unwrap().tid = None;
            self
        }

        fn holder(&self) -> Option<Holder> {
            let sought = [LOCK].into_iter().collect();
            let maps = Maps::parse(self.maps.as_bytes());
            candidates((&sought, true), &self.stacks, &maps, &self.mem).remove(&LOCK)
        }
    }

    fn only(tid: u32) -> Option<Holder> {
        Some(Holder::Candidates([Tid(tid)].into()))
    }

    #[test]
    fn a_holder_whose_frame_lies_deep_is_found() {
        let threads = Threads::default().thread(1, 60 << 10, &[58 << 10]).thread(2, 4 << 10, &[]);
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
        let both = threads.thread(3, 4 << 10, &[64]);
        assert_eq!(both.holder(), Some(Holder::Candidates([Tid(1), Tid(3)].into())));
    }

    #[test]
    fn a_stack_that_is_searched_to_its_last_byte_is_complete() {
        let threads = Threads::default().thread(1, MAX_STACK, &[MAX_STACK - 8]);
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
    }

    #[test]
    fn nobody_is_named_while_a_stack_goes_on_beyond_what_was_searched() {
        let threads =
            Threads::default().thread(1, 4 << 10, &[64]).thread(2, 128 << 10, &[100 << 10]);
        assert_eq!(threads.holder(), only(1));
    }

    #[test]
    fn nobody_is_named_while_a_stack_cannot_be_read() {
        let mut threads = Threads::default().thread(1, 4 << 10, &[64]).thread(2, 4 << 10, &[]);
        let sp = threads.stacks[1].sp;
        threads.mem.put(sp & !(MAPPED - 1), Vec::new());
        assert_eq!(threads.holder(), only(1));
        threads.stacks[1].sp = 0x1000;
        assert_eq!(threads.holder(), only(1));
    }

    #[test]
    fn a_thread_without_a_stack_holds_nothing() {
        let mut threads = Threads::default().thread(1, 4 << 10, &[64]).thread(2, 4 << 10, &[]);
        threads.stacks[1].sp = 0;
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
    }

    #[test]
    fn nobody_is_named_once_all_stacks_together_are_too_large() {
        let mut threads = Threads::default().thread(1, 4 << 10, &[64]).thread(2, MAX_STACK, &[]);
        let sp = threads.stacks[1].sp;
        let more = || Stack { tid: Some(Tid(3)), sp, waits_for: None };
        let fits = SEARCHED_IN_ALL / MAX_STACK - 1;
        threads.stacks.extend((1..fits).map(|_| more()));
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
        threads.stacks.push(more());
        assert_eq!(threads.holder(), only(1));
    }

    #[test]
    fn a_thread_that_runs_may_have_gone_on_and_has_no_name() {
        let runs = Threads::default().thread(1, 4 << 10, &[]).that_runs();
        let has_it = runs.thread(2, 4 << 10, &[64]);
        assert_eq!(has_it.holder(), Some(Holder::Inferred(Tid(2))));
        let mut has_it = Threads::default().thread(1, 4 << 10, &[512]).that_runs();
        has_it.stacks[0].sp += 1 << 10;
        assert_eq!(has_it.holder(), Some(Holder::Candidates([].into())));
    }

    #[test]
    fn a_stack_is_in_use_up_to_the_end_of_its_mapping() {
        let maps = Maps::parse(b"1000-5000 rw-p 00000000 00:00 0 \n");
        let used = |tid, sp| Stack { tid, sp, waits_for: None }.used(&maps);
        assert_eq!(used(Some(Tid(1)), 0x2404), Some(0x2400..0x5000));
        assert_eq!(used(None, 0x2404), Some(0x1c00..0x5000));
        assert_eq!(used(None, 0x1404), Some(0x1000..0x5000));
        assert_eq!(used(Some(Tid(1)), 0x9000), None);
    }

    #[test]
    fn who_waits_for_a_lock_is_not_taken_for_its_holder() {
        let mut threads = Threads::default().thread(1, 4 << 10, &[64]);
        threads.stacks[0].waits_for = Some(LOCK);
        assert_eq!(threads.holder(), None);
    }
}
