//! `cargo xtask ci`: what continuous integration runs. The closing line of the tests is the last one.

use anyhow::Result;

use crate::progress::step;
use crate::setup::{Need, versions};
use crate::{layers, run, setup, test};

/// `cargo xtask ci`
///
/// # Errors
/// If a check or a test fails. All of them are run, so that one fault does not hide another.
pub fn run() -> Result<()> {
    setup::ensure(&[
        Need::Bpf,
        Need::Cgo,
        Need::Go(versions::GO_SHORT),
        Need::RealPrograms,
        Need::Readers,
        Need::PackageChecker,
    ])?;
    let mut failed = Vec::new();
    let mut check = |what: &'static str, work: &mut dyn FnMut() -> Result<()>| {
        if let Err(error) = step(what, work) {
            eprintln!("{error:#}");
            failed.push(what);
        }
    };
    check("cargo fmt", &mut || run::loud(run::cargo().args(["fmt", "--all", "--check"])));
    check("cargo clippy", &mut || {
        run::loud(run::cargo().args(["clippy", "--all-targets", "--", "-D", "warnings"]))
    });
    check("layers", &mut layers::run);
    let tally = test::count(run::cargo().args(["test", "--no-fail-fast"]))?;
    tally.close(&failed)
}
