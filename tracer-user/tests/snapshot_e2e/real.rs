//! Real programs as their registries ship them, through their own pprof endpoints.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::common::process::http_get;
use super::common::{or_skip, real_program};
use super::dump::{self, Shown};
use super::look::Watched;
use super::{LEAST_COMPARED, compare};

/// Idle connections to each server.
const CLIENTS: usize = 200;
/// How often a comparison is tried.
const TRIES: usize = 20;

/// Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn own_dump(address: &str) -> Option<BTreeMap<u64, Option<Shown>>> {
    http_get(address, "/debug/pprof/goroutine?debug=2").ok().map(|text| dump::parse(&text))
}

/// Starts a server, waits until it answers, and compares.
fn check(name: &str, arguments: impl Fn(&str, &Path) -> Vec<String>) -> Result<(), String> {
    let exe = real_program(name)?;
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(exe);
    command.args(arguments(&address, dir.path())).env("HOME", dir.path()).current_dir(dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().map_err(|e| e.to_string())?);
    let end = Instant::now() + Duration::from_secs(60);
    while own_dump(&address).is_none() {
        assert!(Instant::now() < end, "{name} does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Clients that say nothing: each has a goroutine that reads from it, as in a busy server.
    let clients: Vec<TcpStream> =
        (0..CLIENTS).map_while(|_| TcpStream::connect(&address).ok()).collect();
    while own_dump(&address).is_none_or(|own| own.len() < clients.len()) {
        assert!(Instant::now() < end, "{name} does not accept its clients");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut watched = Watched::attach(server.0.id());
    // A server works in the background: one of several tries must find it at rest.
    let mut best = 0.0_f64;
    for _ in 0..TRIES {
        let before = watched.look();
        let own = own_dump(&address).ok_or("the server stopped answering")?;
        let after = watched.look();
        let found = compare(&watched, &before, &after, &own, watched.minor);
        println!(
            "{name}: {} goroutines in its own dump, {} compared and identical, {} different, {} excluded",
            own.len(),
            found.same,
            found.different.len(),
            found.excluded
        );
        assert!(found.different.is_empty(), "{}", found.different.join("\n"));
        best = best.max(found.same as f64 / own.len() as f64);
        if best >= LEAST_COMPARED {
            return Ok(());
        }
    }
    panic!("at most {best:.2} of the goroutines stood still");
}

#[test]
fn caddy_is_dumped_as_it_dumps_itself() {
    or_skip!(check("caddy", |address, dir| {
        let config = dir.join("caddy.json");
        std::fs::write(&config, format!("{{\"admin\":{{\"listen\":\"{address}\"}}}}")).unwrap();
        ["run", "--config", config.to_str().unwrap()].map(str::to_owned).to_vec()
    }));
}

#[test]
fn prometheus_is_dumped_as_it_dumps_itself() {
    or_skip!(check("prometheus", |address, dir| {
        let config = dir.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        vec![
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address={address}"),
        ]
    }));
}

#[test]
fn etcd_is_dumped_as_it_dumps_itself() {
    or_skip!(check("etcd", |address, dir| {
        let peers = format!("http://127.0.0.1:{}", free_port());
        vec![
            "--enable-pprof".to_owned(),
            format!("--data-dir={}", dir.join("etcd").display()),
            format!("--listen-client-urls=http://{address}"),
            format!("--advertise-client-urls=http://{address}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
        ]
    }));
}
