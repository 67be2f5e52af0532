//! Long watches: services that leak nothing, side by side, each under `loiter watch` in every mode with the thresholds as they are.
//! Nothing may be told as more than suspect, and loiter itself may neither grow nor keep files open.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Row;
use super::services::{self, Service};
use crate::loiter;
use crate::program::Background;

/// What `--events` may be.
const MODES: [&str; 3] = ["all", "lifecycle", "none"];
/// From then on loiter must not grow: it knows every place of the program by then.
const WARM: f64 = 0.3;
/// By how much it may grow all the same: what the allocator keeps ...
const SLACK: u64 = 8 << 20;
/// ... and a share.
const GROWTH: f64 = 1.2;
/// How long loiter may take to end, beyond its time.
const GRACE: Duration = Duration::from_secs(120);

/// One `loiter watch`.
struct Watch {
    service: usize,
    mode: &'static str,
    process: Background,
    out: PathBuf,
    warm: Usage,
    last: Usage,
}

/// What loiter holds.
#[derive(Clone, Copy, Default)]
struct Usage {
    rss: u64,
    files: usize,
}

/// Watches all services for so many minutes; a row for each watch.
///
/// # Errors
/// If a service or loiter does not start, or does not live until the end.
pub fn rows(loiter: &Path, minutes: u64) -> Result<Vec<Row>> {
    let home = tempfile::tempdir()?;
    let mut services = services::all()?;
    let began = Instant::now();
    let time = Duration::from_secs(minutes * 60);
    let mut watches = Vec::new();
    for (index, service) in services.iter().enumerate() {
        for mode in MODES {
            watches.push(watch(loiter, home.path(), (index, service), mode, minutes)?);
        }
    }
    sleep_until(began + time.mul_f64(WARM));
    for watch in &mut watches {
        watch.warm = usage(watch.process.child().id())?;
    }
    // A little before the end: a process that has ended has nothing to show.
    sleep_until(began + time - Duration::from_secs(5));
    for watch in &mut watches {
        watch.last = usage(watch.process.child().id())?;
    }
    let mut answered = Vec::new();
    for service in &mut services {
        service.check()?;
        answered.push(service.answered()?);
    }
    let mut rows = Vec::new();
    for mut watch in watches {
        wait(&mut watch.process, began + time + GRACE)?;
        let (name, asked) = match (services.get(watch.service), answered.get(watch.service)) {
            (Some(service), Some(asked)) => (&service.name, asked),
            _ => bail!("a watch of no service"),
        };
        rows.push(judge(&watch, name, asked, began.elapsed())?);
    }
    Ok(rows)
}

fn watch(
    loiter: &Path,
    home: &Path,
    (index, service): (usize, &Service),
    mode: &'static str,
    minutes: u64,
) -> Result<Watch> {
    let out = home.join(format!("{index}-{mode}.jsonl"));
    let (pid, time) = (service.pid().to_string(), format!("{minutes}m"));
    let args = [
        "watch", &pid, "--events", mode, "--budget", "off", "--for", &time, "--format", "jsonl",
        "--quiet",
    ];
    let mut command = loiter::command(loiter, &args);
    let file = File::create(&out).with_context(|| format!("cannot create {}", out.display()))?;
    command.stdin(Stdio::null()).stdout(file);
    let process = Background::start(&mut command)?;
    let none = Usage::default();
    Ok(Watch { service: index, mode, process, out, warm: none, last: none })
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

fn wait(process: &mut Background, until: Instant) -> Result<()> {
    while process.child().try_wait()?.is_none() {
        if Instant::now() > until {
            bail!("loiter does not end in time");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn usage(pid: u32) -> Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("loiter ({pid}) has ended too early"))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = rss.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(Usage { rss: kib.context("loiter has ended too early")? << 10, files })
}

fn judge(watch: &Watch, name: &str, asked: &str, took: Duration) -> Result<Row> {
    let lines = loiter::json_lines(&fs::read(&watch.out)?)?;
    let summary = loiter::of_schema(&lines, "loiter.summary/1");
    let summary = summary.last().with_context(|| format!("no summary of {name}"))?;
    let findings = findings(&lines);
    let above = findings.values().filter(|f| f["confidence"] != "suspect").count();
    let (warm, last) = (watch.warm, watch.last);
    #[allow(clippy::cast_precision_loss)]
    let grown = last.rss as f64 > warm.rss as f64 * GROWTH + SLACK as f64;
    let lost = loiter::lost(summary);
    let mut result = format!(
        "{asked}{} births, {lost} lost, {above} above suspect, {} suspects, {} -> {} MiB, {} -> {} files",
        summary["births"],
        findings.len() - above,
        warm.rss >> 20,
        last.rss >> 20,
        warm.files,
        last.files,
    );
    for finding in findings.values() {
        result.push_str("\n        ");
        result.push_str(&in_words(finding));
    }
    Ok(Row {
        what: format!("watch {name}, {}", watch.mode),
        result,
        took,
        well: above == 0 && !grown && last.files <= warm.files,
    })
}

/// Each finding at its surest.
fn findings(lines: &[Value]) -> BTreeMap<String, &Value> {
    let rank = |finding: &Value| match finding["confidence"].as_str() {
        Some("certain") => 2,
        Some("likely") => 1,
        _ => 0,
    };
    let mut surest: BTreeMap<String, &Value> = BTreeMap::new();
    for line in loiter::of_schema(lines, "loiter.finding/1") {
        let id = line["finding_id"].as_str().unwrap_or_default().to_owned();
        let kept = surest.entry(id).or_insert(line);
        if rank(line) >= rank(kept) {
            *kept = line;
        }
    }
    surest
}

fn in_words(finding: &Value) -> String {
    let site = |site: &Value| {
        let text = |key: &str| site[key].as_str().unwrap_or("?").to_owned();
        format!("{} {}:{}", text("function"), text("file"), site["line"])
    };
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let reasons = finding["evidence"]["reasons"].as_array().cloned().unwrap_or_default();
    format!(
        "{} {}: {} in {} at {}, born at {}: {}",
        word(&finding["confidence"]),
        word(&finding["kind"]),
        finding["count"],
        word(&finding["wait_reason"]),
        site(&finding["wait_site"]),
        site(&finding["spawn_site"]),
        reasons.first().map(word).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_counts_at_its_surest() {
        let line = |id: &str, confidence: &str| serde_json::json!({"schema": "loiter.finding/1", "finding_id": id, "confidence": confidence});
        let lines =
            [line("a", "suspect"), line("a", "likely"), line("a", "suspect"), line("b", "suspect")];
        let found = findings(&lines);
        assert_eq!(found["a"]["confidence"], "likely");
        assert_eq!(found["b"]["confidence"], "suspect");
    }
}
