//! Finds a compiler and a linker for the BPF target.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Use this compiler.
pub const RUSTC_VARIABLE: &str = "LOITER_BPF_RUSTC";
/// Debian's compiler (package `rustc-web` with `libstd-rust-web-dev-bpf`, or `rustc`).
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Where `core` for the BPF target comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// Compiled, shipped with the compiler.
    Shipped,
    /// Its sources are there: cargo compiles it (`-Z build-std`).
    Sources,
}

/// What builds the kernel part.
pub struct Toolchain {
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    pub linker: PathBuf,
    pub core: Core,
    version: String,
}

impl Toolchain {
    /// For people: which compiler, with which `core`.
    pub fn describe(&self) -> String {
        let core = match self.core {
            Core::Shipped => "its own core",
            Core::Sources => "core from its sources",
        };
        format!("{} at {} with {core}", self.version, self.rustc.display())
    }
}

/// Takes the first compiler that can build for BPF: the one asked for, Debian's, rustup's.
///
/// # Errors
/// Says what is missing.
pub fn find(workspace: &Path) -> Result<Toolchain, String> {
    let linker = find_linker(workspace).ok_or("bpf-linker is not installed")?;
    let usable = |rustc: PathBuf| usable(rustc, linker.clone());
    if let Some(rustc) = env::var_os(RUSTC_VARIABLE) {
        let shown = rustc.to_string_lossy().into_owned();
        return usable(PathBuf::from(rustc)).ok_or_else(|| {
            format!("{RUSTC_VARIABLE}={shown} has neither a compiled core for bpfel-unknown-none nor rust-src")
        });
    }
    std::iter::once(PathBuf::from(DEBIAN_RUSTC))
        .chain(rustup_compilers())
        .find_map(usable)
        .ok_or_else(|| {
            "no Rust compiler for bpfel-unknown-none (Debian's rustc with \
             libstd-rust-web-dev-bpf, or a rustup nightly with rust-src)"
                .to_owned()
        })
}

fn usable(rustc: PathBuf, linker: PathBuf) -> Option<Toolchain> {
    let sysroot = PathBuf::from(answer(&rustc, &["--print", "sysroot"])?);
    let version = answer(&rustc, &["--version"])?;
    let rustlib = sysroot.join("lib/rustlib");
    if has_core(&rustlib.join("bpfel-unknown-none/lib")) {
        let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        return Some(Toolchain { rustc, cargo, linker, core: Core::Shipped, version });
    }
    // The sources are compiled with the cargo that belongs to them.
    let cargo = sysroot.join("bin/cargo");
    let sources = rustlib.join("src/rust/library/core/src/lib.rs");
    (sources.is_file() && cargo.is_file()).then_some(Toolchain {
        rustc,
        cargo,
        linker,
        core: Core::Sources,
        version,
    })
}

fn has_core(lib: &Path) -> bool {
    let Ok(entries) = lib.read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// rustup's compilers: nightlies first.
fn rustup_compilers() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let Some(entries) = home.and_then(|home| home.join("toolchains").read_dir().ok()) else {
        return Vec::new();
    };
    let mut compilers: Vec<PathBuf> =
        entries.flatten().map(|e| e.path().join("bin/rustc")).collect();
    compilers.retain(|rustc| rustc.is_file());
    compilers.sort_by_key(|rustc| !rustc.to_string_lossy().contains("nightly"));
    compilers
}

/// bpf-linker from the workspace's own tools, PATH or cargo's directory.
fn find_linker(workspace: &Path) -> Option<PathBuf> {
    let own = workspace.join("target/tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    std::iter::once(own)
        .chain(env::split_paths(&path))
        .chain(std::iter::once(cargo_home.join("bin")))
        .map(|dir| dir.join("bpf-linker"))
        .find(|linker| linker.is_file())
}

/// The first line a compiler prints.
fn answer(program: &Path, arguments: &[&str]) -> Option<String> {
    // The proxy of rustup would otherwise be told which toolchain to be.
    let done =
        Command::new(program).args(arguments).env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    done.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}
