//! What a recording claims, from inputs alone: it comes back as it was, and damage is told and
//! never believed. No root, no kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod damage;
mod freeze;
mod history;
mod round_trip;
mod support;
mod wild;
