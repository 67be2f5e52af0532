//! Text for people: at a terminal, cut to its width and tinted; in a pipe, whole and plain.
//! May use: view, base, stream's plain words.

mod doctor;
mod dump;
mod finding;
mod full;
mod page;
mod process;
mod ps;
mod stack;
mod summary;
mod watch;
mod words;

pub use doctor::write_doctor;
pub use dump::write_dump;
pub use finding::write_finding;
pub use full::write_full;
pub use page::{Color, TextOptions};
pub use ps::write_ps;
pub use summary::write_summary;
pub use watch::{TextSink, write_notice};
