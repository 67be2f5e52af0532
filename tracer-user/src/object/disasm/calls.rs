//! Who calls a function: every relative call or jump to it, found by its bytes.

/// A place where the bytes of a relative call or jump stand. That an instruction begins there is
/// for a [`super::Listing`] to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Branch {
    /// `call`, at this address.
    Call(u64),
    /// `jmp`, at this address: a tail call, which does not come back.
    Jump(u64),
}

impl Branch {
    /// Where it stands.
    pub const fn address(self) -> u64 {
        match self {
            Branch::Call(at) | Branch::Jump(at) => at,
        }
    }
}

/// Opcode and displacement.
const LENGTH: usize = 5;

/// Finds the bytes of all `call rel32` and `jmp rel32` to `target` in code that lies at `address`.
pub fn direct_branches(
    code: &[u8],
    address: u64,
    target: u64,
) -> impl Iterator<Item = Branch> + use<'_> {
    memchr::memchr2_iter(0xe8, 0xe9, code).filter_map(move |at| {
        let &[opcode, ref displacement @ ..] = code.get(at..at.checked_add(LENGTH)?)? else {
            return None;
        };
        let displacement = i32::from_le_bytes(displacement.try_into().ok()?);
        let place = address.checked_add(at as u64)?;
        let next = place.checked_add(LENGTH as u64)?;
        let found = next.wrapping_add_signed(i64::from(displacement)) == target;
        found.then_some(if opcode == 0xe8 { Branch::Call(place) } else { Branch::Jump(place) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_jumps_to_the_target_are_found_wherever_they_stand() {
        let mut code = vec![0xe8, 0x0b, 0, 0, 0]; // to 0x1010
        code.extend([0xe8, 0xe8, 0x06, 0, 0, 0]); // at an odd place, behind another e8
        code.extend([0xe9, 0, 0, 0, 0]); // to 0x1010
        code.extend([0xe8, 0xeb, 0xff, 0xff, 0xff]); // to 0x1000
        let found: Vec<Branch> = direct_branches(&code, 0x1000, 0x1010).collect();
        assert_eq!(found, [Branch::Call(0x1000), Branch::Jump(0x100b)]);
        let found: Vec<Branch> = direct_branches(&code, 0x1000, 0x1011).collect();
        assert_eq!(found, [Branch::Call(0x1006)]);
        let found: Vec<Branch> = direct_branches(&code, 0x1000, 0x1000).collect();
        assert_eq!(found, [Branch::Call(0x1010)]);
    }

    #[test]
    fn code_that_is_cut_off_or_wraps_around_is_no_call() {
        assert_eq!(direct_branches(&[0xe8, 0, 0, 0], 0, 5).count(), 0);
        assert_eq!(direct_branches(&[0xe8, 0, 0, 0, 0], u64::MAX - 2, 2).count(), 0);
        assert_eq!(direct_branches(&[], 0, 0).count(), 0);
    }
}
