//! Debian packages: what is missing is installed through apt-get, or named if that is not possible here.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::progress::step;
use crate::readers::BROWSER;
use crate::run;

/// Something a Debian package brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// How to tell that it is there.
    there: There,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum There {
    /// A program on `PATH`.
    Program(&'static str),
    /// A file or directory.
    Path(&'static str),
}

/// The compiler that can target eBPF.
pub const RUSTC_WEB: Package = Package {
    name: "rustc-web",
    purpose: "Rust compiler for the eBPF target",
    there: There::Path("/usr/lib/rustlib"),
};
/// Its core library for eBPF, compiled.
pub const CORE_BPF: Package = Package {
    name: "libstd-rust-web-dev-bpf",
    purpose: "Rust core library for the eBPF target",
    there: There::Path("/usr/lib/rustlib/bpfel-unknown-none/lib"),
};
/// The oldest Go.
pub const GO_1_19: Package = Package {
    name: "golang-1.19-go",
    purpose: "Go 1.19",
    there: There::Path("/usr/lib/go-1.19/bin/go"),
};
/// A C compiler and linker, for Rust and for cgo.
pub const GCC: Package =
    Package { name: "gcc", purpose: "C compiler and linker", there: There::Program("cc") };
/// Headers, for cgo.
pub const LIBC_DEV: Package = Package {
    name: "libc6-dev",
    purpose: "C library headers, for cgo",
    there: There::Path("/usr/include/stdio.h"),
};
/// The C++ compiler: libFuzzer is C++.
pub const GXX: Package = Package {
    name: "g++",
    purpose: "C++ compiler, for libFuzzer and a program to be watched",
    there: There::Program("c++"),
};
/// Python, which unpacks wheels.
pub const PYTHON: Package =
    Package { name: "python3", purpose: "unpacks wheels", there: There::Program("python3") };
/// Makes certificates for the tests of metrics over TLS.
pub const OPENSSL: Package =
    Package { name: "openssl", purpose: "makes certificates", there: There::Program("openssl") };
/// Asks for metrics over TLS in the tests.
pub const CURL: Package =
    Package { name: "curl", purpose: "speaks TLS", there: There::Program("curl") };
/// The journal that keeps findings in the tests.
pub const SYSTEMD: Package = Package {
    name: "systemd",
    purpose: "keeps findings in its journal",
    there: There::Path("/usr/lib/systemd/systemd-journald"),
};
/// The browser that opens reports in the tests.
pub const CHROMIUM: Package =
    Package { name: "chromium", purpose: "opens reports", there: There::Program(BROWSER) };
/// What drives it.
pub const CHROMIUM_DRIVER: Package = Package {
    name: "chromium-driver",
    purpose: "drives chromium",
    there: There::Program("chromedriver"),
};
/// The tracer that the cost of following threads is compared with.
pub const BPFTRACE: Package = Package {
    name: "bpftrace",
    purpose: "tracing system calls, for comparison",
    there: There::Program("bpftrace"),
};
/// Virtual machines, for other kernels.
pub const QEMU: Package = Package {
    name: "qemu-system-x86",
    purpose: "virtual machines with other kernels",
    there: There::Program("qemu-system-x86_64"),
};
/// The checker of Debian packages.
pub const LINTIAN: Package = Package {
    name: "lintian",
    purpose: "checks the Debian package",
    there: There::Program("lintian"),
};
/// The load generator.
pub const WRK: Package =
    Package { name: "wrk", purpose: "HTTP load", there: There::Program("wrk") };

/// Servers with threads and event loops, to be watched.
pub const REDIS: Package = Package {
    name: "redis-server",
    purpose: "a server to be watched",
    there: There::Program("redis-server"),
};
/// See [`REDIS`].
pub const NGINX: Package = Package {
    name: "nginx-light",
    purpose: "a server to be watched",
    there: There::Program("nginx"),
};

/// See [`REDIS`].
pub const POSTGRES: Package = Package {
    name: "postgresql-15",
    purpose: "a server to be watched",
    there: There::Path("/usr/lib/postgresql/15/bin/initdb"),
};
/// Debian's own interpreter: that of a version manager has more names.
pub const DEBIAN_PYTHON: Package = Package {
    name: "python3",
    purpose: "programs to be watched",
    there: There::Path("/usr/bin/python3"),
};
/// See [`DEBIAN_PYTHON`].
pub const JDK: Package = Package {
    name: "openjdk-17-jdk-headless",
    purpose: "programs to be watched",
    there: There::Program("javac"),
};
/// See [`DEBIAN_PYTHON`].
pub const NODE: Package =
    Package { name: "nodejs", purpose: "programs to be watched", there: There::Program("node") };
/// Another C library.
pub const MUSL: Package = Package {
    name: "musl-tools",
    purpose: "a program with another C library, to be watched",
    there: There::Program("musl-gcc"),
};

impl Package {
    /// Whether what it brings is there.
    pub fn is_there(&self) -> bool {
        match self.there {
            There::Program(program) => run::find(program).is_some(),
            There::Path(path) => Path::new(path).exists(),
        }
    }
}

/// Python's installer. It may be there as a module without a program, so nothing on disk tells.
const PIP: &str = "python3-pip";

/// Installs Python's installer.
///
/// # Errors
/// If it cannot be installed.
pub fn install_pip() -> Result<()> {
    if run::find("apt-get").is_none() || !run::is_root() {
        bail!(
            "python3 has no pip, which fetches wheels: install it (Debian: apt-get install {PIP})"
        );
    }
    step("Installing Debian packages: python3-pip (fetches wheels)", || with_lists(&[PIP]))
}

/// Installs those of the packages that are missing.
///
/// # Errors
/// If something is missing and cannot be installed; names the packages.
pub fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| !package.is_there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    let list = names.join(" ");
    let purposes: Vec<_> =
        missing.iter().map(|package| format!("{} ({})", package.name, package.purpose)).collect();
    let told = purposes.join(", ");
    if run::find("apt-get").is_none() {
        bail!("missing: {told}. This is no Debian, so install what they bring another way");
    }
    if !run::is_root() {
        bail!("missing: {told}. Run as root, or install them: apt-get install {list}");
    }
    step(&format!("Installing Debian packages: {told}"), || with_lists(&names))?;
    match missing.iter().find(|package| !package.is_there()) {
        None => Ok(()),
        Some(package) => bail!(
            "{} is installed, but what is needed of it ({}) is not there: an older version?",
            package.name,
            package.purpose
        ),
    }
}

/// Installs, with the package lists that are there or, if that fails, with fresh ones.
fn with_lists(names: &[&str]) -> Result<()> {
    if apt_get(names).is_ok() {
        return Ok(());
    }
    run::quiet(run::command("apt-get").arg("update")).context("apt-get has no lists")?;
    apt_get(names)
}

fn apt_get(names: &[&str]) -> Result<()> {
    let mut command = run::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // In the runlevel for repairs no service is started because it was installed (invoke-rc.d(8)).
    command.env("RUNLEVEL", "1");
    command.args(["install", "--yes", "--no-install-recommends"]).args(names);
    run::quiet(&mut command).map(|_| ())
}

/// Unpacks packages below a directory without installing them: nothing is started. Links to directories that are
/// there are followed, so that a tree can have the one `/usr` of an installed system.
///
/// # Errors
/// If one cannot be fetched or unpacked.
pub fn unpack(packages: &[&str], into: &Path) -> Result<()> {
    let temporary = tempfile::tempdir().context("cannot create a temporary directory")?;
    // apt drops its rights for the download, and needs to write here all the same.
    open_to_all(temporary.path())?;
    let download = || {
        let mut fetch = run::command("apt-get");
        run::quiet(fetch.arg("download").args(packages).current_dir(&temporary))
    };
    if download().is_err() {
        run::quiet(run::command("apt-get").arg("update")).context("apt-get has no lists")?;
        download()?;
    }
    for archive in super::files_of(temporary.path(), "deb")? {
        let files = archive.with_extension("tar");
        let to = fs::File::create(&files)
            .with_context(|| format!("cannot create {}", files.display()))?;
        run::quiet(run::command("dpkg-deb").arg("--fsys-tarfile").arg(&archive).stdout(to))?;
        let mut tar = run::command("tar");
        tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--file"]);
        run::quiet(tar.arg(&files).arg("--directory").arg(into))?;
    }
    Ok(())
}

/// The package of a version that a package without contents stands for.
///
/// # Errors
/// If apt does not know it.
pub fn dependency(package: &str) -> Result<String> {
    let told = run::quiet(run::command("apt-cache").args(["depends", package]))?;
    let found = told.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(found.with_context(|| format!("{package} stands for no other package"))?.trim().to_owned())
}

fn open_to_all(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))
        .with_context(|| format!("cannot change the rights of {}", dir.display()))
}
