//! What a binary says about itself: ELF headers, Go's function table, Go's build information.
//! Bytes in, facts out: no I/O here, so that every parser can be tested and fuzzed on plain
//! bytes. All of it is hostile input: counts are bounded, arithmetic is checked, nothing panics.
//! May use: base.

pub mod buildinfo;
mod bytes;
pub mod disasm;
pub mod elf;
pub mod fuzz;
mod notes;
pub mod pclntab;
pub mod reloc;
mod source;

pub use source::{ByteSource, SourceError};
