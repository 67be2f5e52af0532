//! Whatever the schedule: what the model says is true, and all of it is known that can be.

use std::collections::BTreeSet;

use loiter::base::*;
use loiter::detect::{Change, Engine, Settings};
use loiter::model::{Process, Waited};
use loiter::stream::*;
use loiter::view::build;
use proptest::prelude::*;

use crate::sim::{Doing, Op, Traced, Truth, simulate};
use crate::world::{P, RECEIVE, SPAWN, g, len};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), 0u16..2_000), 1..400)
}

fn traced(modes: &[Mode], min_wait: Option<Nanos>, loss: bool) -> impl Strategy<Value = Traced> {
    let modes = modes.to_vec();
    let loss = if loss { 2u64..20 } else { 0u64..1 };
    (loss, 1usize..9, 0u64..5, any::<u64>()).prop_map(move |(loss, shuffle, before, seed)| Traced {
        modes: modes.clone(),
        min_wait,
        loss,
        shuffle,
        before,
        seed,
    })
}

fn any_tracing() -> impl Strategy<Value = Traced> {
    prop_oneof![
        traced(&[Mode::All], None, true),
        traced(&[Mode::All], None, false),
        traced(&[Mode::All], Some(len(3)), true),
        traced(&[Mode::Lifecycle], None, true),
        traced(&[Mode::None], None, false),
        traced(&[Mode::All, Mode::None, Mode::All, Mode::Lifecycle], None, true),
        traced(&[Mode::Lifecycle, Mode::All], Some(len(3)), false),
    ]
}

/// Detectors that are quick to speak, since a simulated life is short.
fn settings() -> Settings {
    Settings {
        stuck_after: len(20),
        crowd_at_least: 3,
        crowd_span: len(10),
        idle: loiter::runtime::go::idle::patterns(),
        ..Settings::default()
    }
}

fn run(inputs: &[Input], mut after: impl FnMut(&Engine, &Input, &[Change])) -> Vec<String> {
    let mut engine = Engine::new(settings());
    let mut told = Vec::new();
    for input in inputs {
        let (mut changes, mut commands) = (Vec::new(), Vec::new());
        engine.feed(input.clone(), &mut changes, &mut commands);
        after(&engine, input, &changes);
        told.extend(changes.iter().map(|c| format!("{c:?}")));
        told.extend(commands.iter().map(|c| format!("{c:?}")));
    }
    told
}

fn alive(process: &Process) -> BTreeSet<u64> {
    process.tasks().iter().map(|t| t.id().number).collect()
}

fn truly_alive(truth: &Truth, at: KTime) -> BTreeSet<u64> {
    truth.alive_at(at).into_iter().collect()
}

fn assert_counts_add_up(process: &Process) {
    let c = process.counts();
    let came = c.births + c.before + c.appeared;
    let went = c.deaths - c.unknown_deaths + c.vanished;
    assert_eq!(came - went, process.tasks().len() as u64, "{c:?}");
    assert_aggregates_add_up(process);
}

fn assert_aggregates_add_up(process: &Process) {
    let by_site: u64 = process.spawn_sites().map(|(_, s)| s.alive).sum();
    assert_eq!(by_site, process.tasks().len() as u64);
    let by_state: u64 = TaskState::ALL.iter().map(|&s| process.in_state(s)).sum();
    assert_eq!(by_state + process.alive_system(), process.tasks().len() as u64);
    let blocked = process.in_state(TaskState::Waiting) + process.in_state(TaskState::Syscall);
    assert_eq!(process.groups().map(|g| g.len() as u64).sum::<u64>(), blocked);
    for group in process.groups() {
        for task in process.members(group) {
            assert_eq!(
                (task.spawn_site(), task.reason()),
                (group.key().spawn_site, group.key().reason)
            );
            assert_eq!(
                (task.wait_site(), task.state()),
                (group.key().wait_site, group.key().state)
            );
        }
    }
}

/// Every wait the model tells lies within one true wait of that task. With `min_wait` the end of
/// a wait is told when the task runs, not when it is made runnable.
fn assert_waits_are_true(engine: &Engine, truth: &Truth, traced: &Traced) {
    let fits = match traced.min_wait {
        None => Truth::waited,
        Some(_) => Truth::did_not_run,
    };
    let process = engine.model().process(P).unwrap();
    let now = engine.model().now();
    for task in process.tasks() {
        let Some(wait) = process.wait(task, now) else { continue };
        let n = task.id().number;
        // A wait of no length, after a single look, claims nothing.
        assert!(
            wait.length() == Nanos(0) || fits(truth, n, wait.since, wait.until),
            "{wait:?} of {task:#?}, now {now:?}, truly {:#?}",
            truth.lives[&n]
        );
    }
}

