//! OS threads of native programs that get stuck, each way beside a twin that does the same right:
//! every circle is found with the right threads and locks, the other ways under their names, and
//! nothing is found of the twins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cgo;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod locks;
mod looks;
mod recorded;
mod programs;
mod runtimes;
mod servers;
