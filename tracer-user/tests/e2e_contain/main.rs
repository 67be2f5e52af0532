//! loiter where it is confined: beside a program in a pod, on a node, with as few rights as it
//! needs, with one less, and in sandboxes that forbid it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod debug_files;
mod filters;
mod kubelet;
mod manifests;
mod names;
mod pod;
mod rights;
mod sandboxes;
mod support;
