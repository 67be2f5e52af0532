//! The static binary: built so that it runs on any Linux, and has nothing of the machine it was built on.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{go, run};

/// The only target with a standard library here; glibc links statically into it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the release with its symbols.
///
/// # Errors
/// If it does not build.
pub fn binary(epoch: u64) -> Result<PathBuf> {
    let mut cargo = run::cargo();
    // With a target named, flags are for the program and not for macros and build scripts.
    cargo.args(["build", "--release", "--locked", "--package", "tracer-user", "--bin", "loiter"]);
    cargo.args(["--target", TARGET]);
    let places = places()?;
    let mapped = |flag: &str| -> Vec<String> {
        places.iter().map(|(from, to)| format!("{flag}{}={to}", from.display())).collect()
    };
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(mapped("--remap-path-prefix="));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env_remove("RUSTFLAGS");
    // zstd is C.
    cargo.env("CFLAGS", mapped("-ffile-prefix-map=").join(" "));
    cargo.env("SOURCE_DATE_EPOCH", epoch.to_string());
    run::loud(&mut cargo)?;
    Ok(go::target_dir().join(TARGET).join("release/loiter"))
}

/// What of this machine could be named in the binary, and what is named instead.
///
/// # Errors
/// If cargo's home is not to be found.
pub fn places() -> Result<[(PathBuf, &'static str); 2]> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let cargo = cargo.context("neither CARGO_HOME nor HOME is set")?;
    Ok([(go::workspace(), "/loiter"), (cargo, "/cargo")])
}

/// Takes the symbols out into a file of their own, which debuggers find by build id.
///
/// # Errors
/// If objcopy is missing or refuses.
pub fn split(built: &Path, binary: &Path, symbols: &Path) -> Result<()> {
    run::quiet(run::command("objcopy").args(["--only-keep-debug"]).arg(built).arg(symbols))?;
    run::quiet(run::command("objcopy").args(["--strip-all"]).arg(built).arg(binary))?;
    Ok(())
}
