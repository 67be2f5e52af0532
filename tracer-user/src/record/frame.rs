//! The head of a frame: what a reader must know before it believes a single byte of the rest.

use xxhash_rust::xxh3::xxh3_64;

use crate::base::KTime;

/// Each frame begins so. The first byte is no text, the last one a line end: a transfer as text
/// breaks it at once.
pub const MAGIC: [u8; 8] = *b"\x89LTRFRM\n";
/// Bytes of a head.
pub const HEAD: usize = 80;
/// Most bytes of a frame's content. A batch is written long before; this is what a reader lets a
/// hostile file make it allocate.
pub const MAX_RAW: usize = 4 << 20;
/// Most inputs of a frame, for the same reason: an input takes more memory than bytes.
pub const MAX_INPUTS: u32 = 1 << 16;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// A segment begins.
    Segment,
    /// Inputs told before that what follows needs.
    Prelude,
    /// Inputs, each for the first time.
    Inputs,
    /// The segment ends as it should.
    End,
}

impl FrameKind {
    const fn number(self) -> u8 {
        match self {
            FrameKind::Segment => 1,
            FrameKind::Prelude => 2,
            FrameKind::Inputs => 3,
            FrameKind::End => 4,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => FrameKind::Segment,
            2 => FrameKind::Prelude,
            3 => FrameKind::Inputs,
            4 => FrameKind::End,
            _ => return None,
        })
    }
}

/// How the content is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// As it is.
    Plain,
    /// One zstd frame.
    Zstd,
}

/// What a frame says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// What it holds; None for a kind that this version does not know.
    pub kind: Option<FrameKind>,
    /// How.
    pub codec: Codec,
    /// Bytes stored.
    pub stored: u32,
    /// Bytes of the content.
    pub raw: u32,
    /// Inputs in it.
    pub inputs: u32,
    /// Events among them.
    pub events: u32,
    /// The segment it belongs to.
    pub segment: u64,
    /// The number of its first input in the recording, from 0.
    pub number: u64,
    /// No input in it speaks of an earlier moment.
    pub from: KTime,
    /// No input in it speaks of a later moment.
    pub until: KTime,
    /// Checksum of the stored bytes.
    pub sum: u64,
}

/// Why bytes are no head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoHead {
    /// It does not begin as one, or its checksum is wrong.
    Broken,
    /// It is one, and says what cannot be.
    Impossible,
}

/// The checksum of stored bytes.
pub fn checksum(stored: &[u8]) -> u64 {
    xxh3_64(stored)
}

impl Head {
    /// As bytes.
    pub fn encode(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(to) = out.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&MAGIC);
        put(&[self.kind.map_or(0, FrameKind::number)]);
        put(&[u8::from(self.codec == Codec::Zstd), 0, 0]);
        put(&self.stored.to_le_bytes());
        put(&self.raw.to_le_bytes());
        put(&self.inputs.to_le_bytes());
        put(&self.events.to_le_bytes());
        put(&[0; 4]);
        put(&self.segment.to_le_bytes());
        put(&self.number.to_le_bytes());
        put(&self.from.0.to_le_bytes());
        put(&self.until.0.to_le_bytes());
        put(&self.sum.to_le_bytes());
        let sum = xxh3_64(out.get(..HEAD - 8).unwrap_or_default());
        if let Some(to) = out.last_chunk_mut::<8>() {
            *to = sum.to_le_bytes();
        }
        out
    }

    /// Checks and reads a head.
    ///
    /// # Errors
    /// If these bytes are none.
    pub fn decode(bytes: &[u8; HEAD]) -> Result<Head, NoHead> {
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(NoHead::Broken)?;
        if !bytes.starts_with(&MAGIC) || u64::from_le_bytes(*sum) != xxh3_64(body) {
            return Err(NoHead::Broken);
        }
        let mut rest = body.get(MAGIC.len()..).ok_or(NoHead::Broken)?;
        let [kind, codec, _, _] = take(&mut rest)?;
        let head = Head {
            kind: FrameKind::of(kind),
            codec: match codec {
                0 => Codec::Plain,
                1 => Codec::Zstd,
                _ => return Err(NoHead::Impossible),
            },
            stored: u32::from_le_bytes(take(&mut rest)?),
            raw: u32::from_le_bytes(take(&mut rest)?),
            inputs: u32::from_le_bytes(take(&mut rest)?),
            events: {
                let events = u32::from_le_bytes(take(&mut rest)?);
                let [_, _, _, _] = take(&mut rest)?;
                events
            },
            segment: u64::from_le_bytes(take(&mut rest)?),
            number: u64::from_le_bytes(take(&mut rest)?),
            from: KTime(u64::from_le_bytes(take(&mut rest)?)),
            until: KTime(u64::from_le_bytes(take(&mut rest)?)),
            sum: u64::from_le_bytes(take(&mut rest)?),
        };
        if head.is_possible() { Ok(head) } else { Err(NoHead::Impossible) }
    }

    fn is_possible(&self) -> bool {
        self.raw as usize <= MAX_RAW
            && self.stored as usize <= most_stored(self.raw as usize)
            && (self.codec == Codec::Zstd || self.stored == self.raw)
            && self.inputs <= MAX_INPUTS
            && self.events <= self.inputs
            && self.from <= self.until
            && self.number.checked_add(u64::from(self.inputs)).is_some()
    }
}

/// zstd never makes more of `raw` bytes (`ZSTD_COMPRESSBOUND`, zstd.h, rounded up).
const fn most_stored(raw: usize) -> usize {
    raw + (raw >> 8) + 512
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], NoHead> {
    let (first, after) = rest.split_first_chunk::<N>().ok_or(NoHead::Broken)?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            kind: Some(FrameKind::Inputs),
            codec: Codec::Zstd,
            stored: 100,
            raw: 400,
            inputs: 50,
            events: 20,
            segment: 0x1234_5678_9abc_def0,
            number: 7_000_000_000,
            from: KTime(5),
            until: KTime(u64::MAX),
            sum: 99,
        }
    }

    #[test]
    fn a_head_comes_back_as_it_was() {
        assert_eq!(Head::decode(&head().encode()), Ok(head()));
    }

    #[test]
    fn a_head_with_any_bit_turned_is_none() {
        for bit in 0..HEAD * 8 {
            let mut bytes = head().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&bytes), Err(NoHead::Broken), "bit {bit}");
        }
    }

    #[test]
    fn a_head_that_says_what_cannot_be_is_refused() {
        for wrong in [
            Head { raw: u32::MAX, ..head() },
            Head { stored: u32::MAX, ..head() },
            Head { codec: Codec::Plain, ..head() },
            Head { inputs: MAX_INPUTS + 1, ..head() },
            Head { events: 51, ..head() },
            Head { from: KTime(6), until: KTime(5), ..head() },
            Head { number: u64::MAX, ..head() },
        ] {
            assert_eq!(Head::decode(&wrong.encode()), Err(NoHead::Impossible), "{wrong:?}");
        }
    }
}
