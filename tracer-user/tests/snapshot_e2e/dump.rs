//! The process's own `goroutine?debug=2`, and what we saw, in one shape to be compared.

// Also used by the tests of real programs, which need only a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use loiter::base::{Frame, FrameId, FrameKind, StackId, TaskState, Visibility};
use loiter::stream::TaskLook;

use super::look::Names;

/// A goroutine as `goroutine?debug=2` shows it, without arguments and offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// State or wait reason, with `, locked to thread`.
    pub header: String,
    /// `function file:line`, with ` inlined` behind inlined ones; at most 100.
    pub frames: Vec<String>,
    /// `created by function in goroutine N file:line`, or empty.
    pub created: String,
}

impl Shown {
    /// The first lines in which two differ.
    pub fn difference(&self, other: &Shown) -> String {
        let lines = |shown: &Shown| {
            let mut lines = vec![format!("[{}] {} frames", shown.header, shown.frames.len())];
            lines.extend(shown.frames.iter().cloned());
            lines.push(shown.created.clone());
            lines
        };
        let pairs = lines(self).into_iter().zip(lines(other));
        let different = pairs.filter(|(a, b)| a != b).take(3);
        different.map(|(a, b)| format!("  ours {a}\n   its {b}\n")).collect()
    }
}

/// Parses a whole dump; None for a goroutine whose stack the runtime could not show.
pub fn parse(text: &str) -> BTreeMap<u64, Option<Shown>> {
    text.trim().split("\n\n").map(goroutine).collect()
}

fn goroutine(block: &str) -> (u64, Option<Shown>) {
    let mut lines = block.lines().peekable();
    let head = lines.next().unwrap();
    let (id, rest) = head.strip_prefix("goroutine ").unwrap().split_once(' ').unwrap();
    let id = id.parse().unwrap();
    let state = rest.strip_prefix('[').unwrap().split_once(']').unwrap().0;
    let mut shown = Shown { header: header(state), frames: Vec::new(), created: String::new() };
    while let Some(line) = lines.next() {
        if line.contains("stack unavailable") {
            return (id, None);
        }
        if line.starts_with("...") {
            continue;
        }
        let place = lines.next().unwrap().trim_start();
        let place = place.rsplit_once(" +0x").map_or(place, |(place, _)| place);
        if line.starts_with("created by ") {
            shown.created = format!("{line} {place}");
            continue;
        }
        // The name itself may hold parentheses: `main.(*T).wait(0x1)`. Arguments never do.
        let (function, arguments) = line.rsplit_once('(').unwrap();
        let inlined = if arguments == "...)" { " inlined" } else { "" };
        shown.frames.push(format!("{function} {place}{inlined}"));
    }
    (id, Some(shown))
}

/// Leaves out how long it waits and what the collector does with its stack just now.
fn header(state: &str) -> String {
    let kept = state.split(", ").filter(|part| !part.ends_with(" minutes"));
    kept.collect::<Vec<_>>().join(", ").replace(" (scan)", "")
}

/// What we saw, as the runtime of this version would print it.
pub fn ours(names: &Names, task: &TaskLook, go_minor: u32) -> Shown {
    let mut header = match (task.state, names.reason(task.reason)) {
        (TaskState::Waiting, word) if !word.is_empty() => word.to_owned(),
        (state, _) => state.word().to_owned(),
    };
    if task.locked_to_thread {
        header.push_str(", locked to thread");
    }
    Shown { header, frames: frames(names, task.stack, go_minor), created: created(names, task) }
}

fn frames(names: &Names, stack: StackId, go_minor: u32) -> Vec<String> {
    let all: Vec<&Frame> = names.stack(stack).iter().map(|id| names.frame(*id)).collect();
    let kept = if go_minor <= 20 { innermost_100(&all) } else { &all[..] };
    let shown: Vec<String> =
        kept.iter().filter(|f| f.visibility == Visibility::Shown).map(|f| line(f)).collect();
    match shown.len() {
        // `traceback` of 1.21 and later: the 50 innermost and the 50 outermost that are shown.
        n if n > 100 => [&shown[..50], &shown[n - 50..]].concat(),
        _ => shown,
    }
}

/// `gentraceback` of 1.19: 100 frames, hidden ones counted, inlined ones not.
fn innermost_100<'a, 'b>(all: &'b [&'a Frame]) -> &'b [&'a Frame] {
    let calls = all.iter().enumerate().filter(|(_, f)| f.kind == FrameKind::Call);
    match calls.map(|(at, _)| at).nth(99) {
        Some(last) => &all[..=last],
        None => all,
    }
}

fn line(frame: &Frame) -> String {
    let inlined = if frame.kind == FrameKind::Inlined { " inlined" } else { "" };
    format!("{} {}:{}{inlined}", frame.function, frame.file, frame.line)
}

fn created(names: &Names, task: &TaskLook) -> String {
    if task.spawn_site == FrameId::UNKNOWN || task.task.number == 1 {
        return String::new();
    }
    let site = names.frame(task.spawn_site);
    if site.visibility == Visibility::Hidden {
        return String::new();
    }
    let parent = task.parent.map(|p| format!(" in goroutine {}", p.number)).unwrap_or_default();
    format!("created by {}{parent} {}:{}", site.function, site.file, site.line)
}

#[test]
fn a_dump_is_parsed_into_states_frames_and_creators() {
    let text = "goroutine 1 [running]:\nmain.main()\n\t/src/main.go:3 +0x1d\n\n\
goroutine 18 [select, 2 minutes, locked to thread]:\nmain.(*T[...]).wait(...)\n\t/src/t.go:10\n\
main.run({0xc0?, 0x1?}, 0x2)\n\t/src/t.go:20 +0x44\ncreated by main.main in goroutine 1\n\t/src/main.go:9 +0x11\n\n\
goroutine 19 [running]:\n\tgoroutine running on other thread; stack unavailable\n";
    let all = parse(text);
    assert_eq!(all.len(), 3);
    assert_eq!(all[&19], None);
    let expected = Shown {
        header: "select, locked to thread".into(),
        frames: vec![
            "main.(*T[...]).wait /src/t.go:10 inlined".into(),
            "main.run /src/t.go:20".into(),
        ],
        created: "created by main.main in goroutine 1 /src/main.go:9".into(),
    };
    assert_eq!(all[&18].as_ref(), Some(&expected));
}
