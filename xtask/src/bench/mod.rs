//! `cargo xtask bench`: what loiter costs and how fast it is. Every comparison is made in one run, round by round, with an A/A pair that
//! shows the noise; medians and the middle half are printed.

mod attach;
mod budget;
mod check;
mod dump;
mod hit;
mod http;
mod record;
mod stats;
mod threads;
mod tracer;

use anyhow::{Result, bail};

use crate::progress::seconds;
use crate::setup::{self, Need, versions};
use crate::{loiter, run};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Which; without it all of them
    #[arg(value_enum)]
    which: Vec<Which>,
    #[command(flatten)]
    options: Options,
}

/// How long and how often.
#[derive(clap::Args, Clone, Copy)]
pub struct Options {
    /// Rounds: each measures everything that is compared
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load for each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// A benchmark.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// (a) Cost of one hit, at our sites and at function entries
    Hit,
    /// (b) Requests a second of a web service that is watched
    Http,
    /// (c) Time and stall of a dump of 100 000 goroutines
    Dump,
    /// (d) Time to the first complete list of caddy
    Attach,
    /// (e) Memory of loiter with 100 000 goroutines
    Memory,
    /// (f) Time of a Go test under `loiter check`
    Check,
    /// (g) Speed and size of recordings
    Record,
    /// (h) Cost of following threads' waits, beside bpftrace
    Threads,
    /// (i) What the default costs a web service, and whether the budget tells the truth
    Budget,
}

const ALL: [Which; 9] = [
    Which::Hit,
    Which::Http,
    Which::Dump,
    Which::Attach,
    Which::Memory,
    Which::Check,
    Which::Record,
    Which::Threads,
    Which::Budget,
];

#[allow(clippy::cast_precision_loss)]
const fn to_f64(number: u64) -> f64 {
    number as f64
}

/// `cargo xtask bench`
///
/// # Errors
/// If something is missing or fails. A figure that misses its aim is printed, not an error; but a leak that is found late or
/// never is, and probes that stay on in a burst.
pub fn run(args: &Args) -> Result<()> {
    if !run::is_root() {
        bail!("the benchmarks attach probes to programs: run them as root");
    }
    setup::ensure(&[
        Need::Bpf,
        Need::HttpLoad,
        Need::Go(&[versions::GO_NEWEST]),
        Need::RealPrograms,
    ])?;
    let loiter = loiter::build()?;
    let chosen = if args.which.is_empty() { &ALL[..] } else { &args.which };
    for which in chosen {
        match which {
            Which::Hit => hit::run(&args.options)?,
            Which::Http => {
                eprintln!("A round takes about {}.", seconds(http::round_time(&args.options)));
                http::run(&loiter, &args.options)?;
            }
            Which::Dump => dump::run(&loiter, &args.options)?,
            Which::Attach => attach::run(&loiter, &args.options)?,
            Which::Memory => dump::memory(&loiter, &args.options)?,
            Which::Check => check::run(&loiter, &args.options)?,
            Which::Record => record::run(&loiter, &args.options)?,
            Which::Budget => budget::run(&loiter, &args.options)?,
            Which::Threads => {
                setup::ensure(&[Need::Cgo, Need::Bpftrace])?;
                threads::run(&loiter, &args.options)?;
            }
        }
    }
    Ok(())
}
