//! (b) What a busy web service pays: a Go HTTP server at full load that starts one goroutine a request. All ways to watch
//! it are measured in one run, round by round, each round with a bare pair (A/A) that shows the noise.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Options;
use super::stats::Samples;
use super::tracer::Tracer;
use crate::go::{self, Variant};
use crate::program::Workload;
use crate::run;
use crate::setup::versions;

/// A way to watch: its name, arguments of `loiter watch`, and the share of bare requests a second that is aimed at.
struct Way {
    name: &'static str,
    args: Option<&'static [&'static str]>,
    aim: Option<f64>,
}

const WAYS: &[Way] = &[
    Way { name: "bare", args: None, aim: None },
    Way { name: "bare again (A/A)", args: None, aim: None },
    Way { name: "--events none", args: Some(&["--events", "none"]), aim: Some(0.97) },
    Way { name: "--events lifecycle", args: Some(&["--events", "lifecycle"]), aim: Some(0.72) },
    Way { name: "--events all", args: Some(&["--events", "all"]), aim: Some(0.55) },
    Way {
        name: "--events all --min-wait 1ms",
        args: Some(&["--events", "all", "--min-wait", "1ms"]),
        aim: Some(0.55),
    },
];

/// What one way gave, a value a round.
#[derive(Default)]
struct Gave {
    requests: Samples,
    target_cpu: Samples,
    tracer_cpu: Samples,
}

/// Measures and prints.
///
/// # Errors
/// If the service, the load or loiter fails.
pub fn run(loiter: &Path, options: &Options) -> Result<()> {
    let exe = go::go_build(versions::GO_NEWEST, "httpd", Variant::Stripped)
        .map_err(anyhow::Error::msg)?;
    let mut gave: Vec<Gave> = WAYS.iter().map(|_| Gave::default()).collect();
    for round in 0..options.rounds {
        for step in 0..WAYS.len() {
            // Each round begins with another one, so that what drifts falls on all alike.
            let index = (step + round) % WAYS.len();
            if let (Some(way), Some(gave)) = (WAYS.get(index), gave.get_mut(index)) {
                eprintln!("round {} of {}: {}", round + 1, options.rounds, way.name);
                measure(loiter, &exe, way, options.seconds, gave)?;
            }
        }
    }
    print(&gave);
    Ok(())
}

fn measure(loiter: &Path, exe: &Path, way: &Way, seconds: u64, gave: &mut Gave) -> Result<()> {
    let (mut service, address) = Workload::start(exe, &[])?;
    load(&address, 1)?;
    let mut tracer = match way.args {
        None => None,
        Some(args) => Some(Tracer::watch(loiter, service.pid(), args)?),
    };
    let before = usage(&mut service)?;
    let tracer_before = tracer.as_mut().map_or(Ok(0), Tracer::cpu)?;
    let rate = load(&address, seconds)?;
    let after = usage(&mut service)?;
    let tracer_after = tracer.as_mut().map_or(Ok(0), Tracer::cpu)?;
    if let Some(tracer) = tracer {
        tracer.end()?;
    }
    service.finish()?;
    let requests = to_f64(after.0 - before.0);
    gave.requests.push(rate);
    gave.target_cpu.push(to_f64(after.1 - before.1) / requests / 1_000.0);
    gave.tracer_cpu.push(to_f64(tracer_after - tracer_before) / requests / 1_000.0);
    Ok(())
}

/// Requests answered, and CPU time used in ns.
fn usage(service: &mut Workload) -> Result<(u64, u64)> {
    let numbers = service.ask_numbers("usage", "usage")?;
    match numbers.as_slice() {
        &[requests, cpu] => Ok((requests, cpu)),
        _ => anyhow::bail!("the service tells {numbers:?} for its usage"),
    }
}

/// Full load for some seconds; gives requests a second.
fn load(address: &str, seconds: u64) -> Result<f64> {
    let mut wrk = run::command("wrk");
    wrk.args(["--threads", "1", "--connections", "32", "--duration", &format!("{seconds}s")]);
    let said = run::quiet(wrk.arg(format!("http://{address}/")))?;
    said.lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("wrk tells no requests a second: {said}"))
}

fn print(gave: &[Gave]) {
    let Some(bare) = gave.first() else { return };
    println!(
        "\n(b) HTTP server at full load, one goroutine a request: medians [middle half] of {} rounds",
        bare.requests.len()
    );
    println!(
        "{:30} {:>26} {:>24} {:>6} {:>26} {:>24}",
        "", "requests/s", "of bare", "aim", "target CPU us/request", "tracer CPU us/request"
    );
    for (way, gave) in WAYS.iter().zip(gave) {
        println!(
            "{:30} {:>26} {:>24} {:>6} {:>26} {:>24}",
            way.name,
            gave.requests.to_string(),
            gave.requests.over(&bare.requests).to_string(),
            way.aim.map_or(String::new(), |aim| format!("{aim:.2}")),
            gave.target_cpu.to_string(),
            gave.tracer_cpu.to_string(),
        );
    }
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(number: u64) -> f64 {
    number as f64
}

/// How long a round takes, for the announcement.
pub fn round_time(options: &Options) -> Duration {
    Duration::from_secs(WAYS.len() as u64 * (options.seconds + 3))
}
