//! (i) What a web service pays for a watch as it is by default, which keeps its budget itself: at full load, at 1 000
//! requests a second, and when one becomes the other; and whether what the watch says of its cost is what the kernel accounts for.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::http::{load, usage};
use super::stats::Samples;
use super::tracer::Tracer;
use super::{Options, to_f64};
use crate::go::{self, Variant};
use crate::loiter::{json_lines, of_schema};
use crate::program::Workload;
use crate::setup::versions;

/// The first seconds of a watch are not measured: it begins with what it then finds too dear.
const SETTLED: u64 = 4;
/// Requests a second of a service that is not busy.
const CALM: &str = "1000";
const CALM_RATE: f64 = 1_000.0;
/// A leak must be told within this.
const FOUND_WITHIN: Duration = Duration::from_secs(60);
/// In a burst the probes must be off after this, as the README promises.
const OFF_WITHIN: Duration = Duration::from_secs(1);
/// What a watch follows at first unless told otherwise.
const FIRST_MODE: &str = "lifecycle";

/// What is run.
struct Programs<'a> {
    loiter: &'a Path,
    service: PathBuf,
    client: PathBuf,
    /// Where loiter writes.
    said: PathBuf,
}

/// Measures and prints.
///
/// # Errors
/// If the service, the load or loiter fails; at the end, if a burst or a leak missed its aim. How much it costs is printed
/// only: that is noisy.
pub fn run(loiter: &Path, options: &Options) -> Result<()> {
    let build = |name| {
        go::go_build(versions::GO_NEWEST, name, Variant::Stripped).map_err(anyhow::Error::msg)
    };
    let home = tempfile::tempdir().context("cannot create a temporary directory")?;
    let said = home.path().join("said.jsonl");
    let programs = Programs { loiter, service: build("httpd")?, client: build("load")?, said };
    println!("\n(i) a watch as it is by default (--budget 1%), {} rounds", options.rounds);
    full(&programs, options)?;
    let mut missed = burst(&programs)?;
    missed.extend(leak(&programs)?);
    calm(&programs, options)?;
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// Requests a second, and CPU time of the service a request, ns.
#[derive(Clone, Copy)]
struct Gave {
    rate: f64,
    cpu: f64,
}

fn at_full_load(service: &mut Workload, address: &str, seconds: u64) -> Result<Gave> {
    let before = usage(service)?;
    let rate = load(address, seconds)?;
    let after = usage(service)?;
    Ok(Gave { rate, cpu: to_f64(after.1 - before.1) / to_f64(after.0 - before.0) })
}

/// A service at full load.
struct Side {
    service: Workload,
    address: String,
}

/// Two services that share the machine: what else it does, or is not let do, both feel.
struct Pair([Side; 2]);

impl Pair {
    fn start(service: &Path) -> Result<Pair> {
        let side = || {
            let (service, address) = Workload::start(service, &[])?;
            Ok::<_, anyhow::Error>(Side { service, address })
        };
        let mut pair = Pair([side()?, side()?]);
        pair.at_full_load(SETTLED)?;
        Ok(pair)
    }

    /// What the first gives over what the second gives meanwhile.
    fn at_full_load(&mut self, seconds: u64) -> Result<Gave> {
        let give = |side: &mut Side| at_full_load(&mut side.service, &side.address, seconds);
        let [first, second] = &mut self.0;
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| give(second));
            (give(first), other.join())
        });
        let (one, other) = (one?, other.map_err(|_| anyhow!("a load ended in a panic"))??);
        Ok(Gave { rate: one.rate / other.rate, cpu: one.cpu / other.cpu })
    }

    /// The same while one of them is watched.
    fn with_one_watched(
        &mut self,
        programs: &Programs<'_>,
        which: usize,
        seconds: u64,
    ) -> Result<Gave> {
        let side = self.0.get(which).context("there are two")?;
        let tracer = Tracer::by_default(programs.loiter, side.service.pid(), &[], &programs.said)?;
        self.at_full_load(SETTLED)?;
        let gave = self.at_full_load(seconds)?;
        tracer.end()?;
        self.at_full_load(SETTLED)?;
        Ok(gave)
    }

    fn finish(self) -> Result<()> {
        self.0.into_iter().try_for_each(|side| side.service.finish())
    }
}

