//! The test binary of workloads/go/checked, and `loiter check` around it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::go::{go_tool, target_dir, workspace};

/// The versions that all of this is shown with.
pub const VERSIONS: [&str; 2] = ["1.19", "1.27.3"];

/// How many were built.
static BUILDS: AtomicU32 = AtomicU32::new(0);

/// The sources of the package.
pub fn sources() -> PathBuf {
    workspace().join("workloads/go/checked")
}

/// The `go` command, apart from whatever else is configured here.
pub fn go(version: &str, in_dir: &Path) -> Result<Command, String> {
    let mut command = Command::new(go_tool(version)?);
    command.current_dir(in_dir).stdin(Stdio::null());
    command.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("GOFLAGS", "-mod=mod");
    command.env("GOWORK", "off").env("CGO_ENABLED", "0").env_remove("GOROOT");
    if ["GOCACHE", "XDG_CACHE_HOME", "HOME"].iter().all(|name| std::env::var_os(name).is_none()) {
        command.env("GOCACHE", target_dir().join("workloads/go-cache"));
    }
    Ok(command)
}

/// The package's tests as a program. Go itself keeps what is built.
pub fn test_binary(version: &str) -> Result<PathBuf, String> {
    build(version, &sources(), &[])
}

/// The tests in a directory as a program.
pub fn build(version: &str, dir: &Path, flags: &[&str]) -> Result<PathBuf, String> {
    let home = target_dir().join("workloads/checked");
    std::fs::create_dir_all(&home).map_err(|e| e.to_string())?;
    let tag = flags.join("").replace(|c: char| !c.is_alphanumeric(), "");
    let built = home.join(format!("{version}{tag}.test"));
    // Tests in other threads and processes may build the same at the same time.
    let number = BUILDS.fetch_add(1, Ordering::Relaxed);
    let fresh = home.join(format!("{version}{tag}-{}-{number}.new", std::process::id()));
    let done = go(version, dir)?
        .args(["test", "-c"])
        .args(flags)
        .arg("-o")
        .arg(&fresh)
        .arg(".")
        .output()
        .map_err(|e| e.to_string())?;
    assert!(done.status.success(), "{}", text(&done.stderr));
    std::fs::rename(&fresh, &built).map_err(|e| e.to_string())?;
    Ok(built)
}

/// `loiter check ARGS -- COMMAND`.
pub fn check(args: &[&str], command: &[&str]) -> Command {
    let mut loiter = Command::new(env!("CARGO_BIN_EXE_loiter"));
    loiter.arg("check").args(args).arg("--").args(command).stdin(Stdio::null());
    loiter
}

/// Runs the tests that match under `loiter check`.
pub fn run(exe: &Path, args: &[&str], tests: &str) -> Told {
    let exe = exe.to_str().unwrap();
    Told::new(&check(args, &[exe, "-test.run", tests]).output().unwrap())
}

/// How it ended, and what was said.
#[derive(Debug)]
pub struct Told {
    /// The exit code.
    pub code: Option<i32>,
    /// What the program said.
    pub out: String,
    /// What loiter said.
    pub err: String,
}

impl Told {
    /// Of a command that has ended.
    pub fn new(output: &Output) -> Self {
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
