//! The journal's own protocol: one datagram an entry to its socket; what is too large for one goes as a sealed file
//! in memory (systemd.io/JOURNAL_NATIVE_PROTOCOL). The socket may come and go with the journal.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Bytes;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, socket_with,
};
use tokio::time::sleep;

use super::queue::Waiting;

/// Attempts at one entry.
const ATTEMPTS: u32 = 20;
/// Between two: the journal restarts within some seconds.
const PAUSE: Duration = Duration::from_millis(250);

/// The journal.
pub struct Journal {
    socket: std::os::fd::OwnedFd,
    path: PathBuf,
    address: SocketAddrUnix,
}

impl Journal {
    /// Looks whether it is there.
    ///
    /// # Errors
    /// If it is not.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || {
            format!(
                "no journal at {}: leave --journald out, or mount the socket of the host's journal there",
                path.display()
            )
        };
        let found = std::fs::metadata(path).with_context(failed)?;
        if !found.file_type().is_socket() {
            return Err(io::Error::other("no socket")).with_context(failed);
        }
        let address = SocketAddrUnix::new(path).with_context(failed)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
            .with_context(failed)?;
        Ok(Self { socket, path: path.to_owned(), address })
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        match self.datagram(entry, &mut SendAncillaryBuffer::default()) {
            // Too large for a datagram, or for what memory the kernel has for one now.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS)) => {
                self.file(entry)
            }
            sent => sent,
        }
    }

    fn datagram(&self, bytes: &[u8], with: &mut SendAncillaryBuffer<'_, '_, '_>) -> io::Result<()> {
        let bytes = [io::IoSlice::new(bytes)];
        sendmsg_addr(&self.socket, &self.address, &bytes, with, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn file(&self, entry: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("loiter-finding", flags)?;
        let mut left = entry;
        while !left.is_empty() {
            let written = rustix::io::write(&file, left)?;
            left = left.get(written..).unwrap_or_default();
        }
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        let fds: [BorrowedFd<'_>; 1] = [file.as_fd()];
        let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut with = SendAncillaryBuffer::new(&mut room);
        if !with.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("no room for the file"));
        }
        self.datagram(&[], &mut with)
    }
}

/// Sends what comes, until the queue is closed and empty.
pub async fn deliver(journal: Journal, mut waiting: Waiting) {
    while let Some(entry) = waiting.from.recv().await {
        match persist(&journal, &entry).await {
            Ok(()) => waiting.tally.sent(),
            Err(why) => {
                waiting.tally.failed();
                tracing::warn!("not written to the journal at {}: {why}", journal.path.display());
            }
        }
    }
}

async fn persist(journal: &Journal, entry: &Bytes) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        last = journal.send(entry);
        if last.is_ok() {
            break;
        }
        sleep(PAUSE).await;
    }
    last
}
