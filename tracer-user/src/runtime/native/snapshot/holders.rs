//! Who may hold a lock that does not say so: threads that have its address on their stacks, or in
//! a register that calls keep, as who holds it must know it to give it back. Others may know it too -
//! who made it, who just gave it back - so that only one who is the only one is named, and only where
//! all stacks were searched up to their outermost ends.
//!
//! Who waits for a lock has its address for that. It counts only where it lies beyond the frames of
//! the wait, in those of the program's own code, and where nobody else has it: then the thread may
//! wait for what it holds itself.

use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::base::{Registers, Tid};
use crate::stream::{FutexKind, FutexOf, FutexState, Holder, MAX_HOLDERS};
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
    /// See [`kept`]; as they were when all were read, if its innermost end was the same then. Zeros if not: those are
    /// searched with the stack that they had.
    pub(super) registers: [u64; KEPT],
    /// The lock it waits for itself.
    pub(super) waits_for: Option<u64>,
    /// Where the frames of the program's own code begin; None if that is not known.
    pub(super) own_from: Option<u64>,
}

/// Registers that calls keep, but for the stack pointer.
const KEPT: usize = 6;

/// The registers whose values a function finds again after a call (System V ABI for x86-64, 3.2.1): where a
/// function has the address of a lock in one of them, and nothing it called needed that register, it
/// lies on no stack.
pub(super) fn kept(regs: &Registers) -> [u64; KEPT] {
    let [r12, r13, r14, r15] = regs.r12_to_r15;
    [regs.bx, regs.bp, r12, r13, r14, r15]
}

impl Stack {
    /// That of a thread that runs, as far as it is known.
    pub(super) fn of_one_that_runs(regs: &Registers) -> Self {
        Self { tid: None, sp: regs.sp, registers: kept(regs), waits_for: None, own_from: None }
    }

    /// The part in use: to the end of the mapping, as frames may lie that far out, but for the
    /// main thread's, which begins below the arguments. None where there is no memory.
    fn used(&self, places: &Places<'_>) -> Option<Range<u64>> {
        let mapping = places.maps.find(self.sp).filter(|m| m.perms.read)?;
        let moved = if self.tid.is_none() { MOVED } else { 0 };
        let start = self.sp.saturating_sub(moved).max(mapping.start) & !7;
        let base = places.main_base.filter(|base| (self.sp..mapping.end).contains(base));
        Some(start..base.unwrap_or(mapping.end))
    }
}

/// Where stacks lie.
pub(super) struct Places<'a> {
    pub(super) maps: &'a Maps,
    /// Where that of the main thread began.
    pub(super) main_base: Option<u64>,
}

/// What a stack was found to hold.
#[derive(Default)]
struct Searched {
    /// Locks sought, each once.
    locks: HashSet<u64, RandomState>,
    /// Whether the lock it waits for is in frames that are not of the wait.
    has_own: bool,
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
    // Who is to end does not hold what the others wait for.
    let is_held = futex.kind.has_holder() && futex.kind != FutexKind::Join;
    is_held && futex.holder == Holder::Unknown && found
}

