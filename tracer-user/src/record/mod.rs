//! Recordings: the inputs of the model, written so that a crash costs at most the last flush
//! interval, and read back as they were. docs/recording-format.md tells every byte.
//!
//! [`Recorder`] takes what the model eats, encodes it and hands it to a thread that writes
//! segments; [`Recording`] reads them back, says what is missing, and believes nothing of what it
//! reads. Knows no model and no clock: time comes from the inputs.
//! May use: base, stream.

mod bytes;
mod codec;
mod encoder;
mod error;
mod filter;
mod frame;
mod freeze;
mod fuzz;
mod header;
mod live;
mod reader;
mod recorder;
mod scan;
mod store;

pub use codec::{KindTotals, fuzz_content, fuzz_encode};
pub use error::RecordError;
pub use freeze::{Done, Kept};
pub use fuzz::fuzz_file;
pub use header::{Meta, VERSION};
pub use reader::{Gap, Item, Items, Overview, Recording, Tail};
pub use recorder::{Content, Recorder, RecorderSettings};
pub use store::{Limits, Place, Written};
