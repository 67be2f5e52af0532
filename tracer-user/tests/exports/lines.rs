//! JSON lines: each input once, with names.

use loiter::record::{Item, Recording};
use loiter::stream::{Input, Mode};
use serde_json::Value;

use crate::common::loiter::run;
use crate::support::{Recorded, history, hostile, no_halves};

fn lines(recorded: &Recorded, more: &[&str]) -> Vec<Value> {
    let text = std::fs::read_to_string(recorded.export("jsonl", more)).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn every_input_is_a_line_but_names_which_stand_where_they_are_used() {
    let recorded = Recorded::new(&history(Mode::All, 15, 2).1);
    let mut items = Recording::open(&recorded.path).unwrap().items();
    let mut inputs = 0;
    while let Some(item) = items.next_item().unwrap() {
        let Item::Inputs(some) = item else { continue };
        let named = |i: &&Input| !matches!(i, Input::NameDef { .. } | Input::ReasonDef { .. });
        inputs += some.iter().filter(named).count();
    }
    let lines = lines(&recorded, &[]);
    assert_eq!(lines.len(), inputs);
    assert!(lines.iter().all(|l| l["schema"] == "loiter.input/1"));
    let park = lines.iter().find(|l| l["event"] == "park").unwrap();
    assert_eq!(park["input"], "event");
    assert!(
        park["wait_reason"].is_string() && park["at"].as_str().unwrap().starts_with("2023-11-14T")
    );
    let birth = lines.iter().find(|l| l["event"] == "birth").unwrap();
    assert_eq!(birth["spawn_site"]["function"], "main.serve");
    assert!(lines.iter().any(|l| l["input"] == "loss" && l["count"].as_u64() > Some(0)));
}

#[test]
fn a_part_of_the_time_can_be_asked_for() {
    let recorded = Recorded::new(&hostile());
    let some = lines(&recorded, &["--since", "+5s", "--until", "+8s"]);
    let looks = some.iter().filter(|l| l["input"] == "look_end").count();
    assert_eq!(looks, 3, "those at 5.2, 6.2 and 7.2 seconds");
    assert!(some.iter().any(|l| l["input"] == "process"), "what names it is told all the same");
    let task = some.iter().find(|l| l["input"] == "look_task").unwrap();
    assert!(task["labels"]["handler"].as_str().unwrap().contains("onerror"));
}

#[test]
fn what_does_not_go_together_is_refused_and_nothing_is_left_behind() {
    let recorded = Recorded::new(&hostile());
    let path = recorded.path.to_str().unwrap();
    for (format, wrong) in
        [("perfetto", "--at"), ("html", "--at"), ("pprof", "--since"), ("svg", "--until")]
    {
        let output = run(&["export", path, "--format", format, wrong, "+1s"]);
        assert_eq!(output.status.code(), Some(2), "{format} {wrong}");
        assert!(output.stdout.is_empty());
    }
    let to = recorded.dir.path().join("x.html");
    let output = run(&["export", "/nowhere", "--format", "html", "-o", to.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!to.exists() && no_halves(recorded.dir.path()));
}

/// Runs `loiter` with stdout at a terminal of its own; gives its exit code and what it wrote there.
const AT_TERMINAL: &str = "
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b''
try:
    while part := os.read(fd, 4096):
        said += part
except OSError:
    pass
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn what_is_binary_never_goes_to_a_terminal() {
    let recorded = Recorded::new(&hostile());
    let at_terminal = |args: &[&str]| {
        let output = std::process::Command::new("python3")
            .args(["-c", AT_TERMINAL, env!("CARGO_BIN_EXE_loiter"), "export", "night.loiter"])
            .args(args)
            .current_dir(recorded.dir.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = at_terminal(&["--format", "perfetto", "-o", "-"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("-o night.perfetto-trace"), "{said}");
    let (code, said) = at_terminal(&["--format", "pprof"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("writing to night.pb.gz"), "{said}");
    let written = std::fs::read(recorded.dir.path().join("night.pb.gz")).unwrap();
    assert_eq!(written[..2], [0x1f, 0x8b]);
    let (code, said) = at_terminal(&["--format", "pprof"]);
    assert_eq!(code, Some(2), "what is there stays: {said}");
}
