//! (d) From nothing to the first complete list, on a program as its registry ships it: caddy.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Options;
use super::stats::Samples;
use super::tracer::Tracer;
use crate::program::Background;
use crate::{go, loiter, run};

/// Measures and prints.
///
/// # Errors
/// If caddy or loiter fails.
pub fn run(loiter: &Path, options: &Options) -> Result<()> {
    let exe = go::real_program("caddy").map_err(anyhow::Error::msg)?;
    let home = tempfile::tempdir().context("cannot create a temporary directory")?;
    let address = free_address()?;
    let mut command = run::command(&exe);
    command.args(["file-server", "--listen", &address]).current_dir(home.path());
    command.env("HOME", home.path()).env("XDG_DATA_HOME", home.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut caddy = Background::start(&mut command)?;
    wait_for_port(&mut caddy, &address)?;
    let pid = caddy.child().id();
    let (mut list, mut again, mut attach) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..options.rounds {
        list.push(first_list(loiter, pid)?);
        again.push(first_list(loiter, pid)?);
        let start = Instant::now();
        let tracer = Tracer::watch(loiter, pid, &["--events", "all"])?;
        attach.push(start.elapsed().as_secs_f64());
        tracer.end()?;
    }
    caddy.interrupt()?;
    println!("\n(d) caddy, {} rounds: start of loiter to", options.rounds);
    println!("the first complete list  {list} s, and again (A/A) {again} s (aim: at most 0.3)");
    println!("all probes attached      {attach} s");
    Ok(())
}

fn first_list(loiter: &Path, pid: u32) -> Result<f64> {
    let start = Instant::now();
    let done = loiter::output(loiter, &["dump", &pid.to_string(), "--format", "json"])?;
    let took = start.elapsed();
    let dump: serde_json::Value =
        serde_json::from_slice(&done.stdout).context("loiter dump gives no JSON")?;
    if dump["tasks"].as_array().is_none_or(Vec::is_empty) {
        bail!("loiter dump lists no goroutine of caddy");
    }
    Ok(took.as_secs_f64())
}

fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.to_string())
}

fn wait_for_port(program: &mut Background, address: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        program.check_alive()?;
        if Instant::now() > end {
            bail!("nothing listens on {address}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
