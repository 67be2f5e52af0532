//! Populations that climb, and those that only look so.

use loiter::detect::{Confidence, FindingKind};
use loiter::stream::{Input, Mode};

use crate::lives::{Life, MODES, first, play, short, shown, stay, surest};
use crate::world::*;

#[test]
fn a_steady_leak_is_suspect_within_a_minute_and_likely_after_a_few_in_every_mode() {
    for mode in MODES {
        let mut w = World::new();
        let told = play(&mut w, mode, &stay(1_000, 3_000, 240_000), 240_000);
        let suspected = first(&told, Confidence::Suspect);
        assert!(suspected.is_some_and(|t| t <= 70_000), "{mode:?}: {suspected:?}");
        let found = first(&told, Confidence::Likely);
        assert!(found.is_some_and(|t| t <= 150_000), "{mode:?}: {found:?}");
        let findings = w.findings();
        let [f] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((f.kind, f.confidence), (FindingKind::Growth, Confidence::Likely));
        let climb = f.climb.unwrap();
        assert!((18.0..21.0).contains(&climb.tasks_per_minute), "{climb:?}");
    }
}

#[test]
fn a_leak_that_begins_after_hours_is_found_as_fast() {
    let mut w = World::new();
    let lives: Vec<Life> = stay(1_000, 3_000, 240_000)
        .into_iter()
        .map(|l| Life { born: l.born + 7_200_000, ..l })
        .collect();
    let told = play(&mut w, Mode::None, &lives, 7_400_000);
    let found = first(&told, Confidence::Likely);
    assert!(found.is_some_and(|t| t <= 7_350_000), "{found:?}");
}

#[test]
fn a_pool_that_fills_up_at_the_start_and_stays_is_no_growth() {
    for mode in MODES {
        let mut w = World::new();
        let lives: Vec<Life> = (0..80).map(|i| Life::new(i + 1, 1 + i * 200, None)).collect();
        let told = play(&mut w, mode, &lives, 300_000);
        assert!(told.iter().all(|t| t.1 != FindingKind::Growth), "{mode:?}: {}", shown(&told));
        assert!(surest(&told) <= Some(Confidence::Suspect));
    }
}

#[test]
fn a_burst_that_drains_is_no_growth() {
    for mode in MODES {
        let mut w = World::new();
        // 400 come within 40 s and are served one after another in the next 80.
        let lives: Vec<Life> =
            (0..400).map(|i| Life::new(i + 1, 5_000 + i * 100, Some(45_000 + i * 200))).collect();
        let told = play(&mut w, mode, &lives, 300_000);
        assert!(told.iter().all(|t| t.1 != FindingKind::Growth), "{mode:?}");
        assert!(surest(&told) <= Some(Confidence::Suspect), "{mode:?}");
    }
}

#[test]
fn workers_that_wait_for_a_slow_backend_and_come_and_go_are_no_growth() {
    for mode in MODES {
        let mut w = World::new();
        // More and more of them, since the backend gets slower: 5 s at first, 35 s at the end.
        let lives: Vec<Life> =
            (1..1_000).map(|i| Life::new(i, i * 300, Some(i * 300 + 5_000 + i * 30))).collect();
        let told = play(&mut w, mode, &lives, 300_000);
        assert!(told.iter().all(|t| t.1 != FindingKind::Growth), "{mode:?}");
        assert!(surest(&told) <= Some(Confidence::Suspect), "{mode:?}");
    }
}

#[test]
fn waits_of_a_minute_under_steady_load_are_never_more_than_suspect() {
    for mode in MODES {
        let mut w = World::new();
        let told = play(&mut w, mode, &short(1, 500, 62_000, 400_000), 400_000);
        assert!(surest(&told) <= Some(Confidence::Suspect), "{mode:?}");
        assert!(told.iter().all(|t| t.0 < 130_000 || t.1 != FindingKind::Growth), "{mode:?}");
    }
}

