//! The slices of one task, so many that they can be drawn: short ones that follow each other become one when there
//! are too many. May use: nothing of ours.

use super::SHADES;

/// A slice as it is drawn, or several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bit {
    /// From when, ns after the start.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// Of several, what most of the time is.
    pub shade: usize,
    /// Number of the wait reason.
    pub reason: u32,
    /// Number of the wait site.
    pub site: u32,
    /// [`EXACT`], [`GOES_ON`], [`SEVERAL`], [`NOT_KNOWN`].
    pub flags: u8,
    /// How many it stands for.
    pub many: u32,
}

/// Its beginning is known.
pub const EXACT: u8 = 1;
/// It goes on at the end.
pub const GOES_ON: u8 = 2;
/// It stands for several.
pub const SEVERAL: u8 = 4;
/// What came after it is not known.
pub const NOT_KNOWN: u8 = 8;

impl Bit {
    const fn length(&self) -> u64 {
        self.until.saturating_sub(self.since)
    }
}

/// Several short ones.
struct Mix {
    bit: Bit,
    time: [u64; SHADES],
}

/// See the module.
pub struct Thinned {
    bits: Vec<Bit>,
    mix: Option<Mix>,
    /// Shorter ones are put together.
    least: u64,
    span: u64,
    cap: usize,
}

impl Thinned {
    /// For about so many slices in so long a time.
    pub fn new(span: u64, cap: usize) -> Self {
        Self { bits: Vec::new(), mix: None, least: 0, span, cap: cap.max(16) }
    }

    /// The next one.
    pub fn add(&mut self, bit: Bit) {
        if bit.length() >= self.least {
            self.flush();
            self.bits.push(bit);
        } else {
            self.blend(bit);
        }
        if self.bits.len() > self.cap {
            self.thin();
        }
    }

    fn blend(&mut self, bit: Bit) {
        if let Some(mix) = &mut self.mix
            && bit.since.saturating_sub(mix.bit.until) <= self.least
            && mix.bit.length() < self.least
        {
            mix.bit.until = bit.until.max(mix.bit.until);
            mix.bit.many = mix.bit.many.saturating_add(bit.many);
            mix.bit.flags = SEVERAL | EXACT | (bit.flags & (GOES_ON | NOT_KNOWN));
            mix.put(&bit);
            return;
        }
        self.flush();
        let mut mix = Mix { bit, time: [0; SHADES] };
        mix.put(&bit);
        self.mix = Some(mix);
    }

    fn flush(&mut self) {
        let Some(Mix { mut bit, time }) = self.mix.take() else { return };
        if bit.flags & SEVERAL != 0 {
            let most = time.iter().enumerate().max_by_key(|(_, t)| **t);
            bit.shade = most.map_or(bit.shade, |(shade, _)| shade);
            (bit.reason, bit.site) = (0, 0);
        }
        self.bits.push(bit);
    }

    fn thin(&mut self) {
        let bits = std::mem::take(&mut self.bits);
        self.flush();
        let last = std::mem::take(&mut self.bits);
        self.least = (self.least * 2).max(self.span / self.cap as u64 + 1);
        for bit in bits.into_iter().chain(last) {
            if bit.length() >= self.least {
                self.flush();
                self.bits.push(bit);
            } else {
                self.blend(bit);
            }
        }
    }

    /// All, in their order.
    pub fn finish(mut self) -> Vec<Bit> {
        self.flush();
        self.bits
    }
}

impl Mix {
    fn put(&mut self, bit: &Bit) {
        if let Some(time) = self.time.get_mut(bit.shade) {
            *time = time.saturating_add(bit.length());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(since: u64, until: u64, shade: usize) -> Bit {
        Bit { since, until, shade, reason: 1, site: 1, flags: EXACT, many: 1 }
    }

    #[test]
    fn few_slices_stay_as_they_are() {
        let mut thinned = Thinned::new(1_000, 100);
        let all: Vec<Bit> = (0..90).map(|i| bit(i * 10, i * 10 + 10, 0)).collect();
        all.iter().for_each(|b| thinned.add(*b));
        assert_eq!(thinned.finish(), all);
    }

    #[test]
    fn many_short_slices_become_few_and_long_ones_stay() {
        let mut thinned = Thinned::new(1_000_000, 100);
        for i in 0..50_000u64 {
            thinned.add(bit(i * 10, i * 10 + 9, (i % 3 == 0).into()));
        }
        thinned.add(bit(500_000, 1_000_000, 2));
        let bits = thinned.finish();
        assert!(bits.len() <= 202, "{}", bits.len());
        assert_eq!(bits.iter().map(|b| b.many).sum::<u32>(), 50_001);
        assert!(bits.windows(2).all(|w| w[0].until <= w[1].since));
        assert!(bits.iter().rev().skip(1).all(|b| b.shade == 0 && b.flags & SEVERAL != 0));
        assert_eq!(bits.last().map(|b| (b.shade, b.many)), Some((2, 1)));
    }
}
