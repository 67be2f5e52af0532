//! (a) What one hit costs: at our sites, which the kernel emulates, and at the entries of the same functions, where others put
//! their probes. It is the CPU time of the program that counts: other work on the machine does not. The same kernel part, the same reader, one run, round by round, with a bare pair (A/A).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Options;
use super::stats::Samples;
use super::tracer::cpu_of;
use crate::go::{self, Variant};
use crate::program::Workload;
use crate::progress::step;
use crate::run;
use crate::setup::versions;

/// The plan to attach; None for a bare run.
const PLANS: [Option<&str>; 4] = [None, None, Some("ours"), Some("entry")];
/// Goroutines that `million` starts in one measurement.
const BIRTHS: &str = "500000";

/// Builds the helper that attaches either plan (tracer-user/examples/probe_cost.rs).
///
/// # Errors
/// If it does not build.
pub fn build_helper() -> Result<PathBuf> {
    step("Building the helper that attaches either plan", || {
        let mut cargo = run::cargo();
        cargo.args(["build", "--release", "--package", "tracer-user", "--example", "probe_cost"]);
        run::quiet(&mut cargo)?;
        Ok(go::target_dir().join("release/examples/probe_cost"))
    })
}

/// Measures and prints.
///
/// # Errors
/// If a workload or the helper fails.
pub fn run(options: &Options) -> Result<()> {
    let helper = build_helper()?;
    // The entries are found in the symbol table, so it is left in.
    let build = |program| {
        go::go_build(versions::GO_NEWEST, program, Variant::Default).map_err(anyhow::Error::msg)
    };
    let (pingpong, million) = (build("pingpong")?, build("million")?);
    let mut switches = Costs::default();
    let mut lives = Costs::default();
    for round in 0..options.rounds {
        for index in 0..PLANS.len() {
            let index = (index + round) % PLANS.len();
            let plan = PLANS.get(index).copied().flatten();
            eprintln!("round {} of {}: {}", round + 1, options.rounds, plan.unwrap_or("bare"));
            switches.push(index, switch(&pingpong, &helper, plan, options.seconds)?);
            lives.push(index, live(&million, &helper, plan)?);
        }
    }
    println!("\n(a) cost a hit, ns: medians [middle half] of {} rounds", options.rounds);
    switches.print("parks, runs and wake-ups (ping-pong on one thread)");
    lives.print(
        "births and deaths (on one thread too: a second one would spin while it waits for work)",
    );
    Ok(())
}

/// CPU time a unit of work in ns, and hits a unit, of each plan.
#[derive(Default)]
struct Costs {
    time: [Samples; PLANS.len()],
    hits: [Samples; PLANS.len()],
}

impl Costs {
    fn push(&mut self, index: usize, (time, hits): (f64, f64)) {
        if let (Some(times), Some(all)) = (self.time.get_mut(index), self.hits.get_mut(index)) {
            times.push(time);
            all.push(hits);
        }
    }

    fn print(&self, what: &str) {
        let [bare, again, ours, entry] = &self.time;
        let [_, _, our_hits, entry_hits] = &self.hits;
        let our_cost = ours.minus(bare).over(our_hits);
        let entry_cost = entry.minus(bare).over(entry_hits);
        println!("{what}:");
        println!("  bare {bare}, and again (A/A) {again}: noise {}", again.minus(bare));
        println!("  at our sites {our_cost}, at function entries {entry_cost}");
        println!("  ours over entry {} (aim: at most 0.125)", our_cost.over(&entry_cost));
    }
}

/// Ping-pong: CPU time of the program a round in ns, hits a round.
fn switch(exe: &Path, helper: &Path, plan: Option<&str>, seconds: u64) -> Result<(f64, f64)> {
    let (mut program, _) = Workload::start(exe, &["-procs", "1"])?;
    let mut probes = attach(helper, program.pid(), plan, "all")?;
    let mut sample =
        || anyhow::Ok((rounds(&mut program)?, cpu_of(program.pid())?, hits(&mut probes)?));
    let before = sample()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let after = sample()?;
    end(probes)?;
    program.finish()?;
    let rounds = to_f64(after.0 - before.0);
    Ok((to_f64(after.1 - before.1) / rounds, to_f64(after.2 - before.2) / rounds))
}

/// Births and deaths: CPU time of the program a goroutine in ns, hits a goroutine.
fn live(exe: &Path, helper: &Path, plan: Option<&str>) -> Result<(f64, f64)> {
    let (mut program, _) = Workload::start(exe, &["-n", BIRTHS, "-procs", "1"])?;
    let mut probes = attach(helper, program.pid(), plan, "lifecycle")?;
    let before = (cpu_of(program.pid())?, hits(&mut probes)?);
    let numbers = program.ask_numbers("run", "done")?;
    let after = (cpu_of(program.pid())?, hits(&mut probes)?);
    end(probes)?;
    program.finish()?;
    let started = to_f64(numbers.first().copied().context("million tells no number")?);
    Ok((to_f64(after.0 - before.0) / started, to_f64(after.1 - before.1) / started))
}

fn rounds(program: &mut Workload) -> Result<u64> {
    program.ask_numbers("count", "count")?.first().copied().context("no rounds told")
}

/// Attaches a plan through the helper, which speaks lines as the workloads do.
///
/// # Errors
/// If it cannot.
pub fn attach(
    helper: &Path,
    pid: u32,
    plan: Option<&str>,
    kinds: &str,
) -> Result<Option<Workload>> {
    let Some(plan) = plan else { return Ok(None) };
    let (helper, _) = Workload::start(helper, &[&pid.to_string(), plan, kinds])
        .with_context(|| format!("cannot attach the plan `{plan}`"))?;
    Ok(Some(helper))
}

fn hits(helper: &mut Option<Workload>) -> Result<u64> {
    let Some(helper) = helper else { return Ok(0) };
    helper.ask_numbers("hits", "hits")?.first().copied().context("no hits told")
}

fn end(helper: Option<Workload>) -> Result<()> {
    helper.map_or(Ok(()), Workload::finish)
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(number: u64) -> f64 {
    number as f64
}
