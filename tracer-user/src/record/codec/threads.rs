//! What threads wait on, inside the column `waits on`: futexes and open files. Numbers of kinds are
//! those of the format; one that a later version added is read as not known.

use crate::base::Tid;
use crate::stream::{
    FileKind, FileSet, FileState, FutexKind, FutexOf, FutexState, Holder, MAX_FILES, MAX_HOLDERS,
};

use super::super::bytes::{Put as _, Take};
use super::super::error::Malformed;

/// Flags of a futex.
const TIMED: u64 = 1;
const SHARED: u64 = 2;

/// How the holder is known.
const NOBODY: u8 = 0;
const WRITTEN: u8 = 1;
const INFERRED: u8 = 2;
const CANDIDATES: u8 = 3;

/// Place in a list of all kinds, which is their order in the format.
fn place<T: PartialEq>(all: &[T], kind: &T) -> u64 {
    all.iter().position(|k| k == kind).unwrap_or(0) as u64
}

fn at<T: Copy>(all: &[T], place: u64, unknown: T) -> T {
    usize::try_from(place).ok().and_then(|i| all.get(i)).copied().unwrap_or(unknown)
}

pub(super) fn put_futex(futex: &FutexState, out: &mut Vec<u8>) {
    out.number(place(&FutexKind::ALL, &futex.kind));
    out.number(place(&FutexOf::ALL, &futex.of));
    out.number(futex.word_address);
    out.step(futex.word_address, futex.object);
    out.maybe_number(futex.expected.map(u64::from));
    out.maybe_number(futex.word.map(u64::from));
    let flag = |is, flag| if is { flag } else { 0 };
    out.number(flag(futex.timed, TIMED) | flag(futex.shared, SHARED));
    match &futex.holder {
        Holder::Unknown => out.push(NOBODY),
        Holder::Written(tid) => {
            out.push(WRITTEN);
            out.number(tid.0.into());
        }
        Holder::Inferred(tid) => {
            out.push(INFERRED);
            out.number(tid.0.into());
        }
        Holder::Candidates(tids) => {
            out.push(CANDIDATES);
            out.number(tids.len() as u64);
            tids.iter().for_each(|tid| out.number(tid.0.into()));
        }
    }
}

pub(super) fn take_futex(take: &mut Take<'_>) -> Result<FutexState, Malformed> {
    let kind = at(&FutexKind::ALL, take.number()?, FutexKind::Unknown);
    let of = at(&FutexOf::ALL, take.number()?, FutexOf::Unknown);
    let word_address = take.number()?;
    let object = take.step(word_address)?;
    let word = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok());
    let (expected, now) = (word(take.maybe_number()?), word(take.maybe_number()?));
    let flags = take.number()?;
    let holder = match take.byte()? {
        WRITTEN => Holder::Written(Tid(take.narrow()?)),
        INFERRED => Holder::Inferred(Tid(take.narrow()?)),
        CANDIDATES => {
            let mut tids = Vec::new();
            for _ in 0..take.count()?.min(MAX_HOLDERS) {
                tids.push(Tid(take.narrow()?));
            }
            Holder::Candidates(tids.into())
        }
        _ => Holder::Unknown,
    };
    Ok(FutexState {
        kind,
        of,
        word_address,
        object,
        expected,
        word: now,
        holder,
        timed: flags & TIMED != 0,
        shared: flags & SHARED != 0,
    })
}

pub(super) fn put_files(set: &FileSet, out: &mut Vec<u8>) {
    out.maybe_number(set.epoll.map(u64::from));
    out.number(set.more.into());
    out.number(set.files.len() as u64);
    for file in &set.files {
        out.number(file.fd.into());
        out.number(place(&FileKind::ALL, &file.kind));
        out.word(&file.name);
    }
}

pub(super) fn take_files(take: &mut Take<'_>) -> Result<FileSet, Malformed> {
    let epoll = take.maybe_number()?.and_then(|n| u32::try_from(n).ok());
    let more = take.narrow()?;
    let mut files = Vec::new();
    for _ in 0..take.count()?.min(MAX_FILES) {
        let fd = take.narrow()?;
        let kind = at(&FileKind::ALL, take.number()?, FileKind::Other);
        files.push(FileState { fd, kind, name: take.word()?.into() });
    }
    Ok(FileSet { epoll, files: files.into(), more })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn futex(holder: Holder) -> FutexState {
        FutexState {
            kind: FutexKind::RwWrite,
            of: FutexOf::ParkingLot,
            word_address: 0x7f00_1008,
            object: 0x7f00_1000,
            expected: Some(2),
            word: None,
            holder,
            timed: true,
            shared: false,
        }
    }

    fn files() -> FileSet {
        let file = |fd, kind, name: &str| FileState { fd, kind, name: name.into() };
        FileSet {
            epoll: Some(5),
            files: Box::new([
                file(3, FileKind::Listener, "tcp 0.0.0.0:80"),
                file(9, FileKind::File, ""),
            ]),
            more: 7,
        }
    }

    #[test]
    fn what_is_written_is_read_and_every_prefix_is_refused() {
        let holders = [
            Holder::Unknown,
            Holder::Written(Tid(7)),
            Holder::Inferred(Tid(u32::MAX)),
            Holder::Candidates(Box::new([Tid(1), Tid(2)])),
        ];
        for state in holders.map(futex) {
            let mut bytes = Vec::new();
            put_futex(&state, &mut bytes);
            assert_eq!(take_futex(&mut Take(&bytes)), Ok(state));
            for end in 0..bytes.len() {
                assert!(take_futex(&mut Take(&bytes[..end])).is_err());
            }
        }
        let mut bytes = Vec::new();
        put_files(&files(), &mut bytes);
        assert_eq!(take_files(&mut Take(&bytes)), Ok(files()));
        for end in 0..bytes.len() {
            assert!(take_files(&mut Take(&bytes[..end])).is_err());
        }
    }
}
