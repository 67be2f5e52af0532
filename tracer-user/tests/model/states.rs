//! What is said of the state of tasks: blocked for ever, waiting for a lock or group, running
//! without a stop, ready and not let; and what is left alone.

use loiter::base::*;
use loiter::detect::{Confidence, Finding, FindingKind};
use loiter::model::Waited;
use loiter::stream::*;

use crate::world::*;

const LOCK: u64 = 0xc000_0100;

fn on(n: u64, t: u64, reason: ReasonId, kind: LockKind, held: Option<u32>) -> TaskLook {
    let waits_on = WaitsOn::Lock { kind, address: LOCK, held };
    TaskLook { waits_on, ..waiting(n, ms(t), ms(t), reason, 7) }
}

fn on_mutex(n: u64, t: u64) -> TaskLook {
    on(n, t, MUTEX, LockKind::Mutex, Some(1))
}

fn on_group(n: u64, t: u64, missing: u32) -> TaskLook {
    on(n, t, GROUP, LockKind::WaitGroup, Some(missing))
}

/// A task at work: `state`, and how it came off the processor last.
fn at_work(n: u64, t: u64, state: TaskState, how: Leave, seq: u8) -> TaskLook {
    let left = Some(LastLeave { how, seq: RunSeq(seq) });
    let mark = RunMark { seq: RunSeq(seq), pc: 0x40_2000, sp: 0xc000_0000 + n };
    let mark = (state != TaskState::Running).then_some(mark);
    TaskLook { state, left, mark, ..running(n, ms(t), ms(t)) }
}

/// The main goroutine, in an idle wait.
fn main_task(t: u64) -> TaskLook {
    let spawn_site = FrameId::UNKNOWN;
    TaskLook { parent: None, start: MAIN, spawn_site, ..waiting(1, ms(t), ms(t), RECEIVE, 1) }
}

fn vitals(cpu_ms: u64, stopped: Option<Stop>) -> Vitals {
    let (cpu, none) = (Some(len(cpu_ms)), Some(Nanos(0)));
    Vitals { stopped, cpu, throttled: none, queued: none, scheduler: None }
}

impl World {
    /// A complete look that also tells of the process.
    fn look_at(&mut self, t: u64, tasks: Vec<TaskLook>, vitals: Vitals) {
        let outcome = LookOutcome { vitals, ..complete(tasks.len()) };
        self.look_with(t, t + 10, tasks, outcome);
    }

    /// Looks every 2 s up to `end`, in a process that uses one processor.
    fn looks(&mut self, end: u64, tasks: impl Fn(u64) -> Vec<TaskLook>) {
        for t in (2_000..=end).step_by(2_000) {
            self.look_at(t, tasks(t + 5), vitals(t, None));
        }
    }

    fn kinds(&self) -> Vec<(FindingKind, Confidence, u64)> {
        self.findings().iter().map(|f| (f.kind, f.confidence, f.count)).collect()
    }
}

fn says(f: &Finding, words: &str) -> bool {
    f.reasons.iter().any(|r| r.contains(words))
}

#[test]
fn a_nil_channel_is_a_kind_of_its_own_certain_at_first_sight_in_every_mode() {
    for mode in [Mode::None, Mode::Lifecycle, Mode::All] {
        let mut w = World::new();
        w.mode(mode, 1);
        w.look(10, 20, vec![waiting(5, ms(11), ms(12), NIL, 1)]);
        assert_eq!(w.kinds(), [(FindingKind::BlockedForEver, Confidence::Certain, 1)], "{mode:?}");
    }
}

#[test]
fn a_select_whose_channels_are_all_nil_can_never_go_on_and_another_can() {
    let select = |n, t, list: &[ChannelState]| TaskLook {
        waits_on: WaitsOn::Channels(list.into()),
        ..waiting(n, ms(t), ms(t), SELECT, 1)
    };
    let channel = ChannelState {
        address: 0xc0,
        capacity: 0,
        length: 0,
        closed: false,
        carries: Carries::Unknown,
    };
    let mut w = World::new();
    let unknown = TaskLook { waits_on: WaitsOn::Unknown, ..select(7, 11, &[]) };
    w.look(10, 20, vec![select(5, 11, &[]), select(6, 11, &[channel]), unknown]);
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.kind, f.confidence), (FindingKind::BlockedForEver, Confidence::Certain));
    assert_eq!(f.tasks, [g(5)]);
}

