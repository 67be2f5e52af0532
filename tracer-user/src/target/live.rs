//! Memory of a running process by process_vm_readv(2): no pause, no ptrace attach.

use std::io;

use crate::base::Pid;

use super::memory::{Piece, ReadError, ReadMem};
use super::{PidFd, TargetError};

/// Most pieces a system call takes: UIO_MAXIOV of include/uapi/linux/uio.h.
const MAX_PIECES: usize = 1024;
/// Most bytes asked of one system call: bounds the time the target's `mmap_lock` is held and the
/// memory loiter needs.
const MAX_CALL: usize = 4 << 20;
/// Most bytes of one `read_many`: a caller that wants more has made a mistake; what is beyond is
/// reported as not read.
const MAX_TOTAL: usize = 256 << 20;

/// The memory of a running process. Bound to one incarnation: after its exit every read fails
/// with [`ReadError::Gone`], also if the PID is used again.
#[derive(Debug)]
pub struct LiveMem {
    pid: libc::pid_t,
    handle: PidFd,
}

impl LiveMem {
    /// Binds to the process that has this PID now. Reads nothing.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn open(pid: Pid) -> Result<Self, TargetError> {
        let handle = PidFd::open(pid)?;
        let raw = libc::pid_t::try_from(pid.0).map_err(|_| TargetError::NoSuchProcess { pid })?;
        Ok(Self { pid: raw, handle })
    }

    /// The handle of the process, to wait for its exit.
    pub const fn handle(&self) -> &PidFd {
        &self.handle
    }

    /// One system call: fills `buf` from `remote`, in order; the number of bytes that were read,
    /// which ends within a piece where that is only partly mapped.
    fn readv(&self, remote: &[libc::iovec], buf: &mut [u8]) -> Result<usize, i32> {
        let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        // SAFETY: `local` covers exactly `buf`, which is borrowed mutably for the call; the kernel
        // checks the remote addresses against the other process, they are never dereferenced here;
        // both counts are those of the arrays.
        let read = unsafe {
            libc::process_vm_readv(
                self.pid,
                &raw const local,
                1,
                remote.as_ptr(),
                remote.len() as libc::c_ulong,
                0,
            )
        };
        usize::try_from(read)
            .map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// After a read: whether the PID still was this process, so that the bytes are its own.
    fn still_itself(&self) -> Result<(), ReadError> {
        if self.handle.has_exited() { Err(ReadError::Gone) } else { Ok(()) }
    }

    /// Reads pieces that fit one system call; `buf` is as long as they are together.
    fn read_batch(
        &self,
        pieces: &[Piece],
        buf: &mut [u8],
        done: &mut [bool],
    ) -> Result<(), ReadError> {
        let mut first = 0;
        let mut at = 0;
        while let (Some(rest), Some(room)) = (pieces.get(first..), buf.get_mut(at..)) {
            if rest.is_empty() {
                break;
            }
            let remote: Vec<libc::iovec> = rest.iter().map(iovec).collect();
            let mut got = match self.readv(&remote, room) {
                Ok(got) => got,
                Err(libc::ESRCH) => return Err(ReadError::Gone),
                Err(libc::EPERM) => return Err(ReadError::Denied),
                Err(libc::EFAULT) => 0,
                Err(errno) => return Err(ReadError::Os(errno)),
            };
            // All pieces before the first that is incomplete were read; that one is left out.
            for piece in rest {
                let complete = got >= piece.len;
                if let (true, Some(flag)) = (complete, done.get_mut(first)) {
                    *flag = true;
                } else if let Some(part) = buf.get_mut(at..at.saturating_add(piece.len)) {
                    part.fill(0);
                }
                first = first.saturating_add(1);
                at = at.saturating_add(piece.len);
                if !complete {
                    break;
                }
                got = got.saturating_sub(piece.len);
            }
        }
        Ok(())
    }
}

fn iovec(piece: &Piece) -> libc::iovec {
    libc::iovec { iov_base: piece.address as *mut libc::c_void, iov_len: piece.len }
}