/// In each round one of two like services is watched, then the other one. The first over the second, watched over bare and
/// bare over watched, is the square of what being watched costs: neither the two nor the time are in it.
fn full(programs: &Programs<'_>, options: &Options) -> Result<()> {
    let seconds = options.seconds * 2;
    let [mut rate, mut rate_aa, mut cpu, mut cpu_aa]: [Samples; 4] = Default::default();
    for round in 0..options.rounds {
        eprintln!("full load, round {} of {}", round + 1, options.rounds);
        let mut pair = Pair::start(&programs.service)?;
        let bare = pair.at_full_load(seconds)?;
        let first = pair.with_one_watched(programs, 0, seconds)?;
        let second = pair.with_one_watched(programs, 1, seconds)?;
        let again = pair.at_full_load(seconds)?;
        pair.finish()?;
        rate.push((first.rate / second.rate).sqrt());
        cpu.push((first.cpu / second.cpu).sqrt());
        rate_aa.push((again.rate / bare.rate).sqrt());
        cpu_aa.push((again.cpu / bare.cpu).sqrt());
    }
    println!(
        "full load, requests/s, watched over bare       {}   aim: 0.99 less the noise",
        rate.mean()
    );
    println!("full load, requests/s, bare over bare (A/A)    {}", rate_aa.mean());
    println!(
        "full load, CPU a request, watched over bare    {}   aim: 1.01 and the noise",
        cpu.mean()
    );
    println!("full load, CPU a request, bare over bare (A/A) {}", cpu_aa.mean());
    Ok(())
}

/// The modes that a calm service is watched in. With all of the machine for a budget it says what it costs, and stays.
const MODES: [(&str, &[&str]); 4] = [
    ("none", &["--events", "none", "--budget", "100%"]),
    ("lifecycle", &["--events", "lifecycle", "--budget", "100%"]),
    ("all", &["--events", "all", "--budget", "100%"]),
    ("default", &[]),
];

/// What a calm service gave for some seconds: ns.
#[derive(Clone, Copy)]
struct Calm {
    /// CPU time a request.
    cpu: f64,
    /// The latency of half of the requests, and of 99 in 100.
    half: f64,
    most: f64,
}

/// The same, less what it gave bare before and after, a value a round.
#[derive(Default)]
struct More {
    cpu: Samples,
    half: Samples,
    most: Samples,
    /// CPU time of loiter a request.
    loiter: Samples,
    /// CPU time of the probes in the target a request, as the watch told it.
    told: Samples,
}

/// As at full load: one process a round and mode, bare, watched and bare again.
fn calm(programs: &Programs<'_>, options: &Options) -> Result<()> {
    let mut more: Vec<More> = MODES.iter().map(|_| More::default()).collect();
    let mut bare = More::default();
    for round in 0..options.rounds {
        for step in 0..MODES.len() {
            let index = (step + round) % MODES.len();
            if let (Some((name, args)), Some(more)) = (MODES.get(index), more.get_mut(index)) {
                eprintln!("{CALM} requests/s, round {} of {}: {name}", round + 1, options.rounds);
                calm_in(programs, args, options.seconds * 2, more, &mut bare)?;
            }
        }
    }
    let us = |samples: &Samples| samples.map(|ns| ns / 1_000.0).to_string();
    println!("{CALM} requests/s, us; medians [middle half]; watched: what it is more than bare");
    println!(
        "{:18} {:>24} {:>24} {:>24} {:>20} {:>10}",
        "", "CPU a request", "latency of half", "of 99 in 100", "CPU of loiter", "told/true"
    );
    println!("{:18} {:>24} {:>24} {:>24}", "bare", us(&bare.cpu), us(&bare.half), us(&bare.most));
    for ((name, _), more) in MODES.iter().zip(&more) {
        let told = more.told.median();
        let ratio = format!("{:.2}", told / more.cpu.median());
        println!(
            "{name:18} {:>24} {:>24} {:>24} {:>20} {:>10}",
            us(&more.cpu),
            us(&more.half),
            us(&more.most),
            us(&more.loiter),
            if told > 0.0 { ratio } else { String::new() },
        );
    }
    println!(
        "told/true: what the watch says that probes took, over what the kernel accounted for; aim: within 1.5"
    );
    Ok(())
}

