//! Tasks that never came back, and those that only take long.

use loiter::detect::{Confidence, FindingKind};
use loiter::stream::Mode;

use crate::lives::{Life, first, play, short, shown, stay, surest};
use crate::world::*;

const EVENTS: [Mode; 2] = [Mode::Lifecycle, Mode::All];

#[test]
fn tasks_that_outlive_their_siblings_by_far_are_a_likely_leak() {
    for mode in EVENTS {
        let mut w = World::new();
        let mut lives = short(10_000, 50, 12, 240_000);
        lives.extend(stay(100_000, 6_000, 240_000));
        let told = play(&mut w, mode, &lives, 240_000);
        let suspected = first(&told, Confidence::Suspect);
        assert!(suspected.is_some_and(|t| t <= 45_000), "{mode:?}: {suspected:?}");
        let found = first(&told, Confidence::Likely);
        assert!(found.is_some_and(|t| t <= 125_000), "{mode:?}: {found:?}");
        let findings = w.findings();
        let [f] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((f.kind, f.confidence), (FindingKind::Leak, Confidence::Likely));
        let site = f.site.unwrap();
        assert_eq!((site.births, site.births - site.deaths), (4_838, 39));
        assert_eq!(site.median_life, site.p99_life);
        assert_eq!(site.outlived, Some(len(90_000)));
        assert!((24..=39).contains(&f.count), "all that stand there: {}", f.count);
        let words = "of 4838 from this spawn site still wait here after";
        assert!(f.reasons.iter().any(|r| r.contains(words)), "{:?}", f.reasons);
    }
}

#[test]
fn waits_of_a_minute_that_do_end_are_never_more_than_suspect() {
    for mode in EVENTS {
        let mut w = World::new();
        let mut lives = short(10_000, 50, 12, 400_000);
        lives.extend(short(100_000, 2_000, 60_000, 400_000));
        let told = play(&mut w, mode, &lives, 400_000);
        assert!(surest(&told) <= Some(Confidence::Suspect), "{mode:?}: {}", shown(&told));
    }
}

#[test]
fn waits_longer_than_the_threshold_are_right_once_some_have_ended() {
    let mut w = World::new();
    let mut lives = short(10_000, 50, 12, 900_000);
    // They come in from the start of the tracing, so that some end before one is called leaked.
    lives.extend((0..30).map(|i| Life::new(i + 1, 0, Some(70_000 + i * 1_000))));
    lives.extend(short(100_000, 2_000, 110_000, 900_000));
    let told = play(&mut w, Mode::Lifecycle, &lives, 900_000);
    assert!(surest(&told) <= Some(Confidence::Suspect), "{}", shown(&told));
    assert!(told.iter().all(|t| t.0 < 400_000 || t.1 != FindingKind::Leak), "{}", shown(&told));
}

#[test]
fn a_pool_started_at_the_site_of_short_tasks_is_at_most_suspect() {
    for (mode, born) in [(Mode::All, 0), (Mode::Lifecycle, 0), (Mode::All, 5_000)] {
        let mut w = World::new();
        let mut lives = short(10_000, 50, 12, 300_000);
        lives.extend((0..200).map(|i| Life::new(i + 1, born, None)));
        let told = play(&mut w, mode, &lives, 300_000);
        assert!(surest(&told) <= Some(Confidence::Suspect), "{mode:?} {born}: {}", shown(&told));
    }
}

#[test]
fn a_pool_whose_workers_get_work_now_and_then_is_at_most_suspect() {
    for mode in EVENTS {
        let mut w = World::new();
        let mut lives = short(10_000, 50, 12, 300_000);
        lives.extend(
            (0..50).map(|i| Life { runs_every: 40_000 + i * 700, ..Life::new(i + 1, 0, None) }),
        );
        let told = play(&mut w, mode, &lives, 300_000);
        assert!(surest(&told) <= Some(Confidence::Suspect), "{mode:?}: {}", shown(&told));
    }
}

#[test]
fn two_or_three_workers_among_short_tasks_are_at_most_suspect() {
    let mut w = World::new();
    let mut lives = short(10_000, 50, 12, 300_000);
    lives.extend([1, 2, 3].map(|n| Life::new(n, n * 20_000, None)));
    let told = play(&mut w, Mode::All, &lives, 300_000);
    assert!(surest(&told) <= Some(Confidence::Suspect), "{}", shown(&told));
}

