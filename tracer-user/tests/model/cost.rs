//! What it costs: figures to read, of a release build that has the machine for itself; no test fails by them.

use std::time::Duration;

use loiter::base::*;
use loiter::detect::Engine;
use loiter::model::Model;
use loiter::stream::*;
use rustix::time::{ClockId, clock_gettime};

use crate::world::*;

/// A stopwatch of the processor time of this thread: other load on the machine does not count.
struct Watch(Duration);

impl Watch {
    fn time() -> Duration {
        let t = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
    }
    fn start() -> Self {
        Self(Self::time())
    }
    fn elapsed(&self) -> Duration {
        Self::time() - self.0
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn look(n: u64, t: u64, seq: u8) -> TaskLook {
    let channel = ChannelState {
        address: 0xc000_0000 + n * 96,
        capacity: 0,
        length: 0,
        closed: false,
        carries: Carries::Values,
    };
    TaskLook {
        waits_on: WaitsOn::Channels(Box::new([channel])),
        stack: StackId(1 + n as u32 % 2),
        ..waiting(n, ms(t), ms(t), [RECEIVE, SEND, MUTEX, IO][n as usize % 4], seq)
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --test model cost -- --ignored --nocapture --test-threads 1"]
fn what_applying_events_costs() {
    for alive in [1_000u64, 100_000] {
        let mut w = World::with_all_events();
        (0..alive).for_each(|n| w.birth(1_000 + n, 1));
        let rounds = 1_000_000 / alive.min(100_000) / 5 + 1;
        let mut events = 0u64;
        let start = Watch::start();
        let mut at = 1_000_000_000_000 + 2_000_000;
        let mut emit = |w: &mut World, kind| {
            at += 100;
            events += 1;
            w.feed(Input::Event(Event { process: P, at: KTime(at), tid: Tid(1), kind }));
        };
        for round in 0..rounds {
            for n in 0..alive {
                let task = g(1_000 + round * alive + n);
                let next = g(1_000 + (round + 1) * alive + n);
                emit(&mut w, EventKind::Run { task });
                emit(&mut w, EventKind::Park { task, reason: RECEIVE, run_seq: RunSeq(1) });
                emit(&mut w, EventKind::Ready { task, waker: Waker::Unknown });
                emit(&mut w, EventKind::Death { task });
                emit(
                    &mut w,
                    EventKind::Birth { task: next, parent: None, spawn_site: SPAWN, start: START },
                );
            }
        }
        let rate = events as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!("{alive} alive: {events} events, {rate:.1} M/s");
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --test model cost -- --ignored --nocapture --test-threads 1"]
fn what_looks_at_100_000_tasks_cost() {
    const TASKS: u64 = 100_000;
    let before = resident();
    let mut model = Model::new();
    preamble().into_iter().for_each(|i| model.apply(i, &mut Vec::new()));
    for (round, t) in [100u64, 1_200, 2_300, 3_400].into_iter().enumerate() {
        let number = LookSeq(round as u32 + 1);
        model.apply(Input::SnapshotBegin { process: P, look: number, t0: ms(t) }, &mut Vec::new());
        let mut packed = Duration::ZERO;
        for part in 0..100 {
            let tasks: Vec<Input> = (part * TASKS / 100..(part + 1) * TASKS / 100)
                .map(|n| Input::SnapshotTask(Box::new(look(1_000 + n, t + 1, 3))))
                .collect();
            let start = Watch::start();
            tasks.into_iter().for_each(|task| model.apply(task, &mut Vec::new()));
            packed += start.elapsed();
        }
        let (t1, outcome) = (ms(t + 200), complete(TASKS as usize));
        let start = Watch::start();
        model.apply(Input::SnapshotEnd { process: P, look: number, t1, outcome }, &mut Vec::new());
        let merged = start.elapsed();
        let held = resident().saturating_sub(before) / 1_000_000;
        println!("look {round}: packed in {packed:?}, merged in {merged:?}; {held} MB");
        assert_eq!(model.process(P).unwrap().tasks().len(), TASKS as usize);
    }
    let start = Watch::start();
    let dump = loiter::view::build::dump(&model, P, &loiter::detect::Settings::default()).unwrap();
    println!("view of {} tasks built in {:?}", dump.tasks.len(), start.elapsed());
}

#[test]
#[ignore = "a measurement: cargo test --release --test model cost -- --ignored --nocapture --test-threads 1"]
fn what_a_check_of_100_000_waiting_tasks_costs() {
    let mut w = World::new();
    for t in [100u64, 1_200, 2_300, 3_400] {
        let tasks = (0..100_000).map(|n| look(1_000 + n, t + 1, 3)).collect();
        w.look(t, t + 200, tasks);
        let start = Watch::start();
        w.engine.check(P, &mut Vec::new(), &mut Vec::new());
        let took = start.elapsed();
        println!("checked in {took:?}, {} findings", Engine::open(&w.engine, P).len());
    }
}
