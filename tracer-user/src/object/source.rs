//! Where bytes come from, so that a parser need not hold a file of half a gigabyte.

/// Why bytes could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    /// The range does not lie in the source.
    #[error("{len} bytes at offset {offset:#x} reach past the end ({end:#x})")]
    PastEnd {
        /// Start of the range.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// Length of the source.
        end: u64,
    },
    /// The system call failed.
    #[error("reading {len} bytes at offset {offset:#x} failed: errno {errno}")]
    Os {
        /// Start of the range.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The error number.
        errno: i32,
    },
}

/// Random access to the bytes of a file. A file that somebody else may truncate must not be
/// mapped into memory (a fault would kill the tracer): implement this with positioned reads.
pub trait ByteSource {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// If not every byte could be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError>;
}

impl ByteSource for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?))
            .ok_or(SourceError::PastEnd {
                offset,
                len: buf.len() as u64,
                end: <[u8]>::len(self) as u64,
            })?;
        buf.copy_from_slice(found);
        Ok(())
    }
}

impl ByteSource for Vec<u8> {
    fn len(&self) -> u64 {
        ByteSource::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        self.as_slice().read_at(offset, buf)
    }
}

impl<S: ByteSource + ?Sized> ByteSource for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        (**self).read_at(offset, buf)
    }
}