/// For each lock sought, who may hold it. Unless `all_known` there are other threads, of which any
/// may hold it.
pub(super) fn candidates(
    (sought, all_known): (&HashSet<u64, RandomState>, bool),
    stacks: &[Stack],
    places: &Places<'_>,
    mem: &dyn ReadMem,
) -> HashMap<u64, Holder, RandomState> {
    let mut found: HashMap<u64, Vec<Option<Tid>>, RandomState> = HashMap::default();
    let mut by_waiters: HashMap<u64, Vec<Option<Tid>>, RandomState> = HashMap::default();
    // Who was not searched to the end may hold any of them.
    let mut all_searched = all_known;
    let mut left = SEARCHED_IN_ALL;
    for stack in stacks {
        let searched = search(stack, sought, left, places, mem);
        left = left.saturating_sub(searched.bytes);
        all_searched &= searched.whole;
        for lock in searched.locks {
            found.entry(lock).or_default().push(stack.tid);
        }
        if let Some(lock) = stack.waits_for.filter(|_| searched.has_own) {
            by_waiters.entry(lock).or_default().push(stack.tid);
        }
    }
    // One that does not wait for it is the likelier holder; several that wait tell nothing.
    let alone = by_waiters.into_iter().filter(|(_, waiters)| all_searched && waiters.len() == 1);
    for (lock, waiters) in alone {
        found.entry(lock).or_insert(waiters);
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
    places: &Places<'_>,
    mem: &dyn ReadMem,
) -> Searched {
    if stack.sp == 0 {
        // A worker of the kernel's own (io_uring) has no stack, and no lock (`copy_thread` of
        // arch/x86/kernel/process.c).
        return Searched { whole: true, ..Searched::default() };
    }
    let Some(used) = stack.used(places) else { return Searched::default() };
    let of_another = |word: &u64| sought.contains(word) && stack.waits_for != Some(*word);
    let mut searched = Searched::default();
    searched.locks.extend(stack.registers.iter().copied().filter(of_another));
    let mut copy = StackCopy::new(mem, places.maps, used.start);
    let length = used.end.saturating_sub(used.start);
    for word in copy.words(MAX_STACK.min(left).min(length)) {
        let at = used.start.saturating_add(searched.bytes);
        searched.bytes = searched.bytes.saturating_add(8);
        if of_another(&word) {
            searched.locks.insert(word);
        } else if stack.waits_for == Some(word) {
            searched.has_own |= stack.own_from.is_some_and(|from| at >= from);
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

    fn stack(tid: Option<u32>, sp: u64) -> Stack {
        let tid = tid.map(Tid);
        Stack { tid, sp, registers: [0; KEPT], waits_for: None, own_from: None }
    }

    /// Stacks in memory, each in a mapping of its own of [`MAPPED`] bytes.
    #[derive(Default)]
    struct Threads {
        maps: String,
        mem: FixtureMem,
        stacks: Vec<Stack>,
        main_base: Option<u64>,
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
            self.stacks.push(stack(Some(tid), sp));
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
            let places = Places { maps: &maps, main_base: self.main_base };
            candidates((&sought, true), &self.stacks, &places, &self.mem).remove(&LOCK)
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
    fn what_lies_above_the_main_threads_frames_needs_no_search() {
        let mut threads =
            Threads::default().thread(1, 4 << 10, &[64]).thread(2, 128 << 10, &[20 << 10]);
        threads.main_base = Some(threads.stacks[1].sp + (16 << 10));
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
        threads.main_base = Some(threads.stacks[1].sp + (24 << 10));
        assert_eq!(threads.holder(), Some(Holder::Candidates([Tid(1), Tid(2)].into())));
        threads.main_base = Some(threads.stacks[1].sp + (80 << 10));
        assert_eq!(threads.holder(), Some(Holder::Candidates([Tid(1), Tid(2)].into())));
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
        let more = || stack(Some(3), sp);
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
        let places = Places { maps: &maps, main_base: None };
        let used = |tid: Option<u32>, sp| stack(tid, sp).used(&places);
        assert_eq!(used(Some(1), 0x2404), Some(0x2400..0x5000));
        assert_eq!(used(None, 0x2404), Some(0x1c00..0x5000));
        assert_eq!(used(None, 0x1404), Some(0x1000..0x5000));
        assert_eq!(used(Some(1), 0x9000), None);
    }

    #[test]
    fn a_holder_that_has_the_address_in_a_register_alone_is_found() {
        let mut threads = Threads::default().thread(1, 4 << 10, &[]).thread(2, 4 << 10, &[]);
        assert_eq!(threads.holder(), None);
        threads.stacks[0].registers[3] = LOCK;
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
        threads.stacks[1].registers[0] = LOCK;
        assert_eq!(threads.holder(), Some(Holder::Candidates([Tid(1), Tid(2)].into())));
    }

    #[test]
    fn who_has_it_for_the_wait_alone_is_not_taken_for_its_holder() {
        let mut threads = Threads::default().thread(1, 4 << 10, &[64]);
        threads.stacks[0].waits_for = Some(LOCK);
        threads.stacks[0].registers[0] = LOCK;
        assert_eq!(threads.holder(), None);
        threads.stacks[0].own_from = Some(threads.stacks[0].sp + 72);
        assert_eq!(threads.holder(), None);
    }

    #[test]
    fn who_waits_and_has_it_in_its_own_frames_too_may_hold_it_itself_if_nobody_else_has_it() {
        let mut threads = Threads::default().thread(1, 4 << 10, &[64, 512]);
        threads.stacks[0].waits_for = Some(LOCK);
        threads.stacks[0].own_from = Some(threads.stacks[0].sp + 72);
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
        let mut threads = threads.thread(2, 4 << 10, &[]);
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
        threads.stacks[1].registers[0] = LOCK;
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(2))));
        threads.stacks[1].registers[0] = 0;
        let mut threads = threads.thread(3, 4 << 10, &[64, 512]);
        threads.stacks[2].waits_for = Some(LOCK);
        assert_eq!(threads.holder(), Some(Holder::Inferred(Tid(1))));
        threads.stacks[2].own_from = Some(threads.stacks[2].sp + 72);
        assert_eq!(threads.holder(), None, "each of the two may be it, or neither");
        threads.stacks[2].own_from = None;
        let deep = threads.thread(4, 128 << 10, &[]);
        assert_eq!(deep.holder(), None, "who was not searched to the end may hold it");
    }
}
