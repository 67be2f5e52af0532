//! The static binary alone in an empty tree, as a container from nothing has it, against a program outside of that tree.

use std::ffi::CString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::made::{image, output, static_binary};
use crate::common::loiter::Loiter;
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, need_root, or_skip};

/// What is in the tree beside the binary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beside {
    /// Nothing at all.
    Nothing,
    /// `/proc`.
    Proc,
    /// `/proc` and `/sys`, as a container engine mounts them.
    ProcAndSys,
}

/// A directory that is the whole world of a program.
struct Tree {
    dir: tempfile::TempDir,
    beside: Beside,
}

impl Tree {
    fn empty(beside: Beside) -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let mounted: &[&str] = match beside {
            Beside::Nothing => &[],
            Beside::Proc => &["proc"],
            Beside::ProcAndSys => &["proc", "sys"],
        };
        for name in mounted {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Tree { dir, beside }
    }

    /// With the binary in it.
    fn with_binary(beside: Beside) -> Tree {
        let tree = Tree::empty(beside);
        let binary = tree.dir.path().join("loiter");
        // By another process: a file that is open for writing here, or in a fork of this, cannot be run.
        output(Command::new("cp").arg(static_binary()).arg(&binary));
        tree
    }

    /// `/loiter` with this tree as its root, and without any environment.
    fn command(&self, args: &[&str]) -> Command {
        let root = CString::new(self.dir.path().as_os_str().as_bytes()).unwrap();
        let mounts: Vec<(CString, CString)> = match self.beside {
            Beside::Nothing => Vec::new(),
            Beside::Proc => vec![self.mount("proc")],
            Beside::ProcAndSys => vec![self.mount("proc"), self.mount("sys")],
        };
        let mut command = Command::new("/loiter");
        command.args(args).env_clear().stdin(Stdio::null());
        // SAFETY: between fork and exec only system calls are made, on strings that were allocated before.
        unsafe { command.pre_exec(move || enter(&root, &mounts)) };
        command
    }

    fn mount(&self, name: &str) -> (CString, CString) {
        let inside = self.dir.path().join(name);
        let outside = Path::new("/").join(name);
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
        (text(&outside), text(&inside))
    }
}

/// Takes the tree for root, with mounts that nobody else sees.
fn enter(root: &CString, mounts: &[(CString, CString)]) -> std::io::Result<()> {
    let check = |result: i32| match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    let none = std::ptr::null();
    // SAFETY: all strings live and end with zero; the calls change this process alone.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, private, none.cast()))?;
        for (from, to) in mounts {
            let bind = libc::MS_BIND | libc::MS_REC;
            check(libc::mount(from.as_ptr(), to.as_ptr(), none, bind, none.cast()))?;
        }
        check(libc::chroot(root.as_ptr()))?;
        check(libc::chdir(c"/".as_ptr()))
    }
}

/// A service that leaks, outside of any tree.
fn leaking() -> Result<GoProc, String> {
    let exe = go_build(NEWEST_GO, "leaks", Variant::Deployed)?;
    let mut service = GoProc::start(&exe, &["send-full-buffer", "leak"]);
    service.wait_for("ready");
    Ok(service)
}

/// Watches until it is told what leaks; gives the summary.
fn watched(beside: Beside) -> Result<Value, String> {
    need_bpf()?;
    let mut service = leaking()?;
    let tree = Tree::with_binary(beside);
    let pid = service.pid().to_string();
    let mut loiter = Loiter::spawn(tree.command(&[
        "watch",
        &pid,
        "--format",
        "jsonl",
        "--budget",
        "off",
        "--events",
        "lifecycle",
    ]));
    let told = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    assert_eq!(told["process"]["pid"], service.pid());
    assert!(told.to_string().contains("leaks/"), "no name of a function or a file: {told}");
    let (_, summary, _) = loiter.interrupt();
    service.assert_alive();
    Ok(summary)
}

#[test]
fn the_static_binary_alone_watches_a_process_outside_of_its_tree() {
    let summary = or_skip!(watched(Beside::ProcAndSys));
    assert!(summary["births"].as_u64() > Some(0), "{summary}");
}

#[test]
fn without_sys_it_looks_but_attaches_no_probe_and_says_why() {
    or_skip!(need_bpf());
    let service = or_skip!(leaking());
    let tree = Tree::with_binary(Beside::Proc);
    let pid = service.pid().to_string();
    let dump = output(&mut tree.command(&["dump", &pid, "--format", "json"]));
    let dump: Value = serde_json::from_str(&dump).unwrap();
    assert!(dump["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()), "{dump}");
    let done = tree.command(&["watch", &pid, "--for", "1s"]).output().unwrap();
    assert_eq!(done.status.code(), Some(3));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("/sys is not mounted") && said.contains("--events none"), "{said}");
}

#[test]
fn without_proc_it_says_what_is_missing() {
    or_skip!(need_root());
    let tree = Tree::with_binary(Beside::Nothing);
    let done = tree.command(&["dump", "1"]).output().unwrap();
    assert_eq!(done.status.code(), Some(3));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("/proc is not mounted"), "{said}");
    assert!(output(&mut tree.command(&["version"])).starts_with("loiter "));
}

#[test]
fn the_image_holds_the_binary_alone_and_runs() {
    or_skip!(need_root());
    let made = tempfile::tempdir().unwrap();
    let tree = Tree::empty(Beside::Nothing);
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages/read_image.py");
    let mut python = Command::new("python3");
    python.arg(reader).arg(image(made.path())).arg(tree.dir.path());
    let told: Value = serde_json::from_str(&output(&mut python)).unwrap();
    assert_eq!(told["files"], serde_json::json!([["loiter", "0o755", 0, 0]]));
    let config = &told["config"]["config"];
    assert_eq!(config["Entrypoint"], serde_json::json!(["/loiter"]));
    assert_eq!(config["User"], "0");
    assert_eq!(config["Labels"]["org.opencontainers.image.licenses"], "MIT OR Apache-2.0");
    let version = told["tags"][0].as_str().unwrap().strip_prefix("loiter:").unwrap();
    let said = output(&mut tree.command(&["--version"]));
    assert!(said.starts_with(&format!("loiter {version}\n")), "{said}");
}

#[test]
fn a_receiver_is_found_by_its_name_whatever_modules_the_host_has_for_names() {
    or_skip!(need_root());
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("nsswitch.conf"),
        "hosts: nosuchmodule [!UNAVAIL=return] mymachines\n",
    )
    .unwrap();
    fs::write(dir.path().join("hosts"), "127.0.0.1 collector.example\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "set -e; for file in nsswitch.conf hosts; do mount --bind {}/$file /etc/$file; done; \
         {} watch $$ --events none --otlp http://collector.example:{port} --otlp-every 100ms --for 2s",
        dir.path().display(),
        static_binary().display(),
    );
    let said = output(Command::new("unshare").args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &script,
    ]));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_ok(), "nobody came: {said:?}");
}
