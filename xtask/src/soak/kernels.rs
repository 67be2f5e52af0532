//! The static binary on other kernels: Debian's, in virtual machines that hold nothing but loiter, a service that leaks, and a
//! first process that runs the one against the other.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cpio::Cpio;
use super::machine::{self, Mebibytes, one};
use super::{Row, timed};
use crate::setup::versions::{self, Kernel};
use crate::{go, loiter};

/// Of each machine.
const MEMORY: Mebibytes = Mebibytes(1024);

/// What is run in each machine: a name, what it goes on to (its own `end`, or a `finding`), and the arguments of loiter.
const PLAN: &str = "\
version end version
doctor end doctor PID --format json
dump end dump PID --format json
lifecycle finding watch PID --events lifecycle --stuck-after 3s --budget off --format jsonl
all end watch PID --events all --for 6s --budget off --format jsonl
threads end watch PID --threads --events all --for 4s --budget off --format jsonl
none end watch PID --events none --for 4s --format jsonl
";

/// A row for each kernel.
pub fn rows(kernels: &[&Kernel], binary: &Path) -> Vec<Row> {
    kernels.iter().map(|kernel| row(kernel, binary)).collect()
}

fn row(kernel: &Kernel, binary: &Path) -> Row {
    timed(&format!("kernels {}", kernel.series), || {
        let told = machine::boot(kernel, &file_system(binary)?, MEMORY)?;
        Ok((judge(&told)?, true))
    })
}

fn file_system(binary: &Path) -> Result<Vec<u8>> {
    let version = versions::GO_NEWEST;
    let source = go::workspace().join("xtask/src/soak/guest");
    let mut files = Cpio::default();
    for dir in ["dev", "proc", "sys", "tmp"] {
        files.directory(dir)?;
    }
    files.console()?;
    files.program(
        "init",
        &machine::built(go::go_build_dir(version, &source, go::Variant::Deployed))?,
    )?;
    files.program(
        "service",
        &machine::built(go::go_build(version, "leaks", go::Variant::Deployed))?,
    )?;
    files.program("loiter", &machine::built(Ok(binary.to_path_buf()))?)?;
    files.file("plan", PLAN.as_bytes())?;
    files.finish()
}

/// What was told, in a line.
///
/// # Errors
/// Names the first run that did not do what it does on this machine's own kernel.
fn judge(told: &[Value]) -> Result<String> {
    let doctor: Value = serde_json::from_str(stdout(told, "doctor")?).context("doctor")?;
    let release = doctor["kernel"].as_str().unwrap_or("?").to_owned();
    if doctor["can_trace"] != true {
        bail!("{release}: doctor says that it cannot trace here: {doctor}");
    }
    let features = doctor["features"].as_array().map(Vec::as_slice).unwrap_or_default();
    let multi = features.iter().any(|f| f["name"] == "uprobe_multi" && f["state"] == "ok");
    let dump: Value = serde_json::from_str(stdout(told, "dump")?).context("dump")?;
    let tasks = dump["tasks"].as_array().map_or(0, Vec::len);
    let mut parts = vec![
        release,
        if multi { "uprobe_multi" } else { "perf events" }.to_owned(),
        format!("{tasks} tasks"),
    ];
    for mode in ["lifecycle", "all", "threads", "none"] {
        parts.push(watched(told, mode)?);
    }
    let alive = one(told, "end")?["stdout"] == "true";
    if tasks == 0 || !alive {
        bail!("{}: no task seen, or the service is gone (alive: {alive})", parts.join(", "));
    }
    Ok(parts.join(", "))
}

/// What a watch found: births where it has events, a finding where it looked long enough.
fn watched(told: &[Value], mode: &str) -> Result<String> {
    let lines = loiter::json_lines(stdout(told, mode)?.as_bytes())?;
    let summary = loiter::of_schema(&lines, "loiter.summary/1");
    let summary = summary.first().with_context(|| format!("{mode}: no summary"))?;
    let births = summary["births"].as_u64().unwrap_or(0);
    let lost = loiter::lost(summary);
    let findings = loiter::of_schema(&lines, "loiter.finding/1").len();
    if (mode == "none") != (births == 0) || (mode == "lifecycle" && findings == 0) {
        bail!("{mode}: {births} births, {findings} findings: {summary}");
    }
    Ok(format!("{mode}: {births} births {lost} lost {findings} findings"))
}

fn stdout<'a>(told: &'a [Value], name: &str) -> Result<&'a str> {
    let run = one(told, name)?;
    if !matches!(run["code"].as_i64(), Some(0 | 1)) {
        bail!("{name}: code {}: {}", run["code"], run["stderr"]);
    }
    run["stdout"].as_str().with_context(|| format!("{name} told nothing"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn told(births: u64) -> Vec<Value> {
        let watch = |births: u64| {
            format!(
                "{}\n{}",
                json!({"schema": "loiter.finding/1"}),
                json!({"schema": "loiter.summary/1", "births": births, "lost": {"ring_full": 0}})
            )
        };
        let doctor = json!({"can_trace": true, "kernel": "6.1.0", "features": []}).to_string();
        let dump = json!({"tasks": [{}]}).to_string();
        let runs =
            [("doctor", doctor), ("dump", dump), ("none", watch(0)), ("end", "true".to_owned())];
        let watches = ["lifecycle", "all", "threads"].map(|mode| (mode, watch(births)));
        let all = runs.into_iter().chain(watches);
        all.map(|(name, stdout)| json!({"name": name, "code": 0, "stdout": stdout})).collect()
    }

    #[test]
    fn a_kernel_on_which_no_birth_is_seen_has_failed() {
        assert!(
            judge(&told(7))
                .unwrap()
                .starts_with("6.1.0, perf events, 1 tasks, lifecycle: 7 births")
        );
        assert!(judge(&told(0)).unwrap_err().to_string().contains("0 births"));
    }
}
