//! What is called wrong, how sure that is, and what is left alone.

use loiter::base::*;
use loiter::detect::{Change, Confidence, FindingKind};
use loiter::model::Waited;
use loiter::stream::*;
use loiter::view::build;

use crate::world::*;

fn on_lock(n: u64, t: u64, address: u64) -> TaskLook {
    let waits_on = WaitsOn::Lock { kind: LockKind::Mutex, address, held: None };
    TaskLook { waits_on, ..waiting(n, ms(t), ms(t), MUTEX, 7) }
}

fn on_channel(n: u64, t: u64, reason: ReasonId, address: u64) -> TaskLook {
    let channel =
        ChannelState { address, capacity: 0, length: 0, closed: false, carries: Carries::Values };
    TaskLook {
        waits_on: WaitsOn::Channels(Box::new([channel])),
        ..waiting(n, ms(t), ms(t), reason, 7)
    }
}

/// Looks as often as the engine asks for them, up to `end`; when the first finding came.
fn diagnose(w: &mut World, end: u64, tasks: impl Fn(u64) -> Vec<TaskLook>) -> Option<u64> {
    let mut t = 100;
    w.look(t, t + 10, tasks(t + 5));
    while t < end {
        if !w.findings().is_empty() {
            return Some(t);
        }
        let wanted = w.commands.drain(..).find_map(|c| match c {
            Command::NeedSnapshot { not_before, .. } => {
                Some(not_before.0.saturating_sub(ms(0).0) / 1_000_000 + 1)
            }
            _ => None,
        });
        match wanted {
            Some(at) if at <= t + 100 => {
                t = at.max(t + 20);
                w.look(t, t + 10, tasks(t + 5));
            }
            _ => t += 100,
        }
        w.tick(t + 50);
        if let Some(at) = wanted.filter(|&at| at > t + 100) {
            t = at;
            w.look(t, t + 10, tasks(t + 5));
        }
    }
    None
}

#[test]
fn a_crowd_on_one_mutex_met_late_is_named_with_its_lock_and_site_within_ten_seconds() {
    let mut w = World::new();
    let found = diagnose(&mut w, 20_000, |t| {
        (0..23_000).map(|n| on_lock(100 + n, t, 0xc000_0100)).collect()
    });
    assert!(found.is_some_and(|t| t < 10_000), "found at {found:?}");
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.kind, f.confidence, f.count), (FindingKind::Crowd, Confidence::Likely, 23_000));
    let lock = WaitsOn::Lock { kind: LockKind::Mutex, address: 0xc000_0100, held: None };
    assert_eq!((&f.objects[..], f.object_count), (&[(lock, 23_000)][..], 1));
    let view = build::finding(w.engine.model(), f).unwrap();
    assert_eq!(view.wait_site.unwrap().line, 30);
    assert_eq!(view.spawn_site.unwrap().function.as_ref(), "main.serve");
    assert_eq!(view.tasks.len(), 100);
    assert!(view.unchanged_looks >= 3);
    assert!(matches!(view.oldest_wait, Waited::AtLeast(n) if n >= len(2_000)));
    assert!(
        view.reasons
            .iter()
            .any(|r| r.contains("all 23000 wait on one object: a mutex at 0xc0000100"))
    );
}

#[test]
fn many_that_wait_beyond_the_threshold_are_a_crowd_also_where_looks_are_rare() {
    let mut w = World::new();
    for t in [100, 40_000] {
        w.look(t, t + 10, (0..200).map(|n| on_lock(100 + n, t + 5, 0xc000_0100)).collect());
    }
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.kind, f.confidence, f.count), (FindingKind::Crowd, Confidence::Likely, 200));
}

#[test]
fn an_idle_pool_of_the_same_shape_is_at_most_suspect() {
    for reason in [RECEIVE, IO, SLEEP] {
        let mut w = World::new();
        diagnose(&mut w, 60_000, |t| {
            (0..1_000).map(|n| on_channel(100 + n, t, reason, 0xc000_0100)).collect()
        });
        assert!(
            w.findings().iter().all(|f| f.confidence == Confidence::Suspect),
            "{:?}",
            w.findings()
        );
    }
}

