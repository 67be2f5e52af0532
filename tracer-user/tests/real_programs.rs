//! Our dump against the process's own `goroutine?debug=2`, for programs as their registries ship them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "snapshot_e2e/dump.rs"]
mod dump;
#[path = "snapshot_e2e/look.rs"]
mod look;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::process::http_get;
use common::{need_root, or_skip, real_program};
use loiter::base::Pid;
use loiter::runtime::go::Detector;
use look::Watched;

/// Least part of the goroutines of the process's own dump that must have stood still.
const LEAST_COMPARED: f64 = 0.95;
/// Longest wait until a program answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Idle connections that each program has: these programs have few goroutines of their own, and the three that
/// serve the dump do run meanwhile.
const CONNECTIONS: usize = 200;

/// A program that runs, with idle clients; killed when dropped.
struct Running {
    child: Child,
    address: String,
    clients: Vec<TcpStream>,
}

impl Running {
    /// Starts a program in a directory of its own and waits until its pprof page answers.
    fn start(exe: &Path, home: &Path, address: &str, args: &[&str]) -> Running {
        let mut command = Command::new(exe);
        command.args(args).current_dir(home).env("HOME", home).env("XDG_DATA_HOME", home);
        command.env("XDG_CONFIG_HOME", home).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", exe.display()));
        let mut running = Running { child, address: address.to_owned(), clients: Vec::new() };
        running.wait_until_it_answers();
        running.connect_clients();
        running
    }

    fn wait_until_it_answers(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        // The programs give no sign that could be waited for but the answer itself.
        while TcpStream::connect(&self.address).is_err()
            || http_get(&self.address, "/debug/pprof/goroutine?debug=1").is_err()
        {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended instead of answering on {}: {status}", self.address);
            }
            assert!(Instant::now() < end, "it does not answer on {}", self.address);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Running {
    /// Opens the connections, and waits until each has its goroutine.
    fn connect_clients(&mut self) {
        let count = |address: &str| {
            let page = http_get(address, "/debug/pprof/goroutine?debug=2").unwrap();
            page.matches("\n\ngoroutine ").count()
        };
        let before = count(&self.address);
        let connect = |_| TcpStream::connect(&self.address).unwrap();
        let clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
        let end = Instant::now() + START_TIMEOUT;
        while count(&self.address) < before + CONNECTIONS {
            assert!(Instant::now() < end, "it does not take {CONNECTIONS} connections");
        }
        self.clients = clients;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port of the loopback interface.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The version of Go that a process states: `go1.27.3`.
fn version(pid: u32) -> Box<str> {
    Detector::new().detect(Pid(pid)).unwrap().version.clone()
}

/// 27 of `go1.27.3`.
fn minor(version: &str) -> u32 {
    common::go::minor(version.trim_start_matches("go")).unwrap()
}

fn check(name: &str, program: &Running) {
    let version = version(program.child.id());
    let mut watched = Watched::attach(program.child.id());
    let before = watched.look();
    let page = http_get(&program.address, "/debug/pprof/goroutine?debug=2").unwrap();
    let after = watched.look();
    let own = dump::parse(&page);
    let (mut same, mut different) = (0, Vec::new());
    for (id, theirs) in &own {
        let mark = |look: &look::Look| look.tasks.get(id).and_then(|task| task.mark);
        let (Some(theirs), Some(mark_before), Some(mark_after)) =
            (theirs, mark(&before), mark(&after))
        else {
            continue;
        };
        if mark_before != mark_after {
            continue;
        }
        let ours = dump::ours(&watched.names, &after.tasks[id], minor(&version));
        if ours == *theirs {
            same += 1;
        } else {
            different.push(format!("goroutine {id}\n{}", ours.difference(theirs)));
        }
    }
    println!(
        "{name} with {} idle connections ({}): {} goroutines in its own dump, {same} compared and identical, {} different, {} excluded",
        program.clients.len(),
        version,
        own.len(),
        different.len(),
        own.len() - same - different.len()
    );
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(same as f64 >= LEAST_COMPARED * own.len() as f64);
}

#[test]
fn our_dump_of_caddy_is_its_own() {
    or_skip!(need_root());
    let exe = or_skip!(real_program("caddy"));
    let home = tempfile::tempdir().unwrap();
    let (admin, web) = (free(), free());
    let config = format!(
        "{{\"admin\":{{\"listen\":\"{admin}\"}},\"apps\":{{\"http\":{{\"servers\":{{\"s\":{{\"listen\":[\"{web}\"]}}}}}}}}}}"
    );
    std::fs::write(home.path().join("caddy.json"), config).unwrap();
    let program = Running::start(&exe, home.path(), &admin, &["run", "--config", "caddy.json"]);
    check("caddy", &program);
}

#[test]
fn our_dump_of_prometheus_is_its_own() {
    or_skip!(need_root());
    let exe = or_skip!(real_program("prometheus"));
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let address = free();
    let listen = format!("--web.listen-address={address}");
    let args = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", &listen];
    let program = Running::start(&exe, home.path(), &address, &args);
    check("prometheus", &program);
}

#[test]
fn our_dump_of_etcd_is_its_own() {
    or_skip!(need_root());
    let exe = or_skip!(real_program("etcd"));
    let home = tempfile::tempdir().unwrap();
    let (client, peer) = (free(), free());
    let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
    let args = [
        "--enable-pprof",
        "--data-dir=data",
        "--listen-client-urls",
        &client_url,
        "--advertise-client-urls",
        &client_url,
        "--listen-peer-urls",
        &peer_url,
        "--initial-advertise-peer-urls",
        &peer_url,
        "--initial-cluster",
        &format!("default={peer_url}"),
    ];
    let program = Running::start(&exe, home.path(), &client, &args);
    check("etcd", &program);
}
