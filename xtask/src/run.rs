//! Runs other programs. Errors say which, with which arguments, and what it said.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::go;

/// Tools that `setup` built lie here.
pub fn tools_dir() -> PathBuf {
    go::target_dir().join("tools")
}

/// `PATH` with our own tools first.
pub fn path() -> OsString {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(tools_dir().join("bin")).chain(std::env::split_paths(&old));
    std::env::join_paths(dirs).unwrap_or(old)
}

/// A command that finds our own tools, in the root of the workspace.
pub fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(go::workspace()).env("PATH", path());
    command
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// How a command looks in a message.
pub fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Runs a command whose output goes where ours goes.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub fn loud(command: &mut Command) -> Result<()> {
    let line = shown(command);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command and gives its standard output; both outputs are shown only if it fails.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub fn quiet(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let done = command.output().with_context(|| format!("cannot run `{line}`"))?;
    let out = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        let err = String::from_utf8_lossy(&done.stderr);
        bail!("`{line}` failed: {}\n{}\n{}", done.status, out.trim(), err.trim());
    }
    Ok(out.into_owned())
}

/// Where a program lies on `PATH`, our own tools included.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path()).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// Whether we are root.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
