//! `loiter check` around real test binaries and programs: which code comes out, who is named, and
//! when nothing is said at all.

// Tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod beside_goleak;
mod forms;
mod gate;
mod suite;
mod support;
