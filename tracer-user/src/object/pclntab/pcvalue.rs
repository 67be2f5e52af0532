//! Tables that give a value for each code address: pairs of (value delta, length), variable
//! length integers, ended by a zero delta. Source: src/runtime/symtab.go, `pcvalue` and `step`.

/// Steps walked at most. A step covers at least one byte of code, so the function's size bounds
/// them as well. The largest functions (generated tables, parsers) have some ten thousand.
const MAX_STEPS: u64 = 1 << 20;

/// One run: `value` holds for offsets from the previous run's end up to `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    /// The value.
    pub(super) value: i32,
    /// First offset from the function's entry where it does not hold any more.
    pub(super) end: u64,
}

/// Walks a value table.
#[derive(Clone, Debug)]
pub(super) struct Runs<'t> {
    rest: &'t [u8],
    value: i32,
    end: u64,
    left: u64,
    first: bool,
}

impl<'t> Runs<'t> {
    /// `size` is that of the function in bytes.
    pub(super) fn new(table: &'t [u8], size: u64) -> Self {
        Self {
            rest: table,
            value: -1,
            end: 0,
            left: size.saturating_add(1).min(MAX_STEPS),
            first: true,
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    #[inline]
    fn next(&mut self) -> Option<Run> {
        self.left = self.left.checked_sub(1)?;
        let delta = varint(&mut self.rest)?;
        if delta == 0 && !self.first {
            return None;
        }
        self.first = false;
        let delta = (delta >> 1) as i32 ^ -((delta & 1) as i32);
        self.value = self.value.wrapping_add(delta);
        self.end = self.end.saturating_add(u64::from(varint(&mut self.rest)?));
        Some(Run { value: self.value, end: self.end })
    }
}

/// The value at `offset` from the function's entry.
pub(super) fn value_at(table: &[u8], size: u64, offset: u64) -> Option<i32> {
    Runs::new(table, size).find(|run| offset < run.end).map(|run| run.value)
}

/// Seven bits a byte, lowest first; at most five bytes.
#[inline]
fn varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_until_its_run_ends() {
        // -1 +1 = 0 for 4 bytes, then +8 = 8 for 0x90 bytes, then the end.
        let table = [2, 4, 16, 0x90, 0x01, 0];
        let at = |offset| value_at(&table, 1000, offset);
        assert_eq!(
            [at(0), at(3), at(4), at(0x93), at(0x94)],
            [Some(0), Some(0), Some(8), Some(8), None]
        );
    }

    #[test]
    fn a_value_may_fall() {
        let table = [3, 1, 3, 1, 0];
        assert_eq!(value_at(&table, 10, 0), Some(-3));
        assert_eq!(value_at(&table, 10, 1), Some(-5));
    }

    #[test]
    fn a_table_that_is_cut_off_gives_nothing() {
        for table in [&[][..], &[2], &[2, 0x80], &[0x80; 9]] {
            assert_eq!(value_at(table, 10, 0), None);
        }
    }

    #[test]
    fn runs_of_no_length_do_not_go_on_for_ever() {
        let table = [2u8, 0].repeat(1 << 20);
        assert_eq!(Runs::new(&table, 100).count(), 101);
    }
}
