//! Programs as people run them: interpreters with threads, servers.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::loiter::{Loiter, run_json};
use crate::common::process::GoProc;
use crate::common::{need_root, or_skip, real_program};

/// How long a server is watched; the soak watches for longer.
pub const WATCHED: Duration = Duration::from_secs(12);

/// A program on this machine.
pub fn installed(name: &str) -> Result<PathBuf, String> {
    let found = std::env::var_os("PATH").into_iter().flat_map(|path| {
        std::env::split_paths(&path).map(|dir| dir.join(name)).collect::<Vec<_>>()
    });
    let found = found.into_iter().find(|path| path.is_file());
    found.or_else(|| real_program(name).ok()).ok_or_else(|| format!("needs {name}"))
}

/// Two threads that hold a lock each and want the other's; the main thread waits for both.
const PYTHON_DEADLOCK: &str = "
import threading
a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
def run(first, second):
    with first:
        both.wait()
        with second:
            pass
threads = [threading.Thread(target=run, args=pair) for pair in ((a, b), (b, a))]
[t.start() for t in threads]
print('ready', flush=True)
[t.join() for t in threads]
";

#[test]
fn a_python_program_that_is_stuck_is_told() {
    or_skip!(need_root());
    let python = or_skip!(installed("python3"));
    // The launcher of a version manager is a script.
    let script = "import sys; print('ready', sys.executable, flush=True)".to_owned();
    let (_asked, exe) = GoProc::start_ready(&python, &["-c", &script]);
    let (process, _) = GoProc::start_ready(Path::new(&exe), &["-c", PYTHON_DEADLOCK]);
    let mut watch = Loiter::watch(process.pid(), &["--events", "none", "--interval", "1s"]);
    let found = watch.wait_line("a standstill", |line| line["kind"] == "blocked-for-ever");
    assert_eq!(found["task_kind"], "thread", "{found}");
}

#[test]
fn an_idle_node_program_waits_by_nature() {
    or_skip!(need_root());
    let node = or_skip!(installed("node"));
    let script = "setInterval(() => {}, 1e9); console.log('ready')";
    let (process, _) = GoProc::start_ready(&node, &["-e", script]);
    nothing_above_suspect(process.pid(), "node");
}

/// Lets a watch go on, which took its time to begin: a virtual machine has many names.
pub fn until(mut watch: Loiter, end: Instant) -> (i32, Value, Vec<Value>) {
    while watch.more_lines(watch.lines.len(), end) {}
    watch.interrupt()
}

/// Watches and gives the summary.
pub fn nothing_above_suspect(pid: u32, name: &str) -> Value {
    let args = ["--events", "none", "--interval", "1s", "--stuck-after", "5s"];
    let (code, summary, lines) = until(Loiter::watch(pid, &args), Instant::now() + WATCHED);
    let findings: Vec<_> = lines.iter().filter(|line| line["kind"].is_string()).collect();
    assert_eq!(code, 0, "{name}: {findings:?}");
    assert!(findings.iter().all(|f| f["confidence"] == "suspect"), "{name}: {findings:?}");
    summary
}

pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn serve(exe: &Path, args: &[&str], is_up: impl Fn() -> bool) -> Server {
    let mut command = Command::new(exe);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().unwrap());
    for _ in 0..600 {
        if is_up() {
            return server;
        }
        // Servers give no sign that could be waited for but the answer itself.
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{} does not come up", exe.display());
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn answers(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn is_idle(summary: &Value, name: &str) -> bool {
    let idle = summary["idle"].as_array().unwrap();
    idle.iter().any(|i| i["name"].as_str().unwrap().contains(name))
}

#[test]
fn an_idle_redis_waits_in_its_event_loop_on_its_listener() {
    or_skip!(need_root());
    let redis = or_skip!(installed("redis-server"));
    let port = free_port();
    let port_text = port.to_string();
    let server = serve(&redis, &["--port", &port_text, "--save", ""], || answers(port));
    let summary = nothing_above_suspect(server.0.id(), "redis");
    assert!(is_idle(&summary, "event loop"), "{summary}");
    let dump = run_json(&["dump", &server.0.id().to_string(), "--format", "json"]);
    let tasks = dump["tasks"].as_array().unwrap();
    let main = tasks.iter().find(|t| t["id"] == server.0.id()).unwrap();
    let files = main["waits_on"]["files"].as_array().unwrap();
    let address = format!(":{port}");
    assert!(
        files.iter().any(|f| f["kind"] == "listener"
            && f["name"].as_str().is_some_and(|name| name.contains(&address))),
        "{main}"
    );
}

#[test]
fn an_idle_nginx_waits_in_its_event_loop() {
    or_skip!(need_root());
    let nginx = or_skip!(installed("nginx"));
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("nginx.conf");
    let port = free_port();
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}} \
         http {{ access_log off; server {{ listen 127.0.0.1:{port}; }} }}"
    );
    std::fs::write(&config, text).unwrap();
    let (home, config) = (home.path().to_str().unwrap(), config.to_str().unwrap());
    let server = serve(&nginx, &["-p", home, "-c", config], || answers(port));
    let summary = nothing_above_suspect(server.0.id(), "nginx");
    assert!(is_idle(&summary, "event loop"), "{summary}");
}