impl ReadMem for LiveMem {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        let mut done = [false];
        self.read_batch(&[Piece { address, len }], buf, &mut done)?;
        self.still_itself()?;
        if done == [true] { Ok(()) } else { Err(ReadError::Unmapped { address, len }) }
    }

    fn read_many(&self, pieces: &[Piece], buf: &mut Vec<u8>) -> Result<Vec<bool>, ReadError> {
        let fits = fitting(pieces, MAX_TOTAL);
        let total: usize = pieces.iter().take(fits).map(|p| p.len).sum();
        // Not cleared first: each piece is overwritten, by zeros if it cannot be read.
        buf.resize(total, 0);
        let mut done = vec![false; pieces.len()];
        let (mut first, mut at) = (0_usize, 0_usize);
        while first < fits {
            let rest = pieces.get(first..fits).unwrap_or_default();
            let count = fitting(rest, MAX_CALL).clamp(1, MAX_PIECES).min(rest.len());
            let batch = rest.get(..count).unwrap_or_default();
            let bytes: usize = batch.iter().map(|p| p.len).sum();
            let last = first.saturating_add(count);
            if let (Some(part), Some(flags)) =
                (buf.get_mut(at..at.saturating_add(bytes)), done.get_mut(first..last))
            {
                self.read_batch(batch, part, flags)?;
            }
            first = last;
            at = at.saturating_add(bytes);
        }
        self.still_itself()?;
        Ok(done)
    }
}

/// How many of the first pieces are together at most `max` bytes.
fn fitting(pieces: &[Piece], max: usize) -> usize {
    let mut left = max;
    pieces
        .iter()
        .take_while(|piece| match left.checked_sub(piece.len) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> LiveMem {
        LiveMem::open(Pid(std::process::id())).unwrap()
    }

    fn piece(bytes: &[u8]) -> Piece {
        Piece { address: bytes.as_ptr() as u64, len: bytes.len() }
    }

    #[test]
    fn an_unmapped_piece_does_not_lose_the_others() {
        let (a, b) = (vec![1_u8; 100], vec![2_u8; 5000]);
        let hole = Piece { address: 0x10, len: 64 };
        let mut buf = Vec::new();
        let done = me().read_many(&[piece(&a), hole, hole, piece(&b), hole], &mut buf).unwrap();
        assert_eq!(done, [true, false, false, true, false]);
        assert_eq!(buf.len(), 100 + 64 * 3 + 5000);
        assert!(buf[..100].iter().all(|&x| x == 1));
        assert!(buf[100..228].iter().all(|&x| x == 0));
        assert!(buf[228..5228].iter().all(|&x| x == 2));
    }

    #[test]
    fn more_pieces_than_one_call_takes_are_read_in_several() {
        let words: Vec<[u8; 8]> = (0..3000_u64).map(u64::to_le_bytes).collect();
        let pieces: Vec<Piece> = words.iter().map(|w| piece(w)).collect();
        let mut buf = Vec::new();
        assert!(me().read_many(&pieces, &mut buf).unwrap().iter().all(|&ok| ok));
        assert_eq!(buf, words.concat());
    }

    #[test]
    fn a_piece_larger_than_a_call_may_be_is_read_whole() {
        let large = vec![7_u8; MAX_CALL + 12_345];
        let mut buf = Vec::new();
        assert_eq!(
            me().read_many(&[piece(&large), piece(&large[..3])], &mut buf).unwrap(),
            [true, true]
        );
        assert_eq!(buf.len(), large.len() + 3);
    }

    #[test]
    fn an_absurd_length_is_not_allocated() {
        let absurd = Piece { address: 0x1000, len: usize::MAX };
        let mut buf = Vec::new();
        assert_eq!(me().read_many(&[absurd, absurd], &mut buf).unwrap(), [false, false]);
        assert!(buf.is_empty());
    }

    #[test]
    fn a_range_that_is_not_mapped_is_named() {
        let mut buf = [0; 8];
        assert_eq!(me().read(0x10, &mut buf), Err(ReadError::Unmapped { address: 0x10, len: 8 }));
        assert!(matches!(me().read(u64::MAX - 3, &mut buf), Err(ReadError::Unmapped { .. })));
    }

    #[test]
    fn a_process_that_exited_is_gone_not_unmapped() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let mem = LiveMem::open(Pid(child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(mem.read(0x1000, &mut [0; 8]), Err(ReadError::Gone));
    }
}
