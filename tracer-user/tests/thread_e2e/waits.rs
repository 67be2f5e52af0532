//! Waits: how long, for what, by whom ended, and how many.

use std::time::Duration;

use loiter::kernel::LoadSettings;
use loiter::stream::Mode;
use tracer_common::ids::sleep;
use tracer_common::thread::{ThreadWait, WaitTotals};

use crate::common::{GoProc, or_skip};
use crate::support::{Tally, Tracer, alone, build, lost, values};

/// Linux, `futex`.
const FUTEX: i32 = 202;
/// Linux, `clock_nanosleep`, which the C library's nanosleep is.
const SLEEP: i32 = 230;
const MS: i64 = 1_000_000;

/// How far the program's clock and loiter's may be apart.
const CLOCKS_AGREE: i64 = 2 * MS;

fn wait_of(tally: &Tally, tid: i64, number: i32) -> &ThreadWait {
    let of = |wait: &&ThreadWait| i64::from(wait.tid) == tid && wait.asleep.number == number;
    let found: Vec<&ThreadWait> = tally.waits.iter().filter(of).collect();
    let [wait] = found[..] else { panic!("{found:?} of {:?}", tally.waits) };
    wait
}

/// The program takes its clock before it goes to sleep and after it has run again, and is kept
/// waiting for a processor there: what is told lies within, and reaches both ends where it ran.
fn agrees(wait: &ThreadWait, said: &std::collections::HashMap<String, i64>) -> (i64, i64) {
    let (from, to) = (wait.parked_ns as i64, wait.header.time_ns as i64);
    assert!(said["from"] <= from && to <= said["to"], "{wait:?} {said:?}");
    (from - said["from"], said["to"] - to)
}

#[test]
fn a_wait_is_told_with_what_for_since_when_and_who_ended_it() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, words) = GoProc::start_ready(&binary, &[]);
    let word = words.split_whitespace().nth(2).unwrap().trim_start_matches("0x").to_owned();
    let word = u64::from_str_radix(&word, 16).unwrap();
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_millis(20));
    let mut tally = Tally::default();
    let mut off = Vec::new();
    for round in 0..5 {
        let said = values(&process.ask("hold 60", "held"));
        tracer.drain_until(&mut tally, |tally| {
            tally.waits.iter().any(|wait| i64::from(wait.tid) == said["tid"])
        });
        let wait = wait_of(&tally, said["tid"], FUTEX);
        assert_eq!((wait.asleep.sleep, wait.asleep.arguments[0]), (sleep::SYSCALL, word));
        assert_eq!(i64::from(wait.waker), said["waker"], "round {round}");
        assert!(wait.ready_ns >= wait.parked_ns && wait.ready_ns <= wait.header.time_ns);
        off.push(agrees(wait, &said));
    }
    println!("ns between the program's clock and ours, at begin and end: {off:?}");
    // Of five, one at least was not kept waiting by others for a processor.
    assert!(off.iter().any(|(begin, end)| begin + end < CLOCKS_AGREE), "{off:?}");
    tracer.end(&mut tally);
    process.finish();
}

#[test]
fn a_sleep_that_a_timer_ends_has_no_waker() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_millis(20));
    let mut tally = Tally::default();
    let said = values(&process.ask("sleep 60", "slept"));
    tracer.drain_until(&mut tally, |tally| {
        tally.waits.iter().any(|wait| i64::from(wait.tid) == said["tid"])
    });
    let wait = wait_of(&tally, said["tid"], SLEEP);
    assert_eq!(wait.waker, 0);
    agrees(wait, &said);
    tracer.end(&mut tally);
    process.finish();
}

/// Adds up the totals of one number.
fn totals(tracer: &Tracer, number: i32) -> WaitTotals {
    let mut sum = WaitTotals::default();
    for total in tracer.kernel.wait_totals(tracer.slot).unwrap() {
        if total.key.number == number {
            sum.count += total.totals.count;
            sum.total_ns += total.totals.total_ns;
            for (sum, one) in sum.buckets.iter_mut().zip(total.totals.buckets) {
                *sum += one;
            }
        }
    }
    sum
}

