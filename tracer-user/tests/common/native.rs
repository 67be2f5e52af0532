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
    let source = workspace().join("workloads/native").join(name).with_extension("c");
    compiled(name, &source, &["cc", "-g", "-O1", "-pthread"])
}

/// A C++ program of one file.
///
/// # Errors
/// Why it cannot be built here.
pub fn cxx_program(name: &str) -> Result<PathBuf, String> {
    let source = workspace().join("workloads/native").join(name).with_extension("cpp");
    compiled(name, &source, &["c++", "-std=c++17", "-g", "-O1", "-pthread"])
}

/// The C program with locks, linked against musl.
///
/// # Errors
/// Why it cannot be built here.
pub fn musl_program() -> Result<PathBuf, String> {
    let source = workspace().join("workloads/native/locks.c");
    let kernel = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"];
    let compiler = ["musl-gcc", "-static", "-g", "-O1", "-fno-omit-frame-pointer", "-pthread"];
    compiled("locks-musl", &source, &[&compiler[..], &kernel].concat())
}

/// A Tokio runtime.
///
/// # Errors
/// Why it cannot be built here.
pub fn tokio_program() -> Result<PathBuf, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--manifest-path"]);
    cargo.arg(workspace().join("workloads/native/tokio/Cargo.toml"));
    cargo.arg("--target-dir").arg(place().join("tokio"));
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    run("cargo build of workloads/native/tokio", &mut cargo)?;
    Ok(place().join("tokio/debug/tokiopool"))
}

/// Java classes of one file; gives the directory they are in.
///
/// # Errors
/// Why they cannot be built here.
pub fn java_classes(name: &str) -> Result<PathBuf, String> {
    let source = workspace().join("workloads/native/java").join(name).with_extension("java");
    let classes = place().join("java").join(format!("{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&classes).map_err(|e| e.to_string())?;
    run("javac", Command::new("javac").arg("-d").arg(&classes).arg(&source))?;
    Ok(classes)
}

fn compiled(name: &str, source: &Path, compiler: &[&str]) -> Result<PathBuf, String> {
    let exe = place().join(name);
    if is_newer(&exe, source) {
        return Ok(exe);
    }
    std::fs::create_dir_all(place()).map_err(|e| e.to_string())?;
    // Tests run at once: each makes its own file, and the last one stays.
    let own = place().join(format!("{name}.{:?}", std::thread::current().id()));
    let (program, args) = compiler.split_first().ok_or("no compiler")?;
    run(program, Command::new(program).args(args).arg("-o").arg(&own).arg(source))?;
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
