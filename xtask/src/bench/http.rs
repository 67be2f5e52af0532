//! (b) What a busy web service pays: a Go HTTP server at full load that starts one goroutine a request. All ways to watch
//! it are measured in one run, round by round, each round with a bare pair (A/A) that shows the noise.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::stats::Samples;
use super::tracer::{Tracer, cpu_of};
use super::{Options, hit, to_f64};
use crate::go::{self, Variant};
use crate::program::Workload;
use crate::run;
use crate::setup::versions;

/// A way to watch: its name, and the share of bare requests a second that is aimed at.
struct Way {
    name: &'static str,
    by: By,
    aim: Option<f64>,
}

/// What watches.
enum By {
    Nobody,
    /// `loiter watch` with these arguments.
    Loiter(&'static [&'static str]),
    /// The bare probes of a plan, and a reader that throws the records away.
    Plan(&'static str),
}

const WAYS: &[Way] = &[
    Way { name: "bare", by: By::Nobody, aim: None },
    Way { name: "bare again (A/A)", by: By::Nobody, aim: None },
    Way { name: "--events none", by: By::Loiter(&["--events", "none"]), aim: Some(0.97) },
    Way { name: "--events lifecycle", by: By::Loiter(&["--events", "lifecycle"]), aim: Some(0.72) },
    Way { name: "--events all", by: By::Loiter(&["--events", "all"]), aim: Some(0.55) },
    Way {
        name: "--events all --min-wait 1ms",
        by: By::Loiter(&["--events", "all", "--min-wait", "1ms"]),
        aim: Some(0.55),
    },
    Way { name: "our plan, records dropped", by: By::Plan("ours"), aim: None },
    Way { name: "entry plan, records dropped", by: By::Plan("entry"), aim: None },
];

/// What runs beside the service.
enum Beside {
    Nothing,
    Loiter(Tracer),
    Helper(Workload),
}

impl Beside {
    fn start(programs: &Programs<'_>, by: &By, pid: u32) -> Result<Beside> {
        Ok(match by {
            By::Nobody => Beside::Nothing,
            By::Loiter(args) => Beside::Loiter(Tracer::watch(programs.loiter, pid, args)?),
            By::Plan(plan) => match hit::attach(&programs.helper, pid, Some(plan), "all")? {
                Some(helper) => Beside::Helper(helper),
                None => Beside::Nothing,
            },
        })
    }

    /// CPU time used so far, ns.
    fn cpu(&mut self) -> Result<u64> {
        match self {
            Beside::Nothing => Ok(0),
            Beside::Loiter(tracer) => tracer.cpu(),
            Beside::Helper(helper) => cpu_of(helper.pid()),
        }
    }

    fn end(self) -> Result<()> {
        match self {
            Beside::Nothing => Ok(()),
            Beside::Loiter(tracer) => tracer.end(),
            Beside::Helper(helper) => helper.finish(),
        }
    }
}

/// What is run.
struct Programs<'a> {
    loiter: &'a Path,
    helper: PathBuf,
    service: PathBuf,
}

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
    // The entry plan finds its functions in the symbol table, so it is left in.
    let service =
        go::go_build(versions::GO_NEWEST, "httpd", Variant::Default).map_err(anyhow::Error::msg)?;
    let programs = Programs { loiter, helper: hit::build_helper()?, service };
    let mut gave: Vec<Gave> = WAYS.iter().map(|_| Gave::default()).collect();
    for round in 0..options.rounds {
        for step in 0..WAYS.len() {
            // Each round begins with another one, so that what drifts falls on all alike.
            let index = (step + round) % WAYS.len();
            if let (Some(way), Some(gave)) = (WAYS.get(index), gave.get_mut(index)) {
                eprintln!("round {} of {}: {}", round + 1, options.rounds, way.name);
                measure(&programs, way, options.seconds, gave)?;
            }
        }
    }
    print(&gave);
    Ok(())
}

fn measure(programs: &Programs<'_>, way: &Way, seconds: u64, gave: &mut Gave) -> Result<()> {
    let (mut service, address) = Workload::start(&programs.service, &[])?;
    load(&address, 1)?;
    let mut beside = Beside::start(programs, &way.by, service.pid())?;
    let before = usage(&mut service)?;
    let tracer_before = beside.cpu()?;
    let rate = load(&address, seconds)?;
    let after = usage(&mut service)?;
    let tracer_after = beside.cpu()?;
    beside.end()?;
    service.finish()?;
    let requests = to_f64(after.0 - before.0);
    gave.requests.push(rate);
    gave.target_cpu.push(to_f64(after.1 - before.1) / requests / 1_000.0);
    gave.tracer_cpu.push(to_f64(tracer_after - tracer_before) / requests / 1_000.0);
    Ok(())
}

/// Requests answered, and CPU time used in ns.
///
/// # Errors
/// If it tells something else.
pub fn usage(service: &mut Workload) -> Result<(u64, u64)> {
    let numbers = service.ask_numbers("usage", "usage")?;
    match numbers.as_slice() {
        &[requests, cpu] => Ok((requests, cpu)),
        _ => anyhow::bail!("the service tells {numbers:?} for its usage"),
    }
}

/// Full load for some seconds; gives requests a second.
///
/// # Errors
/// If wrk fails.
pub fn load(address: &str, seconds: u64) -> Result<f64> {
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

/// How long a round takes, for the announcement.
pub fn round_time(options: &Options) -> Duration {
    Duration::from_secs(WAYS.len() as u64 * (options.seconds + 3))
}