fn calm_in(
    programs: &Programs<'_>,
    args: &[&str],
    seconds: u64,
    more: &mut More,
    bare: &mut More,
) -> Result<()> {
    let (mut service, address) = Workload::start(&programs.service, &[])?;
    let mut client = client(programs, &address)?;
    let settle = || sleep(Duration::from_secs(SETTLED));
    settle();
    let before = calm_for(&mut service, &mut client, seconds)?;
    let mut tracer = Tracer::by_default(programs.loiter, service.pid(), args, &programs.said)?;
    settle();
    let own = tracer.cpu()?;
    let watched = calm_for(&mut service, &mut client, seconds)?;
    let requests = to_f64(seconds) * CALM_RATE;
    more.loiter.push(to_f64(tracer.cpu()? - own) / requests);
    tracer.end()?;
    settle();
    let after = calm_for(&mut service, &mut client, seconds)?;
    more.cpu.push(watched.cpu - f64::midpoint(before.cpu, after.cpu));
    more.half.push(watched.half - f64::midpoint(before.half, after.half));
    more.most.push(watched.most - f64::midpoint(before.most, after.most));
    for calm in [before, after] {
        bare.cpu.push(calm.cpu);
        bare.half.push(calm.half);
        bare.most.push(calm.most);
    }
    // Told of the whole watch; the rate did not change.
    let cost = &summary(programs)?["cost"];
    let over = number(&cost["over_ns"])? / 1e9;
    more.told.push(number(&cost["probes_ns"])? / over / CALM_RATE);
    client.finish()?;
    service.finish()
}

fn calm_for(service: &mut Workload, client: &mut Workload, seconds: u64) -> Result<Calm> {
    client.ask("latencies", "latencies")?;
    let before = usage(service)?;
    sleep(Duration::from_secs(seconds));
    let after = usage(service)?;
    let latencies = client.ask_numbers("latencies", "latencies")?;
    let &[_, half, most] = latencies.as_slice() else {
        anyhow::bail!("the load tells {latencies:?} for its latencies")
    };
    let cpu = to_f64(after.1 - before.1) / to_f64(after.0 - before.0);
    Ok(Calm { cpu, half: to_f64(half), most: to_f64(most) })
}

fn client(programs: &Programs<'_>, address: &str) -> Result<Workload> {
    let request = format!("GET http://{address}/");
    let args = ["-rate", CALM, "-connections", "16", "-request", &request];
    Ok(Workload::start(&programs.client, &args)?.0)
}

/// From 1 000 requests a second to all there can be, and back. Gives the aims that were missed.
fn burst(programs: &Programs<'_>) -> Result<Vec<String>> {
    let (service, address) = Workload::start(&programs.service, &[])?;
    let client = client(programs, &address)?;
    let tracer = Tracer::by_default(programs.loiter, service.pid(), &[], &programs.said)?;
    sleep(Duration::from_secs(15));
    let began = now()?;
    load(&address, 10)?;
    let ended = now()?;
    sleep(Duration::from_secs(25));
    tracer.end()?;
    client.finish()?;
    service.finish()?;
    let lines = lines(programs)?;
    println!(
        "a burst from {CALM} requests/s to full load, for 10 s (aim: probes off within {} s, no finding):",
        OFF_WITHIN.as_secs()
    );
    for line in of_schema(&lines, "loiter.mode/1") {
        let at = unix(line["at"].as_str().unwrap_or_default())?;
        println!(
            "  {:+.2} s after its begin, {:+.2} s after its end: events {}{}: {}",
            at - began,
            at - ended,
            line["mode"].as_str().unwrap_or_default(),
            if line["sampled"].is_object() { " (moments)" } else { "" },
            line["why"].as_str().unwrap_or_default(),
        );
    }
    let summary = summary(programs)?;
    let findings = of_schema(&lines, "loiter.finding/1").len();
    println!("  findings: {findings}, lost: {}", summary["lost"]);
    let told = (findings > 0).then(|| format!("{findings} findings in a burst"));
    Ok(told.into_iter().chain(late(&lines, began)?).collect())
}

/// What is wrong if probes were still on to stay so long after a burst had begun. Moments are not: they end by themselves.
fn late(lines: &[Value], began: f64) -> Result<Option<String>> {
    let mut mode = FIRST_MODE;
    for line in of_schema(lines, "loiter.mode/1") {
        let at = unix(line["at"].as_str().unwrap_or_default())?;
        if at <= began + OFF_WITHIN.as_secs_f64() && !line["sampled"].is_object() {
            mode = line["mode"].as_str().unwrap_or_default();
        }
    }
    let within = OFF_WITHIN.as_secs();
    Ok((mode != "none").then(|| format!("events {mode} still on {within} s into a burst")))
}

