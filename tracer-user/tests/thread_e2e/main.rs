//! OS threads through the real kernel: programs in C that know how often, how long and for what
//! they wait, beside what is told of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod host;
mod lives;
mod support;
mod waits;
mod watched;
