//! What is watched for long: programs as their registries ship them, at rest and under load, and two workloads of ours that leak nothing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::servers::Server;
use crate::go::{self, Variant};
use crate::program::{Background, Workload};
use crate::run;
use crate::setup::versions;

/// Longest wait until a program answers.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Whether somebody asks something of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    Idle,
    Busy,
}

impl Load {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Load::Idle => "idle",
            Load::Busy => "under load",
        }
    }
}

/// A service that runs; ended when dropped.
pub struct Service {
    /// Program and load, in words.
    pub name: String,
    pub(super) pid: u32,
    pub(super) process: Process,
    pub(super) load: Option<Asker>,
    pub(super) _home: Option<tempfile::TempDir>,
}

/// What serves.
pub(super) enum Process {
    Real(Background),
    Server(Server),
    Ours(Workload),
}

/// What asks.
pub(super) enum Asker {
    Ours(Workload),
    /// A server's own load generator, which counts for itself.
    Tool(Background),
}

impl Service {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Fails if it or its load has ended.
    ///
    /// # Errors
    /// If so.
    pub fn check(&mut self) -> Result<()> {
        match &mut self.process {
            Process::Real(process) => process.check_alive(),
            Process::Server(process) => process.check_alive(),
            Process::Ours(process) => process.check_alive(),
        }
    }

    /// Requests answered so far, in words; nothing without load.
    ///
    /// # Errors
    /// If the load has ended, or many requests failed.
    pub fn answered(&mut self) -> Result<String> {
        let load = match &mut self.load {
            None => return Ok(String::new()),
            Some(Asker::Tool(tool)) => return tool.check_alive().map(|()| String::new()),
            Some(Asker::Ours(load)) => load,
        };
        match load.ask_numbers("answered", "answered")?.as_slice() {
            &[answered, failed] if failed * 100 <= answered => Ok(format!("{answered} requests, ")),
            numbers => bail!("{}: answered and failed: {numbers:?}", self.name),
        }
    }
}

/// All services, each at rest and under load.
///
/// # Errors
/// If one does not start.
pub fn all() -> Result<Vec<Service>> {
    let mut all = Vec::new();
    for load in [Load::Idle, Load::Busy] {
        all.extend([caddy(load)?, prometheus(load)?, etcd(load)?]);
    }
    all.extend(super::servers::all()?);
    all.extend([orders()?, httpd()?]);
    Ok(all)
}

/// How a real program is started, and what is asked of it.
struct Recipe<'a> {
    program: &'static str,
    args: &'a [&'a str],
    address: &'a str,
    /// Answers 200 when it is ready.
    ready: &'static str,
    /// Arguments of the load: `-request`, `-stream` and what they send.
    load: &'a [(&'a str, String)],
}