/// The service that leaks one goroutine in 20 000 requests, at full load. Gives the aim that was missed.
fn leak(programs: &Programs<'_>) -> Result<Option<String>> {
    let (service, address) = Workload::start(&programs.service, &["-leak", "20000"])?;
    let began = now()?;
    let tracer = Tracer::by_default(programs.loiter, service.pid(), &[], &programs.said)?;
    load(&address, FOUND_WITHIN.as_secs() + 5)?;
    tracer.end()?;
    service.finish()?;
    let lines = lines(programs)?;
    let findings = of_schema(&lines, "loiter.finding/1");
    println!("its twin that leaks, at full load (aim: within {} s):", FOUND_WITHIN.as_secs());
    let mut first = None;
    for finding in findings {
        let after = unix(finding["at"].as_str().unwrap_or_default())? - began;
        first.get_or_insert(after);
        println!(
            "  after {after:.1} s: {} {} {}, {} goroutines",
            finding["change"].as_str().unwrap_or_default(),
            finding["kind"].as_str().unwrap_or_default(),
            finding["confidence"].as_str().unwrap_or_default(),
            finding["count"],
        );
    }
    Ok(too_late(first))
}

/// What is wrong if a leak was first told after so many seconds, or never.
fn too_late(first: Option<f64>) -> Option<String> {
    match first {
        None => Some("a leak at full load was not found".to_owned()),
        Some(after) if after > FOUND_WITHIN.as_secs_f64() => {
            Some(format!("a leak at full load was found after {after:.1} s"))
        }
        Some(_) => None,
    }
}

fn lines(programs: &Programs<'_>) -> Result<Vec<Value>> {
    let said = fs::read(&programs.said).context("cannot read what loiter said")?;
    json_lines(&said)
}

fn summary(programs: &Programs<'_>) -> Result<Value> {
    let lines = lines(programs)?;
    let summaries = of_schema(&lines, "loiter.summary/1");
    summaries.last().map(|&line| line.clone()).context("loiter told no summary")
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("not a number: {value}"))
}

/// Seconds since 1970.
fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// `2026-11-21T22:46:47.986084059Z` as seconds since 1970; loiter writes them all so.
fn unix(at: &str) -> Result<f64> {
    let parse = |from: usize, to: usize| -> Option<i64> { at.get(from..to)?.parse().ok() };
    let days = || -> Option<i64> {
        let (year, month, day) = (parse(0, 4)?, parse(5, 7)?, parse(8, 10)?);
        // Counted from March, so that the day that comes and goes is the last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let era = year * 365 + year / 4 - year / 100 + year / 400;
        Some(era + (153 * month + 2) / 5 + day - 1 - 719_468)
    };
    let seconds = || -> Option<f64> {
        let whole = days()? * 86_400 + parse(11, 13)? * 3_600 + parse(14, 16)? * 60;
        let rest: f64 = at.get(17..at.len().checked_sub(1)?)?.parse().ok()?;
        #[allow(clippy::cast_precision_loss)]
        Some(whole as f64 + rest)
    };
    seconds().with_context(|| format!("not a time: {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_that_are_on_to_stay_a_second_into_a_burst_miss_the_aim() {
        let began = unix("2026-11-21T22:46:40Z").unwrap();
        let line = |at: &str, mode: &str| {
            let at = format!("2026-11-21T22:46:{at}Z");
            serde_json::json!({"schema": "loiter.mode/1", "at": at, "mode": mode})
        };
        let mut moment = line("40.9", "all");
        moment["sampled"] = serde_json::json!({"for_ns": 1, "every_ns": 2});
        let late = |lines: &[Value]| late(lines, began).unwrap();
        assert_eq!(late(&[line("40.4", "none"), moment, line("46", "all")]), None);
        assert_eq!(late(&[line("30", "none")]), None, "they were off before");
        for lines in [vec![], vec![line("41.2", "none")], vec![line("40.4", "lifecycle")]] {
            assert!(late(&lines).unwrap().contains("lifecycle"), "{lines:?}");
        }
    }

    #[test]
    fn a_leak_that_is_found_late_or_never_misses_the_aim() {
        assert_eq!(too_late(Some(59.0)), None);
        assert!(too_late(Some(61.5)).unwrap().contains("61.5 s"));
        assert!(too_late(None).unwrap().contains("not found"));
    }

    #[test]
    fn times_are_read() {
        assert!((unix("1970-01-01T00:00:01.5Z").unwrap() - 1.5).abs() < 1e-6);
        assert!((unix("2026-11-21T22:46:47Z").unwrap() - 1_795_301_207.0).abs() < 1e-3);
        assert!(unix("later").is_err());
    }
}
