//! JSON for programs. The schemas are documented in docs/json.md and only ever grow: a key that is
//! there stays, with its meaning. Views are serialised as they are met, straight into the writer,
//! so that a dump of 100 000 tasks needs no memory for its text. May use: view, base, stream's
//! plain words, output::{clean, frames}.

mod diff;
mod doctor;
mod dump;
mod finding;
mod life;
pub(super) mod parts;
mod ps;
mod recording;
pub(super) mod safe;
mod summary;

pub use diff::write_diff;
pub use doctor::write_doctor;
pub use dump::write_dump;
pub use finding::{JsonSink, write_finding};
pub use life::write_life;
pub use ps::write_ps;
pub use recording::write_recording;
pub use summary::write_summary;
