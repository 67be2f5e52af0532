//! What the model and the detectors claim, from inputs alone: no root, no kernel, no clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod advice;
mod cost;
mod detectors;
mod fence;
mod growth;
mod leak;
mod left;
mod lives;
mod locks;
mod properties;
mod sim;
mod states;
mod world;
