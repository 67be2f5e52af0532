//! The merge of events and looks, one claim each.

use loiter::base::*;
use loiter::detect::Confidence;
use loiter::model::{Origin, Waited};
use loiter::stream::*;

use crate::world::*;

#[test]
fn a_look_before_any_event_is_believed() {
    let mut w = World::new();
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), RECEIVE, 3)]);
    assert_eq!(w.task(5).state(), TaskState::Waiting);
    assert_eq!(w.task(5).origin(), Origin::Before);
    assert_eq!(w.waited(5), Waited::AtLeast(len(0)));
}

#[test]
fn nothing_of_a_look_is_visible_before_its_end() {
    let mut w = World::new();
    w.begin(10);
    w.feed(Input::SnapshotTask(Box::new(waiting(5, ms(11), ms(12), RECEIVE, 3))));
    assert_eq!(w.process().tasks().len(), 0);
    w.end(20, complete(1));
    assert_eq!(w.process().tasks().len(), 1);
}

#[test]
fn an_event_after_the_read_wins_over_the_look() {
    let mut w = World::with_all_events();
    w.park(5, 5, RECEIVE, 3);
    w.run(5, 15);
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), RECEIVE, 3)]);
    assert_eq!(w.task(5).state(), TaskState::Running);
    assert_eq!(w.task(5).spawn_site(), SPAWN, "what it says of the origin is taken");
}

#[test]
fn an_event_inside_the_read_leaves_the_look_unbelieved_until_the_next() {
    let mut w = World::with_all_events();
    w.park(5, 5, RECEIVE, 3);
    w.run(5, 15);
    w.look(10, 20, vec![waiting(5, ms(14), ms(16), RECEIVE, 3)]);
    assert_eq!(w.task(5).state(), TaskState::Running);
    assert_eq!(w.task(5).parent(), Some(g(1)));
    assert_eq!(w.task(5).stack(), StackId::EMPTY);
    w.park(5, 18, SEND, 4);
    w.look(30, 40, vec![waiting(5, ms(31), ms(32), SEND, 4)]);
    assert_eq!(w.task(5).state(), TaskState::Waiting);
    assert_eq!(w.task(5).stack(), STACK);
}

#[test]
fn a_task_born_during_the_look_and_absent_from_it_lives() {
    let mut w = World::with_all_events();
    w.birth(5, 15);
    w.look(10, 20, vec![]);
    assert!(w.process().task(g(5)).is_some());
    assert_eq!(w.process().counts().vanished, 0);
}

#[test]
fn a_task_ended_during_the_look_and_present_in_it_stays_ended() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.death(5, 15);
    w.look(10, 20, vec![running(5, ms(11), ms(12))]);
    assert!(w.process().task(g(5)).is_none());
    assert_eq!((w.process().counts().births, w.process().counts().deaths), (1, 1));
}

#[test]
fn a_task_that_ended_before_it_was_known_is_named_by_the_look_that_still_has_it() {
    let mut w = World::with_all_events();
    w.death(5, 15);
    w.look(10, 20, vec![running(5, ms(11), ms(12))]);
    assert!(w.process().task(g(5)).is_none());
    assert_eq!(w.process().spawn_site(SPAWN).unwrap().deaths, 1);
    assert_eq!(w.process().counts().unknown_deaths, 1);
}

#[test]
fn a_known_task_absent_from_a_complete_look_has_ended_unseen() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.look(10, 20, vec![]);
    assert!(w.process().task(g(5)).is_none());
    assert_eq!((w.process().counts().deaths, w.process().counts().vanished), (0, 1));
}

#[test]
fn a_known_task_absent_from_an_incomplete_look_lives() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.look_with(10, 20, vec![], LookOutcome { listed: 1, unreadable: 1, ..LookOutcome::default() });
    assert!(w.process().task(g(5)).is_some());
}

