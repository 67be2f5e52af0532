//! Attaches a probe plan to a running Go program and throws the records away: `cargo xtask bench` measures with it
//! what our probe sites cost against the entries of the same functions.
//!
//!     probe_cost PID ours|entry lifecycle|all
//!
//! Speaks lines as the workloads do: "ready SITES METHOD"; "hits" answers "hits ALL LOST"; ends when its input is closed.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loiter::base::Pid;
use loiter::kernel::{AttachTarget, Attached, Kernel, Kinds, LoadSettings};
use loiter::object::buildinfo;
use loiter::object::elf::Image;
use loiter::runtime::go::layout::Layout;
use loiter::runtime::go::plan::comparison::entry_sites_for_comparison;
use loiter::runtime::go::plan::{GoProgram, linked_table, plan};
use loiter::runtime::plan::ProbePlan;
use tracer_common::config::{NO_OFFSET, TargetConfig};

/// About as often as loiter drains under load.
const DRAIN_EVERY: Duration = Duration::from_millis(5);
/// Records a drain takes at most.
const BATCH: usize = 1 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("FAILED {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pid, which, kinds] = arguments.as_slice() else {
        bail!("usage: probe_cost PID ours|entry lifecycle|all");
    };
    let pid: u32 = pid.parse().context("the PID is no number")?;
    let kinds = match kinds.as_str() {
        "lifecycle" => Kinds::LIFECYCLE,
        "all" => Kinds::ALL,
        other => bail!("unknown kinds `{other}`"),
    };
    let (plan, config) = prepare(pid, which)?;
    let mut kernel = Kernel::load(&LoadSettings { parked_capacity: 1, ..LoadSettings::default() })?;
    let target = AttachTarget::executable(Pid(pid));
    let attached = kernel.attach(&target, &plan, kinds, config)?;
    println!("ready {} {}", attached.sites, attached.method.word());
    serve(&mut kernel, &attached)?;
    kernel.detach(attached.slot)?;
    Ok(())
}

fn prepare(pid: u32, which: &str) -> Result<(ProbePlan, TargetConfig)> {
    let bytes = std::fs::read(format!("/proc/{pid}/exe")).context("cannot read the program")?;
    let image = Image::parse(&bytes)?;
    let layout = Layout::for_version(&buildinfo::read(&image, &bytes)?.version)?;
    let table = linked_table(&image, &bytes, layout)?;
    let program = GoProgram { image: &image, source: &bytes, table: &table, layout };
    let plan = match which {
        "ours" => plan(&program)?,
        "entry" => entry_sites_for_comparison(&program)?,
        other => bail!("unknown plan `{other}`"),
    };
    let config = TargetConfig {
        min_wait_ns: 0,
        g_goid: layout.g.goid,
        g_parent: layout.g.parent_goid.unwrap_or(NO_OFFSET),
        g_gopc: layout.g.gopc,
        g_startpc: layout.g.startpc,
        g_waitreason: layout.g.waitreason,
        g_tracking_seq: layout.g.tracking_seq,
        g_m: layout.g.m,
        m_curg: layout.m.curg,
    };
    Ok((plan, config))
}

/// Drains on a timer and answers, until the input is closed.
fn serve(kernel: &mut Kernel, attached: &Attached) -> Result<()> {
    let commands = commands();
    loop {
        kernel.drain(BATCH, drop);
        match commands.recv_timeout(DRAIN_EVERY) {
            Ok(command) if command == "hits" => {
                let counters = kernel.counters(attached.slot)?;
                let lost =
                    counters.lost_ring_full + counters.lost_map_full + counters.lost_user_read;
                println!("hits {} {lost}", counters.hits.iter().sum::<u64>());
            }
            Ok(command) => bail!("unknown command `{command}`"),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn commands() -> Receiver<String> {
    let (sender, commands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    commands
}
