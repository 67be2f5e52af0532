//! A long recording of a server at 1 000 requests a second: what it takes an hour, and what of it each sort of input takes.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Row;
use super::services;
use crate::loiter;
use crate::program::Background;

/// How long loiter may take to end, beyond its time.
const GRACE: Duration = Duration::from_secs(120);
/// Sorts named in the row: the largest.
const SORTS: usize = 5;

/// Records the server for so many minutes with every wait and wake-up.
///
/// # Errors
/// If the server or loiter does not start, or does not live until the end.
pub fn row(loiter: &Path, minutes: u64) -> Result<Row> {
    let home = tempfile::tempdir()?;
    let began = Instant::now();
    let mut service = services::httpd()?;
    let path = home.path().join("server.loiter");
    let file = path.to_str().context("the temporary directory has no plain name")?;
    let (pid, time) = (service.pid().to_string(), format!("{minutes}m"));
    let args = ["record", &pid, "-o", file, "--events", "all", "--for", &time, "--quiet"];
    let mut command = loiter::command(loiter, &args);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut recorder = Background::start(&mut command)?;
    let end = Instant::now() + Duration::from_secs(minutes * 60) + GRACE;
    while recorder.child().try_wait()?.is_none() {
        service.check()?;
        if Instant::now() > end {
            bail!("loiter does not end in time");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let asked = service.answered()?;
    let out = loiter::output(loiter, &["report", file, "--overview", "--format", "jsonl"])?.stdout;
    let lines = loiter::json_lines(&out)?;
    let overview = lines.first().context("the overview is empty")?;
    Ok(Row {
        what: "recording httpd, all".to_owned(),
        result: format!("{asked}{}", told(overview)?),
        took: began.elapsed(),
        well: overview["end"]["how"] == "closed" && overview["damaged_bytes"] == 0,
    })
}

/// What an overview says of sizes.
fn told(overview: &Value) -> Result<String> {
    let number = |value: &Value| value.as_u64().context("the overview lacks a number");
    let (bytes, raw) = (number(&overview["bytes"])?, number(&overview["raw_bytes"])?);
    let lasted = Duration::from_nanos(number(&overview["lasted_ns"])?).as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let an_hour = bytes as f64 / lasted.max(1.0) * 3_600.0 / f64::from(1 << 20);
    let sorts = overview["sorts"].as_object().context("the overview lacks the sorts")?;
    let mut sorts: Vec<(&str, u64, u64)> = sorts
        .iter()
        .map(|(sort, of)| Ok((sort.as_str(), number(&of["inputs"])?, number(&of["raw_bytes"])?)))
        .collect::<Result<_>>()?;
    sorts.sort_by_key(|(_, _, bytes)| std::cmp::Reverse(*bytes));
    let mut words = format!("{an_hour:.0} MiB an hour, {} events", number(&overview["events"])?);
    words.push_str("; before packing:");
    for (sort, inputs, of_raw) in sorts.into_iter().take(SORTS) {
        let share = of_raw * 1_000 / raw.max(1);
        let each = of_raw / inputs.max(1);
        words.push_str(&format!(" {sort} {}.{} % ({each} B each)", share / 10, share % 10));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_for_an_hour_and_by_sort_the_largest_first() {
        let overview = serde_json::json!({
            "bytes": 10_485_760, "raw_bytes": 40_000_000, "lasted_ns": 600_000_000_000_u64, "events": 3_000_000,
            "sorts": {"tick": {"inputs": 3_000, "raw_bytes": 30_000}, "event": {"inputs": 3_000_000, "raw_bytes": 39_000_000}},
        });
        assert_eq!(
            told(&overview).unwrap(),
            "60 MiB an hour, 3000000 events; before packing: event 97.5 % (13 B each) tick 0.0 % (10 B each)"
        );
    }
}
