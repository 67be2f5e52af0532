//! What the model and the detectors claim, from inputs alone: no root, no kernel, no clock.

mod cost;
mod detectors;
mod fence;
mod properties;
mod sim;
mod world;