#[test]
fn senders_that_nobody_receives_from_are_a_likely_crowd() {
    let mut w = World::new();
    diagnose(&mut w, 10_000, |t| {
        (0..500).map(|n| on_channel(100 + n, t, SEND, 0xc000_0100)).collect()
    });
    assert_eq!(w.findings()[0].confidence, Confidence::Likely);
}

#[test]
fn a_queue_that_moves_is_at_most_suspect() {
    let mut w = World::new();
    // 1 000 wait for the lock; it takes each 3 s to get it.
    let queue = |t: u64| -> Vec<TaskLook> {
        let first = t / 3;
        (first..first + 1_000).map(|n| on_lock(100 + n, t, 0xc000_0100)).collect()
    };
    for t in (100..30_000).step_by(500) {
        w.look(t, t + 10, queue(t + 5));
        assert!(
            w.findings().iter().all(|f| f.confidence == Confidence::Suspect),
            "{:?}",
            w.findings()
        );
    }
}

#[test]
fn senders_in_a_queue_that_is_served_slowly_are_at_most_suspect_until_it_stands() {
    let mut w = World::new();
    // 80 wait to send on one channel; one is received every half second, up to the 120th second.
    let queue = |t: u64| -> Vec<TaskLook> {
        let served = t.min(120_000) / 500;
        (served..served + 80).map(|n| on_channel(100 + n, t, SEND, 0xc000_0100)).collect()
    };
    for t in (0..260_000).step_by(2_000) {
        w.look(t, t + 10, queue(t + 5));
        let surest = w.findings().iter().map(|f| f.confidence).max();
        match t {
            32_000..=150_000 => assert_eq!(surest, Some(Confidence::Suspect), "at {t} ms"),
            230_000.. => assert_eq!(surest, Some(Confidence::Likely), "at {t} ms"),
            _ => {}
        }
    }
}

#[test]
fn a_place_that_is_full_and_busy_is_looked_at_ever_more_rarely() {
    let mut w = World::new();
    let mut looks = 0;
    let mut t = 100;
    while t < 600_000 {
        let tasks = (0..500).map(|n| TaskLook {
            mark: Some(RunMark { seq: RunSeq((t % 251) as u8), pc: 1, sp: n }),
            ..on_channel(100 + n, t, SEND, 0xc000_0100)
        });
        w.look(t, t + 1, tasks.collect());
        looks += 1;
        let asked = w.commands.drain(..).find_map(|c| match c {
            Command::NeedSnapshot { not_before, .. } => Some((not_before.0 - ms(0).0) / 1_000_000),
            _ => None,
        });
        t = asked.map_or(600_000, |a| a.max(t + 2));
    }
    assert!(looks < 30, "{looks} looks in ten minutes");
}

#[test]
fn a_wait_for_a_lock_beyond_the_threshold_is_likely() {
    let mut w = World::with_all_events();
    w.birth(5, 10);
    w.run(5, 11);
    w.park(5, 20, MUTEX, 1);
    w.look(100, 110, vec![on_lock(5, 105, 0xc000_0100)]);
    let look = TaskLook {
        mark: Some(RunMark { seq: RunSeq(1), pc: 1, sp: 1 }),
        ..on_lock(5, 205, 0xc000_0100)
    };
    w.look(200, 210, vec![look]);
    w.tick(29_900);
    assert!(w.findings().is_empty());
    w.tick(30_100);
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.kind, f.confidence, f.count), (FindingKind::Stuck, Confidence::Likely, 1));
    assert_eq!(f.oldest_wait, Waited::Exact(len(30_080)));
    assert_eq!(f.site.map(|s| (s.births, s.deaths)), Some((1, 0)));
}

#[test]
fn a_wait_on_a_nil_channel_is_certain_at_first_sight() {
    let mut w = World::new();
    w.look(10, 20, vec![waiting(5, ms(11), ms(12), NIL, 1)]);
    assert_eq!(w.findings()[0].confidence, Confidence::Certain);
}

#[test]
fn the_main_goroutine_may_block_for_ever() {
    let mut w = World::new();
    w.look(10, 20, vec![TaskLook { start: MAIN, ..waiting(1, ms(11), ms(12), NIL, 1) }]);
    assert!(w.findings().is_empty());
    assert_eq!(w.engine.idle(P)[0].name, "main goroutine");
}

