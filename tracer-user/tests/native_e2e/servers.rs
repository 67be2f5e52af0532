//! Servers of Debian, idle and under load, and who waits for one that does not answer.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::loiter::{Loiter, run_json};
use crate::common::{need_root, or_skip};
use crate::programs::{
    Server, WATCHED, answers, free_port, installed, nothing_above_suspect, serve, until,
};

/// Debian's users with no rights, `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

/// Longest wait for a server to be as it is to be.
const PATIENCE: Duration = Duration::from_secs(60);

fn silent(command: &mut Command) -> Server {
    let all = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Server(all.spawn().unwrap())
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn title(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// The main thread.
fn thread_of(pid: u32) -> Value {
    let dump = run_json(&["dump", &pid.to_string(), "--format", "json"]);
    let tasks = dump["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["id"] == pid).unwrap().clone()
}

/// Polls for what a server gives no sign of.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A database server in a directory of its own; none of its files outlive it.
struct Postgres {
    server: Server,
    bin: PathBuf,
    port: String,
    _home: TempDir,
}

fn postgres_bin() -> Result<PathBuf, String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").map_err(|_| "needs postgresql")?;
    let bins = versions.flatten().map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").is_file() && bin.join("pgbench").is_file())
        .max()
        .ok_or_else(|| "needs postgresql".to_owned())
}

impl Postgres {
    fn start() -> Result<Self, String> {
        let bin = postgres_bin()?;
        let home = tempfile::tempdir().unwrap();
        chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = home.path().join("data");
        let made = Command::new(bin.join("initdb"))
            .args(["--no-sync", "-A", "trust", "-U", "loiter", "-D"])
            .arg(&data)
            .current_dir(home.path())
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let mut command = Command::new(bin.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(home.path()).args(["-p", &port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        let server = silent(command.current_dir(home.path()).uid(NOBODY).gid(NOBODY));
        let postgres = Postgres { server, bin, port: port.to_string(), _home: home };
        Self::until("it answers", || {
            postgres.command("psql").args(["-c", "select 1"]).output().unwrap().status.success()
        });
        Ok(postgres)
    }

    fn until(what: &str, is_so: impl Fn() -> bool) {
        wait_until(&format!("postgres: {what}"), is_so);
    }

    /// A client's program, with where the server is.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port, "-U", "loiter"]);
        command.env("PGDATABASE", "postgres");
        command
    }

    fn session(&self, sql: &str) -> Server {
        silent(self.command("psql").args(["-c", sql]))
    }

    /// The backend of a session with this database whose title ends so.
    fn backend(&self, database: &str, end: &str) -> u32 {
        let is_it = |pid: &u32| {
            let title = title(*pid);
            title.contains(&format!(" {database} ")) && title.trim().ends_with(end)
        };
        let find = || children(self.server.0.id()).into_iter().find(is_it);
        Self::until(end, || find().is_some());
        find().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, and its children with it.
        // SAFETY: sends a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.server.0.id().cast_signed(), libc::SIGQUIT) };
        let _ = self.server.0.wait();
    }
}

#[test]
fn the_sessions_of_a_database_say_whether_they_wait_for_their_client_or_for_another() {
    or_skip!(need_root());
    let postgres = or_skip!(Postgres::start());
    nothing_above_suspect(postgres.server.0.id(), "postgres");
    let main = thread_of(postgres.server.0.id());
    assert!(main["idle"].as_str().is_some_and(|name| name.starts_with("PostgreSQL")), "{main}");
    let made = postgres.command("psql").args(["-c", "create table orders (id int)"]).output();
    assert!(made.unwrap().status.success());

    let _quiet = silent(postgres.command("psql").env("PGDATABASE", "template1"));
    let quiet = thread_of(postgres.backend("template1", "idle"));
    assert_eq!(quiet["idle"], "PostgreSQL backend", "{quiet}");

    let _holds = postgres.session("begin; lock table orders; select pg_sleep(600)");
    postgres.backend("postgres", "SELECT");
    let _waits = postgres.session("select * from orders");
    let waits = thread_of(postgres.backend("postgres", "SELECT waiting"));
    assert_eq!(
        (&waits["wait_reason"], &waits["wait_class"]),
        (&"PostgreSQL lock".into(), &"lock".into()),
        "{waits}"
    );
    assert!(waits["idle"].is_null(), "{waits}");
}

#[test]
fn nothing_is_found_of_a_database_under_load() {
    or_skip!(need_root());
    let postgres = or_skip!(Postgres::start());
    let made = postgres.command("pgbench").args(["-i", "-q"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let _load = silent(postgres.command("pgbench").args(["-c", "4", "-T", "600"]));
    Postgres::until("it has sessions", || children(postgres.server.0.id()).len() >= 8);
    nothing_above_suspect(postgres.server.0.id(), "postgres");
    for backend in children(postgres.server.0.id()).into_iter().rev().take(2) {
        nothing_above_suspect(backend, "a backend");
    }
}

#[test]
fn a_client_whose_server_does_not_answer_is_no_idle_event_loop() {
    or_skip!(need_root());
    let bin = or_skip!(postgres_bin());
    let never_answers = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = never_answers.local_addr().unwrap();
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["-h", "127.0.0.1", "-U", "loiter", "-p", &address.port().to_string(), "postgres"]);
    let client = silent(&mut psql);
    let (_held, _) = never_answers.accept().unwrap();
    let mut main = thread_of(client.0.id());
    for _ in 0..20 {
        if main["waits_on"]["files"].is_array() {
            break;
        }
        main = thread_of(client.0.id());
    }
    let files = main["waits_on"]["files"].as_array().unwrap();
    let peer = format!("-> {address}");
    assert!(
        matches!(&files[..], [one] if one["name"].as_str().unwrap().ends_with(&peer)),
        "{main}"
    );
    assert!(main["idle"].is_null(), "{main}");
}

/// Watches a server while something is asked of it.
fn under_load(server: &Child, load: &mut Command, name: &str) {
    let _load = silent(load);
    let pids: Vec<u32> = [vec![server.id()], children(server.id())].concat();
    let args = ["--events", "all", "--interval", "1s", "--stuck-after", "5s"];
    let watches: Vec<Loiter> = pids.iter().map(|&pid| Loiter::watch(pid, &args)).collect();
    let end = Instant::now() + WATCHED;
    for watch in watches {
        let (code, summary, lines) = until(watch, end);
        let above: Vec<_> = lines
            .iter()
            .filter(|line| line["kind"].is_string() && line["confidence"] != "suspect")
            .collect();
        assert!(code == 0 && above.is_empty(), "{name}: {above:?}");
        assert!(summary["looks"].as_u64().unwrap() >= 1, "{name}: {summary}");
    }
}

#[test]
fn nothing_is_found_of_redis_under_load() {
    or_skip!(need_root());
    let (redis, load) =
        (or_skip!(installed("redis-server")), or_skip!(installed("redis-benchmark")));
    let port = free_port();
    let port_text = port.to_string();
    let server = serve(&redis, &["--port", &port_text, "--save", ""], || answers(port));
    let mut load = Command::new(load);
    load.args(["-p", &port_text, "-q", "-l", "-c", "8", "-t", "set,get"]);
    under_load(&server.0, &mut load, "redis");
}

#[test]
fn nothing_is_found_of_nginx_with_workers_under_load() {
    or_skip!(need_root());
    let (nginx, wrk) = (or_skip!(installed("nginx")), or_skip!(installed("wrk")));
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = home.path().join("nginx.conf");
    let text = format!(
        "daemon off; worker_processes 2; pid nginx.pid; error_log stderr; events {{}} \
         http {{ access_log off; server {{ listen 127.0.0.1:{port}; }} }}"
    );
    std::fs::write(&config, text).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let args = ["-p".to_owned(), path(home.path()), "-c".to_owned(), path(&config)];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let server = serve(&nginx, &args, || answers(port));
    // It listens, and so answers, before it has workers, and they take a moment to come to rest.
    wait_until("nginx has its workers", || children(server.0.id()).len() == 2);
    let idles_as = |pid: u32, name: &str| thread_of(pid)["idle"] == name;
    wait_until("the master is idle", || idles_as(server.0.id(), "nginx master"));
    for worker in children(server.0.id()) {
        wait_until("a worker is idle", || idles_as(worker, "nginx event loop"));
    }
    let mut load = Command::new(wrk);
    load.args(["-t", "1", "-c", "8", "-d", "600", &format!("http://127.0.0.1:{port}/")]);
    under_load(&server.0, &mut load, "nginx");
    // It ends its workers when it is told to end, not when it is killed.
    // SAFETY: sends a signal to our own child, which has not been waited for.
    unsafe { libc::kill(server.0.id().cast_signed(), libc::SIGTERM) };
    let mut server = server;
    let _ = server.0.wait();
}