/// Nobody is called stuck who truly ran within the threshold. That waits are true is claimed above.
fn assert_findings_are_true(engine: &Engine, changes: &[Change]) {
    let now = engine.model().now();
    let process = engine.model().process(P).unwrap();
    for change in changes {
        let (Change::Opened(f) | Change::Grown(f)) = change else { continue };
        for id in &f.tasks {
            let task = process.task(*id).unwrap();
            let wait = process.wait(task, now).unwrap();
            assert!(wait.length() >= len(10) && !process.is_doubtful(task), "{wait:?} of {f:?}");
        }
    }
}

/// A few hundred schedules; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    let cases = if asked { default.cases } else { 300 };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// A time that may be anything.
fn any_time() -> impl Strategy<Value = KTime> {
    prop_oneof![
        8 => (0u64..100).prop_map(crate::world::ms),
        1 => Just(KTime(0)),
        1 => Just(KTime(u64::MAX)),
    ]
}

/// Inputs that need not make sense together.
fn any_input() -> impl Strategy<Value = Input> {
    let event = (any_time(), any_time(), 0u64..6, 0u8..9, any::<u8>()).prop_map(
        |(at, then, n, what, seq)| {
            let (task, reason, run_seq) = (g(n), ReasonId(seq.into()), RunSeq(seq));
            let kind = match what {
                0 | 1 => EventKind::Birth {
                    task,
                    parent: Some(g(n / 2)),
                    spawn_site: FrameId(n as u32),
                    start: SPAWN,
                },
                2 => EventKind::Death { task },
                3 => EventKind::Park { task, reason, run_seq },
                4 => EventKind::Run { task },
                5 => EventKind::Ready { task, waker: Waker::Task(task) },
                6 => EventKind::Waited {
                    task,
                    parked: then,
                    ready: Some(at),
                    waker: Waker::Unknown,
                    reason,
                    run_seq,
                },
                7 => EventKind::Exit { code: 0 },
                _ => EventKind::Fork,
            };
            Input::Event(Event { process: P, at, tid: Tid(1), kind })
        },
    );
    let seen = (any_time(), any_time(), 0u64..6, any::<u8>()).prop_map(|(t0, t1, n, seq)| {
        let state = TaskState::ALL[usize::from(seq) % TaskState::ALL.len()];
        let system = seq % 7 == 0;
        let look = TaskLook { state, system, ..crate::world::waiting(n, t0, t1, RECEIVE, seq % 3) };
        Input::SnapshotTask(Box::new(look))
    });
    let look = LookSeq(1);
    let process = P;
    prop_oneof![
        10 => event,
        6 => seen,
        2 => any_time().prop_map(move |t0| Input::SnapshotBegin { process, look, t0 }),
        2 => (any_time(), 0u64..3).prop_map(move |(t1, unreadable)| {
            let outcome = LookOutcome { unreadable: unreadable / 2, ..LookOutcome::default() };
            Input::SnapshotEnd { process, look, t1, outcome }
        }),
        1 => (any_time(), any_time()).prop_map(move |(since, until)| {
            Input::Loss(Loss { process: Some(P), kind: LossKind::RingFull, count: u64::MAX, since, until })
        }),
        1 => any_time().prop_map(Input::Tick),
        1 => (any_time(), 0usize..3).prop_map(move |(at, i)| {
            let mode = [Mode::None, Mode::Lifecycle, Mode::All][i];
            Input::ModeChange { process, at, mode, why: "any".into() }
        }),
        1 => any_time().prop_map(move |at| Input::ProcessEnd { process: ProcId(9), at, how: EndHow::Exit }),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn without_loss_births_deaths_states_and_waits_equal_the_truth(
        ops in ops(), traced in traced(&[Mode::All], None, false)
    ) {
        let (truth, inputs) = simulate(&ops, &traced);
        let mut engine = Engine::new(settings());
        for input in inputs {
            engine.feed(input, &mut Vec::new(), &mut Vec::new());
        }
        let process = engine.model().process(P).unwrap();
        let now = engine.model().now();
        let counts = process.counts();
        prop_assert_eq!((counts.births, counts.deaths), (truth.births, truth.deaths));
        prop_assert_eq!((counts.vanished, counts.gaps), (0, 0));
        prop_assert_eq!(alive(process), truly_alive(&truth, now));
        prop_assert_eq!(process.spawn_site(SPAWN).map_or(0, |s| s.births), truth.births);
        assert_counts_add_up(process);
        for task in process.tasks() {
            let m = truth.at(task.id().number, now).unwrap();
            let state = match m.doing {
                Doing::Waiting => TaskState::Waiting,
                Doing::Running => TaskState::Running,
                Doing::Runnable | Doing::Gone => TaskState::Runnable,
            };
            if process.tells_every_run() {
                prop_assert_eq!(task.state(), state);
            }
            if m.doing == Doing::Waiting && m.at > KTime(1) {
                let waited = process.wait(task, now).unwrap().waited();
                prop_assert_eq!(waited, Waited::Exact(now.since(m.at)));
            }
        }
    }

    #[test]
    fn whatever_is_lost_no_wait_and_no_finding_is_told_that_is_not_true(
        ops in ops(), traced in any_tracing()
    ) {
        let (truth, inputs) = simulate(&ops, &traced);
        run(&inputs, |engine, input, changes| {
            if matches!(input, Input::Tick(_) | Input::SnapshotEnd { .. }) {
                assert_waits_are_true(engine, &truth, &traced);
                assert_findings_are_true(engine, changes);
                assert_counts_add_up(engine.model().process(P).unwrap());
            }
        });
    }

    #[test]
    fn after_a_complete_look_the_tasks_alive_equal_the_truth_whatever_was_lost(
        ops in ops(), traced in any_tracing()
    ) {
        let (truth, inputs) = simulate(&ops, &traced);
        let mut engine = Engine::new(settings());
        for input in inputs {
            engine.feed(input, &mut Vec::new(), &mut Vec::new());
        }
        // The last look comes after the last operation.
        let process = engine.model().process(P).unwrap();
        let now = engine.model().now();
        prop_assert_eq!(alive(process), truly_alive(&truth, now));
        for task in process.tasks() {
            let m = truth.at(task.id().number, now).unwrap();
            prop_assert_eq!(task.state() == TaskState::Waiting, m.doing == Doing::Waiting);
            prop_assert_eq!(task.state() == TaskState::Running, m.doing == Doing::Running);
        }
    }

    #[test]
    fn lifecycle_counts_and_losses_add_up(ops in ops(), traced in traced(&[Mode::Lifecycle], None, true)) {
        let (truth, inputs) = simulate(&ops, &traced);
        let mut engine = Engine::new(settings());
        for input in inputs {
            engine.feed(input, &mut Vec::new(), &mut Vec::new());
        }
        let process = engine.model().process(P).unwrap();
        let counts = process.counts();
        let told = counts.births + counts.deaths + process.lost(LossKind::RingFull);
        prop_assert_eq!(told, truth.births + truth.deaths);
    }

    #[test]
    fn whatever_comes_in_the_aggregates_add_up(inputs in prop::collection::vec(any_input(), 1..200)) {
        let mut engine = Engine::new(settings());
        for input in crate::world::preamble().into_iter().chain(inputs) {
            engine.feed(input, &mut Vec::new(), &mut Vec::new());
        }
        if let Some(process) = engine.model().process(P) {
            assert_aggregates_add_up(process);
            build::summary(&mut engine, P, "test");
            build::dump(engine.model(), P, &Settings::default());
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_findings_and_commands(ops in ops(), traced in any_tracing()) {
        let (_, inputs) = simulate(&ops, &traced);
        prop_assert_eq!(run(&inputs, |_, _, _| ()), run(&inputs, |_, _, _| ()));
    }
}

#[test]
fn the_simulated_lives_give_findings_to_judge() {
    let mut opened = 0;
    for seed in 0..40u64 {
        let mut dice = crate::sim::Dice(seed);
        let ops: Vec<Op> = (0..300)
            .map(|_| (dice.roll(256) as u8, dice.roll(256) as u8, dice.roll(2_000) as u16))
            .collect();
        let traced =
            Traced { modes: vec![Mode::All], min_wait: None, loss: 5, shuffle: 4, before: 3, seed };
        let (_, inputs) = simulate(&ops, &traced);
        run(&inputs, |_, _, changes| {
            opened += changes.iter().filter(|c| matches!(c, Change::Opened(_))).count();
        });
    }
    assert!(opened > 40, "only {opened} findings: the properties above would claim little");
}
