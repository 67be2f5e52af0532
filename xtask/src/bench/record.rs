//! (g) Recordings: how fast they are written and read, and what an event takes, on the events of the HTTP server at full load.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Options;
use super::http::load;
use super::stats::Samples;
use super::tracer::Tracer;
use crate::go::{self, Variant};
use crate::program::Workload;
use crate::progress::step;
use crate::run;
use crate::setup::versions;

/// The size of a large recording.
const LARGE: u64 = 1_000_000_000;

/// Measures and prints.
///
/// # Errors
/// If the service, the load, loiter or the helper fails.
pub fn run(loiter: &Path, options: &Options) -> Result<()> {
    let helper = build_helper()?;
    let home = tempfile::tempdir().context("cannot create a temporary directory")?;
    let recording = home.path().join("http.loiter");
    step("Recording the HTTP server at full load", || record(loiter, &recording, options))?;
    let mut gave: Vec<Samples> = vec![Samples::default(); WRITES.len()];
    for _ in 0..options.rounds {
        let scratch = tempfile::tempdir().context("cannot create a temporary directory")?;
        let said = ask(&helper, &["write", text(&recording)?, text(scratch.path())?])?;
        for ((name, ..), samples) in WRITES.iter().zip(&mut gave) {
            samples.push(figure(&said, name)?);
        }
    }
    println!("\n(g) recording the HTTP server's events, {} rounds", options.rounds);
    for ((_, what, aim), samples) in WRITES.iter().zip(&gave) {
        println!("{what:50} {:>24}   {aim}", samples.to_string());
    }
    let large = home.path().join("large.loiter");
    step("Writing a large recording", || {
        ask(&helper, &["grow", text(&recording)?, text(&large)?, &LARGE.to_string()])
    })?;
    for (mode, figures) in [("open", OPENS), ("read", READS)] {
        let said = ask(&helper, &[mode, text(&large)?])?;
        for (name, what, aim) in figures {
            println!("{what:50} {:>24}   {aim}", figure(&said, name)?);
        }
    }
    Ok(())
}

/// A figure of the helper: its name, what it is, what is aimed at.
type Figure = (&'static str, &'static str, &'static str);

const WRITES: [Figure; 5] = [
    ("events", "events", ""),
    ("cpu_ns_an_event", "ns of CPU to encode, pack and write an event", "aim: at most 500"),
    ("encode_ns_an_event", "of it on the thread of the model", ""),
    ("raw_bytes_an_event", "bytes an event before packing", "aim: at most 16"),
    ("bytes_an_event", "bytes an event", "aim: at most 4"),
];
const OPENS: &[Figure] = &[
    ("bytes", "bytes of the large recording", ""),
    ("open_ms", "ms to its overview", "aim: at most 5000"),
    ("peak_rss_kb", "kB of memory for it", "aim: at most 200000"),
];
const READS: &[Figure] = &[
    ("inputs", "inputs read", ""),
    ("cpu_ns_an_input", "ns of CPU to read one", "aim: at most 333"),
    ("peak_rss_kb", "kB of memory for it", "aim: at most 200000"),
];

fn build_helper() -> Result<PathBuf> {
    step("Building the helper that writes and reads recordings", || {
        let mut cargo = run::cargo();
        cargo.args(["build", "--release", "--package", "tracer-user", "--example", "record_speed"]);
        run::quiet(&mut cargo)?;
        Ok(go::target_dir().join("release/examples/record_speed"))
    })
}

fn record(loiter: &Path, to: &Path, options: &Options) -> Result<()> {
    let exe =
        go::go_build(versions::GO_NEWEST, "httpd", Variant::Default).map_err(anyhow::Error::msg)?;
    let (service, address) = Workload::start(&exe, &[])?;
    let args = ["-o", text(to)?, "--events", "all"];
    let tracer = Tracer::start(loiter, "record", service.pid(), &args)?;
    load(&address, options.seconds)?;
    tracer.end()?;
    service.finish()
}

fn ask(helper: &Path, args: &[&str]) -> Result<String> {
    run::quiet(run::command(helper).args(args))
}

fn figure(said: &str, name: &str) -> Result<f64> {
    said.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .with_context(|| format!("the helper tells no {name}: {said}"))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary directory has no plain name")
}
