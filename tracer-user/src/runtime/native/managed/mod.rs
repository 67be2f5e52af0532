//! Locks of interpreters and virtual machines: what their own structures say of a wait that the C
//! library's do not. Layouts are used where the program itself vouches for them - a type's name, a
//! table of offsets, a pointer to itself - and nothing is told where it does not.
//!
//! May use: base, stream, symbolize, target. The memory read is hostile.

mod java;
mod python;

use crate::base::Tid;
use crate::stream::{FutexOf, FutexState};
use crate::symbolize::native::Modules;
use crate::target::ReadMem;

pub use java::JavaThreads;

/// What a process has of them.
#[derive(Default, Debug)]
pub struct Managed {
    python: Option<python::Python>,
    java: Option<java::Java>,
}

/// A thread that waits on a futex.
pub struct Sleeper<'a> {
    /// What of its registers and the innermost part of its stack may be addresses of objects.
    pub words: &'a [u64],
    /// The process's memory.
    pub mem: &'a dyn ReadMem,
    /// The thread of the same process that calls itself so.
    pub thread: &'a dyn Fn(u32) -> Option<Tid>,
}

impl Managed {
    /// Of the files of code that a process has now.
    pub fn of(modules: &Modules, mem: &dyn ReadMem) -> Self {
        Self { python: python::Python::of(modules), java: java::Java::of(modules, mem) }
    }

    /// Whether there is an interpreter that may know more of a futex.
    pub fn knows_more(&self, futex: &FutexState) -> bool {
        self.python.is_some() && matches!(futex.of, FutexOf::Python | FutexOf::Pthread)
    }

    /// Says more of a futex, where the interpreter knows more.
    pub fn refine(&self, sleeper: &Sleeper<'_>, futex: &mut FutexState) {
        if let Some(python) = &self.python {
            python.refine(sleeper, futex);
        }
    }

    /// The threads of a Java virtual machine as of now; None where there is none.
    pub fn java_threads<'a>(
        &'a self,
        mem: &'a dyn ReadMem,
        thread: &dyn Fn(u32) -> Option<Tid>,
    ) -> Option<JavaThreads<'a>> {
        self.java.as_ref()?.threads(mem, thread)
    }
}

fn long(mem: &dyn ReadMem, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    mem.read(address, &mut bytes).ok().map(|()| u64::from_le_bytes(bytes))
}

/// A field of a structure.
fn long_at(mem: &dyn ReadMem, structure: u64, offset: u64) -> Option<u64> {
    long(mem, structure.checked_add(offset)?)
}

/// A field of a structure.
fn int_at(mem: &dyn ReadMem, structure: u64, offset: u64) -> Option<u32> {
    int(mem, structure.checked_add(offset)?)
}

fn int(mem: &dyn ReadMem, address: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    mem.read(address, &mut bytes).ok().map(|()| u32::from_le_bytes(bytes))
}

/// Whether a text of bytes with an end is at an address.
fn is_text(mem: &dyn ReadMem, address: u64, text: &str) -> bool {
    let mut bytes = vec![0; text.len().saturating_add(1)];
    mem.read(address, &mut bytes).is_ok()
        && bytes.strip_suffix(&[0]).is_some_and(|found| found == text.as_bytes())
}

/// A process's memory out of pieces, for the tests.
#[cfg(test)]
mod fake {
    use std::collections::BTreeMap;

    use crate::target::{Piece, ReadError, ReadMem};

    #[derive(Default)]
    pub(super) struct Memory(pub(super) BTreeMap<u64, u8>);

    impl Memory {
        pub(super) fn put(&mut self, address: u64, bytes: &[u8]) {
            self.0.extend((address..).zip(bytes.iter().copied()));
        }

        pub(super) fn long(&mut self, address: u64, value: u64) {
            self.put(address, &value.to_le_bytes());
        }
    }

    impl ReadMem for Memory {
        fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), ReadError> {
            for (at, byte) in (address..).zip(buf) {
                *byte = *self.0.get(&at).ok_or(ReadError::Gone)?;
            }
            Ok(())
        }

        fn read_many(&self, pieces: &[Piece], buf: &mut Vec<u8>) -> Result<Vec<bool>, ReadError> {
            buf.clear();
            let one = |piece: &Piece| {
                let mut bytes = vec![0; piece.len];
                let read = self.read(piece.address, &mut bytes).is_ok();
                buf.extend(bytes);
                read
            };
            Ok(pieces.iter().map(one).collect())
        }
    }
}
