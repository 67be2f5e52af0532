//! What it costs. The figures are printed; the bounds hold in a release build.

use std::time::Instant;

use loiter::base::*;
use loiter::stream::*;

use crate::world::*;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn look(n: u64, t: u64, seq: u8) -> TaskLook {
    let channel =
        ChannelState { address: 0xc000_0000 + n * 96, capacity: 0, length: 0, closed: false };
    TaskLook {
        waits_on: WaitsOn::Channels(Box::new([channel])),
        stack: StackId(1 + n as u32 % 2),
        ..waiting(n, ms(t), ms(t), [RECEIVE, SEND, MUTEX, IO][n as usize % 4], seq)
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --test model cost -- --ignored --nocapture --test-threads 1"]
fn events_are_applied_at_two_million_a_second() {
    for alive in [1_000u64, 100_000] {
        let mut w = World::with_all_events();
        (0..alive).for_each(|n| w.birth(1_000 + n, 1));
        let rounds = 1_000_000 / alive.min(100_000) / 5 + 1;
        let mut events = 0u64;
        let start = Instant::now();
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
        assert!(rate >= 2.0, "{rate:.1} M/s");
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --test model cost -- --ignored --nocapture --test-threads 1"]
fn a_look_at_100_000_tasks_is_merged_in_60_ms_and_kept_in_40_mb() {
    const TASKS: u64 = 100_000;
    let before = resident();
    let mut w = World::new();
    for (round, t) in [100u64, 1_200, 2_300, 3_400].into_iter().enumerate() {
        w.begin(t);
        let mut feeding = std::time::Duration::ZERO;
        for n in 0..TASKS {
            let task = Input::SnapshotTask(Box::new(look(1_000 + n, t + 1, 3)));
            let start = Instant::now();
            w.feed(task);
            feeding += start.elapsed();
        }
        let outcome = complete(TASKS as usize);
        let start = Instant::now();
        // The model alone: the detectors that the end of a look sets off are measured below.
        w.end(t + 200, outcome);
        let merged = start.elapsed();
        let held = resident().saturating_sub(before) / 1_000_000;
        let start = Instant::now();
        w.engine.check(P, &mut Vec::new(), &mut Vec::new());
        let checked = start.elapsed();
        println!(
            "look {round}: packed in {feeding:?}, merged and checked in {merged:?}, of which the check {checked:?}; {held} MB"
        );
        assert!((feeding + merged).saturating_sub(checked).as_millis() <= 60);
        assert!(held <= 40, "{held} MB");
    }
    let start = Instant::now();
    let dump = loiter::view::build::dump(w.engine.model(), P).unwrap();
    println!("view of {} tasks built in {:?}", dump.tasks.len(), start.elapsed());
}
