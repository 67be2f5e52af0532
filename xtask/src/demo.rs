//! `cargo xtask demo`: loiter's main job on real input. A small order service leaks a goroutine an order while its customers
//! see nothing; loiter, run as an engineer on call would, says so within a minute. Then the fixed twin: nothing.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::go::{self, Variant};
use crate::loiter;
use crate::program::Workload;
use crate::progress::{seconds, step};
use crate::run;
use crate::setup::{self, Need, versions};

/// Within this time the finding has to be there.
const IN_TIME: Duration = Duration::from_secs(60);
/// The function that starts the goroutines that are left behind, and the one they wait in.
const SPAWN: &str = "placeOrder";
const WAIT: &str = "recordOrder";

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Orders a second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How long to watch each service
    #[arg(long, default_value = "40s", value_name = "DURATION")]
    watch: String,
}

/// `cargo xtask demo`
///
/// # Errors
/// If something is missing, or loiter does not find the leak in time, or finds one where there is none.
pub fn run(args: &Args) -> Result<()> {
    if !run::is_root() {
        bail!("the demo attaches probes to a program: run it as root");
    }
    setup::ensure(&[Need::Bpf, Need::Go(&[versions::GO_NEWEST])])?;
    let loiter = loiter::build()?;
    let orders = step(
        "Building the order service (stripped, without paths: as it would be deployed)",
        || {
            go::go_build(versions::GO_NEWEST, "orders", Variant::Deployed)
                .map_err(anyhow::Error::msg)
        },
    )?;

    println!(
        "\n=== An order service in production. Orders are answered, memory grows, nobody knows why.\n"
    );
    let leaky = watch_service(&loiter, &orders, args, &[])?;
    let finding = check_leaky(&leaky)?;

    println!("\n=== The same service, fixed: its audit writer goes on when the store is full.\n");
    let fixed = watch_service(&loiter, &orders, args, &["-fixed"])?;
    check_fixed(&fixed)?;

    println!("\n=== What was shown\n");
    println!("leaky service: {finding}");
    println!("fixed service: no finding, after {} orders", fixed.orders);
    Ok(())
}

/// What watching a service gave.
struct Watched {
    orders: u64,
    text: String,
    exit: Option<i32>,
    first_told: Option<Duration>,
    findings: Vec<Value>,
}

fn watch_service(loiter: &Path, orders: &Path, args: &Args, mode: &[&str]) -> Result<Watched> {
    let (mut service, address) = Workload::start(orders, mode)?;
    let rate = args.rate.to_string();
    let (customers, _) = Workload::start(orders, &["-drive", &address, "-rate", &rate])?;
    let pid = service.pid().to_string();

    let watch = ["watch", &pid, "--for", &args.watch, "--stuck-after", "10s"];
    println!("$ loiter {}", watch.join(" "));
    let (text, exit, first_told) = show(loiter, &watch)?;

    // The same question once more, for a program to read.
    let answer = loiter::output(loiter, &["diagnose", &pid, "--format", "jsonl"])?;
    let lines = loiter::json_lines(&answer.stdout)?;
    let findings = loiter::of_schema(&lines, "loiter.finding/1").into_iter().cloned().collect();

    let taken = service.ask_numbers("orders", "orders")?.first().copied().unwrap_or(0);
    customers.finish()?;
    service.finish()?;
    Ok(Watched { orders: taken, text, exit, first_told, findings })
}

/// Runs loiter before the user's eyes; gives the text, the exit code, and when the leak was first named.
fn show(loiter: &Path, args: &[&str]) -> Result<(String, Option<i32>, Option<Duration>)> {
    let start = Instant::now();
    let mut child = loiter::command(loiter, args)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", loiter.display()))?;
    let out = child.stdout.take().context("the output is not piped")?;
    let (mut text, mut first_told) = (String::new(), None);
    for line in BufReader::new(out).lines() {
        let line = line.context("cannot read what loiter says")?;
        println!("{line}");
        if first_told.is_none() && line.contains(WAIT) {
            first_told = Some(start.elapsed());
        }
        text.push_str(&line);
        text.push('\n');
    }
    let status = child.wait().context("loiter is gone")?;
    Ok((text, status.code(), first_told))
}

fn check_leaky(watched: &Watched) -> Result<String> {
    let told = watched.first_told.context("loiter did not name the leak")?;
    if told > IN_TIME {
        bail!("loiter named the leak after {}, more than {}", seconds(told), seconds(IN_TIME));
    }
    if !watched.text.contains(SPAWN) {
        bail!("loiter did not name the spawn site, {SPAWN}");
    }
    if watched.exit != Some(loiter::FINDINGS) {
        bail!("loiter found something, but its exit code is {:?}", watched.exit);
    }
    let finding = watched
        .findings
        .iter()
        .find(|f| names(&f["spawn_site"], SPAWN) && names(&f["wait_site"], WAIT))
        .context("`loiter diagnose --format jsonl` has no finding with the right sites")?;
    let count = finding["count"].as_u64().unwrap_or(0);
    let oldest = Duration::from_nanos(finding["oldest_wait_ns"].as_u64().unwrap_or(0));
    if count < 100 || oldest.is_zero() {
        bail!("the finding has {count} goroutines and an oldest wait of {}", seconds(oldest));
    }
    Ok(format!(
        "named {} after loiter came; asked once more, {count} goroutines from {} wait in {} ({}), the oldest for at least {}",
        seconds(told),
        place(&finding["spawn_site"]),
        place(&finding["wait_site"]),
        finding["wait_reason"].as_str().unwrap_or("?"),
        seconds(oldest)
    ))
}

fn check_fixed(watched: &Watched) -> Result<()> {
    if let Some(finding) = watched.findings.first() {
        bail!("the fixed service has no leak, but loiter says: {finding}");
    }
    if watched.exit != Some(0) {
        bail!("the fixed service has no leak, but loiter's exit code is {:?}", watched.exit);
    }
    Ok(())
}

fn names(site: &Value, function: &str) -> bool {
    site["function"].as_str().is_some_and(|name| name.contains(function))
}

/// `main.(*service).placeOrder (main.go:97)`
fn place(site: &Value) -> String {
    let file = site["file"].as_str().unwrap_or("?");
    let short = Path::new(file).file_name().map_or(file.into(), |name| name.to_string_lossy());
    format!("{} ({short}:{})", site["function"].as_str().unwrap_or("?"), site["line"])
}
