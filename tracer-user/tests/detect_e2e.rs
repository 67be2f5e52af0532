//! Which processes are found to run Go, and what is said of those that are not.

// Tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{GoProc, Variant, copy_program, go_build, or_skip};
use loiter::base::{Pid, ProcId};
use loiter::runtime::go::snapshot::Snapshotter;
use loiter::runtime::go::{DetectError, Detector, HostedAs, locate};
use loiter::symbolize::SharedInterner;
use loiter::target::{LiveMem, TargetError, list, stat};

/// Killed when dropped.
struct Running(Child);

impl Running {
    fn start(exe: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(exe);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn refused(pid: Pid) -> String {
    Detector::new().detect(pid).map(|program| program.version).unwrap_err().to_string()
}

/// How many goroutines a process has, found from its PID alone.
fn goroutines(pid: Pid) -> u64 {
    let program = Detector::new().detect(pid).unwrap();
    let mem = LiveMem::open(pid).unwrap();
    let located = locate(&mem, &program).unwrap();
    let mut snapshotter = Snapshotter::new(ProcId(1), pid, located);
    snapshotter.count(&mem, &SharedInterner::default()).unwrap()
}

#[test]
fn a_program_that_is_not_go_is_refused_by_name() {
    let sleep = Running::start(Path::new("/bin/sleep"), &["1000"]);
    let message = refused(sleep.pid());
    assert!(message.contains("sleep") && message.contains("not a Go program"), "{message}");
}

#[test]
fn a_pid_that_is_not_in_use_is_said_to_be_so() {
    let pid = Pid(0x3fff_ffff);
    let error = Detector::new().detect(pid).map(|_| ()).unwrap_err();
    assert_eq!(error, DetectError::Target(TargetError::NoSuchProcess { pid }));
}

#[test]
fn a_kernel_thread_is_called_one() {
    let kernel_thread =
        list().unwrap().into_iter().find(|&pid| stat(pid).is_ok_and(|s| s.kernel_thread));
    let pid = or_skip!(kernel_thread.ok_or("no kernel thread is visible in this PID namespace"));
    let error = Detector::new().detect(pid).map(|_| ()).unwrap_err();
    assert_eq!(error, DetectError::Target(TargetError::KernelThread { pid }));
}

#[test]
fn a_process_that_has_exited_but_was_not_reaped_is_gone() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = Pid(child.id());
    while !stat(pid).is_ok_and(|s| s.has_exited()) {
        std::thread::yield_now();
    }
    let error = Detector::new().detect(pid).map(|_| ()).unwrap_err();
    assert_eq!(error, DetectError::Target(TargetError::Gone { pid }));
    child.wait().unwrap();
}

#[test]
fn every_process_of_the_host_gets_a_verdict() {
    let mut detector = Detector::new();
    for pid in list().unwrap() {
        if let Err(error) = detector.detect(pid) {
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn version_path_and_build_are_those_of_the_binary() {
    let exe = or_skip!(go_build("1.27.3", "zoo", Variant::Stripped));
    let (process, _) = GoProc::start_ready(&exe, &[]);
    let program = Detector::new().detect(Pid(process.pid())).unwrap();
    assert_eq!(&*program.version, "go1.27.3");
    assert_eq!(program.path, exe.canonicalize().unwrap());
    assert_eq!(program.hosted_as, HostedAs::Executable);
    assert_eq!(program.build.path.as_deref(), Some("loiter/workloads/zoo"));
    assert!(program.degraded.is_empty());
}

#[test]
fn another_version_by_request_is_marked_degraded() {
    let exe = or_skip!(go_build("1.27.3", "zoo", Variant::Stripped));
    let (process, _) = GoProc::start_ready(&exe, &[]);
    let pid = Pid(process.pid());
    let assumed = Detector::new().assuming(26).detect(pid).unwrap();
    assert_eq!((assumed.layout.minor, assumed.degraded.len()), (26, 1));
    let same = Detector::new().assuming(27).detect(pid).unwrap();
    assert!(same.degraded.is_empty());
}

#[test]
fn a_program_whose_file_was_removed_is_read_all_the_same() {
    let exe = or_skip!(go_build("1.27.3", "zoo", Variant::Stripped));
    let dir = tempfile::tempdir().unwrap();
    let copy: PathBuf = dir.path().join("server");
    copy_program(&exe, &copy);
    let (process, _) = GoProc::start_ready(&copy, &[]);
    std::fs::remove_file(&copy).unwrap();
    assert!(goroutines(Pid(process.pid())) > 40);
}

#[test]
fn go_in_a_shared_object_of_a_c_program_is_found() {
    let library = or_skip!(go_build("1.27.3", "cshared", Variant::CShared));
    let host = or_skip!(common::go::c_host());
    let (mut process, _) = GoProc::start_ready(&host, &[library.to_str().unwrap(), "25"]);
    let pid = Pid(process.pid());
    let program = Detector::new().detect(pid).unwrap();
    assert_eq!(program.hosted_as, HostedAs::SharedObject);
    assert!(goroutines(pid) >= 25);
    process.assert_alive();
}