#[test]
fn a_task_absent_from_a_look_that_has_an_event_after_its_begin_lives() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.run(5, 12);
    w.look(10, 20, vec![]);
    assert!(w.process().task(g(5)).is_some());
}

#[test]
fn a_death_record_slower_than_the_look_is_still_a_death() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.look(10, 20, vec![]);
    w.death(5, 9);
    let counts = w.process().counts();
    assert_eq!((counts.births, counts.deaths, counts.vanished), (1, 1, 0));
    assert_eq!(w.process().spawn_site(SPAWN).unwrap().deaths, 1);
}

#[test]
fn a_number_that_comes_again_after_a_look_missed_it_lives_again() {
    let mut w = World::new();
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), RECEIVE, 0)]);
    w.look(30, 40, vec![]);
    assert!(w.process().task(g(5)).is_none());
    w.look(50, 60, vec![waiting(5, ms(51), ms(52), RECEIVE, 0)]);
    assert!(w.process().task(g(5)).is_some());
    assert_eq!((w.process().counts().vanished, w.process().counts().appeared), (1, 1));
}

#[test]
fn a_task_in_a_later_look_whose_birth_was_not_told_appeared() {
    let mut w = World::new();
    w.look(10, 20, vec![]);
    w.look(30, 40, vec![waiting(5, ms(31), ms(32), RECEIVE, 0)]);
    assert_eq!(w.task(5).origin(), Origin::Appeared);
    assert_eq!(w.process().counts().appeared, 1);
}

#[test]
fn a_wait_is_exact_when_its_park_was_seen() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.run(5, 6);
    w.park(5, 8, RECEIVE, 1);
    w.tick(1_008);
    assert_eq!(w.waited(5), Waited::Exact(len(1_000)));
}

#[test]
fn a_look_whose_mark_is_that_of_the_park_confirms_the_exact_wait() {
    let mut w = World::with_all_events();
    w.park(5, 8, RECEIVE, 1);
    w.look(100, 110, vec![waiting(5, ms(101), ms(102), RECEIVE, 1)]);
    w.tick(1_008);
    assert_eq!(w.waited(5), Waited::Exact(len(1_000)));
    assert_eq!(w.task(5).marks(), 2);
}

#[test]
fn a_look_whose_mark_disagrees_with_the_park_takes_the_exactness_away() {
    let mut w = World::with_all_events();
    w.run(5, 7);
    w.park(5, 8, RECEIVE, 1);
    w.look(100, 110, vec![waiting(5, ms(101), ms(102), RECEIVE, 7)]);
    w.tick(1_102);
    assert_eq!(w.waited(5), Waited::AtLeast(len(1_000)));
    assert_eq!(w.process().counts().gaps, 1);
}

#[test]
fn without_events_a_wait_is_at_least_as_long_as_equal_looks_reach() {
    let mut w = World::new();
    for t in [10, 1_010, 3_010] {
        w.look(t, t + 5, vec![waiting(5, ms(t + 1), ms(t + 2), RECEIVE, 9)]);
    }
    w.tick(9_000);
    assert_eq!(
        w.waited(5),
        Waited::AtLeast(len(2_999)),
        "silence after the last look proves nothing"
    );
    assert_eq!(w.task(5).still_looks(), 3);
}

#[test]
fn a_changed_mark_begins_the_wait_anew() {
    let mut w = World::new();
    for (t, seq) in [(10, 9), (1_010, 9), (3_010, 10), (4_010, 10)] {
        w.look(t, t + 5, vec![waiting(5, ms(t + 1), ms(t + 2), RECEIVE, seq)]);
    }
    assert_eq!(w.waited(5), Waited::AtLeast(len(999)));
    assert_eq!(w.task(5).still_looks(), 2);
}

#[test]
fn a_wait_older_than_the_tracer_goes_on_while_every_run_is_told() {
    let mut w = World::with_all_events();
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), RECEIVE, 9)]);
    w.run(6, 30);
    w.tick(5_012);
    assert_eq!(w.waited(5), Waited::AtLeast(len(5_000)));
}

