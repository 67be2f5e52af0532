//! What people and programs read. Everything here turns views into bytes on a writer; nothing here
//! opens a file, asks the terminal or reads a clock. May use: view, base, and stream's plain words.

mod change;
pub mod clean;
pub mod export;
mod frames;
pub mod github;
mod group;
mod headline;
pub mod journal;
pub mod json;
pub mod junit;
pub mod metrics;
pub mod otlp;
pub mod text;
mod told;

pub use change::Change;
pub use group::GroupBy;

/// The runtime's word for what a task waits for. Runtimes leave the last one in place when the task
/// runs again, so it counts only while the task waits.
fn wait_reason(task: &crate::view::TaskView) -> Option<&str> {
    let waits = task.state == crate::base::TaskState::Waiting && !task.wait_reason.is_empty();
    waits.then_some(&task.wait_reason)
}
