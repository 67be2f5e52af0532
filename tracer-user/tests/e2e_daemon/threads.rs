//! `watch --all --threads`: programs without a runtime among those of Go.

use std::collections::BTreeSet;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::native::c_program;
use crate::common::{GoProc, copy_program, need_bpf, or_skip};
use crate::support::{named, start, still, sums_up, watch_all, watches};

/// A shell and what it forks, without exec; both end when it is told a line.
struct Forks {
    shell: Child,
    stdin: ChildStdin,
    forked: u32,
}

impl Forks {
    fn start(exe: &std::path::Path) -> Forks {
        let mut shell = Command::new(exe)
            .args(["-c", "exec 3<&0; (read line <&3) & echo $!; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = shell.stdin.take().unwrap();
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        Forks { shell, stdin, forked: line.trim().parse().unwrap() }
    }

    fn end(mut self) {
        std::io::Write::write_all(&mut self.stdin, b"go\n").unwrap();
        drop(self.stdin);
        self.shell.wait().unwrap();
    }
}

/// Ends a watch; gives the processes that were watched, and all lines.
fn watched(loiter: Loiter) -> (BTreeSet<u64>, Vec<Value>) {
    let (_, _, lines) = loiter.interrupt();
    let begun = lines.iter().filter(|line| line["schema"] == "loiter.watching/1");
    (begun.filter_map(|line| line["process"]["pid"].as_u64()).collect(), lines)
}

#[test]
fn native_programs_are_watched_beside_those_of_go_as_they_come_fork_and_go() {
    or_skip!(need_bpf());
    let (go, native) = (or_skip!(still()), or_skip!(c_program("locks")));
    let dir = tempfile::tempdir().unwrap();
    let go = named(&go, dir.path(), "daemon-thr-go");
    let native = named(&native, dir.path(), "daemon-thr-c");
    let shell = dir.path().join("daemon-thr-sh");
    copy_program(std::path::Path::new("/bin/sh"), &shell);
    let stuck = |name: &str| GoProc::start_ready(&native, &[name]).0;

    let (early_go, early) = (start(&go, 5), stuck("abba2-fixed"));
    let args = ["--threads", "--settle", "50ms", "--stuck-after", "2s", "--interval", "1s"];
    let mut loiter = watch_all("daemon-thr-*", &args);
    let (late, late_go, forks) = (stuck("abba2"), start(&go, 5), Forks::start(&shell));
    let wanted =
        [early_go.pid(), early.pid(), late.pid(), late_go.pid(), forks.shell.id(), forks.forked];
    for pid in wanted {
        let line = loiter.wait_line("it is watched", |line| watches(line, pid));
        let is_go = [early_go.pid(), late_go.pid()].contains(&pid);
        let version = line["runtime_version"].as_str().unwrap_or_default();
        assert_eq!(version.starts_with("go1"), is_go, "{line}");
    }
    let found = loiter.wait_line("the circle", |line| line["kind"] == "deadlock");
    assert_eq!(found["process"]["pid"], late.pid(), "{found}");
    assert_eq!(found["task_kind"], "thread", "{found}");
    let ends = [forks.shell.id(), forks.forked, early.pid()];
    forks.end();
    early.finish();
    for pid in ends {
        loiter.wait_line("it is summed up", |line| sums_up(line, pid));
    }
    let (all, lines) = watched(loiter);
    assert_eq!(all, wanted.map(u64::from).into(), "each of them, and nobody else");
    let of_others = |line: &&Value| {
        let is_thread = line["schema"] == "loiter.finding/1" && line["task_kind"] == "thread";
        is_thread && line["process"]["pid"] != late.pid()
    };
    assert_eq!(lines.iter().find(of_others), None);

    let mut loiter = watch_all("daemon-thr-*", &["--settle", "50ms"]);
    for pid in [early_go.pid(), late_go.pid()] {
        loiter.wait_line("a Go program is watched", |line| watches(line, pid));
    }
    let (all, _) = watched(loiter);
    let wanted = [early_go.pid(), late_go.pid()].map(u64::from);
    assert_eq!(all, wanted.into(), "without --threads nothing but Go");
    for process in [early_go, late_go] {
        process.finish();
    }
    drop(late);
}