fn a_million(count: u64, settings: &LoadSettings, min_wait: Duration) {
    let binary = build("futexes").unwrap();
    let (mut process, words) = GoProc::start_ready(&binary, &[]);
    let words: Vec<u64> = words
        .split_whitespace()
        .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap())
        .collect();
    let mut tracer = Tracer::follow_with(settings, &process, Mode::All, min_wait);
    let mut tally = Tally::default();
    let (mut calls, mut slept, mut long_calls) = (0, 0, 0);
    while calls < count {
        let said = values(&process.ask(&format!("run {}", count.min(20_000)), "ran"));
        tracer.drain(&mut tally);
        let value = |name: &str| u64::try_from(said[name]).unwrap();
        calls += value("waits");
        slept += value("slept");
        long_calls += value("long");
    }
    let counters = tracer.end(&mut tally);
    let own = |key: &tracer_common::thread::WaitKey| {
        key.number == FUTEX && key.sleep == sleep::SYSCALL && words[..2].contains(&key.subject)
    };
    let totals = tracer.kernel.wait_totals(tracer.slot).unwrap();
    let counted: u64 = totals.iter().filter(|t| own(&t.key)).map(|t| t.totals.count).sum();
    let in_classes: u64 =
        totals.iter().filter(|t| own(&t.key)).flat_map(|t| t.totals.buckets).sum();
    // The kernel's count has those that are no waits of the program's, too: for a page, say.
    let faults = totals.iter().filter(|t| t.key.sleep == sleep::NO_SYSCALL);
    let faults: u64 = faults.map(|t| t.totals.count).sum();
    println!(
        "{calls} waits, {slept} put to sleep by the kernel's count, {counted} in the totals, {faults} without a call; {} records, lost {}, untotalled {}, end found later {}",
        tally.waits.len(),
        lost(&counters),
        counters.waits_untotalled,
        counters.waits_end_found
    );
    assert_eq!(counted, in_classes);
    let uncounted = counters.waits_untotalled + counters.lost_map_full;
    if uncounted + faults == 0 {
        assert_eq!(counted, slept, "{counters:?}");
    }
    assert!(counted <= slept && slept <= counted + uncounted + faults, "{counters:?}");
    let long = tally.waits.iter().filter(|wait| words[..2].contains(&wait.asleep.arguments[0]));
    let long = long.count() as u64;
    assert!(long + counters.lost_ring_full >= long_calls);
    process.finish();
}

#[test]
fn the_totals_of_a_million_waits_are_the_waits_made() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("futexes"));
    a_million(1_000_000, &LoadSettings::default(), Duration::from_millis(1));
}

#[test]
fn totals_that_have_no_room_are_counted() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("futexes"));
    let settings = LoadSettings { totals_capacity: 2, ..LoadSettings::default() };
    a_million(20_000, &settings, Duration::from_millis(1));
}

#[test]
fn records_that_have_no_room_are_counted() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    or_skip!(build("futexes"));
    let settings = LoadSettings { ring_bytes: 4096, ..LoadSettings::default() };
    a_million(20_000, &settings, Duration::from_nanos(1));
}

#[test]
fn without_a_least_length_each_sleep_and_each_run_is_told() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::ZERO);
    let mut tally = Tally::default();
    let said = values(&process.ask("run 2000", "ran"));
    let counters = tracer.end(&mut tally);
    let slept = u64::try_from(said["slept"]).unwrap();
    assert!(tally.parks >= slept && tally.runs >= slept, "{counters:?}");
    assert!(tally.readies > 0 && tally.waits.is_empty());
    assert_eq!(counters.submitted, tally.records);
    process.finish();
}

#[test]
fn waits_that_go_on_can_be_asked_for() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_secs(1000));
    process.ask("spawn 1", "spawned");
    let end = std::time::Instant::now() + Duration::from_secs(60);
    let asleep = loop {
        let asleep = tracer.kernel.sleeping(tracer.slot).unwrap();
        if !asleep.is_empty() || std::time::Instant::now() > end {
            break asleep;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let [main] = asleep[..] else { panic!("{asleep:?}") };
    // It reads its next command.
    assert_eq!((main.tid, main.asleep.number), (process.pid(), 0));
    let mut tally = Tally::default();
    tracer.end(&mut tally);
    assert_eq!(tracer.kernel.sleeping(tracer.slot).unwrap(), [], "a detached slot forgets");
    process.finish();
}

#[test]
fn a_stopped_thread_does_not_wait_in_its_system_call() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_millis(1));
    let mut tally = Tally::default();
    process.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(50));
    process.signal(libc::SIGCONT);
    tracer.drain_until(&mut tally, |tally| {
        tally.waits.iter().any(|wait| wait.asleep.sleep == sleep::STOPPED)
    });
    tracer.end(&mut tally);
    process.finish();
}

#[test]
fn size_classes_add_up_and_lengths_fall_in_them() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_secs(1));
    for _ in 0..4 {
        process.ask("sleep 30", "slept");
    }
    let mut tally = Tally::default();
    let counters = tracer.end(&mut tally);
    let sleeps = totals(&tracer, SLEEP);
    assert_eq!(sleeps.count, 4, "{sleeps:?} {counters:?}");
    assert_eq!(sleeps.buckets.iter().sum::<u64>(), sleeps.count);
    // 2^24 ns is 17 ms, 2^25 are 34.
    assert!(sleeps.buckets[..15].iter().all(|count| *count == 0), "{sleeps:?}");
    assert!(sleeps.total_ns >= sleeps.count * 30_000_000, "{sleeps:?}");
    process.finish();
}
