//! loiter: finds the tasks that linger in unmodified, running programs.
//!
//! The library is the program, in layers; ARCHITECTURE.md tells what each may use, and
//! `cargo xtask layers` checks it.

pub mod base;
pub mod cli;
pub mod detect;
pub mod kernel;
pub mod model;
pub mod object;
pub mod output;
pub mod pipeline;
pub mod record;
pub mod runtime;
pub mod stream;
pub mod symbolize;
pub mod target;
pub mod view;
