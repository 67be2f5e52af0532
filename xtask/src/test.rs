//! `cargo xtask test`: sets up, runs all tests - those that load eBPF too - and counts them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::progress::{AlreadyTold, seconds};
use crate::setup::{Need, versions};
use crate::{run, setup};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Test with every Go version and every way to build
    #[arg(long)]
    full: bool,
    /// Use what is there, install nothing
    #[arg(long)]
    no_setup: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// `cargo xtask test`
///
/// # Errors
/// If something is missing, does not build, or a test fails; with `LOITER_NO_SKIP=1` also if one is skipped.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    if !args.no_setup {
        let wanted = if args.full { versions::GO_ALL } else { versions::GO_SHORT };
        setup::ensure(&[
            Need::Bpf,
            Need::Cgo,
            Need::Go(wanted),
            Need::RealPrograms,
            Need::Readers,
            Need::PackageChecker,
        ])?;
    }
    let mut cargo = run::cargo();
    cargo.args(["test", "--no-fail-fast"]);
    if args.full {
        cargo.env("LOITER_MATRIX", "full");
    }
    if let Some(filter) = &args.filter {
        cargo.args(["--", filter]);
    }
    let tally = count(&mut cargo)?;
    println!("This took {}.", seconds(start.elapsed()));
    tally.close(&[])
}

/// Runs `cargo test`, shows what it says, and counts.
///
/// # Errors
/// If it cannot be run.
pub fn count(cargo: &mut Command) -> Result<Tally> {
    let line = run::shown(cargo);
    let mut child =
        cargo.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{line}`"))?;
    let mut tally = Tally::default();
    if let Some(out) = child.stdout.take() {
        let mut lines = BufReader::new(out);
        let mut raw = Vec::new();
        while lines.read_until(b'\n', &mut raw).context("cannot read what the tests say")? > 0 {
            std::io::stdout().write_all(&raw).context("cannot write")?;
            tally.read(&String::from_utf8_lossy(&raw));
            raw.clear();
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{line}`"))?;
    tally.clean = status.success();
    Ok(tally)
}

/// Tests, counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    passed: u64,
    failed: u64,
    /// Measurements: marked `ignore`, so that figures are not taken while other tests run.
    ignored: u64,
    skipped: Vec<String>,
    clean: bool,
}

impl Tally {
    /// Takes in one line of libtest or of a test.
    fn read(&mut self, line: &str) {
        let line = line.trim();
        if let Some(skip) = line.strip_prefix("SKIPPED ") {
            self.skipped.push(skip.to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            for part in result.split([';', '.']) {
                let mut words = part.split_whitespace();
                let count = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
                match words.next() {
                    Some("passed") => self.passed += count,
                    Some("failed") => self.failed += count,
                    Some("ignored") => self.ignored += count,
                    _ => {}
                }
            }
        }
    }

    /// Tests that did not run at all: libtest takes them for passed. `name[part]` is a part of a test that ran.
    fn whole_skips(&self) -> u64 {
        let name = |skip: &&String| !skip.split(':').next().unwrap_or_default().contains('[');
        let plain = self.skipped.iter().filter(|skip| name(skip)).count();
        u64::try_from(plain).unwrap_or(u64::MAX)
    }

    /// `3 passed, 0 failed, 1 skipped`
    pub fn line(&self) -> String {
        let parts = u64::try_from(self.skipped.len()).unwrap_or(u64::MAX);
        let passed = self.passed.saturating_sub(self.whole_skips());
        format!("{passed} passed, {} failed, {parts} skipped", self.failed)
    }

    /// Whether nothing failed.
    pub fn is_well(&self) -> bool {
        self.failed == 0 && self.clean
    }

    /// Prints what was skipped and which other checks failed, and the closing line last.
    ///
    /// # Errors
    /// If a check or a test failed, if cargo did, or if a test was skipped where none may be.
    pub fn close(&self, failed_checks: &[&str]) -> Result<()> {
        for skip in &self.skipped {
            println!("skipped: {skip}");
        }
        let forbidden = std::env::var("LOITER_NO_SKIP").is_ok_and(|value| value == "1");
        let skips_fail = forbidden && !self.skipped.is_empty();
        if skips_fail {
            println!("LOITER_NO_SKIP=1: every test has to run here");
        }
        if self.ignored > 0 {
            println!("{} measurements and long tests are left to `cargo xtask soak`", self.ignored);
        }
        if !failed_checks.is_empty() {
            println!("failed: {}", failed_checks.join(", "));
        }
        if self.failed == 0 && !self.clean {
            println!("cargo test failed before all tests had run");
        }
        println!("{}", self.line());
        let well = self.is_well() && !skips_fail && failed_checks.is_empty();
        if well { Ok(()) } else { Err(AlreadyTold.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn results_of_all_test_programs_are_added() {
        let tally = tally(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n",
        );
        assert_eq!(tally.line(), "5 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_skipped_test_has_not_passed_but_a_test_with_a_skipped_part_has() {
        let tally = tally(
            "SKIPPED dump: needs root\nSKIPPED dump[1.23.9]: no toolchain\n\
             test result: ok. 3 passed; 0 failed; 0 ignored;\n",
        );
        assert_eq!(tally.line(), "2 passed, 0 failed, 2 skipped");
    }
}