#[test]
fn the_start_that_the_runtime_wrote_down_is_exact() {
    let mut w = World::new();
    let look =
        |t: u64, since| TaskLook { waits_since: since, ..waiting(5, ms(t), ms(t + 1), MUTEX, 9) };
    w.look(1_000, 1_010, vec![look(1_001, Some(ms(500)))]);
    assert_eq!(w.waited(5), Waited::Exact(len(501)));
    w.look(2_000, 2_010, vec![look(2_001, None)]);
    assert_eq!(w.waited(5), Waited::Exact(len(1_501)), "the same wait keeps its start");
}

#[test]
fn a_start_written_down_in_the_future_of_the_read_is_not_believed() {
    let mut w = World::new();
    let look = TaskLook { waits_since: Some(ms(9_000)), ..waiting(5, ms(11), ms(12), MUTEX, 9) };
    w.look(10, 20, vec![look]);
    assert_eq!(w.waited(5), Waited::AtLeast(len(0)));
}

#[test]
fn a_whole_wait_told_at_its_end_leaves_the_task_out_of_the_wait() {
    let mut w = World::with_all_events();
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), RECEIVE, 9)]);
    w.event(
        500,
        EventKind::Waited {
            task: g(5),
            parked: ms(2),
            ready: Some(ms(499)),
            waker: Waker::Task(g(7)),
            reason: RECEIVE,
            run_seq: RunSeq(9),
        },
    );
    assert_ne!(w.task(5).state(), TaskState::Waiting);
    assert_eq!(w.task(5).last_waker(), Some(g(7)));
}

#[test]
fn with_whole_waits_only_silence_proves_nothing() {
    let mut w = World::with_all_events();
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), RECEIVE, 9)]);
    w.tick(60_000);
    assert_eq!(w.waited(5), Waited::AtLeast(len(0)));
}

#[test]
fn a_long_wait_told_while_it_goes_on_lasts_until_its_end_is_told() {
    let mut w = World::with_all_events();
    w.look(
        10,
        20,
        vec![waiting(5, ms(11), ms(12), RECEIVE, 9), waiting(6, ms(11), ms(12), RECEIVE, 9)],
    );
    w.park(5, 5, RECEIVE, 9);
    w.tick(60_000);
    assert_eq!(w.waited(5), Waited::Exact(len(59_995)));
    assert_eq!(w.waited(6), Waited::AtLeast(len(0)), "the park of one says nothing of another");
}

#[test]
fn a_park_before_the_probes_changed_stays_exact_only_while_looks_agree() {
    let mut w = World::with_all_events();
    w.park(5, 100, RECEIVE, 4);
    w.park(6, 100, RECEIVE, 4);
    w.mode(Mode::Lifecycle, 1_100);
    w.tick(10_000);
    assert_eq!(w.waited(5), Waited::Exact(len(1_000)), "known until the change, not beyond");
    w.look(
        10_000,
        10_010,
        vec![
            waiting(5, ms(10_001), ms(10_100), RECEIVE, 4),
            waiting(6, ms(10_001), ms(10_100), RECEIVE, 5),
        ],
    );
    assert_eq!(w.waited(5), Waited::Exact(len(9_901)));
    assert_eq!(w.waited(6), Waited::AtLeast(len(0)));
}

#[test]
fn a_running_task_is_unknown_once_runs_are_no_longer_told() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.run(5, 6);
    assert_eq!(w.task(5).state(), TaskState::Running);
    w.mode(Mode::Lifecycle, 100);
    assert_eq!(w.task(5).state(), TaskState::Unknown);
}

