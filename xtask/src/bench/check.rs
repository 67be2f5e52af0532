//! (f) A Go test package with and without `loiter check`: a test binary that has nothing to do, one that makes cheap system
//! calls, which a seccomp filter makes dearer if anything does, and `go test` as a whole.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::Options;
use super::stats::Samples;
use crate::setup::versions;
use crate::{go, run};

/// System calls of one run.
const CALLS: &str = "-test.benchtime=2000000x";

/// Measures and prints.
///
/// # Errors
/// If the tests or loiter fail.
pub fn run(loiter: &Path, options: &Options) -> Result<()> {
    let home = tempfile::tempdir().context("cannot create a temporary directory")?;
    let exe = home.path().join("checked.test");
    let mut build = go_test()?;
    run::quiet(build.arg("-c").arg("-o").arg(&exe).arg("."))?;
    let clean: &[&str] = &["-test.run", "^TestClean$"];
    let calls: &[&str] = &["-test.run", "^$", "-test.bench", "SystemCalls", CALLS];
    let exec = format!("{} check --", loiter.display());
    let mut rows = [Row::default(), Row::default(), Row::default()];
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (row, args) in rows.iter_mut().zip([clean, calls]) {
            row.take(|checked| Ok(binary(loiter, &exe, args, checked)))?;
        }
        rows[2].take(|checked| {
            let mut go = go_test()?;
            if checked {
                go.args(["-exec", &exec]);
            }
            go.args(["-count=1", "-run", "^TestClean$", "."]);
            Ok(go)
        })?;
    }
    println!(
        "\n(f) loiter check, {} rounds: ms, without - with - without again (A/A)",
        options.rounds
    );
    for (name, row) in
        ["a test that does nothing", "2 000 000 system calls", "go test"].iter().zip(&rows)
    {
        println!("{name:<24} {} - {} - {}", row.bare, row.checked, row.again);
        let more = row.checked.minus(&row.bare);
        println!(
            "{:<24} with/without {}, A/A {}; {more} ms more",
            "",
            row.checked.over(&row.bare),
            row.again.over(&row.bare)
        );
    }
    Ok(())
}

/// One thing, measured in three ways in turn.
#[derive(Default)]
struct Row {
    bare: Samples,
    checked: Samples,
    again: Samples,
}

impl Row {
    fn take(&mut self, command: impl Fn(bool) -> Result<Command>) -> Result<()> {
        self.bare.push(timed(command(false)?)?);
        self.checked.push(timed(command(true)?)?);
        self.again.push(timed(command(false)?)?);
        Ok(())
    }
}

fn binary(loiter: &Path, exe: &Path, args: &[&str], checked: bool) -> Command {
    let mut command = run::command(if checked { loiter } else { exe });
    if checked {
        command.args(["check", "--"]).arg(exe);
    }
    command.args(args);
    command
}

/// In ms.
fn timed(mut command: Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status =
        command.status().with_context(|| format!("cannot run {}", run::shown(&command)))?;
    let took = start.elapsed();
    if !status.success() {
        bail!("{}: {status}", run::shown(&command));
    }
    Ok(took.as_secs_f64() * 1_000.0)
}

fn go_test() -> Result<Command> {
    let go = go::go_tool(versions::GO_NEWEST).map_err(anyhow::Error::msg)?;
    let mut command = run::command(&go);
    command.arg("test").current_dir(sources());
    command.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("GOFLAGS", "-mod=mod");
    command.env("GOWORK", "off").env("CGO_ENABLED", "0").env_remove("GOROOT");
    Ok(command)
}

fn sources() -> PathBuf {
    go::workspace().join("workloads/go/checked")
}
