//! What is called a deadlock, a pool that is blocked and a process that stands still, of threads
//! and what their futexes say.

use loiter::base::*;
use loiter::detect::{Confidence, Finding, FindingKind};
use loiter::stream::*;

use crate::world::*;

/// Two locks.
const A: u64 = 0x7f00_0000_1000;
const B: u64 = 0x7f00_0000_2000;

fn written(tid: u32) -> Holder {
    Holder::Written(Tid(tid))
}

fn mutex(object: u64, holder: Holder) -> FutexState {
    FutexState {
        kind: FutexKind::Mutex,
        of: FutexOf::Pthread,
        word_address: object,
        object,
        expected: Some(2),
        word: Some(2),
        holder,
        timed: false,
        shared: false,
    }
}

/// A thread that waits on a futex at the moment `t`; `seq` tells whether it went on meanwhile.
fn on(tid: u32, t: u64, seq: u8, futex: FutexState) -> TaskLook {
    TaskLook {
        task: TaskId::thread(tid),
        parent: None,
        waits_on: WaitsOn::Futex(Box::new(futex)),
        ..waiting(u64::from(tid), ms(t), ms(t), MUTEX, seq)
    }
}

/// A thread that has something else to do.
fn busy(tid: u32, t: u64) -> TaskLook {
    TaskLook { task: TaskId::thread(tid), parent: None, ..running(u64::from(tid), ms(t), ms(t)) }
}

/// Looks each second, the first at 0.1 s, at what there is at each of them.
fn look_each_second(w: &mut World, looks: u64, threads: impl Fn(u64, u64) -> Vec<TaskLook>) {
    for nth in 0..looks {
        let t = 100 + nth * 1_000;
        w.look(t, t + 10, threads(nth, t + 5));
        w.tick(t + 20);
    }
}

fn only(w: &World) -> Finding {
    match &w.findings()[..] {
        [finding] => Finding::clone(finding),
        other => panic!("{other:?}"),
    }
}

fn circle(t: u64, seq: u8) -> Vec<TaskLook> {
    vec![on(1, t, seq, mutex(B, written(2))), on(2, t, seq, mutex(A, written(1)))]
}

#[test]
fn a_circle_that_two_looks_find_is_certain_and_one_look_says_nothing() {
    let mut w = World::new();
    look_each_second(&mut w, 1, |_, t| circle(t, 7));
    assert!(w.findings().is_empty());
    w.look(1_100, 1_110, circle(1_105, 7));
    w.tick(1_120);
    let f = only(&w);
    assert_eq!((f.kind, f.confidence), (FindingKind::Deadlock, Confidence::Certain));
    let steps: Vec<_> = f.cycle.iter().map(|step| (step.task.number, &step.waits_on)).collect();
    let waits = |lock, holder| WaitsOn::Futex(Box::new(mutex(lock, written(holder))));
    assert_eq!(steps, [(1, &waits(B, 2)), (2, &waits(A, 1))]);
}

#[test]
fn threads_that_went_on_between_the_looks_are_in_no_circle() {
    let mut w = World::new();
    look_each_second(&mut w, 5, |nth, t| circle(t, 7 + u8::try_from(nth).unwrap()));
    assert!(w.findings().is_empty(), "{:?}", w.findings());
}

#[test]
fn locks_that_changed_hands_between_the_looks_are_in_no_circle() {
    let mut w = World::new();
    look_each_second(&mut w, 5, |nth, t| match nth % 2 {
        0 => circle(t, 7).into_iter().chain([busy(3, t)]).collect(),
        _ => {
            let other_way = [on(1, t, 7, mutex(A, written(2))), on(2, t, 7, mutex(B, written(1)))];
            other_way.into_iter().chain([busy(3, t)]).collect()
        }
    });
    assert!(w.findings().is_empty(), "{:?}", w.findings());
}

#[test]
fn a_wait_that_ends_by_itself_makes_a_circle_likely_at_most() {
    let mut w = World::new();
    let timed = |lock, holder| FutexState { timed: true, ..mutex(lock, written(holder)) };
    look_each_second(&mut w, 3, |_, t| vec![on(1, t, 7, timed(B, 2)), on(2, t, 7, timed(A, 1))]);
    assert_eq!(only(&w).confidence, Confidence::Likely);
}

#[test]
fn who_waits_for_a_circle_is_told_behind_it_and_not_as_another_finding() {
    let mut w = World::new();
    look_each_second(&mut w, 60, |_, t| {
        let behind = [on(3, t, 7, mutex(A, written(1))), on(4, t, 7, mutex(0x9000, written(3)))];
        circle(t, 7).into_iter().chain(behind).collect()
    });
    let f = only(&w);
    let behind: Vec<u64> = f.bystanders.iter().map(|task| task.number).collect();
    assert_eq!((f.count, &behind[..], f.bystander_count), (2, &[3, 4][..], 2));
}

