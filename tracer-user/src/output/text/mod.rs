//! Text for people: at a terminal, cut to its width and tinted; in a pipe, whole and plain.
//! May use: view, base, stream's plain words.

mod diff;
mod doctor;
mod dump;
pub(super) mod finding;
mod full;
mod life;
mod page;
pub(super) mod process;
mod ps;
mod recording;
mod stack;
mod summary;
mod watch;
pub(super) mod words;

pub use diff::write_diff;
pub use doctor::write_doctor;
pub use dump::write_dump;
pub use finding::write_finding;
pub use full::write_full;
pub use life::write_life;
pub use page::{Color, TextOptions};
pub use ps::write_ps;
pub use recording::write_recording;
pub use summary::write_summary;
pub use watch::{TextSink, write_notice, write_notice_of};