fn start(home: tempfile::TempDir, load: Load, recipe: &Recipe<'_>) -> Result<Service> {
    let exe = go::real_program(recipe.program).map_err(anyhow::Error::msg)?;
    let mut command = run::command(exe);
    command.args(recipe.args).current_dir(home.path()).env("HOME", home.path());
    command.env("XDG_DATA_HOME", home.path()).env("XDG_CONFIG_HOME", home.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Background::start(&mut command)?;
    let pid = process.child().id();
    let end = Instant::now() + START_TIMEOUT;
    // The programs give no sign that could be waited for but the answer itself.
    while !is_answered(recipe.address, recipe.ready) {
        process.check_alive()?;
        if Instant::now() > end {
            bail!("{} does not answer on {}", recipe.program, recipe.address);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut args = vec!["-rate", "200"];
    args.extend(recipe.load.iter().flat_map(|(flag, what)| [*flag, what.as_str()]));
    let load_process = match load {
        Load::Idle => None,
        Load::Busy => Some(Workload::start(&workload("load")?, &args)?.0),
    };
    Ok(Service {
        name: format!("{} {}", recipe.program, load.word()),
        pid,
        process: Process::Real(process),
        load: load_process.map(Asker::Ours),
        _home: Some(home),
    })
}

fn caddy(load: Load) -> Result<Service> {
    let home = tempfile::tempdir()?;
    let (admin, web) = (free()?, free()?);
    let site = home.path().join("site");
    std::fs::create_dir(&site)?;
    write(&site.join("small.html"), &"<p>hello</p>\n".repeat(10))?;
    write(&site.join("large.txt"), &"all work and no play\n".repeat(50_000))?;
    let config = serde_json::json!({
        "admin": {"listen": admin},
        "apps": {"http": {"servers": {"site": {
            "listen": [web],
            "routes": [{"handle": [{"handler": "file_server", "root": site}]}],
        }}}},
    });
    write(&home.path().join("caddy.json"), &config.to_string())?;
    let get = |page: &str| ("-request", format!("GET http://{web}/{page}"));
    let load_args = [get("small.html"), get("small.html"), get("large.txt")];
    let args = ["run", "--config", "caddy.json"];
    let recipe = Recipe {
        program: "caddy",
        args: &args,
        address: &web,
        ready: "/small.html",
        load: &load_args,
    };
    start(home, load, &recipe)
}

fn prometheus(load: Load) -> Result<Service> {
    let home = tempfile::tempdir()?;
    let web = free()?;
    let config = match load {
        Load::Idle => "global: {}\n".to_owned(),
        Load::Busy => format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: self\n  static_configs: [{{targets: ['{web}']}}]\n"
        ),
    };
    write(&home.path().join("prometheus.yml"), &config)?;
    let listen = format!("--web.listen-address={web}");
    let args = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", &listen];
    let query = |q: &str| ("-request", format!("GET http://{web}/api/v1/query?query={q}"));
    let load_args = [
        query("up"),
        query("rate(prometheus_http_requests_total%5B1m%5D)"),
        query("count(%7B__name__%3D~%22.%2B%22%7D)"),
        ("-request", format!("GET http://{web}/metrics")),
    ];
    let recipe = Recipe {
        program: "prometheus",
        args: &args,
        address: &web,
        ready: "/-/ready",
        load: &load_args,
    };
    start(home, load, &recipe)
}

fn etcd(load: Load) -> Result<Service> {
    let home = tempfile::tempdir()?;
    let (client, peer) = (free()?, free()?);
    let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
    let cluster = format!("default={peer_url}");
    let args = [
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
        &cluster,
    ];
    let post = |path: &str, body: &str| format!("POST {client_url}/v3/{path} {body}");
    // Key "foo", value "bar", as the gateway wants them: base64.
    let load_args = [
        ("-request", post("kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#)),
        ("-request", post("kv/range", r#"{"key":"Zm9v"}"#)),
        ("-request", post("lease/grant", r#"{"TTL":60}"#)),
        ("-stream", post("watch", r#"{"create_request":{"key":"Zm9v"}}"#)),
        ("-stream", post("watch", r#"{"create_request":{"key":"cXVpZXQ="}}"#)),
    ];
    let recipe = Recipe {
        program: "etcd",
        args: &args,
        address: &client,
        ready: "/health",
        load: &load_args,
    };
    start(home, load, &recipe)
}

/// The order service of the demo, mended, with its customers.
fn orders() -> Result<Service> {
    let exe = workload("orders")?;
    let (service, address) = Workload::start(&exe, &["-quota", "50", "-fixed"])?;
    let load = ["-rate", "100", "-connections", "8", "-request"];
    let order = format!(
        "POST http://{address}/order {}",
        r#"{"customer":"ada","article":"tea","pieces":2}"#
    );
    ours("orders -fixed", service, &[&load[..], &[&order]].concat())
}

/// A server of ours, at 1 000 requests a second.
///
/// # Errors
/// If it does not start.
pub fn httpd() -> Result<Service> {
    let (service, address) = Workload::start(&workload("httpd")?, &[])?;
    let page = format!("GET http://{address}/");
    ours("httpd", service, &["-rate", "1000", "-request", &page])
}

fn ours(name: &str, service: Workload, load: &[&str]) -> Result<Service> {
    let load = Workload::start(&workload("load")?, load)?.0;
    Ok(Service {
        name: name.to_owned(),
        pid: service.pid(),
        process: Process::Ours(service),
        load: Some(Asker::Ours(load)),
        _home: None,
    })
}

fn workload(name: &str) -> Result<std::path::PathBuf> {
    go::go_build(versions::GO_NEWEST, name, Variant::Stripped).map_err(anyhow::Error::msg)
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A free port of the loopback interface.
pub(super) fn free() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr().context("a listener has an address")?.to_string())
}

fn is_answered(address: &str, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let status = answer.split(|&b| b == b'\n').next().unwrap_or_default();
        Ok(String::from_utf8_lossy(status).contains(" 200"))
    };
    ask().unwrap_or(false)
}
