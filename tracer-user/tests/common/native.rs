//! Builds the programs of `workloads/native`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::go::{target_dir, workspace};

/// Where what is built goes.
fn place() -> PathBuf {
    target_dir().join("native")
}

fn run(what: &str, command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{what}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A C program of one file.
///
/// # Errors
/// Why it cannot be built here.
pub fn c_program(name: &str) -> Result<PathBuf, String> {
    let exe = place().join(name);
    let source = workspace().join("workloads/native").join(name).with_extension("c");
    if is_newer(&exe, &source) {
        return Ok(exe);
    }
    std::fs::create_dir_all(place()).map_err(|e| e.to_string())?;
    // Tests run at once: each makes its own file, and the last one stays.
    let own = place().join(format!("{name}.{:?}", std::thread::current().id()));
    let mut cc = Command::new("cc");
    cc.args(["-g", "-O1", "-pthread", "-o"]).arg(&own).arg(&source);
    run("cc", &mut cc)?;
    std::fs::rename(&own, &exe).map_err(|e| e.to_string())?;
    Ok(exe)
}

/// The Rust program with the locks of the standard library and of parking_lot.
///
/// # Errors
/// Why it cannot be built here.
pub fn rust_program() -> Result<PathBuf, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--manifest-path"]);
    cargo.arg(workspace().join("workloads/native/rust/Cargo.toml"));
    cargo.arg("--target-dir").arg(place().join("rust"));
    // What our own build is told to do is not for it.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    run("cargo build of workloads/native/rust", &mut cargo)?;
    Ok(place().join("rust/debug/rustlocks"))
}

fn is_newer(exe: &Path, source: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    matches!((time(exe), time(source)), (Some(a), Some(b)) if a >= b)
}
