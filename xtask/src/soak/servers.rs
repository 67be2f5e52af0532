//! Servers of Debian that are watched by their threads: Redis, nginx, PostgreSQL.

use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::services::{Asker, Load, Process, START_TIMEOUT, Service, free, write};
use crate::program::Background;
use crate::run;

/// Debian's users without rights, `nobody` and `nogroup`.
const NOBODY: u32 = 65534;
/// Where Debian 12 puts PostgreSQL's programs.
const POSTGRES: &str = "/usr/lib/postgresql/15/bin";
/// Clients of PostgreSQL.
const CLIENTS: usize = 4;
/// For how long a load is asked to run: it is ended with the watch.
const FOR_LONG: &str = "86400";

/// A server that is asked to end, so that its children do, too.
pub struct Server(Option<Background>);

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(Some(Background::start(command)?)))
    }

    /// Fails if it has ended already.
    ///
    /// # Errors
    /// If it has.
    pub fn check_alive(&mut self) -> Result<()> {
        self.0.as_mut().map_or(Ok(()), Background::check_alive)
    }

    fn pid(&mut self) -> Result<u32> {
        Ok(self.0.as_mut().context("it was ended")?.child().id())
    }

    /// Waits for what the server gives no other sign of.
    fn until(&mut self, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
        let end = Instant::now() + START_TIMEOUT;
        while !is_so() {
            self.check_alive()?;
            if Instant::now() > end {
                bail!("a server never {what}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            let _ = server.interrupt();
        }
    }
}

/// All of them, each at rest and under load.
///
/// # Errors
/// If one does not start.
pub fn all() -> Result<Vec<Service>> {
    let mut all = Vec::new();
    for load in [Load::Idle, Load::Busy] {
        all.extend([redis(load)?, nginx(load)?, postgres(load)?]);
    }
    Ok(all)
}

fn service(
    name: &str,
    load: Load,
    (pid, server, home): (u32, Server, TempDir),
    asker: Command,
) -> Result<Service> {
    let load_process = match load {
        Load::Idle => None,
        Load::Busy => Some(asking(asker)?),
    };
    Ok(Service {
        name: format!("{name} {}", load.word()),
        pid,
        process: Process::Server(server),
        load: load_process.map(Asker::Tool),
        _home: Some(home),
    })
}

fn asking(mut command: Command) -> Result<Background> {
    Background::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

fn redis(load: Load) -> Result<Service> {
    let (home, address) = (tempfile::tempdir()?, free()?);
    let port = port_of(&address)?;
    let mut command = run::command("redis-server");
    command.args(["--port", &port, "--save", ""]).current_dir(home.path());
    let mut server = Server::start(&mut command)?;
    server.until("listens", || TcpStream::connect(&address).is_ok())?;
    let mut asker = run::command("redis-benchmark");
    asker.args(["-p", &port, "-q", "-l", "-c", "8", "-t", "set,get,lpush,lrange"]);
    service("redis", load, (server.pid()?, server, home), asker)
}

/// One process without a master, so that it is the one that serves.
fn nginx(load: Load) -> Result<Service> {
    let (home, address) = (tempfile::tempdir()?, free()?);
    let config = home.path().join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}} \
         http {{ access_log off; server {{ listen {address}; root {}; }} }}",
        home.path().display()
    );
    write(&config, &text)?;
    write(&home.path().join("index.html"), &"<p>hello</p>\n".repeat(10))?;
    let mut command = run::command("nginx");
    command.arg("-p").arg(home.path()).arg("-c").arg(&config);
    let mut server = Server::start(&mut command)?;
    server.until("listens", || TcpStream::connect(&address).is_ok())?;
    let mut asker = run::command("wrk");
    asker.args(["-t", "1", "-c", "8", "-d", FOR_LONG, &format!("http://{address}/")]);
    service("nginx", load, (server.pid()?, server, home), asker)
}

/// At rest the process that listens is watched, under load one of those that serve.
fn postgres(load: Load) -> Result<Service> {
    let (home, address) = (tempfile::tempdir()?, free()?);
    let (port, data) = (port_of(&address)?, home.path().join("data"));
    chown(home.path(), Some(NOBODY), Some(NOBODY))
        .with_context(|| format!("{} cannot be given away", home.path().display()))?;
    let program = |name: &str| run::command(PathBuf::from(POSTGRES).join(name));
    let mut make = program("initdb");
    make.args(["--no-sync", "-A", "trust", "-U", "loiter", "-D"]).arg(&data);
    run::quiet(make.current_dir(home.path()).uid(NOBODY).gid(NOBODY))?;
    let mut command = program("postgres");
    command.arg("-D").arg(&data).arg("-k").arg(home.path());
    command.args(["-p", &port, "-c", "listen_addresses=127.0.0.1"]);
    let mut server = Server::start(command.current_dir(home.path()).uid(NOBODY).gid(NOBODY))?;
    let client = |name: &str| {
        let mut command = program(name);
        command.args(["-h", "127.0.0.1", "-p", &port, "-U", "loiter"]);
        command.env("PGDATABASE", "postgres");
        command
    };
    server.until("answers", || run::quiet(client("psql").args(["-c", "select 1"])).is_ok())?;
    let pid = server.pid()?;
    if load == Load::Idle {
        return service("postgres", load, (pid, server, home), client("pgbench"));
    }
    run::quiet(client("pgbench").args(["-i", "-q"]))?;
    let mut asker = client("pgbench");
    asker.args(["-c", &CLIENTS.to_string(), "-T", FOR_LONG]);
    let mut asker = asking(asker)?;
    // Before its clients pgbench has a connection of its own, which it gives up.
    server.until("serves", || backends(pid).len() >= CLIENTS)?;
    asker.check_alive()?;
    Ok(Service {
        name: format!("a postgres backend {}", load.word()),
        pid: backends(pid).last().copied().context("pgbench has no backend")?,
        process: Process::Server(server),
        load: Some(Asker::Tool(asker)),
        _home: Some(home),
    })
}

/// The processes that serve clients, oldest first; the title of each has the client's address.
fn backends(postmaster: u32) -> Vec<u32> {
    let path = format!("/proc/{postmaster}/task/{postmaster}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    let serves = |pid: &u32| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("127.0.0.1(")
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(serves).collect()
}

fn port_of(address: &str) -> Result<String> {
    Ok(address.rsplit_once(':').context("an address without a port")?.1.to_owned())
}
