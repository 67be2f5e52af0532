//! Virtual machines with Debian's kernels. What is in them is one file system in memory, whose first process or service tells
//! what it saw as lines of JSON on the second serial port, each with a `name`; the last one is called `end`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::setup::versions::Kernel;
use crate::{loiter, run};

/// Seconds for one machine. It is emulated, since KVM within a virtual machine hangs on some hosts: that takes a minute or two
/// where there is nothing else to do.
const MOST_SECONDS: &str = "1800";

/// Of the kernel. A check that interrupts of the timer come in time would fail where the host is busy.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 loglevel=4 no_timer_check";

/// Lines of the console that are shown where a machine failed.
const CONSOLE_LINES: usize = 30;

/// Memory of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mebibytes(pub u32);

/// Boots a kernel with a file system; what the machine told.
///
/// # Errors
/// If it did not come to its end; with what its console shows.
pub fn boot(kernel: &Kernel, files: &[u8], memory: Mebibytes) -> Result<Vec<Value>> {
    let image = kernel_image(kernel)?;
    let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
    let (initrd, told, console) =
        (dir.path().join("initrd"), dir.path().join("told"), dir.path().join("console"));
    fs::write(&initrd, files).context("cannot write the root file system")?;
    let mut machine = run::command("timeout");
    machine.args([MOST_SECONDS, "qemu-system-x86_64", "-accel", "tcg"]);
    machine.args(["-cpu", "max", "-smp", "2", "-display", "none", "-monitor", "none"]);
    machine.arg("-m").arg(memory.0.to_string());
    machine.arg("-nodefaults").args(["-no-reboot", "-append", COMMAND_LINE]);
    machine.arg("-kernel").arg(image).arg("-initrd").arg(&initrd);
    machine.arg("-serial").arg(format!("file:{}", console.display()));
    machine.arg("-serial").arg(format!("file:{}", told.display()));
    let done = run::quiet(&mut machine);
    let said = fs::read_to_string(&told).unwrap_or_default();
    let lines = loiter::json_lines(said.as_bytes()).unwrap_or_default();
    if lines.iter().any(|line| line["name"] == "end") {
        return Ok(lines);
    }
    let console = fs::read(&console).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let last: Vec<&str> = console.lines().rev().take(CONSOLE_LINES).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    let why = done.err().unwrap_or_else(|| anyhow!("the machine ended early"));
    Err(why.context(format!("it told {said:?}; its console ends in {last:#?}")))
}

/// What is told under a name.
///
/// # Errors
/// If it is not.
pub fn one<'a>(told: &'a [Value], name: &str) -> Result<&'a Value> {
    told.iter().find(|line| line["name"] == name).with_context(|| format!("{name} was not run"))
}

/// The content of a program that had to be built.
///
/// # Errors
/// If that failed, or it cannot be read.
pub fn built(done: std::result::Result<PathBuf, String>) -> Result<Vec<u8>> {
    let path = done.map_err(anyhow::Error::msg)?;
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Where `setup` put the kernel.
fn kernel_image(kernel: &Kernel) -> Result<PathBuf> {
    let boot = kernel.dir().join("boot");
    let entries = fs::read_dir(&boot).with_context(|| format!("cannot read {}", boot.display()))?;
    let mut all = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    all.find(|path| path.to_string_lossy().contains("vmlinuz-"))
        .with_context(|| format!("{} has no kernel", boot.display()))
}
