//! How fast recordings are written and read, on the events of a real one.
//!
//! - `record_speed write RECORDING SCRATCH`: writes its events again, alone: `events`,
//!   `cpu_ns_an_event` (encoding, packing and writing together), `encode_ns_an_event` (what the
//!   thread of the model pays), `raw_bytes_an_event`, `bytes_an_event`.
//! - `record_speed grow RECORDING LARGE BYTES`: writes them again and again until LARGE has so many bytes.
//! - `record_speed open LARGE`: what it holds: `open_ms`, `events`, `bytes`, `peak_rss_kb`.
//! - `record_speed read LARGE`: all of it: `inputs`, `cpu_ns_an_input`, `peak_rss_kb`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use loiter::base::KTime;
use loiter::record::{
    Content, Item, Limits, Place, Recorder, RecorderSettings, Recording, Written,
};
use loiter::stream::Input;

/// Most events kept in memory: 100 bytes each.
const MAX_EVENTS: usize = 3_000_000;
/// As many as a drain of the ring gives under load.
const BATCH: usize = 10_000;

fn cpu_ns() -> f64 {
    clock_ns(rustix::time::ClockId::ProcessCPUTime)
}

fn clock_ns(clock: rustix::time::ClockId) -> f64 {
    let t = rustix::time::clock_gettime(clock);
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

fn peak_rss_kb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or_default().trim().trim_end_matches(" kB").to_owned()
}

fn events(recording: &Path) -> anyhow::Result<Vec<Input>> {
    let mut items = Recording::open(recording)?.items();
    let mut events = Vec::new();
    while let Some(item) = items.next_item()? {
        if let Item::Inputs(inputs) = item {
            events.extend(inputs.into_iter().filter(|i| matches!(i, Input::Event(_))));
        }
        if events.len() >= MAX_EVENTS {
            break;
        }
    }
    Ok(events)
}

fn recorder(path: &Path) -> anyhow::Result<Recorder> {
    Ok(Recorder::start(RecorderSettings {
        place: Place::File(path.to_owned()),
        limits: Limits::default(),
        content: Content::Full,
        flush: RecorderSettings::FLUSH,
        writer: "record_speed".to_owned(),
        settings: Vec::new(),
    })?)
}

fn write(recording: &Path, scratch: &Path) -> anyhow::Result<()> {
    let events = events(recording)?;
    let path = scratch.join("events.loiter");
    let before = cpu_ns();
    let mut recorder = recorder(&path)?;
    let own = || clock_ns(rustix::time::ClockId::ThreadCPUTime);
    let own_before = own();
    for batch in events.chunks(BATCH) {
        recorder.take(batch)?;
    }
    let encode = own() - own_before;
    let Written { bytes, .. } = recorder.finish("all written")?;
    let cpu = cpu_ns() - before;
    let n = events.len() as f64;
    let overview = Recording::open(&path)?.overview()?;
    println!("events {}", events.len());
    println!("cpu_ns_an_event {:.1}", cpu / n);
    println!("encode_ns_an_event {:.1}", encode / n);
    println!("raw_bytes_an_event {:.2}", overview.raw_bytes as f64 / n);
    println!("bytes_an_event {:.2}", bytes as f64 / n);
    Ok(())
}

/// The same event, this much later.
fn later(input: &Input, by: u64) -> Input {
    match input {
        Input::Event(event) => {
            let mut event = *event;
            event.at = KTime(event.at.0.saturating_add(by));
            Input::Event(event)
        }
        other => other.clone(),
    }
}

fn grow(recording: &Path, large: &Path, bytes: u64) -> anyhow::Result<()> {
    let events = events(recording)?;
    let time = |i: Option<&Input>| i.and_then(Input::time).map_or(0, |t| t.0);
    let span = time(events.last()).saturating_sub(time(events.first())).saturating_add(1_000);
    let mut recorder = recorder(large)?;
    let mut round = 0;
    while std::fs::metadata(large).map_or(0, |m| m.len()) < bytes {
        for batch in events.chunks(BATCH) {
            let batch: Vec<Input> = batch.iter().map(|e| later(e, round * span)).collect();
            recorder.take(&batch)?;
        }
        round += 1;
    }
    recorder.finish("large enough")?;
    Ok(())
}

fn open(large: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let overview = Recording::open(large)?.overview()?;
    println!("open_ms {:.1}", began.elapsed().as_secs_f64() * 1e3);
    println!("events {}\nbytes {}\npeak_rss_kb {}", overview.events, overview.bytes, peak_rss_kb());
    Ok(())
}

fn read(large: &Path) -> anyhow::Result<()> {
    let before = cpu_ns();
    let mut items = Recording::open(large)?.items();
    let mut n = 0u64;
    while let Some(item) = items.next_item()? {
        if let Item::Inputs(inputs) = item {
            n += inputs.len() as u64;
        }
    }
    println!("inputs {n}\ncpu_ns_an_input {:.1}", (cpu_ns() - before) / n as f64);
    println!("peak_rss_kb {}", peak_rss_kb());
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = |i: usize| arguments.get(i).map(PathBuf::from).context("see the head of the source");
    match arguments.first().map(String::as_str) {
        Some("write") => write(&path(1)?, &path(2)?),
        Some("grow") => {
            let bytes = arguments.get(3).context("how many bytes?")?.parse()?;
            grow(&path(1)?, &path(2)?, bytes)
        }
        Some("open") => open(&path(1)?),
        Some("read") => read(&path(1)?),
        _ => anyhow::bail!("see the head of the source"),
    }
}
