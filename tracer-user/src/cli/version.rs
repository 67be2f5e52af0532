//! What `--version` tells. May use: kernel's constants.

use std::sync::LazyLock;

/// The commit it was built from, where the build said so.
const COMMIT: Option<&str> = option_env!("LOITER_COMMIT");

/// The Go versions whose tasks can be read.
const GO: &str = "Go 1.19, 1.21 to 1.27 (amd64)";

static LONG: LazyLock<String> = LazyLock::new(|| {
    let commit = COMMIT.map(|c| format!(" (commit {c})")).unwrap_or_default();
    format!(
        "{}{commit}\ntraces {GO}\nneeds  Linux 5.15 or later, x86-64",
        env!("CARGO_PKG_VERSION")
    )
});

/// Version, commit, and what can be traced.
pub fn long() -> &'static str {
    &LONG
}
