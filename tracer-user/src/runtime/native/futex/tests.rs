use std::sync::Arc;

use super::*;
use crate::base::FrameId;

const ME: Tid = Tid(10);
const OTHER: Tid = Tid(11);

fn frames(names: &[&str]) -> Vec<Resolved> {
    let frame = |name: &&str| Resolved {
        id: FrameId::UNKNOWN,
        function: Arc::from(*name),
        module: Arc::from("a.out"),
        named: true,
        of_language: false,
    };
    names.iter().map(frame).collect()
}

fn call(address: u64, expected: u32) -> FutexCall {
    FutexCall::of_futex(&[address, 128, expected.into(), 0, 0, 0])
}

fn memory(start: u64, words: &[(u64, u32)]) -> Around {
    let mut bytes = vec![0; 256];
    for &(address, word) in words {
        let at = (address - start) as usize;
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    Around { start, bytes }
}

fn seen(call: FutexCall, names: &[&str], around: &Around, stack: &[u64]) -> FutexState {
    let thread = |tid| [ME, OTHER].into_iter().find(|t| t.0 == tid);
    recognise(&Waiter {
        tid: ME,
        call,
        frames: &frames(names),
        around,
        stack,
        thread: &thread,
        byte: &|_| None,
    })
}

#[test]
fn a_mutex_names_its_owner_with_and_without_names() {
    let around = memory(0x1000, &[(0x1040, 2), (0x1048, OTHER.0), (0x104c, 1)]);
    for names in [&["__lll_lock_wait", "pthread_mutex_lock", "work"][..], &["a.out+0x10"]] {
        let found = seen(call(0x1040, 2), names, &around, &[]);
        assert_eq!(
            (found.kind, found.object, found.holder),
            (FutexKind::Mutex, 0x1040, Holder::Written(OTHER))
        );
    }
    let nobody = memory(0x1000, &[(0x1040, 2), (0x1048, 99), (0x104c, 1)]);
    assert_eq!(seen(call(0x1040, 2), &["x"], &nobody, &[]).kind, FutexKind::Unknown);
}

#[test]
fn a_robust_mutex_has_its_owner_in_its_word() {
    let word = OTHER.0 | 1 << 31;
    let around = memory(0x1000, &[(0x1040, word), (0x1048, 0), (0x1050, 16)]);
    let found = seen(call(0x1040, word), &["pthread_mutex_lock"], &around, &[]);
    assert_eq!(found.holder, Holder::Written(OTHER));
}

#[test]
fn a_lock_of_the_kernels_own_names_its_owner_in_its_word() {
    let around = memory(0x1000, &[(0x1040, OTHER.0 | 1 << 31)]);
    let pi = FutexCall::of_futex(&[0x1040, op::LOCK_PI | 128, 0, 0, 0, 0]);
    let found = seen(pi, &[], &around, &[]);
    assert_eq!((found.of, found.holder), (FutexOf::Kernel, Holder::Written(OTHER)));
    assert_eq!(found.expected, None);
}

#[test]
fn a_read_write_lock_is_found_by_either_of_its_words() {
    let writer = memory(0x1000, &[(0x1058, OTHER.0), (0x1048, 1)]);
    let found = seen(call(0x1048, 1), &["pthread_rwlock_rdlock"], &writer, &[]);
    assert_eq!((found.object, found.holder), (0x1040, Holder::Written(OTHER)));
    let found = seen(call(0x104c, 1), &["pthread_rwlock_wrlock"], &writer, &[]);
    assert_eq!((found.object, found.kind), (0x1040, FutexKind::RwWrite));
}

#[test]
fn a_condition_variable_is_found_by_its_address_on_the_stack() {
    let around = memory(0x1000, &[]);
    let names = ["futex_wait", "pthread_cond_wait@@GLIBC_2.3.2"];
    for (base, offset) in [(0x1040, 40), (0x1040, 44), (0x1048, 32)] {
        let found = seen(call(base + offset, 0), &names, &around, &[7, base]);
        assert_eq!((found.kind, found.object), (FutexKind::Cond, base));
    }
    assert_eq!(seen(call(0x1080, 0), &names, &around, &[]).object, 0x1080);
}

#[test]
fn the_end_of_a_thread_is_waited_for_by_its_tid() {
    let around = memory(0x1000, &[(0x1040, OTHER.0)]);
    let join = FutexCall::of_futex(&[0x1040, op::WAIT_BITSET | 256, OTHER.0.into(), 0, 0, 0]);
    let found = seen(join, &[], &around, &[]);
    assert_eq!((found.kind, found.holder), (FutexKind::Join, Holder::Written(OTHER)));
}

#[test]
fn a_languages_own_primitive_says_more_than_the_one_below() {
    let around = memory(0x1000, &[]);
    let names = ["pthread_cond_wait", "Parker::park", "Unsafe_Park"];
    let found = seen(call(0x1040, 0), &names, &around, &[]);
    assert_eq!((found.kind, found.of), (FutexKind::Park, FutexOf::Java));
    let rust = ["syscall", "std::sys::sync::rwlock::futex::RwLock::write_contended", "main"];
    let found = seen(call(0x1044, 3), &rust, &around, &[]);
    assert_eq!((found.kind, found.object), (FutexKind::RwWrite, 0x1040));
}

#[test]
fn a_mutex_of_musl_is_found_by_its_own_layout() {
    // Plain, then recursive: type, word, waiters.
    for (kind, word, holder) in
        [(0, 0x8000_0010, Holder::Unknown), (1, 0x8000_0000 | OTHER.0, Holder::Written(OTHER))]
    {
        let around = memory(0x1000, &[(0x1040, kind), (0x1044, word), (0x1048, 1)]);
        for names in [&["__timedwait", "__pthread_mutex_timedlock"][..], &["__timedwait_cp"]] {
            let found = seen(call(0x1044, word), names, &around, &[]);
            let is = (found.kind, found.object, &found.holder);
            assert_eq!(is, (FutexKind::Mutex, 0x1040, &holder));
        }
    }
}
