//! What is left behind when a program ends.

use loiter::base::*;
use loiter::detect::{AtEnd, Confidence, FindingKind, LeftBehind};
use loiter::stream::*;

use super::world::*;

/// The thread that ends the program.
const ENDS: Tid = Tid(40);

/// What is left after these looks, one every 100 ms.
fn left(looks: &[Vec<TaskLook>]) -> LeftBehind {
    let mut w = World::new();
    w.mode(Mode::None, 0);
    let mut t = 0;
    for tasks in looks {
        t += 100;
        let tasks = tasks.iter().map(|task| TaskLook { t0: ms(t), t1: ms(t + 1), ..task.clone() });
        w.look(t, t + 1, tasks.collect());
        w.tick(t + 2);
    }
    w.engine.left_behind(P, &AtEnd { by: ENDS, main: Some(g(1)), held: len(1_000) })
}

fn ending(n: u64) -> TaskLook {
    TaskLook { thread: Some(ENDS), ..running(n, ms(1), ms(1)) }
}

fn receives(n: u64, seq: u8) -> TaskLook {
    waiting(n, ms(1), ms(1), RECEIVE, seq)
}

fn confidences(left: &LeftBehind) -> Vec<(Confidence, u64)> {
    left.findings.iter().map(|f| (f.confidence, f.count)).collect()
}

#[test]
fn a_task_that_waits_for_work_is_a_leak_once_nobody_is_there_to_bring_any() {
    let look = vec![ending(1), receives(2, 0)];
    let left = left(&[look.clone(), look]);
    assert_eq!(confidences(&left), [(Confidence::Likely, 1)]);
    let f = &left.findings[0];
    assert_eq!((f.kind, &f.tasks[..]), (FindingKind::Leak, &[g(2)][..]));
    assert!(f.reasons[0].contains("1.0 s were left to it"), "{:?}", f.reasons);
    assert_eq!(left.stalled, None);
}

#[test]
fn neither_the_main_task_nor_the_one_that_ends_the_program_is_left_behind() {
    let look = vec![receives(1, 0), ending(2)];
    assert_eq!(left(&[look.clone(), look]), LeftBehind::default());
}

#[test]
fn a_task_that_ended_meanwhile_is_not_left_behind() {
    assert_eq!(left(&[vec![ending(1), receives(2, 0)], vec![ending(1)]]), LeftBehind::default());
}

#[test]
fn a_task_that_ran_meanwhile_is_at_most_suspect() {
    let look = |seq| vec![ending(1), receives(2, seq)];
    assert_eq!(confidences(&left(&[look(0), look(1)])), [(Confidence::Suspect, 1)]);
    let runs = vec![ending(1), running(2, ms(1), ms(1))];
    assert_eq!(confidences(&left(&[runs.clone(), runs])), [(Confidence::Suspect, 1)]);
}

#[test]
fn what_can_never_run_again_is_certain_and_comes_first() {
    let never = waiting(3, ms(1), ms(1), NIL, 0);
    let look = vec![ending(1), receives(2, 0), never];
    let found = left(&[look.clone(), look]);
    assert_eq!(confidences(&found), [(Confidence::Certain, 1), (Confidence::Likely, 1)]);
}

#[test]
fn what_waits_by_nature_and_what_is_the_runtimes_is_no_leak() {
    let accepts =
        TaskLook { stack: ACCEPT_STACK, wait_site: ACCEPT, ..waiting(2, ms(1), ms(1), IO, 0) };
    let system = TaskLook { system: true, ..receives(3, 0) };
    let look = vec![ending(1), accepts, system];
    assert_eq!(left(&[look.clone(), look]), LeftBehind::default());
}

#[test]
fn where_nothing_is_let_run_only_what_is_sure_is_told() {
    let runnable =
        TaskLook { state: TaskState::Runnable, reason: ReasonId::UNKNOWN, ..receives(2, 0) };
    let never = waiting(3, ms(1), ms(1), NIL, 0);
    let look = vec![ending(1), runnable, receives(4, 0), never];
    let found = left(&vec![look; 9]);
    assert!(found.stalled.as_deref().is_some_and(|why| why.contains("GOMAXPROCS=1")));
    assert_eq!(confidences(&found), [(Confidence::Certain, 1)]);
}

#[test]
fn a_timer_that_is_long_over_shows_that_nothing_is_let_run() {
    let sleeps = TaskLook {
        waits_on: WaitsOn::Timer { until: ms(50) },
        ..waiting(2, ms(1), ms(1), SLEEP, 0)
    };
    let look = vec![ending(1), sleeps, receives(3, 0)];
    let found = left(&vec![look; 9]);
    assert!(found.stalled.is_some() && found.findings.is_empty(), "{found:?}");
}
