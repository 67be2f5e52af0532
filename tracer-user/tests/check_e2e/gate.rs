//! The gate itself: what a program and those around it notice of it, and what becomes of them when
//! loiter dies.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{copy_program, need_root, or_skip};
use crate::support::{Told, check, run, test_binary};

fn shell(script: &str) -> Told {
    Told::new(&check(&[], &["sh", "-c", script]).output().unwrap())
}

fn start(script: &str) -> Child {
    let mut command = check(&[], &["sh", "-c", script]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec; signal(2) may be called there. What runs in the background of a
    // script inherits that SIGINT is ignored, and a shell cannot trap what is.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    command.spawn().unwrap()
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: two integers; the process is a child, or was named by one, and lives.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0);
}

/// Waits for something that must come.
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_of_one_thread_runs_as_ever_and_is_not_spoken_of() {
    let told = shell("echo out; echo err >&2; exit 5");
    assert_eq!((told.code, &*told.out), (Some(5), "out\n"));
    assert_eq!(told.err, "err\n");
}

#[test]
fn the_program_is_born_as_without_loiter() {
    let script = "ls /proc/self/fd; grep -E 'Sig[PBIC]|NoNewPrivs' /proc/self/status; env; cut -d ' ' -f 5 /proc/self/stat";
    let mut bare = std::process::Command::new("sh");
    let bare = Told::new(&bare.args(["-c", script]).stdin(Stdio::null()).output().unwrap());
    let shell = shell(script);
    assert_eq!(bare.out, shell.out);
}

#[test]
fn a_program_that_replaces_itself_is_checked_as_what_it_became() {
    let exe = or_skip!(test_binary("1.27.3"));
    let told = shell(&format!("exec {} -test.run '^TestLeak$'", exe.display()));
    assert_eq!(told.code, Some(66), "{told:?}");
    assert!(told.err.contains("TestLeak"), "{told:?}");
}

#[test]
fn what_the_program_starts_is_not_held() {
    let exe = or_skip!(test_binary("1.27.3"));
    let told = shell(&format!("{} -test.run '^TestLeak$'; exit $?", exe.display()));
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(!told.err.contains("LEAK"), "{told:?}");
}

#[test]
fn a_program_that_is_killed_ends_loiter_by_the_same_signal() {
    let output = check(&[], &["sh", "-c", "kill -KILL $$"]).output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGKILL));
    let told = Told::new(&output);
    assert!(told.err.contains("killed by signal 9"), "{told:?}");
}

#[test]
fn signals_to_loiter_reach_the_program() {
    for (name, number) in [("TERM", libc::SIGTERM), ("INT", libc::SIGINT), ("USR1", libc::SIGUSR1)]
    {
        let mut child = start(&format!(
            "trap 'echo caught; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
        ));
        assert_eq!(first_line(&mut child), "ready");
        signal(child.id(), number);
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
    }
    let mut child = start("echo ready; while :; do sleep 0.05; done");
    assert_eq!(first_line(&mut child), "ready");
    signal(child.id(), libc::SIGTERM);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
}

#[test]
fn a_missing_program_and_one_that_cannot_run_are_told_as_env_does() {
    let missing = Told::new(&check(&[], &["no-such-program"]).output().unwrap());
    assert!(missing.code == Some(127) && missing.err.contains("no-such-program"), "{missing:?}");
    let text = Told::new(&check(&[], &["/etc/passwd"]).output().unwrap());
    assert!(text.code == Some(126) && text.err.contains("/etc/passwd"), "{text:?}");
}

#[test]
fn one_check_inside_another_is_refused_with_the_reason() {
    let loiter = env!("CARGO_BIN_EXE_loiter");
    let told = shell(&format!("exec {loiter} check -- true"));
    assert_eq!(told.code, Some(3), "{told:?}");
    assert!(told.err.contains("another seccomp listener"), "{told:?}");
}

