//! `cargo xtask fuzz`: feeds the parsers with hostile input, guided by coverage (libFuzzer). The crate is fuzz/, outside of the workspace: it is built with
//! instrumentation that nothing else needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

use crate::go::{self, Variant};
use crate::progress::step;
use crate::run;
use crate::setup::{self, Need, versions};

/// As cargo-fuzz sets them: coverage counters and compare tracing, and checks that release builds leave out.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];

/// Named, so that build scripts and macros are built without the flags.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Code to begin with: some functions, bytes.
const SOME_CODE: usize = 4096;

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// One target; without it all of them, one after the other
    target: Option<String>,
    /// Seconds for each target
    #[arg(long = "for", default_value = "60s", value_name = "DURATION", value_parser = parse_seconds)]
    seconds: u64,
    /// Only tell which targets there are
    #[arg(long)]
    list: bool,
}

fn parse_seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is no time such as 60s or 5m"))?;
    number.checked_mul(unit).ok_or_else(|| format!("`{text}` is too long"))
}

/// `cargo xtask fuzz`
///
/// # Errors
/// If a target does not build, or its parser fails on an input; libFuzzer tells which and where it is kept.
pub fn run(args: &Args) -> Result<()> {
    let all = targets()?;
    if args.list {
        all.iter().for_each(|target| println!("{target}"));
        return Ok(());
    }
    let chosen = match &args.target {
        None => all,
        Some(one) if all.contains(one) => vec![one.clone()],
        Some(one) => bail!("no target `{one}`; there are: {}", all.join(", ")),
    };
    build()?;
    for target in &chosen {
        let found = step(&format!("Fuzzing {target} for {} s", args.seconds), || {
            one(target, args.seconds)
        })?;
        println!("{target}: {found}");
    }
    Ok(())
}

/// Names of the fuzz targets.
///
/// # Errors
/// If the crate is not there.
pub fn targets() -> Result<Vec<String>> {
    let dir = crate_dir().join("fuzz_targets");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds all targets.
///
/// # Errors
/// If one does not build.
pub fn build() -> Result<()> {
    setup::ensure(&[Need::Bpf, Need::Fuzzer, Need::Go(&[versions::GO_NEWEST])])?;
    step("Building the fuzz targets", || {
        let mut cargo = run::cargo();
        cargo.args(["build", "--release", "--target", TARGET]).current_dir(crate_dir());
        cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")).env_remove("RUSTFLAGS");
        cargo.env("CARGO_TARGET_DIR", target_dir());
        run::quiet(&mut cargo).map(|_| ())
    })
}

/// Runs one target; gives libFuzzer's closing words.
///
/// # Errors
/// If the parser fails on an input.
pub fn one(target: &str, seconds: u64) -> Result<String> {
    let corpus = crate_dir().join("corpus").join(target);
    let artifacts = crate_dir().join("artifacts").join(target);
    for dir in [&corpus, &artifacts] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    seed(target, &corpus)?;
    let mut command = Command::new(target_dir().join(TARGET).join("release").join(target));
    command.arg(&corpus);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // A parser that needs more than this for one input hangs or eats memory: that is a fault.
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    let line = run::shown(&command);
    let done = command.output().with_context(|| format!("cannot run `{line}`"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        let tail: Vec<_> = said.lines().rev().take(40).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        bail!("{target} fails on an input, kept in {}:\n{}", artifacts.display(), tail.join("\n"));
    }
    let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    Ok(format!("{} inputs, no fault", runs.unwrap_or("?").trim()))
}

/// Puts a real input into the corpus, where one is at hand: mutations of it come further than those of nothing.
fn seed(target: &str, corpus: &Path) -> Result<()> {
    let bytes = match target {
        "proc_maps" => read(Path::new("/proc/self/maps"))?,
        "proc_syscall" => read(Path::new("/proc/self/syscall"))?,
        "native_binary" => read(Path::new("/bin/true"))?,
        "proc_stat" => read(Path::new("/proc/self/stat"))?,
        "proc_cgroup" => read(Path::new("/proc/self/cgroup"))?,
        "go_elf" | "go_plan" => go_program()?,
        "go_pclntab" => section(".gopclntab")?,
        "go_buildinfo" => section(".go.buildinfo")?,
        "disasm" => section(".text")?.into_iter().take(SOME_CODE).collect(),
        "baseline" => {
            b"[[finding]]\nid = \"7ef53cc8270f9f2e\"\nowner = \"a\"\nuntil = 2027-01-31\n".to_vec()
        }
        "idle_list" => b"# pools\nmain.(*pool).worker = pool\n".to_vec(),
        _ => return Ok(()),
    };
    let seed = corpus.join("real");
    fs::write(&seed, bytes).with_context(|| format!("cannot write {}", seed.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn go_program() -> Result<Vec<u8>> {
    let path = go::go_build(versions::GO_NEWEST, "pingpong", Variant::Stripped)
        .map_err(anyhow::Error::msg)?;
    read(&path)
}

fn section(name: &str) -> Result<Vec<u8>> {
    let program = go_program()?;
    let file = object::File::parse(&*program).context("the Go program is no ELF file")?;
    let section = file.section_by_name(name).with_context(|| format!("no section {name}"))?;
    Ok(section.data().with_context(|| format!("cannot read {name}"))?.to_vec())
}

fn crate_dir() -> PathBuf {
    go::workspace().join("fuzz")
}

fn target_dir() -> PathBuf {
    go::target_dir().join("fuzz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_minutes() {
        assert_eq!(parse_seconds("90"), Ok(90));
        assert_eq!(parse_seconds("60s"), Ok(60));
        assert_eq!(parse_seconds("5m"), Ok(300));
        assert!(parse_seconds("soon").is_err());
    }
}
