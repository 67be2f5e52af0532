//! `cargo xtask layouts`: writes tracer-user/src/runtime/go/layouts.rs, the table of where the Go
//! runtime keeps what loiter reads. It builds a tiny program with each toolchain and reads the
//! program's DWARF and data, so that nothing in the table was typed by hand.

mod binary;
mod extract;
mod render;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::go;
use extract::Facts;

/// The table, from the root of the workspace.
const TABLE: &str = "tracer-user/src/runtime/go/layouts.rs";

/// Arguments of `cargo xtask layouts`.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail if the table is not what the toolchains say
    #[arg(long)]
    check: bool,
}

/// `cargo xtask layouts`
///
/// # Errors
/// If a toolchain is missing or a program of its making lacks something that is wanted; with
/// `--check`, if the table differs.
pub fn run(args: &Args) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot make a directory for the build")?;
    let all = go::GO_VERSIONS
        .iter()
        .map(|version| {
            let go = go::go_tool(version).map_err(anyhow::Error::msg)?;
            let program = build(&go, scratch.path(), version)?;
            extract::facts(&program).with_context(|| format!("Go {version}"))
        })
        .collect::<Result<Vec<Facts>>>()?;
    let fresh = format(&render::table(&all))?;
    let path = go::workspace().join(TABLE);
    if args.check {
        return check(&path, &fresh);
    }
    fs::write(&path, fresh).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{TABLE}: {} versions", all.len());
    Ok(())
}

fn check(path: &Path, fresh: &str) -> Result<()> {
    let old =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if old != fresh {
        let line = old.lines().zip(fresh.lines()).take_while(|(a, b)| a == b).count() + 1;
        bail!(
            "{TABLE} is not what the toolchains say, from line {line} on: `cargo xtask layouts` \
             writes it anew"
        );
    }
    println!("{TABLE} is what {} toolchains say", go::GO_VERSIONS.len());
    Ok(())
}

/// The program touches channels, locks and timers, so that no type is left out of its DWARF.
const PROGRAM: &str = r#"package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

func main() {
	var mu sync.Mutex
	mu.Lock()
	defer mu.Unlock()
	c := make(chan int)
	go func() { c <- 1 }()
	select {
	case <-c:
	case <-time.After(time.Second):
	}
	fmt.Println(os.Args)
}
"#;

fn build(go: &Path, scratch: &Path, version: &str) -> Result<PathBuf> {
    let home = scratch.join(version);
    fs::create_dir(&home).with_context(|| format!("cannot create {}", home.display()))?;
    fs::write(home.join("main.go"), PROGRAM).context("cannot write the program")?;
    fs::write(home.join("go.mod"), "module example.com/tiny\n\ngo 1.19\n")
        .context("cannot write go.mod")?;
    let built = home.join("tiny");
    let done = Command::new(go)
        .args(["build", "-o"])
        .arg(&built)
        .arg(".")
        .current_dir(&home)
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOFLAGS", "-mod=mod")
        .env("GO111MODULE", "on")
        .env("GOWORK", "off")
        .env("GOARCH", "amd64")
        .env("CGO_ENABLED", "0")
        .env_remove("GOEXPERIMENT")
        .env_remove("GOROOT")
        .output()
        .with_context(|| format!("cannot run {}", go.display()))?;
    if !done.status.success() {
        bail!("go {version} cannot build: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(built)
}

/// As `cargo fmt` would have it.
fn format(source: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(go::workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run rustfmt")?;
    rustfmt
        .stdin
        .take()
        .context("rustfmt has no input")?
        .write_all(source.as_bytes())
        .context("cannot write to rustfmt")?;
    let done = rustfmt.wait_with_output().context("rustfmt")?;
    if !done.status.success() {
        bail!("rustfmt does not accept the table");
    }
    String::from_utf8(done.stdout).context("the table is not UTF-8")
}
