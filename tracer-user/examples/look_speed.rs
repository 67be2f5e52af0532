//! How fast a look is, without probes: `look_speed PID [LOOKS]`.
//!
//! Prints one line a figure: `attach_ms`, `first_list_ms` (from nothing to the first complete
//! list), then for each look `look_ms`, goroutines, bytes; at the end `peak_rss_kb`.

use std::time::Instant;

use loiter::base::{KTime, Pid, ProcId};
use loiter::runtime::go::snapshot::{LookContext, Snapshotter};
use loiter::runtime::go::{Detector, locate};
use loiter::stream::{Input, LookSeq};
use loiter::symbolize::SharedInterner;
use loiter::target::LiveMem;

fn now() -> KTime {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    KTime(part(t.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(t.tv_nsec)))
}

fn peak_rss_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or_default().trim().trim_end_matches(" kB").to_owned()
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let pid = Pid(arguments.next().unwrap_or_default().parse()?);
    let looks: u32 = arguments.next().map_or(Ok(5), |n| n.parse())?;
    let began = Instant::now();
    let program = Detector::new().detect(pid)?;
    println!("detect_ms {:.2}", began.elapsed().as_secs_f64() * 1e3);
    let mem = LiveMem::open(pid)?;
    let located = locate(&mem, &program)?;
    println!("attach_ms {:.2}", began.elapsed().as_secs_f64() * 1e3);
    let mut snapshotter = Snapshotter::new(ProcId(1), pid, located);
    let interner = SharedInterner::default();
    for n in 1..=looks {
        let mut tasks = 0_u64;
        let mut sink = |input| tasks += u64::from(matches!(input, Input::SnapshotTask(_)));
        let mut context =
            LookContext { look: LookSeq(n), clock: &now, interner: &interner, sink: &mut sink };
        let outcome = snapshotter.look(&mem, &mut context)?;
        if n == 1 {
            println!("first_list_ms {:.2}", began.elapsed().as_secs_f64() * 1e3);
        }
        let definitions = interner.take_definitions().len();
        println!(
            "look_ms {:.2} tasks {tasks} new_names {definitions} bytes {} reread {} unsettled {} unreadable {}",
            outcome.took.as_secs_f64() * 1e3,
            outcome.bytes,
            outcome.reread,
            outcome.unsettled,
            outcome.unreadable
        );
    }
    println!("peak_rss_kb {}", peak_rss_kb());
    Ok(())
}