#[test]
fn listeners_sleepers_and_readers_are_named_and_left_out() {
    let mut w = World::new();
    let look = |t: u64| {
        let mut all: Vec<TaskLook> =
            (0..300).map(|n| waiting(100 + n, ms(t), ms(t), IO, 1)).collect();
        all.push(TaskLook {
            stack: ACCEPT_STACK,
            wait_site: ACCEPT,
            ..waiting(5, ms(t), ms(t), IO, 1)
        });
        all.push(waiting(6, ms(t), ms(t), SLEEP, 1));
        all
    };
    for t in (100..200_000).step_by(10_000) {
        w.look(t, t + 10, look(t + 5));
    }
    assert!(w.findings().is_empty(), "{:?}", w.findings());
    let idle: Vec<(String, u64)> =
        w.engine.idle(P).into_iter().map(|i| (i.name, i.count)).collect();
    let wanted = [("network or file input", 300), ("accept loop", 1), ("timer", 1)];
    assert_eq!(idle, wanted.map(|(n, c)| (n.to_owned(), c)));
}

#[test]
fn a_few_old_workers_without_work_are_left_out_and_a_new_one_is_suspect() {
    let mut w = World::new();
    for t in (100..100_000).step_by(10_000) {
        let mut all = vec![waiting(5, ms(t), ms(t), RECEIVE, 1)];
        if t > 100 {
            let new = TaskLook { spawn_site: OTHER_SPAWN, ..waiting(6, ms(t), ms(t), RECEIVE, 1) };
            all.push(new);
        }
        w.look(t, t + 10, all);
    }
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.tasks[0], f.confidence), (g(6), Confidence::Suspect));
    assert_eq!(w.engine.idle(P)[0].name, "background worker");
}

/// Tasks from `n` on park on a lock at `at` and are looked at.
fn park_on_lock(w: &mut World, n: std::ops::Range<u64>, at: u64) {
    for n in n.clone() {
        w.birth(n, at);
        w.run(n, at + 1);
        w.park(n, at + 2, MUTEX, 7);
    }
}

#[test]
fn a_finding_opens_grows_twofold_and_is_resolved_when_its_tasks_go_on() {
    let mut w = World::with_all_events();
    let look = |w: &mut World, t: u64, n: u64| {
        w.look(t, t + 1, (0..n).map(|n| on_lock(100 + n, t, 0xc000_0100)).collect());
    };
    park_on_lock(&mut w, 100..104, 10);
    look(&mut w, 1_000, 4);
    w.tick(31_000);
    park_on_lock(&mut w, 104..107, 31_000);
    look(&mut w, 32_000, 7);
    w.tick(62_000);
    park_on_lock(&mut w, 107..108, 62_000);
    look(&mut w, 63_000, 8);
    w.tick(93_000);
    (100..108).for_each(|n| w.run(n, 93_100));
    w.tick(94_200);
    w.tick(96_300);
    let told: Vec<(&str, u64)> = w
        .changes
        .iter()
        .map(|c| match c {
            Change::Opened(f) => ("opened", f.count),
            Change::Grown(f) => ("grown", f.count),
            Change::Resolved(f) => ("resolved", f.count),
        })
        .collect();
    assert_eq!(told, [("opened", 4), ("grown", 8), ("resolved", 8)]);
}

#[test]
fn an_open_finding_is_neither_told_again_nor_resolved_while_a_loss_is_not_healed() {
    let mut w = World::with_all_events();
    park_on_lock(&mut w, 100..104, 10);
    let look = |t| (0..4).map(|n| on_lock(100 + n, t, 0xc000_0100)).collect::<Vec<_>>();
    w.look(1_000, 1_001, look(1_000));
    w.tick(31_000);
    w.loss(31_100, 31_200, 9);
    (32..60).for_each(|s| w.tick(s * 1_000));
    assert_eq!((w.changes.len(), w.findings().len()), (1, 1));
    w.look(60_000, 60_001, look(60_000));
    (61..70).for_each(|s| w.tick(s * 1_000));
    assert_eq!((w.changes.len(), w.findings().len()), (1, 1));
    assert!(w.findings()[0].reasons.iter().any(|r| r.contains("9 records were lost")));
}

