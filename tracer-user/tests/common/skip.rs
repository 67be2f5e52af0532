//! Tests that cannot run here. libtest knows no skip at run time, so a line says it, and
//! `cargo xtask test` counts these lines (and fails on any where `LOITER_NO_SKIP=1`).

use std::io::Write as _;

/// Tells that a test, or a part of it, is not run. Written past libtest's capture: it must be
/// seen when the test counts as passed.
pub fn skipped(name: &str, why: &str) {
    let why = why.replace('\n', " ");
    let line = format!("\nSKIPPED {name}: {why}\n");
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Root is needed to read other processes' memory and to attach probes.
///
/// # Errors
/// Why the test cannot run.
pub fn need_root() -> Result<(), String> {
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } == 0 { Ok(()) } else { Err("needs root".to_owned()) }
}

/// eBPF is needed: root, and a kernel that shows its types.
///
/// # Errors
/// Why the test cannot run.
pub fn need_bpf() -> Result<(), String> {
    need_root()?;
    if std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        Ok(())
    } else {
        Err("needs a kernel with BTF: /sys/kernel/btf/vmlinux is missing".to_owned())
    }
}
