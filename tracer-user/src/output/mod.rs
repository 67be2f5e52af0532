//! What people and programs read. Everything here turns views into bytes on a writer; nothing here
//! opens a file, asks the terminal or reads a clock. May use: view, base, and stream's plain words.

mod change;
pub mod clean;
mod frames;
mod group;
pub mod json;
pub mod text;

pub use change::Change;
pub use group::GroupBy;
