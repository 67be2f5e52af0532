//! `loiter version`, and what `--version` tells. May use: kernel's, record's and runtime's constants.

use std::io::Write as _;
use std::sync::LazyLock;

use clap::Args;
use serde_json::json;

use super::Context;
use super::args::Format;
use super::destination::{Destination, Touch};
use super::exit::Outcome;
use crate::kernel;
use crate::record;
use crate::runtime::go::layout::Layout;

/// The commit it was built from (build.rs); none in builds for development and outside of git.
const COMMIT: Option<&str> = option_env!("LOITER_COMMIT");
/// What build.rs appends where the sources are no longer those of the commit.
const MODIFIED: &str = "-modified";
/// As many digits of a digest as tell objects apart in a line.
const SHORT_DIGEST: usize = 16;

static LONG: LazyLock<String> = LazyLock::new(|| {
    let object = match kernel::object_info() {
        Some(o) => format!("sha256:{} ({} bytes)", o.digest, o.size),
        None => "not built in: snapshots only".to_owned(),
    };
    let (major, minor) = record::VERSION;
    format!(
        "{}\ncommit      {}\neBPF part   {object}\ntraces      Go {}; threads of any process; on x86-64\n\
         recordings  format {major}.{minor}\nneeds       Linux 5.15 or later",
        env!("CARGO_PKG_VERSION"),
        commit().unwrap_or("none: a build for development, or outside of git"),
        ranges(&go_minors()),
    )
});

/// Say the version, and what this build can trace
///
/// The version, the commit it was built from, the digest of the eBPF object inside, the versions of Go it
/// knows, and the format of its recordings. `loiter --version` tells the same.
#[derive(Args, Debug)]
pub struct VersionArgs {
    /// The form of the answer
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

/// Runs it.
///
/// # Errors
/// If the answer cannot be written.
pub fn run(args: &VersionArgs, _context: &Context) -> anyhow::Result<Outcome> {
    let mut to = Destination::new(None, Touch::AtFirstByte)?;
    match args.format {
        Format::Text => writeln!(to, "loiter {}", long())?,
        Format::Json => writeln!(to, "{}", as_json())?,
    }
    to.finish()?;
    Ok(Outcome::Fine)
}

fn as_json() -> serde_json::Value {
    let (major, minor) = record::VERSION;
    json!({
        "schema": "loiter.version/1",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": commit().map(|commit| commit.trim_end_matches(MODIFIED)),
        "modified": commit().is_some_and(|commit| commit.ends_with(MODIFIED)),
        "object": kernel::object_info().map(|o| {
            json!({"sha256": o.digest, "bytes": o.size, "compiler": o.compiler})
        }),
        "go": go_minors().iter().map(|minor| format!("1.{minor}")).collect::<Vec<_>>(),
        "recordings": format!("{major}.{minor}"),
        "needs": {"architecture": "x86_64", "linux": "5.15"},
    })
}

/// Version, commit, and what can be traced.
pub fn long() -> &'static str {
    &LONG
}

/// Version, commit and digest of the kernel part, in one line: for what is kept.
pub fn line() -> String {
    let commit = commit().map(|c| format!(" (commit {c})")).unwrap_or_default();
    let digest = kernel::object_info().map(|o| o.digest);
    let digest = digest.as_deref().and_then(|digest| digest.get(..SHORT_DIGEST));
    format!("loiter {}{commit}, eBPF part {}", env!("CARGO_PKG_VERSION"), digest.unwrap_or("none"))
}

fn commit() -> Option<&'static str> {
    COMMIT.filter(|commit| !commit.is_empty())
}

fn go_minors() -> Vec<u32> {
    let mut minors: Vec<u32> = Layout::all().iter().map(|layout| u32::from(layout.minor)).collect();
    minors.sort_unstable();
    minors.dedup();
    minors
}

/// `1.19, 1.21 to 1.27`
fn ranges(minors: &[u32]) -> String {
    let runs = minors.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let told: Vec<String> = runs
        .filter_map(|run| match (run.first()?, run.last()?) {
            (first, last) if first == last => Some(format!("1.{first}")),
            (first, last) => Some(format!("1.{first} to 1.{last}")),
        })
        .collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_told_as_ranges() {
        assert_eq!(ranges(&[19, 21, 22, 23]), "1.19, 1.21 to 1.23");
        assert_eq!(ranges(&[27]), "1.27");
        assert_eq!(ranges(&[]), "");
    }
}
