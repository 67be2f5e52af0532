//! Exports, each opened by the tool it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../model/sim.rs"]
mod sim;
#[allow(dead_code)]
#[path = "../model/world.rs"]
mod world;

mod browser;
mod flame;
mod lines;
mod perfetto;
mod report;
mod slices;
mod stacks;
mod support;
