//! `cargo xtask soak`: what takes longer than the ordinary tests. Every Go version and way to build, thousands of attach cycles, real programs,
//! long watches, fuzzing. Ends with a table.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::progress::{AlreadyTold, seconds, step};
use crate::setup::versions::Kernel;
use crate::setup::{self, Need, versions};
use crate::{dist, fuzz, go, loiter, run, test};

mod cpio;
mod kernels;
mod machine;
mod recording;
mod servers;
mod services;
mod systemd;
mod watch;

/// Arguments of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Args {
    /// Attach and detach cycles
    #[arg(long, default_value_t = 2_000)]
    cycles: u32,
    /// Seconds for each fuzz target
    #[arg(long, default_value_t = 60)]
    fuzz: u64,
    /// Minutes for which each service is watched
    #[arg(long, env = "LOITER_SOAK_MINUTES", default_value_t = 10)]
    minutes: u64,
    /// A static loiter for `kernels` and `systemd`, instead of one that is built
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only test programs (`e2e_daemon --release` is one as users get it), other kernels (`kernels`, `kernels 6.12`), the service (`systemd`, `systemd 6.12`), fuzz targets, watches (`watch`) and the recording (`recording httpd`) whose name contains this
    filter: Option<String>,
}

/// The test program with limits that hold for an optimised build only.
const TIMED: &str = "e2e_daemon";

/// One line of the table.
struct Row {
    what: String,
    result: String,
    took: Duration,
    well: bool,
}

/// `cargo xtask soak`
///
/// # Errors
/// If something is missing or anything fails; everything is run all the same.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[
        Need::Bpf,
        Need::Cgo,
        Need::Go(versions::GO_ALL),
        Need::RealPrograms,
        Need::Readers,
        Need::PackageChecker,
    ])?;
    let chosen = |name: &str| args.filter.as_ref().is_none_or(|part| name.contains(part));
    let mut rows = Vec::new();
    for program in test_programs()?.into_iter().filter(|name| chosen(name)) {
        rows.push(timed(&program, || {
            tested(&mut test_program(&program, Build::Debug, args.cycles))
        }));
    }
    let released = format!("{TIMED} --release");
    if chosen(&released) {
        let mut cargo = test_program(TIMED, Build::Release, args.cycles);
        rows.push(timed(&released, || tested(&mut cargo)));
    }
    let targets: Vec<_> = fuzz::targets()?.into_iter().filter(|name| chosen(name)).collect();
    if !targets.is_empty() {
        fuzz::build()?;
    }
    for target in targets {
        let what = format!("fuzz {target}");
        rows.push(timed(&what, || Ok((fuzz::one(&target, args.fuzz)?, true))));
    }
    let kernels = chosen_kernels("kernels", chosen);
    let services = chosen_kernels("systemd", chosen);
    if !kernels.is_empty() || !services.is_empty() {
        rows.extend(machines(args.binary.as_deref(), &kernels, &services)?);
    }
    if chosen("watch") {
        rows.extend(watches(args.minutes));
    }
    if chosen("recording httpd") {
        rows.push(recording(args.minutes));
    }
    println!("\n{}", table(&rows));
    if rows.iter().all(|row| row.well) { Ok(()) } else { Err(AlreadyTold.into()) }
}

/// The integration tests of tracer-user, and its unit tests as `lib`.
fn test_programs() -> Result<Vec<String>> {
    let dir = go::workspace().join("tracer-user/tests");
    let entries =
        std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let is_program =
        |path: &Path| path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").is_file();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_program(path))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names.insert(0, "lib".to_owned());
    Ok(names)
}

/// How a test program is built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    Debug,
    /// Optimised; its tests run one after the other, since their limits are for a machine at rest.
    Release,
}

/// What runs a test program, with what is long in it.
fn test_program(name: &str, build: Build, cycles: u32) -> Command {
    let mut cargo = run::cargo();
    cargo.args(["test", "--no-fail-fast", "--package", "tracer-user"]);
    if build == Build::Release {
        cargo.arg("--release");
    }
    if name == "lib" {
        cargo.arg("--lib");
    } else {
        cargo.args(["--test", name]);
    }
    cargo.args(["--", "--include-ignored", "--show-output"]);
    if build == Build::Release {
        cargo.arg("--test-threads=1");
    }
    cargo.env("LOITER_MATRIX", "full").env("LOITER_CYCLES", cycles.to_string());
    cargo
}

