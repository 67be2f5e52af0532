//! Builds the kernel part (tracer-ebpf) and embeds it.
//!
//! The nested cargo is run here because the crates that usually do it take only a rustup nightly;
//! Debian's rustc ships a compiled `core` for the BPF target and needs neither nightly nor sources.
//! Where no compiler or linker is to be had the library builds without the object and says so
//! at run time: `cargo check` and clippy need no BPF toolchain.

#[path = "build/commit.rs"]
mod commit;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use toolchain::{Core, Toolchain};

/// The commit to name, where git is not to be asked.
const COMMIT_VARIABLE: &str = "LOITER_COMMIT";
/// What the binary is made of: its commit is said to be modified if one of these is.
const INPUTS: [&str; 5] =
    ["tracer-user", "tracer-common", "tracer-ebpf", "Cargo.toml", "Cargo.lock"];
/// Use this object instead of building one.
const OBJECT_VARIABLE: &str = "LOITER_EBPF_OBJECT";
const REMEDY: &str = "`cargo xtask setup` installs what is missing";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            for line in why.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// An object to embed and who made it.
struct Object {
    path: PathBuf,
    compiler: String,
}

fn run() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no manifest dir")?);
    let workspace = manifest.parent().ok_or("the package has no workspace")?.to_path_buf();
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    println!("cargo::rerun-if-env-changed={}", toolchain::RUSTC_VARIABLE);
    for source in ["tracer-ebpf/src", "tracer-ebpf/Cargo.toml", "tracer-common/src"] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    println!("cargo::rerun-if-changed={}", manifest.join("build.rs").display());
    println!("cargo::rerun-if-changed={}", manifest.join("build").display());

    name_commit(&workspace);

    let object = match env::var_os(OBJECT_VARIABLE) {
        Some(path) => Some(prebuilt(path)?),
        None => build(&workspace, &out)?,
    };
    embed(object.as_ref(), &out)
}

/// Tells the compiler the commit. Builds for development name none: they would be built anew with every
/// commit, with all the tests.
fn name_commit(workspace: &Path) {
    println!("cargo::rerun-if-env-changed={COMMIT_VARIABLE}");
    if let Some(commit) = env::var_os(COMMIT_VARIABLE) {
        println!("cargo::rustc-env={COMMIT_VARIABLE}={}", commit.to_string_lossy().trim());
        return;
    }
    let release = env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    if !release {
        return;
    }
    let checkout = commit::read(workspace, &INPUTS);
    for path in &checkout.watch {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    for input in ["tracer-user/src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    if let Some(commit) = checkout.commit {
        println!("cargo::rustc-env={COMMIT_VARIABLE}={commit}");
    }
}

fn prebuilt(path: OsString) -> Result<Object, String> {
    let path = fs::canonicalize(&path)
        .map_err(|e| format!("{OBJECT_VARIABLE}={}: {e}", path.to_string_lossy()))?;
    println!("cargo::rerun-if-changed={}", path.display());
    Ok(Object { path, compiler: format!("prebuilt ({OBJECT_VARIABLE})") })
}

/// Builds the object, or warns where the tools are missing.
fn build(workspace: &Path, out: &Path) -> Result<Option<Object>, String> {
    let target_dir = shared_target_dir(out);
    let tools = match toolchain::find(workspace) {
        Ok(tools) => tools,
        Err(missing) => {
            println!("cargo::warning=built without the kernel part: {missing}; {REMEDY}");
            // Looks again with each build until it is there.
            println!("cargo::rerun-if-changed={}", out.join("no-such-file").display());
            return Ok(None);
        }
    };
    println!("cargo::rerun-if-changed={}", tools.rustc.display());
    println!("cargo::rerun-if-changed={}", tools.linker.display());
    let done = nested_cargo(&tools, workspace, &target_dir)
        .output()
        .map_err(|e| format!("cannot run the nested cargo: {e}"))?;
    if !done.status.success() {
        let log = String::from_utf8_lossy(&done.stderr);
        return Err(format!("tracer-ebpf does not build with {}:\n{log}", tools.describe()));
    }
    // A copy, since the shared directory may be rebuilt while this one is being read.
    let path = out.join("tracer-ebpf.o");
    let built = target_dir.join("bpfel-unknown-none/release/tracer-ebpf");
    fs::copy(&built, &path).map_err(|e| format!("cannot copy {}: {e}", built.display()))?;
    Ok(Some(Object { path, compiler: tools.describe() }))
}

/// One directory for all profiles of this target directory: the object is the same in each.
/// `OUT_DIR` is `<target>/<profile>/build/<package>-<hash>/out`.
fn shared_target_dir(out: &Path) -> PathBuf {
    let build = out.ancestors().nth(2).filter(|dir| dir.ends_with("build"));
    let target = build.and_then(|dir| dir.ancestors().nth(2));
    target.map_or_else(|| out.join("bpf"), |dir| dir.join("bpf"))
}

fn nested_cargo(tools: &Toolchain, workspace: &Path, target_dir: &Path) -> Command {
    let mut command = Command::new(&tools.cargo);
    command.current_dir(workspace);
    command.args(["build", "--package", "tracer-ebpf", "--release", "--locked"]);
    command.args(["--target", "bpfel-unknown-none"]).arg("--target-dir").arg(target_dir);
    if tools.core == Core::Sources {
        command.args(["-Z", "build-std=core"]);
    }
    // What the outer cargo, rustup or clippy set for the host must not reach the BPF build.
    for (name, _) in env::vars_os() {
        if is_for_the_outer_build(&name.to_string_lossy()) {
            command.env_remove(&name);
        }
    }
    let flags = [
        format!("-Clinker={}", tools.linker.display()),
        "-Cpanic=abort".to_owned(),
        // The target that older kernels know: no instruction after 5.15.
        "-Ctarget-cpu=v3".to_owned(),
        // The object is the same wherever it is built.
        format!("--remap-path-prefix={}=/loiter", workspace.display()),
    ];
    let mut flags = flags.to_vec();
    flags.extend(cargo_home().map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    command.env("RUSTC", &tools.rustc);
    // aya-ebpf uses inline assembly, which is unstable for this target.
    command.env("RUSTC_BOOTSTRAP", "1");
    // The workspace's release profile is made for the host.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    command.env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3");
    command
}

/// Where the sources of dependencies lie.
fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn is_for_the_outer_build(name: &str) -> bool {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    let of_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
    let of_rust = name.starts_with("RUSTC") || name.starts_with("RUSTDOC") || name == "RUSTFLAGS";
    of_cargo
        || of_rust
        || name == "RUSTUP_TOOLCHAIN"
        || name == "MAKEFLAGS"
        || name == "CLIPPY_ARGS"
}

/// Writes what `kernel::object` includes.
fn embed(object: Option<&Object>, out: &Path) -> Result<(), String> {
    let code = match object {
        Some(Object { path, compiler }) => format!(
            "/// The kernel part, if it was built.\n\
             pub const BYTES: Option<&[u8]> = Some(aya::include_bytes_aligned!({path:?}));\n\
             /// Who compiled it.\n\
             pub const COMPILER: &str = {compiler:?};\n",
        ),
        None => "/// The kernel part, if it was built.\n\
             pub const BYTES: Option<&[u8]> = None;\n\
             /// Who compiled it.\n\
             pub const COMPILER: &str = \"\";\n"
            .to_owned(),
    };
    let path = out.join("kernel_object.rs");
    fs::write(&path, code).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