#[test]
fn tasks_called_stuck_that_prove_to_be_a_crowd_stay_one_finding_under_one_id() {
    let mut w = World::with_all_events();
    park_on_lock(&mut w, 100..110, 10);
    w.look(1_000, 1_001, (100..110).map(|n| on_lock(n, 1_000, 1)).collect());
    w.tick(31_000);
    let stuck = w.findings()[0].clone();
    assert_eq!((stuck.kind, stuck.count), (FindingKind::Stuck, 10));
    park_on_lock(&mut w, 110..400, 31_000);
    w.look(32_000, 32_001, (100..400).map(|n| on_lock(n, 32_000, 1)).collect());
    w.tick(100_000);
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((f.kind, f.count, &f.id), (FindingKind::Crowd, 300, &stuck.id));
    assert!(f.reasons.iter().any(|r| r.starts_with("nobody plans to wait")), "{:?}", f.reasons);
    assert!(!w.changes.iter().any(|c| matches!(c, Change::Resolved(_))));
}

#[test]
fn a_pool_met_late_is_told_by_its_numbers_and_ages_are_shown_as_estimates() {
    let mut w = World::new();
    diagnose(&mut w, 30_000, |t| {
        let mut all: Vec<TaskLook> =
            (0..200).map(|n| on_channel(18 + n, t, RECEIVE, 0xc000_0100)).collect();
        // The program goes on: 1 000 numbers a second.
        all.push(running(1_000_000 + t, ms(t), ms(t)));
        all
    });
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(f.confidence, Confidence::Suspect);
    assert!(f.reasons.iter().any(|r| r.starts_with("their numbers, 18 to 217, follow each other")));
    let age = f.reasons.iter().find(|r| r.starts_with("by their numbers")).unwrap();
    assert!(age.contains("about 16 min 4") && age.contains("an estimate"), "{age}");
}

#[test]
fn a_crowd_that_came_over_time_is_not_taken_for_a_pool() {
    let mut w = World::new();
    diagnose(&mut w, 30_000, |t| {
        (0..200).map(|n| on_channel(18 + n * 40, t, RECEIVE, 0xc000_0100)).collect()
    });
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    assert!(!f.reasons.iter().any(|r| r.contains("numbers")), "{:?}", f.reasons);
}

#[test]
fn a_finding_names_the_ancestors_of_its_tasks_as_far_as_they_are_known() {
    let mut w = World::with_all_events();
    let born = |w: &mut World, n: u64, parent: u64, at: u64| {
        let (task, parent) = (g(n), Some(g(parent)));
        w.event(at, EventKind::Birth { task, parent, spawn_site: OTHER_SPAWN, start: START });
        w.run(n, at);
    };
    w.birth(9, 1);
    w.run(9, 1);
    born(&mut w, 10, 9, 2);
    born(&mut w, 11, 10, 3);
    w.park(11, 4, MUTEX, 7);
    w.death(10, 5);
    let look = TaskLook { parent: Some(g(10)), ..on_lock(11, 1_000, 1) };
    w.look(1_000, 1_001, vec![TaskLook { spawn_site: OTHER_SPAWN, ..look }]);
    w.tick(31_000);
    let findings = w.findings();
    let [f] = &findings[..] else { panic!("{findings:?}") };
    let chain: Vec<_> = f.ancestors.iter().map(|a| (a.task, a.spawn_site, a.alive)).collect();
    assert_eq!(chain, [(g(10), OTHER_SPAWN, false)], "its parent is known no more");
}

/// The id of the finding of one task on a nil channel in a process so defined.
fn id_of(def: ProcessDef, name_shift: u32, line: u32, task: u64) -> Box<str> {
    let mut w = World::new();
    let process = def.process;
    w.feed(Input::ProcessDef(Box::new(def)));
    let id = FrameId(SITE.0 + name_shift);
    let frame = Frame {
        function: "main.work".into(),
        file: "/src/main.go".into(),
        line,
        kind: FrameKind::Call,
        visibility: Visibility::Shown,
    };
    w.feed(Input::NameDef { id, frame });
    w.feed(Input::SnapshotBegin { process, look: LookSeq(1), t0: ms(10) });
    let look = TaskLook { wait_site: id, ..waiting(task, ms(11), ms(12), NIL, 1) };
    w.feed(Input::SnapshotTask(Box::new(look)));
    w.feed(Input::SnapshotEnd { process, look: LookSeq(1), t1: ms(20), outcome: complete(1) });
    w.engine.open(process)[0].id.clone()
}

