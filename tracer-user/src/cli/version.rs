//! What `--version` tells. May use: kernel's and runtime's constants.

use std::sync::LazyLock;

use crate::kernel;
use crate::runtime::go::layout::Layout;

/// The commit it was built from, where the build said so.
const COMMIT: Option<&str> = option_env!("LOITER_COMMIT");

static LONG: LazyLock<String> = LazyLock::new(|| {
    let commit = COMMIT.map(|c| format!(" (commit {c})")).unwrap_or_default();
    let object = match kernel::object_info() {
        Some(o) => format!("{} ({} bytes)", o.digest, o.size),
        None => "not built in: snapshots only".to_owned(),
    };
    format!(
        "{}{commit}\neBPF part  {object}\ntraces     {} on x86-64\nneeds      Linux 5.15 or later",
        env!("CARGO_PKG_VERSION"),
        go_versions()
    )
});

/// Version, commit, and what can be traced.
pub fn long() -> &'static str {
    &LONG
}

/// `Go 1.19, 1.21, 1.22`.
fn go_versions() -> String {
    let minors: Vec<String> = Layout::all().iter().map(|l| format!("1.{}", l.minor)).collect();
    format!("Go {}", minors.join(", "))
}

/// Version, commit and digest of the kernel part, in one line: for what is kept.
pub fn line() -> String {
    let commit = COMMIT.map(|c| format!(" (commit {c})")).unwrap_or_default();
    let digest = kernel::object_info().map_or_else(|| "none".to_owned(), |o| o.digest);
    format!("loiter {}{commit}, eBPF part {digest}", env!("CARGO_PKG_VERSION"))
}