#[test]
fn workers_that_fall_idle_one_after_another_are_no_growth() {
    for mode in MODES {
        let mut w = World::new();
        // All are there from the start; the load falls, and each rests longer than before.
        let lives: Vec<Life> = (0..100)
            .map(|i| Life { runs_every: 1_000 + i * 3_000, ..Life::new(i + 1, 0, None) })
            .collect();
        let told = play(&mut w, mode, &lives, 300_000);
        assert!(told.iter().all(|t| t.1 != FindingKind::Growth), "{mode:?}: {}", shown(&told));
    }
}

#[test]
fn tasks_that_run_now_and_then_but_never_end_are_growth_too() {
    for mode in MODES {
        let mut w = World::new();
        let lives: Vec<Life> = stay(1_000, 3_000, 240_000)
            .into_iter()
            .map(|l| Life { runs_every: 700, ..l })
            .collect();
        let told = play(&mut w, mode, &lives, 240_000);
        let wanted = if mode == Mode::None { Confidence::Suspect } else { Confidence::Likely };
        assert_eq!(surest(&told), Some(wanted), "{mode:?}");
        let suspected = first(&told, Confidence::Suspect);
        assert!(suspected.is_some_and(|t| t <= 70_000), "{mode:?}: {suspected:?}");
        let f = w.findings()[0];
        assert_eq!((f.kind, f.key.wait_site), (FindingKind::Growth, SITE), "{mode:?}");
    }
}

#[test]
fn a_busy_pool_is_no_growth() {
    for mode in MODES {
        let mut w = World::new();
        let lives: Vec<Life> = (0..100)
            .map(|i| Life { runs_every: 500 + i, ..Life::new(i + 1, 10 + i * 20, None) })
            .collect();
        let told = play(&mut w, mode, &lives, 300_000);
        assert!(told.is_empty(), "{mode:?}: {}", shown(&told));
    }
}

#[test]
fn when_memory_ends_is_told_where_there_is_a_limit() {
    let mut w = World::new();
    let lives = stay(1_000, 3_000, 180_000);
    let (mib, mut at) = (1 << 20, 0);
    while at <= 180_000 {
        let rss_bytes = 100 * mib + at / 60_000 * mib + at % 60_000 * mib / 60_000;
        let limit_bytes = Some(200 * mib);
        w.feed(Input::Memory { process: P, at: ms(at), rss_bytes, limit_bytes });
        at += 2_000;
    }
    play(&mut w, Mode::None, &lives, 180_000);
    let f = w.findings()[0];
    let memory = f.climb.unwrap().memory.unwrap();
    assert_eq!(memory.limit_bytes, Some(200 * mib));
    let hours = memory.limit_in.unwrap().0 / 3_600_000_000_000;
    assert_eq!(hours, 1, "97 MiB at one a minute");
    assert!(
        f.reasons.iter().any(|r| r.contains("the limit of 200 MiB is reached in about 1 h")),
        "{:?}",
        f.reasons
    );
}

#[test]
fn the_same_inputs_give_the_same_findings() {
    let run = || {
        let mut w = World::new();
        let mut lives = stay(1_000, 3_000, 200_000);
        lives.extend(short(50_000, 70, 40, 200_000));
        lives.extend(stay(90_000, 2_500, 200_000).into_iter().map(|l| Life {
            spawn_site: OTHER_SPAWN,
            runs_every: 900,
            ..l
        }));
        play(&mut w, Mode::Lifecycle, &lives, 200_000);
        w.changes
    };
    assert_eq!(run(), run());
}

#[test]
fn growth_that_stops_is_then_called_what_is_left_of_it_and_stays_one_finding() {
    let mut w = World::new();
    let told = play(&mut w, Mode::None, &stay(1_000, 3_000, 160_000), 1_200_000);
    let growth = told.iter().filter(|t| t.1 == FindingKind::Growth);
    assert!(growth.clone().count() > 60 && growth.map(|t| t.0).max() < Some(400_000));
    let (_, kind, _, count) = told[told.len() - 1];
    assert_eq!((kind, count), (FindingKind::Stuck, 52));
    let opened = w.changes.iter().filter(|c| matches!(c, loiter::detect::Change::Opened(_)));
    assert_eq!(opened.count(), 1);
}
