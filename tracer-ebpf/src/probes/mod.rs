//! The programs, one file a source of events.

pub mod go;
pub mod host;
pub mod process;
pub mod registers;
pub mod sched;
pub mod threads;
pub mod traced;
