//! What is said to mend a finding, and when nothing is said.

use loiter::base::*;
use loiter::detect::{Finding, Settings};
use loiter::stream::*;

use crate::world::*;

const GROUP: ReasonId = ReasonId(20);
const SELECT: ReasonId = ReasonId(21);
const LIBRARY: FrameId = FrameId(20);
const ENTRY: FrameId = FrameId(21);
const OTHER_STACK: StackId = StackId(20);

fn channel(capacity: u64, length: u64, carries: Carries) -> ChannelState {
    ChannelState { address: 0xc000_1000, capacity, length, closed: false, carries }
}

fn channels(list: &[ChannelState]) -> WaitsOn {
    WaitsOn::Channels(list.into())
}

fn lock(kind: LockKind) -> WaitsOn {
    WaitsOn::Lock { kind, address: 0xc000_2000, held: None }
}

fn frame(id: FrameId, function: &str, visibility: Visibility) -> Input {
    let (function, file) = (function.into(), "/src/x.go".into());
    let frame = Frame { function, file, line: 1, kind: FrameKind::Call, visibility };
    Input::NameDef { id, frame }
}

/// The finding of ten tasks that wait so for two minutes, with `library` around their stack and `entry` innermost.
fn finding(reason: ReasonId, on: &WaitsOn, entry: &str, library: &str) -> Finding {
    let patterns = loiter::runtime::go::patterns::patterns();
    let mut w = World::with(Settings { patterns, ..Settings::default() });
    for (id, class) in [(GROUP, WaitClass::Group), (SELECT, WaitClass::Select)] {
        w.feed(Input::ReasonDef { id, class, word: "test".into() });
    }
    w.feed(frame(LIBRARY, library, Visibility::Shown));
    w.feed(frame(ENTRY, entry, Visibility::Hidden));
    w.feed(Input::StackDef { id: OTHER_STACK, frames: Box::new([ENTRY, SITE, LIBRARY, START]) });
    for t in [100, 60_000, 120_000] {
        let task = |n| TaskLook {
            waits_on: on.clone(),
            stack: OTHER_STACK,
            ..waiting(n, ms(t), ms(t), reason, 7)
        };
        w.look(t, t + 10, (10..20).map(task).collect());
        w.tick(t + 100);
    }
    let all = w.findings();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

fn pattern_of(reason: ReasonId, on: &WaitsOn, entry: &str, library: &str) -> Option<String> {
    finding(reason, on, entry, library).advice.map(|a| a.pattern.into_owned())
}

fn pattern(reason: ReasonId, on: &WaitsOn) -> Option<String> {
    pattern_of(reason, on, "runtime.gopark", "main.caller")
}

#[test]
fn the_shape_of_the_object_tells_one_mistake_from_another() {
    let values = |capacity, length| channel(capacity, length, Carries::Values);
    let signal = channel(0, 0, Carries::Signals);
    let tick = channel(1, 0, Carries::Ticks);
    let timeout = channel(1, 0, Carries::Timeout);
    for (reason, on, expected) in [
        (SEND, channels(&[values(0, 0)]), "send-unbuffered-no-receiver"),
        (SEND, channels(&[values(64, 64)]), "send-full-buffer"),
        (RECEIVE, channels(&[signal]), "context-never-cancelled"),
        (RECEIVE, channels(&[tick]), "ticker-loop-without-exit"),
        (SELECT, channels(&[values(0, 0), tick]), "ticker-loop-without-exit"),
        (SELECT, channels(&[values(0, 0), tick, signal]), "context-never-cancelled"),
        (SELECT, channels(&[values(0, 0), timeout]), "time-after-in-loop"),
        (SELECT, channels(&[values(0, 0), values(1, 0)]), "select-without-exit"),
        (MUTEX, lock(LockKind::Mutex), "mutex-never-unlocked"),
        (MUTEX, lock(LockKind::RwWrite), "rwmutex-never-unlocked"),
        (GROUP, lock(LockKind::WaitGroup), "waitgroup-without-done"),
        (GROUP, lock(LockKind::Cond), "cond-never-signalled"),
        (NIL, channels(&[ChannelState { address: 0, ..signal }]), "nil-channel"),
    ] {
        assert_eq!(pattern(reason, &on).as_deref(), Some(expected), "{on:?}");
    }
}

#[test]
fn a_range_is_told_from_a_single_receive_by_the_way_into_the_runtime() {
    let on = channels(&[channel(0, 0, Carries::Values)]);
    for (entry, expected) in [
        ("runtime.chanrecv2", Some("range-never-closed")),
        ("runtime.chanrecv1", Some("receive-no-sender")),
        ("runtime.gopark", None),
    ] {
        let finding = finding(RECEIVE, &on, entry, "main.caller");
        let advice = finding.advice.as_ref();
        assert_eq!(advice.map(|a| &*a.pattern), expected, "{entry}");
        // The runtime's own frame tells a person nothing.
        assert!(advice.is_none_or(|a| a.frame == SITE), "{entry}");
    }
}

#[test]
fn a_known_function_goes_before_the_shape_and_is_named() {
    let signals = channels(&[channel(0, 0, Carries::Signals), channel(0, 0, Carries::Signals)]);
    for (function, expected) in [
        ("net/http.(*persistConn).readLoop", "http-body-not-closed"),
        ("google.golang.org/grpc.newClientStreamWithParams.func4", "grpc-stream-not-drained"),
        ("database/sql.(*Rows).awaitDone", "sql-rows-not-closed"),
        ("database/sql.(*DB).conn", "sql-pool-exhausted"),
        ("context.(*cancelCtx).propagateCancel.func2", "context-never-cancelled"),
        ("io.(*pipe).write", "io-pipe-not-closed"),
    ] {
        let finding = finding(SELECT, &signals, "runtime.gopark", function);
        let advice = finding.advice.unwrap();
        assert_eq!((&*advice.pattern, advice.frame), (expected, LIBRARY), "{function}");
    }
}

#[test]
fn what_is_not_known_gets_no_advice() {
    assert_eq!(pattern(SEND, &WaitsOn::Unknown), None);
    assert_eq!(pattern(SELECT, &WaitsOn::Unknown), None);
    assert_eq!(pattern(GROUP, &lock(LockKind::Semaphore)), None);
    let room = channels(&[channel(8, 3, Carries::Values)]);
    assert_eq!(pattern(SEND, &room), None, "a buffer with room blocks nobody for long");
}

#[test]
fn the_labels_of_the_tasks_are_counted() {
    let mut w = World::new();
    let label = |n: u64| -> Box<[(Box<str>, Box<str>)]> {
        if n == 10 { Box::new([]) } else { Box::new([("tenant".into(), "acme".into())]) }
    };
    for t in [100, 60_000] {
        let task = |n| TaskLook { labels: label(n), ..waiting(n, ms(t), ms(t), MUTEX, 7) };
        w.look(t, t + 10, (10..20).map(task).collect());
        w.tick(t + 100);
    }
    let labels = &w.findings()[0].labels;
    assert_eq!(labels.len(), 1);
    assert_eq!((&*labels[0].key, &*labels[0].value, labels[0].tasks), ("tenant", "acme", 9));
}

#[test]
fn a_few_of_what_is_opened_once_are_normal_and_many_are_not() {
    let idle = loiter::runtime::go::idle::patterns();
    for (count, found) in [(10, 0), (30, 1)] {
        let patterns = loiter::runtime::go::patterns::patterns();
        let settings = Settings { patterns, idle: idle.clone(), ..Settings::default() };
        let mut w = World::with(settings);
        w.feed(frame(
            LIBRARY,
            "gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun",
            Visibility::Shown,
        ));
        w.feed(Input::StackDef { id: OTHER_STACK, frames: Box::new([SITE, LIBRARY]) });
        for t in [100, 60_000] {
            let task = |n| TaskLook { stack: OTHER_STACK, ..waiting(n, ms(t), ms(t), RECEIVE, 7) };
            w.look(t, t + 10, (10..10 + count).map(task).collect());
            w.tick(t + 100);
        }
        let all = w.findings();
        assert_eq!(all.len(), found, "{count}");
        let advice = all.first().and_then(|f| f.advice.clone());
        assert!(found == 0 || advice.unwrap().pattern == "log-flusher-not-stopped");
        let census = w.engine.idle(P);
        assert_eq!(census.iter().any(|i| i.name == "log rotation" && i.count == count), found == 0);
    }
}

#[test]
fn a_response_that_is_read_is_no_idle_connection() {
    for (reason, found) in [(SELECT, 1), (IO, 0)] {
        let settings =
            Settings { idle: loiter::runtime::go::idle::patterns(), ..Settings::default() };
        let mut w = World::with(settings);
        w.feed(Input::ReasonDef { id: SELECT, class: WaitClass::Select, word: "select".into() });
        w.feed(frame(LIBRARY, "net/http.(*persistConn).readLoop", Visibility::Shown));
        w.feed(Input::StackDef { id: OTHER_STACK, frames: Box::new([SITE, LIBRARY]) });
        for t in [100, 60_000] {
            let task = |n| TaskLook { stack: OTHER_STACK, ..waiting(n, ms(t), ms(t), reason, 7) };
            w.look(t, t + 10, (10..30).map(task).collect());
            w.tick(t + 100);
        }
        assert_eq!(w.findings().len(), found);
    }
}
