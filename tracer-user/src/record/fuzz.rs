//! Files for fuzzing the reader: any bytes are made into frames whose checksums are right, so that
//! what lies behind them is reached; some are damaged afterwards.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use crate::base::KTime;

use super::bytes::Take;
use super::codec::{Batch, KindTotals};
use super::error::Malformed;
use super::frame::{Codec, FrameKind, Head, MAX_INPUTS, checksum};
use super::header::{EndKind, Meta, SegmentEnd, SegmentHead, VERSION};
use super::reader::{Item, Recording};

/// The recording all frames belong to.
const RECORDING: u64 = 7;
/// Most frames: a file of more tells nothing new.
const MOST_FRAMES: usize = 64;

/// Entry for fuzzing: no bytes may cause a panic or a hang, and the numbers of the items add up.
pub fn fuzz_file(bytes: &[u8]) {
    let _no_memory_file_here = with_file(&file(bytes), |path| {
        let Ok(recording) = Recording::open(&path) else { return };
        let _whatever = (recording.overview(), recording.totals(|_| ()));
        let mut items = recording.items();
        let mut until = 0u64;
        while let Ok(Some(item)) = items.next_item() {
            if let Item::Gap(gap) = item {
                assert!(gap.since <= gap.until);
            }
            let position = items.position();
            assert!(position >= until && position <= recording.bytes());
            until = position;
        }
    });
}

fn with_file(content: &[u8], work: impl FnOnce(PathBuf)) -> std::io::Result<()> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("recording", flags)?);
    file.write_all(content)?;
    work(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
    Ok(())
}

fn file(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut take = Take(bytes);
    let mut next = 0;
    for _ in 0..MOST_FRAMES {
        if frame(&mut take, &mut next, &mut out).is_err() {
            break;
        }
    }
    out
}

/// One frame: what it is, how its head differs from what it should be, and its content.
fn frame(take: &mut Take<'_>, next: &mut u64, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (what, how) = (take.byte()?, take.byte()?);
    let (kind, raw, inputs) = content(what, take)?;
    let number = match how & 3 {
        0 | 1 => *next,
        2 => next.saturating_add(u64::from(take.byte()?)),
        _ => next.saturating_sub(u64::from(take.byte()?)),
    };
    let packed = if how & 4 == 0 { None } else { zstd::bulk::compress(&raw, 1).ok() };
    let codec = if packed.is_some() { Codec::Zstd } else { Codec::Plain };
    let stored = packed.as_deref().unwrap_or(&raw);
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let head = Head {
        kind: Some(kind),
        codec,
        stored: size(stored.len()),
        raw: size(raw.len()),
        inputs,
        events: 0,
        segment: u64::from(how >> 3 & 1),
        number,
        from: KTime(number),
        until: KTime(number.saturating_add(1)),
        sum: checksum(stored),
    };
    let begins = out.len();
    out.extend_from_slice(&head.encode());
    out.extend_from_slice(stored);
    if kind == FrameKind::Inputs {
        *next = number.saturating_add(u64::from(inputs));
    }
    if how & 0x40 != 0 {
        let at = begins + usize::from(take.byte()?) % (out.len() - begins).max(1);
        if let Some(byte) = out.get_mut(at) {
            *byte ^= take.byte()?;
        }
    }
    if how & 0x80 != 0 {
        out.truncate(out.len().saturating_sub(usize::from(take.byte()?)).max(begins));
    }
    Ok(())
}

fn content(what: u8, take: &mut Take<'_>) -> Result<(FrameKind, Vec<u8>, u32), Malformed> {
    let kind = match what & 3 {
        0 => FrameKind::Segment,
        1 => FrameKind::Prelude,
        2 => FrameKind::Inputs,
        _ => FrameKind::End,
    };
    let made = what & 4 != 0;
    let raw = match kind {
        FrameKind::Segment if made => {
            let index = u64::from(what >> 3);
            let meta = Meta { flush_ns: 1, ..Meta::default() };
            SegmentHead { version: VERSION, recording: RECORDING, index, meta }.encode()
        }
        FrameKind::End if made => {
            let kind = if what & 8 == 0 { EndKind::Rolled } else { EndKind::Closed };
            SegmentEnd { kind, why: String::new(), totals: KindTotals::default() }.encode()
        }
        FrameKind::Prelude | FrameKind::Inputs if made => {
            let mut batch = Batch::default();
            let inputs = u32::from(take.byte()?);
            for n in 0..inputs {
                batch.add(&crate::stream::Input::Tick(KTime(u64::from(n))));
            }
            let mut raw = Vec::new();
            batch.encode(&mut raw, &mut KindTotals::default());
            return Ok((kind, raw, inputs));
        }
        _ => {
            let len = usize::from(take.byte()?) | usize::from(take.byte()?) << 8;
            take.bytes(len.min(take.left()))?.to_vec()
        }
    };
    let inputs = u32::from(what >> 3).min(MAX_INPUTS);
    Ok((kind, raw, inputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_bytes_are_survived() {
        let mut state = 9_u64;
        for round in 0..3_000 {
            let len = round % 400;
            let mut bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            // Most begin as a recording does, else nothing else is reached.
            if round % 4 != 0 {
                bytes.splice(0..0, [4, 0]);
            }
            fuzz_file(&bytes);
        }
    }
}
