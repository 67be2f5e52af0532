//! How a segment begins and ends: which format, which recording, written by what, and whether it
//! was ended or broke off.

use super::bytes::{Put as _, Take};
use super::codec::KindTotals;
use super::error::Malformed;

/// The version of the format written: a reader refuses a later major one, and passes over what a
/// later minor one added.
pub const VERSION: (u16, u16) = (1, 2);

/// Most pairs of settings: there are some ten.
const MAX_PAIRS: usize = 1024;

/// What a recording says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// What wrote it: version and digest of the build.
    pub writer: String,
    /// What was written is on disk after this at the latest, ns.
    pub flush_ns: u64,
    /// Whether labels and build settings were left out.
    pub redacted: bool,
    /// What the detectors went by, and other words of the one who recorded.
    pub settings: Vec<(String, String)>,
}

impl Meta {
    /// A setting by its name.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The beginning of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentHead {
    /// Major and minor version of the format.
    pub version: (u16, u16),
    /// Equal in all segments of a recording.
    pub recording: u64,
    /// Its place in the recording, from 0.
    pub index: u64,
    /// The same in each.
    pub meta: Meta,
}

impl SegmentHead {
    /// As the content of a frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.version.0.to_le_bytes());
        out.extend_from_slice(&self.version.1.to_le_bytes());
        out.word(&self.meta.writer);
        out.number(self.recording);
        out.number(self.index);
        out.number(self.meta.flush_ns);
        out.push(u8::from(self.meta.redacted));
        out.number(self.meta.settings.len() as u64);
        for (key, value) in &self.meta.settings {
            out.word(key);
            out.word(value);
        }
        out
    }

    /// From the content of a frame. Of a later major version only version and writer are read.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(raw: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(raw);
        let major = u16::from_le_bytes([take.byte()?, take.byte()?]);
        let minor = u16::from_le_bytes([take.byte()?, take.byte()?]);
        let writer = take.word()?.to_owned();
        let mut head = Self {
            version: (major, minor),
            recording: 0,
            index: 0,
            meta: Meta { writer, ..Meta::default() },
        };
        if major > VERSION.0 {
            return Ok(head);
        }
        head.recording = take.number()?;
        head.index = take.number()?;
        head.meta.flush_ns = take.number()?;
        head.meta.redacted = take.byte()? != 0;
        let pairs = take.count()?;
        if pairs > MAX_PAIRS {
            return Err(Malformed("too many settings"));
        }
        for _ in 0..pairs {
            head.meta.settings.push((take.word()?.to_owned(), take.word()?.to_owned()));
        }
        Ok(head)
    }
}

/// How a segment ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndKind {
    /// The recording goes on in the next.
    Rolled,
    /// The recording was ended.
    Closed,
    /// The recorder could not go on.
    Stopped,
}

/// The end of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentEnd {
    /// How.
    pub kind: EndKind,
    /// Why, in words.
    pub why: String,
    /// What is in it.
    pub totals: KindTotals,
}

impl SegmentEnd {
    /// As the content of a frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![match self.kind {
            EndKind::Rolled => 0,
            EndKind::Closed => 1,
            EndKind::Stopped => 2,
        }];
        out.word(&self.why);
        self.totals.encode(&mut out);
        out
    }

    /// From the content of a frame.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(raw: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(raw);
        let kind = match take.byte()? {
            0 => EndKind::Rolled,
            1 => EndKind::Closed,
            2 => EndKind::Stopped,
            _ => return Err(Malformed("an unknown end of a segment")),
        };
        Ok(Self { kind, why: take.word()?.to_owned(), totals: KindTotals::decode(&mut take)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: (u16, u16)) -> SegmentHead {
        let settings = vec![("stuck_after_ns".to_owned(), "5".to_owned())];
        let meta = Meta { writer: "loiter 9".to_owned(), flush_ns: 7, redacted: true, settings };
        SegmentHead { version, recording: u64::MAX, index: 3, meta }
    }

    #[test]
    fn a_head_comes_back_as_it_was_and_a_later_minor_version_may_be_longer() {
        for version in [VERSION, (VERSION.0, u16::MAX)] {
            let mut bytes = head(version).encode();
            bytes.extend_from_slice(b"what a later version added");
            assert_eq!(SegmentHead::decode(&bytes), Ok(head(version)));
        }
    }

    #[test]
    fn of_a_later_major_version_no_more_than_its_name_is_read() {
        let mut bytes = head((VERSION.0 + 1, 4)).encode();
        bytes.truncate(4 + 1 + "loiter 9".len());
        let read = SegmentHead::decode(&bytes).unwrap();
        assert_eq!((read.version, &*read.meta.writer), ((VERSION.0 + 1, 4), "loiter 9"));
    }

    #[test]
    fn an_end_comes_back_as_it_was_and_any_part_of_it_is_none() {
        let end = SegmentEnd {
            kind: EndKind::Stopped,
            why: "no space".to_owned(),
            totals: KindTotals::default(),
        };
        let bytes = end.encode();
        assert_eq!(SegmentEnd::decode(&bytes), Ok(end));
        for len in 0..bytes.len() {
            assert!(SegmentEnd::decode(&bytes[..len]).is_err(), "{len}");
        }
    }
}