#[test]
fn an_id_depends_on_program_and_places_and_on_nothing_that_changes_from_run_to_run() {
    let id = id_of(process_def(ProcId(2), 5, ms(1)), 0, 30, 5);
    assert_eq!(id.len(), 16);
    assert_eq!(id, id_of(process_def(ProcId(9), 6, ms(3)), 70, 30, 99), "pid, ids, task, time");
    assert_ne!(id, id_of(process_def(ProcId(2), 5, ms(1)), 70, 31, 5), "another line");
    let mut other = process_def(ProcId(2), 5, ms(1));
    other.build.path = Some("example.com/client".into());
    assert_ne!(id, id_of(other, 0, 30, 5), "another program");
}

#[test]
fn an_id_does_not_change_between_releases() {
    // Ids are filed, silenced and compared: whoever changes how they are made breaks that.
    assert_eq!(&*id_of(process_def(ProcId(2), 5, ms(1)), 0, 30, 5), "6b46321b0003b870");
}

#[test]
fn less_than_complete_knowledge_lowers_the_confidence_and_says_why() {
    let mut w = World::new();
    let mut def = process_def(ProcId(2), 5, ms(1));
    def.degraded = Box::new(["go1.99 is not known, read as go1.27".into()]);
    w.feed(Input::ProcessDef(Box::new(def)));
    w.feed(Input::SnapshotBegin { process: ProcId(2), look: LookSeq(1), t0: ms(10) });
    w.feed(Input::SnapshotTask(Box::new(waiting(5, ms(11), ms(12), NIL, 1))));
    w.feed(Input::SnapshotEnd {
        process: ProcId(2),
        look: LookSeq(1),
        t1: ms(20),
        outcome: complete(1),
    });
    let f = w.engine.open(ProcId(2))[0];
    assert_eq!(f.confidence, Confidence::Likely);
    assert!(f.reasons.iter().any(|r| r.contains("go1.99 is not known")));
}

#[test]
fn a_dump_shows_every_task_as_the_look_found_it() {
    let mut w = World::new();
    let labels: Box<[(Box<str>, Box<str>)]> = Box::new([("handler".into(), "/pay".into())]);
    let labelled = TaskLook { labels: labels.clone(), ..on_channel(9, 11, SEND, 0xc000_0100) };
    w.look(10, 20, vec![running(12, ms(12), ms(12)), labelled.clone()]);
    let dump = build::dump(w.engine.model(), P, &loiter::detect::Settings::default()).unwrap();
    assert_eq!(dump.tasks.iter().map(|t| t.id).collect::<Vec<_>>(), [9, 12]);
    let t = &dump.tasks[0];
    assert_eq!((&*t.wait_reason, t.wait_class), ("chan send", Some(WaitClass::ChanSend)));
    assert_eq!((&t.waits_on, t.stack_bytes, t.parent), (&labelled.waits_on, 8192, Some(1)));
    let frames: Vec<&str> = t.frames.iter().map(|f| &*f.function).collect();
    assert_eq!(frames, ["runtime.gopark", "main.work", "main.serve.func1"]);
    assert_eq!(t.created_by.as_ref().unwrap().line, 10);
    assert_eq!(t.labels[..], labels[..]);
    assert_eq!(dump.tasks[1].state, TaskState::Running);
    assert_eq!(dump.tasks[1].waited, Waited::Unknown);
}

#[test]
fn a_summary_counts_what_was_seen_and_what_was_lost() {
    let mut w = World::with_all_events();
    (0..30).for_each(|n| w.birth(100 + n, 10 + n));
    (0..20).for_each(|n| w.death(100 + n, 50 + n));
    w.loss(60, 61, 5);
    w.tick(10_000);
    let s = build::summary(&mut w.engine, P, "time is up").unwrap();
    assert_eq!((s.births, s.deaths, s.alive), (Some(30), Some(20), 10));
    assert_eq!((s.mode, s.watched, s.looks), (Mode::All, len(10_000), 0));
    assert_eq!(s.lost, [(LossKind::RingFull, 5)]);
    assert_eq!((s.spawn_sites[0].births, s.spawn_sites[0].alive), (30, 10));
}
