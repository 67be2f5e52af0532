//! The binary under test and the packages of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::common::go::{target_dir, workspace};

/// Runs a command that has to succeed; gives what it printed.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The packages as shipped, where they are what is to be tested.
fn shipped() -> Option<PathBuf> {
    std::env::var_os("LOITER_DIST").map(PathBuf::from)
}

/// `cargo xtask dist` with a binary that exists.
pub fn dist(binary: &Path, parts: &[&str], to: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args(["run", "--quiet", "--package", "xtask", "--", "dist"]);
    command.args(parts).arg("--binary").arg(binary).arg("--to").arg(to);
    // What this test's package was told is not for another one.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    output(&mut command);
}

/// Stands for the binary where packages are looked at from outside: it passes on what it is asked.
pub fn stand_in(dir: &Path) -> PathBuf {
    let (text, path) = (dir.join("text"), dir.join("stand-in"));
    fs::write(&text, format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_loiter"))).unwrap();
    // By another process: a file that was open for writing in a fork of this one cannot be run.
    output(Command::new("install").args(["-m", "0755"]).arg(&text).arg(&path));
    path
}

/// The static binary: the one that is shipped, or the library under test linked in the same way.
pub fn static_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| shipped().map_or_else(link, |dir| dir.join("loiter")))
}

/// The image: the one that is shipped, or one of the binary above.
pub fn image(temporary: &Path) -> PathBuf {
    let dir = shipped().unwrap_or_else(|| {
        dist(static_binary(), &["image"], temporary);
        temporary.to_path_buf()
    });
    named(&dir, ".oci.tar")
}

/// The Debian package: the one that is shipped, or one of a stand-in.
pub fn debian(temporary: &Path) -> PathBuf {
    let dir = shipped().unwrap_or_else(|| {
        dist(&stand_in(temporary), &["deb"], temporary);
        temporary.to_path_buf()
    });
    named(&dir, ".deb")
}

/// The file in a directory whose name ends so.
pub fn named(dir: &Path, end: &str) -> PathBuf {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.into_iter().find(|path| path.to_string_lossy().ends_with(end)).expect(end)
}

/// Links `main.rs` anew with the library that this test was built with; that takes seconds, where building all
/// crates for another target takes minutes.
fn link() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let crates = own.parent().unwrap();
    let binary = target_dir().join("tmp/loiter-static");
    fs::create_dir_all(binary.parent().unwrap()).unwrap();
    let library = newest_library(crates);
    output(
        Command::new("rustc")
            .current_dir(workspace())
            .args(["tracer-user/src/main.rs", "--crate-name=loiter_static", "--edition=2024"])
            .args(["-Ctarget-feature=+crt-static", "-Cstrip=symbols", "--extern"])
            .arg(format!("loiter={}", library.display()))
            .arg("-L")
            .arg(format!("dependency={}", crates.display()))
            .arg("-o")
            .arg(&binary),
    );
    binary
}

fn newest_library(dir: &Path) -> PathBuf {
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libloiter-") && name.ends_with(".rlib")
    };
    let age = |path: &PathBuf| -> SystemTime { fs::metadata(path).unwrap().modified().unwrap() };
    let found = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(is_it);
    found.max_by_key(age).expect("this test uses the library")
}
