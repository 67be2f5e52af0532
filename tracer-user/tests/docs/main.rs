//! What the documentation shows and quotes is what loiter prints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod blocks;
mod messages;
mod pages;
mod picture;
mod symptoms;
