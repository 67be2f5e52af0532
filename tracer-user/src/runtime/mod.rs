//! What is known of runtimes: how to recognise them, where their structures lie, which
//! instructions to probe, how to read their tasks. A new runtime is a new folder beside [`go`].
//! May use: object, target, symbolize, stream, base, tracer-common.

pub mod go;
pub mod link;
pub mod native;
pub mod plan;
mod vitals;
