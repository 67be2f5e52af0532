//! (h) What following the waits of threads costs: a futex ping-pong that is followed, and a loop of system calls that has nothing to do
//! with it. Loiter at the scheduler beside bpftrace at the tracepoints of the same system calls, round by round, with a bare pair (A/A).
//! Both programs are kept on one processor, and it is their processor time that counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Options;
use super::stats::Samples;
use super::tracer::Tracer;
use crate::program::Workload;
use crate::progress::step;
use crate::{go, run};

/// Who traces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Nobody,
    Loiter(&'static [&'static str]),
    /// With `--syscalls`, which needs tracefs.
    LoiterCalls,
    Bpftrace,
}

/// What is compared, and how it is called.
const PLANS: [(By, &str); 6] = [
    (By::Nobody, "bare"),
    (By::Nobody, "bare again (A/A)"),
    (By::Loiter(&[]), "loiter, births and deaths (default)"),
    (By::Loiter(&["--events", "all", "--min-wait", "1ms"]), "loiter, waits at the scheduler"),
    (By::LoiterCalls, "loiter, waits and --syscalls"),
    (By::Bpftrace, "bpftrace, system calls"),
];
/// Arguments of [`By::LoiterCalls`].
const WITH_CALLS: [&str; 5] = ["--events", "all", "--min-wait", "1ms", "--syscalls"];
const BARE: usize = 0;
const AGAIN: usize = 1;
const WAITS: usize = 3;
const CALLED: usize = 4;
const BPFTRACE: usize = 5;

/// The system calls in which threads wait, as loiter's waits cover them.
const CALLS: [&str; 8] = [
    "futex",
    "epoll_wait",
    "epoll_pwait",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "clock_nanosleep",
];

/// Measures and prints.
///
/// # Errors
/// If a workload or a tracer fails.
pub fn run(loiter: &Path, options: &Options) -> Result<()> {
    let pingpong = build("pingpong")?;
    let nullsys = build("nullsys")?;
    let mut rounds: [Samples; PLANS.len()] = Default::default();
    let mut calls: [Samples; PLANS.len()] = Default::default();
    for round in 0..options.rounds {
        for index in 0..PLANS.len() {
            let index = (index + round) % PLANS.len();
            let Some((by, name)) = PLANS.get(index) else { continue };
            eprintln!("round {} of {}: {name}", round + 1, options.rounds);
            let (mut player, _) = pinned(&pingpong)?;
            let (mut caller, _) = pinned(&nullsys)?;
            let tracer = Running::start(*by, loiter, player.pid())?;
            let trip = cost(&mut player, options.seconds)?;
            let call = cost(&mut caller, options.seconds)?;
            drop(tracer);
            player.finish()?;
            caller.finish()?;
            if let (Some(rounds), Some(calls)) = (rounds.get_mut(index), calls.get_mut(index)) {
                rounds.push(trip);
                calls.push(call);
            }
        }
    }
    println!("\n(h) processor time, ns: medians [middle half] of {} rounds", options.rounds);
    print("a futex round trip (two waits)", &rounds);
    print("a system call of a program that is not followed", &calls);
    let added = |index: usize| rounds[index].minus(&rounds[BARE]);
    let ratio = added(WAITS).over(&added(BPFTRACE));
    println!(
        "what loiter adds to a round trip over what bpftrace adds: {ratio} (aim: at most 0.6)"
    );
    println!(
        "what loiter adds to the other program's call: {}, noise {} (aim: within the noise)",
        calls[WAITS].minus(&calls[BARE]),
        calls[AGAIN].minus(&calls[BARE])
    );
    println!(
        "with --syscalls: {} over what bpftrace adds to a round trip; {} to the other program's call",
        added(CALLED).over(&added(BPFTRACE)),
        calls[CALLED].minus(&calls[BARE])
    );
    Ok(())
}

fn print(what: &str, samples: &[Samples; PLANS.len()]) {
    println!("{what}:");
    for ((_, name), own) in PLANS.iter().zip(samples) {
        println!("  {name}: {own}, beyond bare {}", own.minus(&samples[BARE]));
    }
}

/// A tracer, which ends when it is dropped.
enum Running {
    Nobody,
    #[expect(dead_code, reason = "held to keep it running")]
    Loiter(Tracer),
    #[expect(dead_code, reason = "held to keep it running")]
    Calls(Tracer),
    #[expect(dead_code, reason = "held to keep it running")]
    Bpftrace(Workload),
}

impl Running {
    fn start(by: By, loiter: &Path, pid: u32) -> Result<Self> {
        Ok(match by {
            By::Nobody => Running::Nobody,
            By::Loiter(arguments) => Running::Loiter(Tracer::watch(loiter, pid, arguments)?),
            By::LoiterCalls => {
                Running::Calls(Tracer::watch_with_tracefs(loiter, pid, &WITH_CALLS)?)
            }
            By::Bpftrace => Running::Bpftrace(bpftrace(pid)?),
        })
    }
}

/// Counts and a histogram of the lengths of the same waits, by what is waited for, as people write it.
fn bpftrace(pid: u32) -> Result<Workload> {
    let probes = |when: &str| {
        let all: Vec<String> =
            CALLS.iter().map(|call| format!("tracepoint:syscalls:sys_{when}_{call}")).collect();
        all.join(",")
    };
    let enter = format!("{} /pid == {pid}/ {{ @since[tid] = nsecs; }}", probes("enter"));
    let exit = format!(
        "{} /@since[tid]/ {{ @waits[probe] = hist(nsecs - @since[tid]); delete(@since[tid]); }}",
        probes("exit")
    );
    let ready = "interval:s:1 { printf(\"ready\\n\"); }";
    // Its tracepoints are found in tracefs, which is mounted for it alone.
    let script = format!(
        "mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace -B line -e '{enter} {exit} {ready}'"
    );
    let (running, _) = Workload::start(Path::new("unshare"), &["-m", "sh", "-c", &script])
        .context("bpftrace does not trace")?;
    Ok(running)
}

/// Processor time of a round, ns.
fn cost(program: &mut Workload, seconds: u64) -> Result<f64> {
    let numbers = program.ask_numbers(&format!("go {}", seconds * 1_000), "done")?;
    let [rounds, _, cpu] = numbers[..] else { anyhow::bail!("the program told {numbers:?}") };
    #[allow(clippy::cast_precision_loss)]
    Ok(cpu as f64 / rounds as f64)
}

fn pinned(exe: &Path) -> Result<(Workload, String)> {
    let exe = exe.to_str().context("a path that is not UTF-8")?;
    Workload::start(Path::new("taskset"), &["-c", "0", exe])
}

/// Compiles one of workloads/native.
fn build(name: &str) -> Result<PathBuf> {
    step(&format!("Compiling {name}"), || {
        let out = go::target_dir().join("workloads/native");
        std::fs::create_dir_all(&out)?;
        let exe = out.join(name);
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-fno-omit-frame-pointer", "-pthread", "-o"]).arg(&exe);
        cc.arg(format!("workloads/native/{name}.c"));
        run::quiet(&mut cc)?;
        Ok(exe)
    })
}
