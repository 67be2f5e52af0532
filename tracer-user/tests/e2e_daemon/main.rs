//! `loiter watch` over many processes: those of the host as they start and end, several by their PIDs,
//! and the configuration of the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod config;
mod lives;
mod ready;
mod support;
mod systemd;
mod threads;
