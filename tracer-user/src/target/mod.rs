//! The target from outside: `/proc`, namespaces, cgroups, and its memory behind one trait.
//! Everything read here is hostile input. May use: base.

pub mod memory;
