//! pipeline

pub mod settings;
