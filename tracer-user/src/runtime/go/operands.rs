//! Global variables that a function uses, read off its instructions: how variables are found in
//! binaries without symbols.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction};

/// Instructions looked at in one function at most: the functions read here have under 200.
const MAX_INSTRUCTIONS: usize = 2_000;

/// Addresses from which `code`, which runs at `address`, loads a 64-bit word relative to the
/// instruction pointer; in order of the instructions.
pub(super) fn loads(code: &[u8], address: u64) -> Vec<u64> {
    relative(code, address, |code| matches!(code, Code::Mov_r64_rm64))
}

/// Addresses to which `code` stores a 64-bit word relative to the instruction pointer.
pub(super) fn stores(code: &[u8], address: u64) -> Vec<u64> {
    relative(code, address, |code| matches!(code, Code::Mov_rm64_r64))
}

/// Addresses that `code` takes relative to the instruction pointer (`lea`).
pub(super) fn taken(code: &[u8], address: u64) -> Vec<u64> {
    relative(code, address, |code| matches!(code, Code::Lea_r64_m))
}

/// Addresses that any instruction of `code` names relative to the instruction pointer.
pub(super) fn any(code: &[u8], address: u64) -> Vec<u64> {
    relative(code, address, |_| true)
}

fn relative(code: &[u8], address: u64, wanted: impl Fn(Code) -> bool) -> Vec<u64> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut found = Vec::new();
    for _ in 0..MAX_INSTRUCTIONS {
        if !decoder.can_decode() {
            break;
        }
        decoder.decode_out(&mut instruction);
        if wanted(instruction.code()) && instruction.is_ip_rel_memory_operand() {
            found.push(instruction.ip_rel_memory_address());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_addresses_relative_to_the_instruction_pointer_are_found_in_order() {
        let code = [
            0x48, 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00, // mov rax,[rip+0x10]
            0x48, 0x8b, 0x45, 0x08, // mov rax,[rbp+8]
            0x8b, 0x05, 0x10, 0x00, 0x00, 0x00, // mov eax,[rip+0x10]
            0x48, 0x8d, 0x0d, 0xf9, 0xff, 0xff, 0xff, // lea rcx,[rip-7]
            0x4c, 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00, // mov r8,[rip+0x100]
        ];
        assert_eq!(loads(&code, 0x1000), [0x1017, 0x111f]);
        assert_eq!(taken(&code, 0x1000), [0x1011]);
        let store = [0x48, 0x89, 0x05, 0x10, 0x00, 0x00, 0x00]; // mov [rip+0x10],rax
        assert_eq!(stores(&store, 0x1000), [0x1017]);
        assert!(stores(&code, 0x1000).is_empty());
    }

    #[test]
    fn any_bytes_can_be_decoded() {
        let mut state = 7_u64;
        for _ in 0..500 {
            let code: Vec<u8> = (0..64)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as u8
                })
                .collect();
            let _ = (loads(&code, u64::MAX - 8), taken(&code, 0));
        }
    }
}