#[test]
fn what_is_blocked_for_ever_is_told_in_a_process_that_stands_still_too() {
    let mut w = World::new();
    w.look_at(10, vec![waiting(5, ms(11), ms(12), NIL, 1)], vitals(0, Some(Stop::Signal)));
    assert_eq!(w.kinds(), [(FindingKind::BlockedForEver, Confidence::Certain, 1)]);
}

#[test]
fn a_mutex_is_told_with_its_state_and_with_those_who_wait_for_it_elsewhere() {
    let mut w = World::new();
    w.looks(40_000, |t| {
        let mut all = vec![main_task(t)];
        all.extend((10..14).map(|n| on_mutex(n, t)));
        all.extend((20..22).map(|n| TaskLook { wait_site: START, ..on_mutex(n, t) }));
        all
    });
    let findings = w.findings();
    assert_eq!(findings.len(), 2, "{findings:?}");
    for f in findings {
        assert_eq!((f.kind, f.confidence), (FindingKind::Stuck, Confidence::Likely));
        assert!(says(f, "mutex at 0xc0000100, locked"), "{:?}", f.reasons);
        assert!(
            says(
                f,
                "mutex 0xc0000100 has 6 waiters at 2 sites: 4 in main.work, 2 in main.serve.func1"
            ),
            "{:?}",
            f.reasons
        );
    }
}

#[test]
fn a_lock_that_the_runtime_calls_a_semaphore_is_a_lock_however_few_wait() {
    let mut w = World::new();
    w.looks(40_000, |t| vec![on(5, t, GROUP, LockKind::RwWrite, Some(2))]);
    assert_eq!(w.kinds(), [(FindingKind::Stuck, Confidence::Likely, 1)]);
    assert!(says(w.findings()[0], "2 of its readers"), "{:?}", w.findings()[0].reasons);
}

#[test]
fn a_lock_that_nobody_holds_is_at_most_suspect() {
    let mut w = World::new();
    w.looks(40_000, |t| vec![on(5, t, MUTEX, LockKind::Mutex, Some(0))]);
    assert_eq!(w.kinds(), [(FindingKind::Stuck, Confidence::Suspect, 1)]);
    assert!(says(w.findings()[0], "nobody held"));
}

#[test]
fn workers_on_a_condition_are_at_most_suspect_and_a_few_old_ones_nothing() {
    for (n, expected) in [(3, 0), (50, 1)] {
        let mut w = World::new();
        w.looks(60_000, |t| (0..n).map(|i| on(10 + i, t, GROUP, LockKind::Cond, None)).collect());
        assert_eq!(w.findings().len(), expected);
        assert!(w.findings().iter().all(|f| f.confidence == Confidence::Suspect));
    }
}

/// A task that starts three more and waits for them; how many of these live on.
fn waits_for_children(living: u64, missing: u32) -> World {
    let mut w = World::with_all_events();
    w.birth(50, 10);
    w.run(50, 11);
    let child = |task| EventKind::Birth {
        task,
        parent: Some(g(50)),
        spawn_site: OTHER_SPAWN,
        start: START,
    };
    (60..63).for_each(|n| w.event(12, child(g(n))));
    w.park(50, 20, GROUP, 7);
    (60 + living..63).for_each(|n| w.death(n, 30));
    w.looks(40_000, |t| {
        let mut all = vec![main_task(t), on_group(50, t, missing)];
        all.extend((60..60 + living).map(|n| TaskLook {
            parent: Some(g(50)),
            spawn_site: OTHER_SPAWN,
            ..waiting(n, ms(t), ms(t), SLEEP, 1)
        }));
        all
    });
    w
}

#[test]
fn who_waits_for_children_that_live_waits_with_good_reason() {
    assert_eq!(waits_for_children(3, 3).kinds(), []);
    assert_eq!(waits_for_children(2, 1).kinds(), []);
}

#[test]
fn who_waits_for_children_that_all_ended_is_likely_stuck() {
    let w = waits_for_children(0, 2);
    assert_eq!(w.kinds(), [(FindingKind::Stuck, Confidence::Likely, 1)]);
    let f = w.findings()[0];
    assert!(says(f, "none is left to end that") && says(f, "lacks 2 calls of Done"), "{f:?}");
}

#[test]
fn who_waits_for_more_calls_than_it_had_children_may_wait_for_their_children() {
    let with_grandchild = |missing: u32| {
        let mut w = waits_for_children(0, missing);
        w.event(
            45_000,
            EventKind::Birth { task: g(70), parent: Some(g(60)), spawn_site: SITE, start: START },
        );
        w.tick(47_000);
        w.findings()[0].confidence
    };
    assert_eq!(with_grandchild(3), Confidence::Likely);
    assert_eq!(with_grandchild(4), Confidence::Suspect);
}

