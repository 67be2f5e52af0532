//! Numbers and words as bytes. Writing cannot fail; reading is bounded by the bytes there are.

use super::error::Malformed;

/// Bytes of the longest varint: 64 bits in groups of seven.
const MAX_VARINT: usize = 10;

/// Appends numbers and words.
pub trait Put {
    /// A number, seven bits a byte, lowest first (LEB128).
    fn number(&mut self, n: u64);
    /// A signed number: the sign goes into the lowest bit, so that small ones stay short.
    fn signed(&mut self, n: i64);
    /// A number as the step from another one; any step, in either direction.
    fn step(&mut self, from: u64, to: u64);
    /// A word: its length in bytes, then UTF-8.
    fn word(&mut self, word: &str);
    /// Zero for none, else one and the word.
    fn maybe_word(&mut self, word: Option<&str>);
    /// Zero for none, else one and the number.
    fn maybe_number(&mut self, n: Option<u64>);
}

impl Put for Vec<u8> {
    #[inline]
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.push(n as u8);
    }

    #[inline]
    fn signed(&mut self, n: i64) {
        self.number(((n << 1) ^ (n >> 63)) as u64);
    }

    #[inline]
    fn step(&mut self, from: u64, to: u64) {
        self.signed(to.wrapping_sub(from) as i64);
    }

    fn word(&mut self, word: &str) {
        self.number(word.len() as u64);
        self.extend_from_slice(word.as_bytes());
    }

    fn maybe_word(&mut self, word: Option<&str>) {
        self.push(u8::from(word.is_some()));
        if let Some(word) = word {
            self.word(word);
        }
    }

    fn maybe_number(&mut self, n: Option<u64>) {
        self.push(u8::from(n.is_some()));
        if let Some(n) = n {
            self.number(n);
        }
    }
}

/// Takes numbers and words from the front.
#[derive(Clone, Copy, Debug, Default)]
pub struct Take<'a>(pub &'a [u8]);

impl<'a> Take<'a> {
    /// Bytes left.
    pub const fn left(&self) -> usize {
        self.0.len()
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed("a column is too short"))?;
        self.0 = rest;
        Ok(first)
    }

    /// So many bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(n).ok_or(Malformed("a length goes beyond its frame"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// See [`Put::number`].
    #[inline]
    pub fn number(&mut self) -> Result<u64, Malformed> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.long_number(u64::from(first & 0x7f))
    }

    fn long_number(&mut self, low: u64) -> Result<u64, Malformed> {
        let mut n = low;
        for i in 1..MAX_VARINT {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if i + 1 == MAX_VARINT && bits > 1 {
                return Err(Malformed("a number has more than 64 bits"));
            }
            n |= bits << (7 * i);
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Malformed("a number has more than 64 bits"))
    }

    /// A number that fits a narrower type.
    #[inline]
    pub fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.number()?).map_err(|_| Malformed("a number is too large for its field"))
    }

    /// See [`Put::signed`].
    #[inline]
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let n = self.number()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// See [`Put::step`].
    #[inline]
    pub fn step(&mut self, from: u64) -> Result<u64, Malformed> {
        Ok(from.wrapping_add(self.signed()? as u64))
    }

    /// See [`Put::word`].
    pub fn word(&mut self) -> Result<&'a str, Malformed> {
        let len = self.narrow()?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| Malformed("a word is not UTF-8"))
    }

    /// See [`Put::maybe_word`].
    pub fn maybe_word(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.word().map(Some),
            _ => Err(Malformed("neither there nor not there")),
        }
    }

    /// See [`Put::maybe_number`].
    pub fn maybe_number(&mut self) -> Result<Option<u64>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.number().map(Some),
            _ => Err(Malformed("neither there nor not there")),
        }
    }

    /// A count of things that take at least one byte each: never more than there are bytes.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let n = self.narrow::<usize>()?;
        if n > self.left() {
            return Err(Malformed("a count goes beyond its frame"));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        let mut bytes = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        for n in numbers {
            bytes.number(n);
            bytes.signed(n as i64);
            bytes.step(7, n);
        }
        let mut take = Take(&bytes);
        for n in numbers {
            assert_eq!(take.number(), Ok(n));
            assert_eq!(take.signed(), Ok(n as i64));
            assert_eq!(take.step(7), Ok(n));
        }
        assert_eq!(take.left(), 0);
    }

    #[test]
    fn a_number_without_an_end_or_with_too_many_bits_is_refused() {
        assert!(Take(&[0x80; 9]).number().is_err());
        assert!(Take(&[0xff; 32]).number().is_err());
        let mut most = [0xff; 10];
        most[9] = 2;
        assert!(Take(&most).number().is_err());
        most[9] = 1;
        assert_eq!(Take(&most).number(), Ok(u64::MAX));
    }
}
