//! One way to read a target's memory, be it alive, a core file or a fixture.

/// One piece to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Address in the target.
    pub address: u64,
    /// Bytes wanted.
    pub len: usize,
}

/// Why a read failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The range is not mapped (any more).
    #[error("cannot read {len} bytes at {address:#x}: not mapped in the target")]
    Unmapped {
        /// From here.
        address: u64,
        /// This many bytes.
        len: usize,
    },
    /// The target is gone.
    #[error("the target exited meanwhile")]
    Gone,
    /// The kernel does not allow it.
    #[error(
        "reading the target's memory is not permitted: CAP_SYS_PTRACE is needed, and Yama or a security module may forbid it"
    )]
    Denied,
    /// Another error of the system call.
    #[error("reading the target's memory failed: errno {0}")]
    Os(i32),
}

/// A target's memory. Reads are bounded by the caller; a short read is an error.
pub trait ReadMem {
    /// Fills `buf` from `address`.
    ///
    /// # Errors
    /// If not every byte could be read.
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), ReadError>;

    /// Reads many pieces in few system calls into one buffer, one behind the other, and tells
    /// for each whether it was read (an unreadable one is left zero).
    ///
    /// # Errors
    /// Only where nothing can be read any more: [`ReadError::Gone`], [`ReadError::Denied`].
    fn read_many(&self, pieces: &[Piece], buf: &mut Vec<u8>) -> Result<Vec<bool>, ReadError>;
}