#[test]
fn records_that_come_late_by_a_little_are_put_where_they_belong() {
    let mut w = World::with_all_events();
    w.birth(5, 1);
    w.run(5, 2);
    w.ready(5, 30, 9);
    w.park(5, 20, RECEIVE, 2);
    assert_eq!(
        w.task(5).state(),
        TaskState::Runnable,
        "ready is later than the park that came after it"
    );
    w.park(5, 50, SEND, 3);
    w.run(5, 40);
    assert_eq!(w.task(5).state(), TaskState::Waiting, "the run belongs before the park");
    assert_eq!(w.task(5).reason(), SEND);
    assert_eq!(w.waited(5), Waited::Exact(len(0)));
}

#[test]
fn a_run_that_comes_after_the_death_brings_nobody_back() {
    let mut w = World::with_all_events();
    w.birth(5, 1);
    w.death(5, 10);
    w.run(5, 9);
    assert!(w.process().task(g(5)).is_none());
}

#[test]
fn a_birth_that_comes_after_the_death_is_counted_at_its_site() {
    let mut w = World::with_all_events();
    w.death(5, 10);
    w.birth(5, 1);
    assert!(w.process().task(g(5)).is_none());
    let counts = w.process().counts();
    assert_eq!((counts.births, counts.deaths, counts.unknown_deaths), (1, 1, 0));
    let site = w.process().spawn_site(SPAWN).unwrap();
    assert_eq!((site.births, site.deaths, site.lifetimes.count()), (1, 1, 1));
}

#[test]
fn a_birth_that_comes_after_the_first_run_is_counted_once() {
    let mut w = World::with_all_events();
    w.run(5, 2);
    w.birth(5, 1);
    let counts = w.process().counts();
    assert_eq!((counts.births, counts.appeared), (1, 0));
    assert_eq!(w.task(5).state(), TaskState::Running);
    assert_eq!(w.process().spawn_site(SPAWN).unwrap().alive, 1);
}

#[test]
fn a_task_known_from_one_late_record_that_the_look_does_not_have_never_counts_as_ended() {
    let mut w = World::with_all_events();
    w.run(5, 2);
    w.look(10, 20, vec![]);
    let counts = w.process().counts();
    assert_eq!((counts.vanished, counts.phantoms, counts.appeared), (0, 1, 0));
}

#[test]
fn an_unknown_task_makes_the_model_ask_for_one_look() {
    let mut w = World::with_all_events();
    w.run(5, 2);
    w.run(6, 3);
    assert_eq!(w.snapshots_asked(SnapshotWhy::Unknown), 1);
}

#[test]
fn after_a_loss_what_was_known_before_is_doubtful_until_a_look_after_it() {
    let mut w = World::with_all_events();
    w.park(5, 10, MUTEX, 1);
    w.loss(20, 30, 7);
    assert!(w.process().is_doubtful(w.task(5)) && w.process().is_in_doubt());
    assert_eq!(w.process().lost(LossKind::RingFull), 7);
    assert_eq!(w.snapshots_asked(SnapshotWhy::Loss), 1);
    w.tick(60_000);
    assert_eq!(w.waited(5), Waited::Exact(len(10)), "known until the loss began");
    assert!(w.findings().is_empty());
    w.look(60_000, 60_010, vec![waiting(5, ms(60_001), ms(60_002), MUTEX, 1)]);
    assert!(!w.process().is_in_doubt());
    assert_eq!(w.waited(5), Waited::Exact(len(60_000)));
    assert_eq!(w.findings()[0].confidence, Confidence::Likely);
}

#[test]
fn a_look_that_began_before_the_end_of_the_loss_does_not_heal_it() {
    let mut w = World::with_all_events();
    w.park(5, 10, MUTEX, 1);
    w.begin(25);
    w.loss(20, 30, 7);
    w.feed(Input::SnapshotTask(Box::new(waiting(5, ms(26), ms(27), MUTEX, 1))));
    w.end(40, complete(1));
    assert!(w.process().is_in_doubt() && w.process().is_doubtful(w.task(5)));
    assert_eq!(w.snapshots_asked(SnapshotWhy::Loss), 2, "another look is asked for");
}