fn tested(cargo: &mut Command) -> Result<(String, bool)> {
    let tally = test::count(cargo)?;
    Ok((tally.line(), tally.is_well()))
}

/// The kernels on which something is to be run: `kernels 6.12`, or all of them as `kernels`.
fn chosen_kernels(what: &str, chosen: impl Fn(&str) -> bool) -> Vec<&'static Kernel> {
    let kernels = versions::KERNELS.iter();
    kernels.filter(|kernel| chosen(&format!("{what} {}", kernel.series))).collect()
}

/// The static binary in virtual machines: alone, and as a service.
fn machines(binary: Option<&Path>, alone: &[&Kernel], service: &[&Kernel]) -> Result<Vec<Row>> {
    setup::ensure(&[Need::Kernels])?;
    let binary = match binary {
        Some(binary) => std::path::absolute(binary).context("which binary?")?,
        None => dist::static_binary()?,
    };
    let mut rows = Vec::new();
    if !alone.is_empty() {
        rows.extend(step("Running other kernels", || Ok(kernels::rows(alone, &binary)))?);
    }
    if !service.is_empty() {
        setup::ensure(&[Need::Systemd])?;
        rows.extend(step("Running it under systemd", || Ok(systemd::rows(service, &binary)))?);
    }
    Ok(rows)
}

/// All long watches, side by side.
fn watches(minutes: u64) -> Vec<Row> {
    let start = Instant::now();
    let done = loiter::build().and_then(|loiter| {
        let what = format!("Watching services for {minutes} min");
        step(&what, || watch::rows(&loiter, minutes.max(1)))
    });
    done.unwrap_or_else(|error| {
        let what = "watch services".to_owned();
        vec![Row { what, result: format!("{error:#}"), took: start.elapsed(), well: false }]
    })
}

/// A long recording.
fn recording(minutes: u64) -> Row {
    let start = Instant::now();
    let done = loiter::build().and_then(|loiter| {
        let what = format!("Recording a server for {minutes} min");
        step(&what, || recording::row(&loiter, minutes.max(1)))
    });
    done.unwrap_or_else(|error| {
        let what = "recording httpd, all".to_owned();
        Row { what, result: format!("{error:#}"), took: start.elapsed(), well: false }
    })
}

fn timed(what: &str, work: impl FnOnce() -> Result<(String, bool)>) -> Row {
    let start = Instant::now();
    let (result, well) = work().unwrap_or_else(|error| (format!("{error:#}"), false));
    Row { what: what.to_owned(), result, took: start.elapsed(), well }
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|row| {
        let verdict = if row.well { "ok    " } else { "FAILED" };
        let took = seconds(row.took);
        format!("{verdict}  {:width$}  {took:>14}  {}\n", row.what, row.result)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_is_run_optimised_only_where_that_is_asked_for() {
        let words = |build| {
            let command = test_program(TIMED, build, 1);
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let (debug, release) = (words(Build::Debug), words(Build::Release));
        assert!(debug.iter().all(|word| word != "--release"), "{debug:?}");
        let end = release.iter().position(|word| word == "--").unwrap();
        let (of_cargo, of_tests) = release.split_at(end);
        assert!(of_cargo.iter().any(|word| word == "--release"), "{release:?}");
        assert!(of_tests.iter().any(|word| word == "--include-ignored"), "{release:?}");
        assert!(of_tests.iter().any(|word| word == "--test-threads=1"), "{release:?}");
    }

    #[test]
    fn the_table_has_a_line_for_each_run() {
        let row = |what: &str, well| Row {
            what: what.to_owned(),
            result: "3 passed, 0 failed, 0 skipped".to_owned(),
            took: Duration::from_millis(1_500),
            well,
        };
        assert_eq!(
            table(&[row("lib", true), row("attach", false)]),
            "ok      lib              1.5 s  3 passed, 0 failed, 0 skipped\n\
             FAILED  attach           1.5 s  3 passed, 0 failed, 0 skipped\n"
        );
    }
}