#[test]
fn tasks_that_were_there_before_and_did_not_come_at_once_are_a_likely_leak() {
    let mut w = World::new();
    let mut lives = short(1_000_000, 50, 12, 200_000);
    // Attached late: among 100 000 numbers given out before, 40 are left.
    lives.extend((0..40).map(|i| Life::new(1_000 + i * 2_500, 0, None)));
    let told = play(&mut w, Mode::Lifecycle, &lives, 200_000);
    let found = first(&told, Confidence::Likely);
    assert!(found.is_some_and(|t| t <= 95_000), "{found:?}");
    assert_eq!(w.findings()[0].count, 40);
}

#[test]
fn without_births_and_deaths_nothing_is_called_a_leak() {
    let mut w = World::new();
    let mut lives = short(10_000, 50, 12, 240_000);
    lives.extend(stay(100_000, 6_000, 240_000));
    let told = play(&mut w, Mode::None, &lives, 240_000);
    assert!(!told.is_empty() && told.iter().all(|t| t.1 != FindingKind::Leak));
}

#[test]
fn what_a_loss_may_have_touched_is_not_called_a_leak_and_what_was_lost_is_said() {
    let mut w = World::new();
    let mut lives = short(10_000, 50, 12, 200_000);
    lives.extend(stay(100_000, 6_000, 240_000));
    let told = play(&mut w, Mode::Lifecycle, &lives, 88_000);
    assert!(first(&told, Confidence::Likely).is_none());
    let open = w.findings().len();
    w.loss(88_500, 200_000, 5_000);
    (89..200).for_each(|s| w.tick(s * 1_000));
    assert_eq!(w.findings().len(), open, "neither more nor less is said while it is not healed");
    assert!(w.findings().iter().all(|f| f.confidence == Confidence::Suspect));
    let alive = stay(100_000, 6_000, 88_000);
    let looks = |t| alive.iter().map(|l| waiting(l.n, ms(t), ms(t), RECEIVE, 1)).collect();
    w.look(210_000, 210_001, looks(210_000));
    w.look(212_000, 212_001, looks(212_000));
    w.tick(213_000);
    let f = w.findings()[0].clone();
    assert_eq!(f.confidence, Confidence::Suspect);
    assert!(f.reasons.iter().any(|r| r.contains("5000 records were lost")), "{:?}", f.reasons);
}

#[test]
fn a_finding_keeps_its_id_when_it_turns_out_to_be_a_leak() {
    let mut w = World::new();
    let mut lives = short(10_000, 50, 12, 240_000);
    lives.extend(stay(100_000, 6_000, 240_000));
    play(&mut w, Mode::Lifecycle, &lives, 240_000);
    let ids: Vec<&str> = w.changes.iter().map(|c| &*c.finding().id).collect();
    assert!(ids.iter().all(|&id| id == ids[0]), "{ids:?}");
    let opened = w.changes.iter().filter(|c| matches!(c, loiter::detect::Change::Opened(_)));
    assert_eq!(opened.count(), 1);
}

#[test]
fn a_kind_is_as_sure_as_its_finding_says() {
    let mut w = World::new();
    let mut lives = short(10_000, 50, 12, 200_000);
    // Senders are a likely crowd long before they can be called a leak.
    lives.extend((1..800).map(|i| Life { reason: SEND, ..Life::new(100_000 + i, i * 200, None) }));
    let told = play(&mut w, Mode::All, &lives, 160_000);
    assert!(
        told.iter().all(|t| t.1 != FindingKind::Leak || t.2 == Confidence::Likely || t.0 < 40_000),
        "{}",
        shown(&told)
    );
    let last = told[told.len() - 1];
    assert_eq!((last.1, last.2), (FindingKind::Leak, Confidence::Likely));
    let leaks = w.changes.iter().filter(|c| c.finding().kind == FindingKind::Leak);
    let likely = leaks.filter(|c| c.finding().confidence == Confidence::Likely);
    assert_eq!(likely.count(), 1, "told once, not each time that more of the crowd are as old");
    assert!(!w.changes.iter().any(|c| matches!(c, loiter::detect::Change::Resolved(_))));
}

#[test]
fn readers_are_called_leaked_later_and_only_if_they_are_many() {
    let run = |n: u64| {
        let mut w = World::new();
        let mut lives = short(10_000, 50, 12, 400_000);
        lives.extend((1..=n).map(|i| Life { reason: IO, ..Life::new(i, i * 2_000, None) }));
        play(&mut w, Mode::All, &lives, 400_000)
    };
    assert!(run(10).is_empty());
    let told = run(60);
    let found = first(&told, Confidence::Likely);
    assert!(found.is_some_and(|t| t > 150_000), "{found:?}");
}
