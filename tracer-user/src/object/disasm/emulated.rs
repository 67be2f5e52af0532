//! Which instructions the kernel carries out itself when a probe stands on them, instead of
//! copying them elsewhere and stepping over the copy, which costs 16 times as much.

/// The instruction under a probe: one the kernel emulates instead of single-stepping it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Emulated {
    /// `nop` of one byte.
    Nop,
    /// `push` of a general register.
    Push,
    /// `jmp` with a relative target.
    Jump,
    /// A conditional jump with a relative target.
    Branch,
    /// `call` with a relative target.
    Call,
}

/// Tells whether the instruction that these bytes are, all of them, is one the kernel emulates
/// since Linux 5.15 at the latest.
///
/// Source: arch/x86/kernel/uprobes.c, `branch_setup_xol_ops` (call, jmp, jcc, and 0x90 with any
/// prefix) and `push_setup_xol_ops` (0x50 to 0x57, alone or behind 0x41). Forms with prefixes are
/// left out although the kernel takes some: it emulates 41 90 (`xchg r8, rax`) and f3 90 (`pause`)
/// as if they were no-ops, and a 66 before a branch is refused up to Linux 6.1 or means another
/// instruction. Longer no-ops are emulated by recent kernels only.
pub fn emulated(instruction: &[u8]) -> Option<Emulated> {
    match *instruction {
        [0x90] => Some(Emulated::Nop),
        [0x50..=0x57] | [0x41, 0x50..=0x57] => Some(Emulated::Push),
        [0xeb, _] | [0xe9, _, _, _, _] => Some(Emulated::Jump),
        [0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => Some(Emulated::Branch),
        [0xe8, _, _, _, _] => Some(Emulated::Call),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_forms_are_emulated() {
        for (bytes, expected) in [
            (&[0x90][..], Emulated::Nop),
            (&[0x55], Emulated::Push),
            (&[0x41, 0x57], Emulated::Push),
            (&[0xeb, 0x10], Emulated::Jump),
            (&[0xe9, 0, 1, 0, 0], Emulated::Jump),
            (&[0x76, 0x10], Emulated::Branch),
            (&[0x0f, 0x84, 0, 1, 0, 0], Emulated::Branch),
            (&[0xe8, 0, 1, 0, 0], Emulated::Call),
        ] {
            assert_eq!(emulated(bytes), Some(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn prefixes_other_nops_and_stepped_instructions_are_not() {
        for bytes in [
            &[0x41, 0x90][..],         // xchg r8, rax
            &[0xf3, 0x90],             // pause
            &[0x66, 0x90],             // nop of two bytes
            &[0x0f, 0x1f, 0x00],       // nop of three bytes
            &[0x66, 0xe8, 0, 0, 0, 0], // call with an operand size prefix
            &[0xf2, 0xe9, 0, 0, 0, 0], // bnd jmp
            &[0x2e, 0x74, 0x10],       // jump with a hint
            &[0x48, 0x55],             // push rbp with a REX.W nobody needs
            &[0x66, 0x55],             // push bp
            &[0x6a, 0x01],             // push 1
            &[0xff, 0x35, 0, 0, 0, 0], // push [rip]
            &[0xff, 0xd0],             // call rax
            &[0xe3, 0x10],             // jrcxz
            &[0xe2, 0x10],             // loop
            &[0xc3],                   // ret
            &[0x5d],                   // pop rbp
            &[0x49, 0x3b, 0x66, 0x10], // cmp rsp, [r14+0x10]
            &[],
        ] {
            assert_eq!(emulated(bytes), None, "{bytes:02x?}");
        }
    }
}
