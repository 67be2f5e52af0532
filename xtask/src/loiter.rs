//! loiter itself, built as users get it, and what it prints as JSON.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::progress::step;
use crate::{go, run};

/// Exit code of loiter when it found something (README, "Exit codes").
pub const FINDINGS: i32 = 1;

/// Builds loiter in release mode; gives the path of the binary.
///
/// # Errors
/// If it does not build.
pub fn build() -> Result<PathBuf> {
    step("Building loiter", || {
        let mut cargo = run::cargo();
        run::quiet(cargo.args([
            "build",
            "--release",
            "--package",
            "tracer-user",
            "--bin",
            "loiter",
        ]))?;
        Ok(go::target_dir().join("release/loiter"))
    })
}

/// A loiter command line.
pub fn command(loiter: &Path, args: &[&str]) -> Command {
    let mut command = run::command(loiter);
    command.args(args);
    command
}

/// Runs loiter and gives what it printed. Findings are no failure.
///
/// # Errors
/// If it cannot be started, or ends in another way than "fine" or "findings".
pub fn output(loiter: &Path, args: &[&str]) -> Result<Output> {
    let mut command = command(loiter, args);
    let line = run::shown(&command);
    let done = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !matches!(done.status.code(), Some(0 | FINDINGS)) {
        bail!("`{line}`: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(done)
}

/// The lines of a JSON lines output.
///
/// # Errors
/// If a line is not JSON.
pub fn json_lines(out: &[u8]) -> Result<Vec<Value>> {
    let text = String::from_utf8_lossy(out);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
        .collect()
}

/// The lines of one schema: `loiter.finding/1`.
pub fn of_schema<'a>(lines: &'a [Value], schema: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["schema"] == schema).collect()
}

/// The records that a summary says were lost, of all kinds.
pub fn lost(summary: &Value) -> u64 {
    let kinds = summary["lost"].as_object();
    kinds.map_or(0, |kinds| kinds.values().filter_map(Value::as_u64).sum())
}