#[test]
fn who_waits_for_more_than_its_children_that_live_is_suspect() {
    let w = waits_for_children(1, 2);
    assert_eq!(w.kinds(), [(FindingKind::Stuck, Confidence::Suspect, 1)]);
    assert!(says(w.findings()[0], "lacks more calls of Done"));
}

#[test]
fn who_waits_for_what_its_parent_does_or_started_is_at_most_suspect_while_those_live() {
    let looks = |parent_lives: bool, sibling_lives: bool| {
        let mut w = World::new();
        w.looks(40_000, |t| {
            let parent = Some(g(40));
            let mut all = vec![main_task(t), TaskLook { parent, ..on_group(50, t, 1) }];
            if parent_lives {
                all.push(waiting(40, ms(t), ms(t), SLEEP, 1));
            }
            if sibling_lives {
                let spawn_site = OTHER_SPAWN;
                all.push(TaskLook { parent, spawn_site, ..waiting(51, ms(t), ms(t), SLEEP, 1) });
            }
            all
        });
        w.kinds()
    };
    assert_eq!(looks(true, true), []);
    assert_eq!(looks(false, true), []);
    assert_eq!(looks(true, false), []);
    assert_eq!(looks(false, false), [(FindingKind::Stuck, Confidence::Likely, 1)]);
}

#[test]
fn where_parents_are_not_known_the_place_of_birth_tells_whose_children_live() {
    // Two tasks in `main.work` wait; `main.work` is also where others were created.
    let looks = |mode: Mode, living: u64| {
        let mut w = World::new();
        w.mode(mode, 1);
        if mode != Mode::None {
            let (parent, spawn_site, start) = (None, SITE, START);
            (60..66).for_each(|n| {
                w.event(12, EventKind::Birth { task: g(n), parent, spawn_site, start });
            });
            (60 + living..66).for_each(|n| w.death(n, 30));
        }
        w.looks(40_000, |t| {
            let mut all: Vec<TaskLook> =
                (50..52).map(|n| TaskLook { parent: None, ..on_group(n, t, 3) }).collect();
            all.extend((60..60 + living).map(|n| TaskLook {
                parent: None,
                spawn_site: SITE,
                ..waiting(n, ms(t), ms(t), SLEEP, 1)
            }));
            all
        });
        w.kinds()
    };
    for mode in [Mode::None, Mode::Lifecycle] {
        assert_eq!(looks(mode, 6), []);
    }
    assert_eq!(looks(Mode::Lifecycle, 0), [(FindingKind::Stuck, Confidence::Likely, 2)]);
    // Few and old, of which nothing more is known.
    assert_eq!(looks(Mode::None, 0), []);
}

#[test]
fn where_parents_are_not_known_a_wait_group_says_little() {
    let mut w = World::new();
    w.looks(40_000, |t| {
        (0..20).map(|n| TaskLook { parent: None, ..on_group(50 + n, t, 1) }).collect()
    });
    assert_eq!(w.kinds(), [(FindingKind::Stuck, Confidence::Suspect, 20)]);
}

/// A loop that is put off every now and then, on a machine with room.
fn hog(t: u64) -> TaskLook {
    at_work(5, t, TaskState::Running, Leave::PutOff, (t / 10 % 256) as u8)
}

#[test]
fn a_loop_without_end_is_a_suspect_hog_in_every_mode() {
    for mode in [Mode::None, Mode::Lifecycle, Mode::All] {
        let mut w = World::new();
        w.mode(mode, 1);
        w.looks(30_000, |t| vec![main_task(t), hog(t)]);
        assert_eq!(w.kinds(), [], "{mode:?}");
        w.looks(36_000, |t| vec![main_task(t), hog(t)]);
        assert_eq!(w.kinds(), [(FindingKind::Hog, Confidence::Suspect, 1)], "{mode:?}");
        assert!(says(w.findings()[0], "a long computation looks the same"));
    }
}

#[test]
fn with_all_events_it_is_known_since_when_a_hog_runs() {
    let mut w = World::with_all_events();
    w.birth(5, 90);
    w.run(5, 100);
    for t in (2_000..=36_000).step_by(2_000) {
        (1..200).for_each(|n| w.run(5, t - 2_000 + n * 10));
        w.look_at(t, vec![main_task(t + 5), hog(t + 5)], vitals(t, None));
    }
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.kind, f.confidence), (FindingKind::Hog, Confidence::Suspect));
    assert!(matches!(f.oldest_wait, Waited::Exact(n) if n >= len(35_000)), "{:?}", f.oldest_wait);
}

