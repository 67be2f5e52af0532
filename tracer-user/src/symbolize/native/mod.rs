//! Names for compiled code: ELF symbols, DWARF lines with what was inlined, the names of C++ and
//! Rust as people write them. Separate debug files are found by build id.
//!
//! Everything read is hostile: tables and sections have bounds, names are cut, and what cannot be
//! named is told by its file and offset (`libc.so.6+0x8f12a`), which is the same in every run.

mod binary;
mod budget;
mod debug;
mod demangle;
mod modules;
mod perf_map;
mod symbolizer;
mod symbols;

pub use binary::{Binary, UnwindSection, fuzz_binary};
pub use demangle::demangled;
pub use modules::{Module, Modules};
pub use perf_map::fuzz_perf_map;
pub use symbolizer::{GO, NativeSymbolizer, Resolved};
