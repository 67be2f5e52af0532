//! What people and programs read. May use: view, base.

pub mod json;
pub mod text;
