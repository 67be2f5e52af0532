//! How long a plan takes: `plan_speed FILE [ROUNDS]` reads the file, plans it several times from its bytes alone, and prints the
//! fastest time of each part in ms, with the plan.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use loiter::object::buildinfo;
use loiter::object::elf::Image;
use loiter::runtime::go::layout::Layout;
use loiter::runtime::go::plan::{GoProgram, linked_table, plan};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: plan_speed FILE [ROUNDS]")?;
    let rounds: u32 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    let (mut tables, mut plans) = (Duration::MAX, Duration::MAX);
    let mut made = None;
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        let image = Image::parse(&bytes)?;
        let layout = Layout::for_version(&buildinfo::read(&image, &bytes)?.version)?;
        let table = linked_table(&image, &bytes, layout)?;
        tables = tables.min(start.elapsed());
        let start = Instant::now();
        made = Some(plan(&GoProgram { image: &image, source: &bytes, table: &table, layout })?);
        plans = plans.min(start.elapsed());
    }
    println!("tables {:.1} ms, plan {:.1} ms", millis(tables), millis(plans));
    let plan = made.unwrap_or_default();
    for site in &plan.sites {
        println!(
            "{} {} {:#x}: {} ({}; {})",
            site.kind.word(),
            site.function,
            site.address,
            site.text,
            site.location,
            site.why
        );
    }
    for gap in &plan.degraded {
        println!("{} degraded: {}", gap.kind.word(), gap.reason);
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