#[test]
fn when_loiter_is_killed_the_program_dies_with_it_and_its_children_end_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (go, result) = (path("go"), path("result"));
    // The child of the program goes on alone; then its own child ends with a code.
    let script = format!(
        "(while [ ! -e {go} ]; do sleep 0.05; done; sh -c 'exit 7'; echo $? > {result}.new; mv {result}.new {result}) >/dev/null 2>&1 & echo $$; wait",
        go = go.display(),
        result = result.display()
    );
    let mut child = start(&script);
    let program: u32 = first_line(&mut child).parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the program's end", || is_gone(program));
    fs::write(&go, "").unwrap();
    eventually("the code of the child's child", || result.exists());
    assert_eq!(fs::read_to_string(&result).unwrap(), "7\n");
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |text| text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

#[test]
fn what_the_program_leaves_running_ends_in_order_long_after_loiter() {
    let dir = tempfile::tempdir().unwrap();
    let (go, result) = (dir.path().join("go"), dir.path().join("result"));
    let script = format!(
        "(while [ ! -e {go} ]; do sleep 0.05; done; sh -c 'exit 7'; echo $? > {result}.new; mv {result}.new {result}) >/dev/null 2>&1 &",
        go = go.display(),
        result = result.display()
    );
    assert_eq!(shell(&script).code, Some(0));
    fs::write(&go, "").unwrap();
    eventually("the code of the child's child", || result.exists());
    assert_eq!(fs::read_to_string(&result).unwrap(), "7\n");
}

#[test]
fn nothing_of_loiter_stays_when_all_have_ended() {
    let mut child = start("echo ready; sleep 1");
    let pid = child.id();
    assert_eq!(first_line(&mut child), "ready");
    let mut guardian = 0;
    eventually("the guardian", || {
        guardian =
            children(pid).into_iter().find(|&c| name_of(c) == "loiter-guardian").unwrap_or(0);
        guardian != 0
    });
    child.wait().unwrap();
    eventually("the guardian's end", || is_gone(guardian));
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[test]
fn an_impatient_signal_ends_the_wait_for_goroutines() {
    let exe = or_skip!(test_binary("1.27.3"));
    let exe = exe.to_str().unwrap();
    let mut check = check(&["--settle", "10m"], &[exe, "-test.run", "^TestLeak$", "-test.v"]);
    let mut child = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim() != "PASS" {
        line.clear();
        out.read_line(&mut line).unwrap();
    }
    // Sent as long as it takes: the program may still be on its way to its end.
    eventually("the end", || {
        signal(child.id(), libc::SIGHUP);
        std::thread::sleep(Duration::from_millis(50));
        child.try_wait().unwrap().is_some()
    });
}

/// Puts a program where everybody may run it.
fn copied(dir: &Path, exe: &Path) -> String {
    let to = dir.join(exe.file_name().unwrap());
    copy_program(exe, &to);
    to.to_str().unwrap().to_owned()
}

#[test]
fn no_privilege_is_needed() {
    use std::os::unix::fs::PermissionsExt as _;
    or_skip!(need_root());
    let exe = or_skip!(test_binary("1.27.3"));
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let loiter = copied(dir.path(), Path::new(env!("CARGO_BIN_EXE_loiter")));
    let exe = copied(dir.path(), &exe);
    for (test, code) in [("^TestClean$", 0), ("^TestLeak$", 66)] {
        let mut command = std::process::Command::new(&loiter);
        command.args(["check", "--", &exe, "-test.run", test]).current_dir("/");
        // nobody, on Debian and elsewhere.
        let told = Told::new(&command.uid(65_534).gid(65_534).output().unwrap());
        assert_eq!(told.code, Some(code), "{told:?}");
    }
}

#[test]
fn many_ends_at_once_are_all_let_go() {
    let told = shell(
        "for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5 6 7 8 9 10; do true & sh -c : & done; wait) & done; wait; exit 4",
    );
    assert_eq!(told.code, Some(4), "{told:?}");
}

#[test]
fn a_test_binary_with_nothing_to_run_is_fine() {
    let exe = or_skip!(test_binary("1.27.3"));
    assert_eq!(run(&exe, &[], "^None$").code, Some(0));
}