#[test]
fn an_incomplete_look_does_not_heal_the_process_but_the_tasks_it_has() {
    let mut w = World::with_all_events();
    w.park(5, 10, MUTEX, 1);
    w.park(6, 10, MUTEX, 1);
    w.loss(20, 30, 7);
    let outcome = LookOutcome { listed: 2, read: 1, unreadable: 1, ..LookOutcome::default() };
    w.look_with(40, 50, vec![waiting(5, ms(41), ms(42), MUTEX, 1)], outcome);
    assert!(w.process().is_in_doubt());
    assert!(!w.process().is_doubtful(w.task(5)) && w.process().is_doubtful(w.task(6)));
}

#[test]
fn an_event_after_the_loss_makes_its_task_certain() {
    let mut w = World::with_all_events();
    w.park(5, 10, MUTEX, 1);
    w.loss(20, 30, 7);
    w.run(5, 35);
    assert!(!w.process().is_doubtful(w.task(5)));
}

#[test]
fn a_loss_of_nobody_knows_whom_touches_every_process() {
    let mut w = World::with_all_events();
    w.feed(Input::ProcessDef(Box::new(process_def(ProcId(2), 78, ms(1)))));
    let kind = LossKind::Recursion;
    w.feed(Input::Loss(Loss { process: None, kind, count: 3, since: ms(5), until: ms(6) }));
    let model = w.engine.model();
    assert!(model.processes().all(|p| p.is_in_doubt() && p.lost(kind) == 0));
    assert_eq!(model.lost_unattributed(kind), 3);
}

#[test]
fn a_look_that_is_begun_again_replaces_the_one_under_way() {
    let mut w = World::new();
    w.begin(10);
    w.feed(Input::SnapshotTask(Box::new(waiting(5, ms(11), ms(12), RECEIVE, 3))));
    w.look(20, 30, vec![waiting(6, ms(21), ms(22), RECEIVE, 3)]);
    assert!(w.process().task(g(5)).is_none() && w.process().task(g(6)).is_some());
    assert_eq!(w.process().counts().looks_dropped, 1);
}

#[test]
fn a_pid_that_comes_again_ends_its_former_owner() {
    let mut w = World::new();
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), RECEIVE, 3)]);
    w.feed(Input::ProcessDef(Box::new(process_def(ProcId(2), 77, ms(100)))));
    assert_eq!(w.process().ended(), Some((ms(100), EndHow::Exit)));
    assert_eq!(w.engine.model().process(ProcId(2)).unwrap().tasks().len(), 0);
}

#[test]
fn after_exec_no_task_is_left_and_late_records_are_strays() {
    let mut w = World::with_all_events();
    w.birth(5, 5);
    w.event(10, EventKind::Exec);
    w.run(5, 11);
    assert_eq!((w.process().alive(), w.process().tasks().len()), (0, 0));
    assert_eq!(w.engine.model().strays(), 1);
}

#[test]
fn a_task_seen_twice_in_one_look_counts_as_one_look() {
    let mut w = World::new();
    let look = waiting(5, ms(11), ms(12), RECEIVE, 3);
    w.look(10, 20, vec![look.clone(), look]);
    assert_eq!(w.task(5).still_looks(), 1);
}

#[test]
fn the_runtimes_own_tasks_are_counted_apart() {
    let mut w = World::new();
    let system = TaskLook { system: true, ..waiting(5, ms(11), ms(12), RECEIVE, 3) };
    w.look(10, 20, vec![system, waiting(6, ms(11), ms(12), RECEIVE, 3)]);
    assert_eq!((w.process().alive(), w.process().alive_system()), (1, 1));
    assert_eq!(w.process().groups().map(|g| g.len()).sum::<usize>(), 1);
}

#[test]
fn times_are_shown_on_the_wall_clock() {
    let w = World::new();
    assert_eq!(w.engine.model().wall_ns(ms(1_500)), Some(1_700_000_001_500_000_000));
}
