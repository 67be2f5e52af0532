//! (c) A dump of 100 000 goroutines against the program's own `goroutine?debug=2`: how long each takes, and the longest time
//! a ticking goroutine of the program was kept from running meanwhile. (e) The memory loiter needs for it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Options;
use super::stats::Samples;
use super::tracer::Tracer;
use crate::go::{self, Variant};
use crate::loiter;
use crate::program::Workload;
use crate::setup::versions;

const GOROUTINES: &str = "100000";
/// The memory that is aimed at, bytes.
const MEMORY_AIM: f64 = 96.0 * 1024.0 * 1024.0;

/// Measures (c) and prints.
///
/// # Errors
/// If the workload or loiter fails.
pub fn run(loiter: &Path, options: &Options) -> Result<()> {
    let exe = build()?;
    let (mut program, address) = Workload::start(&exe, &["-n", GOROUTINES])?;
    let pid = program.pid().to_string();
    let mut ours = (Samples::default(), Samples::default());
    let mut own = (Samples::default(), Samples::default());
    let mut idle = Samples::default();
    let mut idle_again = Samples::default();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let took = timed(&mut program, &mut ours, || dump(loiter, &pid))?;
        quiet_for(&mut program, took, &mut idle)?;
        quiet_for(&mut program, took, &mut idle_again)?;
        timed(&mut program, &mut own, || own_dump(&address))?;
    }
    program.finish()?;
    println!(
        "\n(c) all of {GOROUTINES} goroutines: medians [middle half] of {} rounds",
        options.rounds
    );
    println!("loiter dump          {} ms, longest stall {} ms", ours.0, ours.1);
    println!("its own debug=2      {} ms, longest stall {} ms", own.0, own.1);
    println!("as long, left alone  longest stall {idle} ms, and again (A/A) {idle_again} ms");
    println!("debug=2 takes {} times as long (aim: 5 and more)", own.0.over(&ours.0));
    Ok(())
}

/// Measures (e) and prints.
///
/// # Errors
/// If the workload or loiter fails.
pub fn memory(loiter: &Path, options: &Options) -> Result<()> {
    let exe = build()?;
    let (program, _) = Workload::start(&exe, &["-n", GOROUTINES])?;
    let mut peak = Samples::default();
    for events in ["none", "lifecycle", "all"] {
        let mut tracer = Tracer::watch(loiter, program.pid(), &["--events", events])?;
        // Looks are taken every few seconds; the peak is there after some.
        std::thread::sleep(Duration::from_secs(options.seconds.max(10)));
        let bytes = tracer.peak_memory()?;
        tracer.end()?;
        #[allow(clippy::cast_precision_loss)]
        let bytes = bytes as f64;
        println!(
            "(e) --events {events}: peak {:.1} MiB with {GOROUTINES} goroutines",
            bytes / 1_048_576.0
        );
        peak.push(bytes);
    }
    let worst = peak.map(|bytes| bytes / MEMORY_AIM);
    println!("(e) median over the aim of 96 MiB: {worst}");
    program.finish()
}

fn build() -> Result<std::path::PathBuf> {
    go::go_build(versions::GO_NEWEST, "many", Variant::Stripped).map_err(anyhow::Error::msg)
}

/// Does it between two readings of the longest stall. Both in ms.
fn timed(
    program: &mut Workload,
    samples: &mut (Samples, Samples),
    work: impl FnOnce() -> Result<()>,
) -> Result<Duration> {
    stall(program)?;
    let start = Instant::now();
    work()?;
    let took = start.elapsed();
    samples.0.push(took.as_secs_f64() * 1_000.0);
    samples.1.push(stall(program)?);
    Ok(took)
}

fn quiet_for(program: &mut Workload, time: Duration, samples: &mut Samples) -> Result<()> {
    stall(program)?;
    std::thread::sleep(time);
    samples.push(stall(program)?);
    Ok(())
}

/// The longest stall since the last question, ms.
fn stall(program: &mut Workload) -> Result<f64> {
    let numbers = program.ask_numbers("stall", "stall")?;
    let ns = numbers.first().copied().context("no stall told")?;
    Ok(Duration::from_nanos(ns).as_secs_f64() * 1_000.0)
}

fn dump(loiter: &Path, pid: &str) -> Result<()> {
    let mut command = loiter::command(loiter, &["dump", pid, "--full"]);
    let status = command.stdout(Stdio::null()).status().context("cannot run loiter dump")?;
    if status.success() { Ok(()) } else { bail!("loiter dump: {status}") }
}

fn own_dump(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address).context("the program's pprof page is gone")?;
    write!(stream, "GET /debug/pprof/goroutine?debug=2 HTTP/1.0\r\n\r\n").context("cannot ask")?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).context("the answer breaks off")?;
    let parked = all.windows(9).filter(|part| part == b"main.park").count();
    if parked < 100_000 { bail!("its own dump has only {parked} goroutines") } else { Ok(()) }
}