#[test]
fn a_loop_that_is_never_put_off_is_known_by_its_counter_that_stands() {
    let mut w = World::new();
    // The last it did before it began to run for ever was to park.
    w.looks(40_000, |t| vec![at_work(5, t, TaskState::Running, Leave::Gave, 9)]);
    assert_eq!(w.kinds(), [(FindingKind::Hog, Confidence::Suspect, 1)]);
}

#[test]
fn a_busy_worker_that_waits_for_jobs_is_no_hog() {
    // Met at work by every look: three times put off, then it has waited for its next job.
    let busy = |t: u64| {
        let how = if (t / 2_000).is_multiple_of(4) { Leave::Gave } else { Leave::PutOff };
        at_work(5, t, TaskState::Running, how, (t / 100 % 256) as u8)
    };
    let mut w = World::new();
    w.looks(200_000, |t| vec![main_task(t), busy(t)]);
    assert_eq!(w.kinds(), []);
    // Always put off when looked at, but events tell of its waits.
    let mut w = World::with_all_events();
    for t in (2_000..=100_000).step_by(2_000) {
        w.park(5, t - 50, RECEIVE, 1);
        w.run(5, t - 40);
        w.look_at(t, vec![main_task(t + 5), hog(t + 5)], vitals(t, None));
    }
    assert_eq!(w.kinds(), []);
}

#[test]
fn a_hog_while_others_starve_is_likely_and_so_are_they() {
    let mut w = World::new();
    w.looks(40_000, |t| {
        let mut all = vec![main_task(t), at_work(5, t, TaskState::Running, Leave::Gave, 9)];
        all.extend((20..30).map(|n| TaskLook {
            spawn_site: OTHER_SPAWN,
            ..at_work(n, t, TaskState::Runnable, Leave::Gave, 1)
        }));
        all
    });
    let mut kinds = w.kinds();
    kinds.sort_unstable();
    let hog = (FindingKind::Hog, Confidence::Likely, 1);
    let starved = (FindingKind::Starved, Confidence::Likely, 10);
    assert_eq!(kinds, [hog, starved]);
}

#[test]
fn a_loaded_server_whose_tasks_all_get_their_turn_is_left_alone() {
    let mut w = World::new();
    w.looks(100_000, |t| {
        (0..500)
            .map(|n| at_work(10 + n, t, TaskState::Runnable, Leave::Gave, (t / 500 % 256) as u8))
            .collect()
    });
    assert_eq!(w.kinds(), []);
}

#[test]
fn with_all_events_who_is_ready_and_not_let_starves_since_then() {
    let mut w = World::with_all_events();
    w.birth(5, 10);
    w.run(5, 11);
    w.park(5, 20, RECEIVE, 1);
    w.ready(5, 1_000, 9);
    let look = |t| vec![main_task(t), at_work(5, t, TaskState::Runnable, Leave::Gave, 1)];
    for t in [2_000, 4_000, 6_200] {
        w.look_at(t, look(t + 5), vitals(t, None));
    }
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.kind, f.confidence), (FindingKind::Starved, Confidence::Suspect));
    assert!(matches!(f.oldest_wait, Waited::Exact(n) if n >= len(5_000)), "{:?}", f.oldest_wait);
    w.run(5, 6_400);
    w.tick(8_000);
    w.tick(11_000);
    assert_eq!(w.kinds(), []);
}

#[test]
fn a_quota_that_holds_a_process_up_is_named() {
    let mut w = World::new();
    for t in (2_000..=12_000).step_by(2_000) {
        let tasks = vec![main_task(t), at_work(5, t, TaskState::Runnable, Leave::Gave, 1)];
        let vitals = Vitals { throttled: Some(len(t * 9 / 10)), ..vitals(t / 10, None) };
        w.look_at(t, tasks, vitals);
    }
    assert_eq!(w.kinds(), [(FindingKind::Starved, Confidence::Suspect, 1)]);
    assert!(says(w.findings()[0], "the CPU quota of its cgroup kept it from running"));
}