#[test]
fn a_lock_that_its_own_words_say_a_waiter_has_is_certain_and_one_that_its_frames_say_is_not() {
    let mut w = World::new();
    look_each_second(&mut w, 2, |_, t| vec![on(1, t, 7, mutex(A, written(1))), busy(2, t)]);
    assert_eq!(only(&w).confidence, Confidence::Certain);

    let mut w = World::new();
    let inferred = |t| {
        let of_rust = FutexState { of: FutexOf::RustStd, ..mutex(A, Holder::Inferred(Tid(1))) };
        vec![on(1, t, 7, of_rust), busy(2, t)]
    };
    look_each_second(&mut w, 3, |_, t| inferred(t));
    let f = only(&w);
    assert_eq!((f.kind, f.confidence), (FindingKind::Deadlock, Confidence::Suspect));
    assert!(f.reasons[0].contains("which it seems to hold itself"), "{:?}", f.reasons);
    for t in (3_100..40_000).step_by(1_000) {
        w.look(t, t + 10, inferred(t + 5));
        w.tick(t + 20);
    }
    let f = only(&w);
    assert_eq!((f.kind, f.confidence), (FindingKind::Deadlock, Confidence::Likely));
    let ends = |f: &Finding| f.reasons.iter().any(|r| r.contains("ends by itself"));
    assert!(!ends(&f), "{:?}", f.reasons);

    let mut w = World::new();
    look_each_second(&mut w, 2, |_, t| {
        let timed = FutexState { timed: true, ..mutex(A, Holder::Inferred(Tid(1))) };
        vec![on(1, t, 7, timed), busy(2, t)]
    });
    let f = only(&w);
    assert!(f.confidence == Confidence::Suspect && ends(&f), "{f:?}");
}

#[test]
fn a_pool_all_of_whose_workers_wait_for_one_lock_is_blocked_but_for_the_one_that_holds_it() {
    let workers = |t: u64, last: TaskLook| -> Vec<TaskLook> {
        (1..=5).map(|tid| on(tid, t, 7, mutex(A, written(6)))).chain([last]).collect()
    };
    let mut w = World::new();
    look_each_second(&mut w, 8, |_, t| workers(t, busy(6, t)));
    let f = only(&w);
    assert_eq!((f.kind, f.confidence, f.count), (FindingKind::PoolBlocked, Confidence::Likely, 5));
    assert!(f.reasons.iter().any(|r| r.contains("thread 6 holds it")), "{:?}", f.reasons);

    // One that waits for something else may work again.
    let mut w = World::new();
    look_each_second(&mut w, 8, |_, t| {
        let mut all = workers(t, busy(6, t));
        all.push(on(7, t, 7, mutex(B, written(9))));
        all
    });
    assert!(w.findings().iter().all(|f| f.kind != FindingKind::PoolBlocked), "{:?}", w.findings());
}

fn waits_for_signal(tid: u32, t: u64) -> TaskLook {
    let cond = FutexState { kind: FutexKind::Cond, ..mutex(A, Holder::Unknown) };
    TaskLook { reason: GROUP, ..on(tid, t, 7, cond) }
}

#[test]
fn where_every_thread_waits_for_another_one_nobody_is_left_and_one_other_thread_is_somebody() {
    let mut w = World::new();
    look_each_second(&mut w, 8, |_, t| vec![waits_for_signal(1, t), waits_for_signal(2, t)]);
    let f = only(&w);
    let seen = (f.kind, f.confidence, f.count);
    assert_eq!(seen, (FindingKind::BlockedForEver, Confidence::Likely, 2));

    let mut w = World::new();
    look_each_second(&mut w, 8, |_, t| {
        vec![waits_for_signal(1, t), waits_for_signal(2, t), busy(3, t)]
    });
    assert!(w.findings().is_empty(), "{:?}", w.findings());
}

#[test]
fn a_process_of_which_a_look_missed_a_thread_does_not_stand_still() {
    let mut w = World::new();
    for t in (100..9_000).step_by(1_000) {
        let outcome = LookOutcome { truncated: 1, ..complete(3) };
        w.look_with(t, t + 10, vec![waits_for_signal(1, t), waits_for_signal(2, t)], outcome);
        w.tick(t + 20);
    }
    assert!(w.findings().is_empty(), "{:?}", w.findings());
}