#[test]
fn a_process_that_is_not_let_run_is_not_accused_until_it_is() {
    let mut w = World::new();
    let lock = |t: u64| vec![main_task(t), on_mutex(20, t)];
    let mut look = |range: std::ops::Range<u64>, cpu: u64, queued: u64| {
        for n in range {
            let t = n * 2_000;
            let vitals =
                Vitals { queued: Some(len(t * queued / 100)), ..vitals(t * cpu / 100, None) };
            w.look_at(t, lock(t + 5), vitals);
        }
        let kinds = w.kinds();
        (
            kinds,
            w.findings()
                .first()
                .is_some_and(|f| says(f, "the process itself was kept from running")),
        )
    };
    let stuck = |sure| vec![(FindingKind::Stuck, sure, 1)];
    assert_eq!(look(1..40, 2, 98), (stuck(Confidence::Suspect), true));
    assert_eq!(look(40..50, 30, 98), (stuck(Confidence::Likely), false));
}

/// Tasks in every state that a long wait makes suspicious.
fn zoo(t: u64) -> Vec<TaskLook> {
    let mut all = vec![main_task(t), at_work(5, t, TaskState::Running, Leave::PutOff, 9)];
    all.extend((20..30).map(|n| on_mutex(n, t)));
    all.push(at_work(40, t, TaskState::Runnable, Leave::Gave, 1));
    all.extend((1_000..1_200).map(|n| TaskLook { wait_site: START, ..on_mutex(n, t) }));
    all
}

#[test]
fn a_process_that_stands_still_as_a_whole_is_not_judged() {
    for stop in [Stop::Signal, Stop::Tracer, Stop::Frozen] {
        let mut w = World::new();
        for t in (2_000..=100_000).step_by(2_000) {
            w.look_at(t, zoo(t + 5), vitals(500, Some(stop)));
            w.tick(t + 1_000);
        }
        assert_eq!(w.kinds(), [], "{stop:?}");
    }
}

#[test]
fn who_waits_counts_from_when_the_process_went_on() {
    let mut w = World::new();
    let lock = |t: u64| vec![main_task(t), on_mutex(20, t)];
    w.look_at(2_000, lock(2_005), vitals(10, None));
    (2..30).for_each(|n| w.look_at(n * 2_000, lock(n * 2_000 + 5), vitals(10, Some(Stop::Signal))));
    (30..44).for_each(|n| w.look_at(n * 2_000, lock(n * 2_000 + 5), vitals(20, None)));
    assert_eq!(w.kinds(), []);
    (44..47).for_each(|n| w.look_at(n * 2_000, lock(n * 2_000 + 5), vitals(20, None)));
    assert_eq!(w.kinds(), [(FindingKind::Stuck, Confidence::Likely, 1)]);
    // What was told stays told while the process stands still.
    (47..60)
        .for_each(|n| w.look_at(n * 2_000, lock(n * 2_000 + 5), vitals(20, Some(Stop::Frozen))));
    assert_eq!((w.kinds().len(), w.changes.len()), (1, 1));
}

#[test]
fn who_runs_and_uses_no_processor_is_neither_hog_nor_does_anybody_starve() {
    let mut w = World::new();
    for t in (2_000..=60_000).step_by(2_000) {
        let mut all = zoo(t + 5);
        all.retain(|t| t.state != TaskState::Waiting);
        w.look_at(t, all, vitals(500, None));
    }
    assert_eq!(w.kinds(), []);
}

#[test]
fn with_lost_events_nothing_is_called_a_hog_or_starved_before_looks_have_shown_it() {
    let mut w = World::with_all_events();
    w.birth(5, 10);
    w.run(5, 11);
    w.birth(6, 10);
    for t in (2_000..=60_000).step_by(2_000) {
        // Its waits are told in vain: the ring is too small.
        w.loss(t - 1_999, t - 1, 1_000);
        let seq = (t / 30 % 256) as u8;
        let tasks = vec![
            at_work(5, t + 5, TaskState::Running, Leave::Gave, seq),
            at_work(6, t + 5, TaskState::Runnable, Leave::Gave, seq),
        ];
        w.look_at(t, tasks, vitals(t, None));
    }
    assert_eq!(w.kinds(), []);
}

#[test]
fn a_finding_that_a_loss_may_have_touched_says_so() {
    let mut w = World::with_all_events();
    w.looks(20_000, |t| vec![main_task(t), on_mutex(20, t)]);
    w.loss(20_100, 20_200, 77);
    (11..40).for_each(|n| {
        let t = n * 2_000;
        w.look_at(t, vec![main_task(t + 5), on_mutex(20, t + 5)], vitals(t, None));
    });
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert!(says(f, "77 records were lost"), "{:?}", f.reasons);
}
