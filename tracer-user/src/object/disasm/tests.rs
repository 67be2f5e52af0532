//! Each rule on a few bytes of code.

use super::*;

const START: u64 = 0x40_1000;

/// `cmp rsp, [r14+0x10]`
const CMP: &[u8] = &[0x49, 0x3b, 0x66, 0x10];
/// `push rbp`
const PUSH: &[u8] = &[0x55];
const NOP: &[u8] = &[0x90];
const RET: &[u8] = &[0xc3];
/// A call to somewhere outside.
const CALL: &[u8] = &[0xe8, 0x00, 0x10, 0x00, 0x00];
/// `mov [rsp+8], rax`
const SPILL: &[u8] = &[0x48, 0x89, 0x44, 0x24, 0x08];
/// `mov rax, [rsp+8]`
const RELOAD: &[u8] = &[0x48, 0x8b, 0x44, 0x24, 0x08];
/// `xor eax, eax`
const CLEAR: &[u8] = &[0x31, 0xc0];

fn code(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// `cmp; jbe grow; body; grow: spill, call morestack, reload, jmp entry`.
fn checked(body: &[&[u8]]) -> Vec<u8> {
    let body = code(body);
    let mut all = code(&[CMP, &[0x76, u8::try_from(body.len()).unwrap()], &body]);
    all.extend(code(&[SPILL, CALL, RELOAD]));
    let back = -i8::try_from(all.len() + 2).unwrap();
    all.extend([0xeb, back.cast_unsigned()]);
    all
}

fn entry(code: &[u8]) -> Result<Found, NoSite> {
    after_entry(&Listing::decode(code, START).expect("this is code"), Register::Rax)
}

/// As [`entry`], with the offset of the site.
fn site(code: &[u8]) -> (u64, Emulated, Place) {
    let found = entry(code).expect("there is a site");
    (found.address - START, found.instruction, found.place)
}

fn behind_call(code: &[u8], call: u64) -> Result<Found, NoSite> {
    let listing = Listing::decode(code, START).expect("this is code");
    after_call(&listing, START + call, Register::Rax)
}

const IN_RAX: Place = Place::Register(Register::Rax);

#[test]
fn the_push_behind_the_stack_check_is_probed() {
    let function = checked(&[PUSH, CLEAR, CALL, RET]);
    assert_eq!(site(&function), (6, Emulated::Push, IN_RAX));
    assert!(entry(&function).unwrap().behind_stack_check);
}

#[test]
fn a_function_without_a_stack_check_is_not_probed_at_its_entry() {
    // push rbp; mov rbp, rsp; mov rcx, rax; nop; ret
    let function = code(&[PUSH, &[0x48, 0x89, 0xe5], &[0x48, 0x89, 0xc1], NOP, RET]);
    assert_eq!(site(&function), (7, Emulated::Nop, IN_RAX));
    assert_eq!(entry(&code(&[NOP, RET])), Err(NoSite::Leaves(START + 1)));
}

#[test]
fn the_check_of_large_and_of_huge_frames_is_known() {
    let tail = code(&[PUSH, RET, CALL]);
    // lea r12, [rsp-0x80]; cmp r12, [r14+0x10]; jbe +2
    let mut large =
        code(&[&[0x4c, 0x8d, 0x64, 0x24, 0x80], &[0x4d, 0x3b, 0x66, 0x10, 0x76, 2], &tail]);
    large.extend([0xeb, (-20i8).cast_unsigned()]);
    assert_eq!(site(&large), (11, Emulated::Push, IN_RAX));
    assert!(entry(&large).unwrap().behind_stack_check);
    // mov r12, rsp; sub r12, 0x10000; jb +8; cmp r12, [r14+0x18]; jbe +2
    let mut huge = code(&[
        &[0x49, 0x89, 0xe4],
        &[0x49, 0x81, 0xec, 0, 0, 1, 0],
        &[0x72, 8],
        &[0x4d, 0x3b, 0x66, 0x18, 0x76, 2],
        &tail,
    ]);
    huge.extend([0xeb, (-27i8).cast_unsigned()]);
    assert_eq!(site(&huge), (18, Emulated::Push, IN_RAX));
}

#[test]
fn a_stack_check_that_does_not_start_anew_is_refused() {
    let mut function = checked(&[PUSH, RET]);
    let last = function.len() - 1;
    function[last] += 4; // back to the jbe instead of the entry
    assert!(matches!(entry(&function), Err(NoSite::Start(OddStart::Block(_)))));
    // No call in the block.
    let function = code(&[CMP, &[0x76, 2], PUSH, RET, NOP, &[0xeb, (-11i8).cast_unsigned()]]);
    assert_eq!(entry(&function), Err(NoSite::Start(OddStart::Block(START + 8))));
}

#[test]
fn a_jump_to_the_entry_from_elsewhere_is_refused() {
    // jmp entry: a loop that would count again and again.
    let function = checked(&[PUSH, &[0xeb, (-9i8).cast_unsigned()], RET]);
    assert_eq!(entry(&function), Err(NoSite::Start(OddStart::Jump(START + 7))));
    let function = code(&[CLEAR, PUSH, &[0xeb, (-5i8).cast_unsigned()]]);
    assert_eq!(entry(&function), Err(NoSite::Start(OddStart::Jump(START + 3))));
}

#[test]
fn a_jump_into_the_block_that_grows_the_stack_is_refused() {
    let function = checked(&[PUSH, &[0x74, 1], RET]);
    assert_eq!(entry(&function), Err(NoSite::Start(OddStart::Jump(START + 7))));
}

#[test]
fn a_jump_into_the_span_is_refused() {
    // mov rcx, rax; L: mov rdx, rcx; nop; je L
    let function = checked(&[
        &[0x48, 0x89, 0xc1],
        &[0x48, 0x89, 0xca],
        NOP,
        &[0x74, (-6i8).cast_unsigned()],
        RET,
    ]);
    assert_eq!(entry(&function), Err(NoSite::JumpInto { from: START + 13, to: START + 9 }));
}

#[test]
fn a_jump_onto_the_site_itself_is_refused() {
    let function = checked(&[PUSH, &[0x74, (-3i8).cast_unsigned()], RET]);
    assert_eq!(entry(&function), Err(NoSite::JumpInto { from: START + 7, to: START + 6 }));
}

#[test]
fn a_jump_to_behind_the_site_does_no_harm() {
    let function = checked(&[PUSH, CLEAR, &[0x74, (-4i8).cast_unsigned()], RET]);
    assert_eq!(site(&function), (6, Emulated::Push, IN_RAX));
}

#[test]
fn a_jump_table_is_refused() {
    let function = checked(&[PUSH, &[0xff, 0xe1], RET]); // jmp rcx
    assert_eq!(entry(&function), Err(NoSite::Indirect(START + 7)));
    let function = code(&[CALL, NOP, &[0xff, 0x24, 0xc8]]); // jmp [rax+rcx*8]
    assert_eq!(behind_call(&function, 0), Err(NoSite::Indirect(START + 6)));
}

#[test]
fn nops_with_prefixes_and_long_nops_are_passed_over() {
    let function = checked(&[&[0x66, 0x90], &[0xf3, 0x90], &[0x0f, 0x1f, 0x40, 0x00], NOP, RET]);
    assert_eq!(site(&function), (14, Emulated::Nop, IN_RAX));
}

#[test]
fn xchg_r8_is_no_nop_and_takes_the_value_away() {
    let function = checked(&[&[0x49, 0x90], NOP, RET]); // xchg r8, rax
    assert_eq!(entry(&function), Err(NoSite::Lost(START + 8)));
}

#[test]
fn the_value_is_followed_into_other_registers() {
    // mov rdx, rax; xor eax, eax; nop
    let function = checked(&[&[0x48, 0x89, 0xc2], CLEAR, NOP, RET]);
    assert_eq!(site(&function).2, Place::Register(Register::Rdx));
    // mov r9, rax; mov al, 1; call
    let function = checked(&[&[0x49, 0x89, 0xc1], &[0xb0, 0x01], CALL, RET]);
    assert_eq!(site(&function), (11, Emulated::Call, Place::Register(Register::R9)));
}

#[test]
fn half_a_register_is_not_the_value() {
    // mov edx, eax; xor eax, eax; nop
    let function = checked(&[&[0x89, 0xc2], CLEAR, NOP, RET]);
    assert_eq!(entry(&function), Err(NoSite::Lost(START + 10)));
}

#[test]
fn an_overwritten_register_ends_it() {
    for overwrite in [
        CLEAR,
        &[0x48, 0x8b, 0x01],       // mov rax, [rcx]
        &[0x0f, 0xb0, 0x0b],       // cmpxchg [rbx], cl
        &[0x48, 0x0f, 0x44, 0xc1], // cmove rax, rcx
        &[0x0f, 0xa2],             // cpuid
        &[0x48, 0x87, 0x01],       // xchg [rcx], rax
    ] {
        let function = checked(&[overwrite, NOP, RET]);
        let end = START + 6 + overwrite.len() as u64;
        assert_eq!(entry(&function), Err(NoSite::Lost(end)), "{overwrite:02x?}");
    }
}

#[test]
fn a_stack_slot_is_used_when_no_register_holds_the_value() {
    // sub rsp, 0x20; mov [rsp+8], rax; xor eax, eax; nop
    let function = checked(&[&[0x48, 0x83, 0xec, 0x20], SPILL, CLEAR, NOP, RET]);
    assert_eq!(site(&function).2, Place::Stack { words: 1 });
}

#[test]
fn a_register_is_preferred_to_a_slot() {
    let function = checked(&[&[0x48, 0x83, 0xec, 0x20], SPILL, NOP, RET]);
    assert_eq!(site(&function).2, IN_RAX);
}

#[test]
fn the_value_comes_back_from_its_slot() {
    // spill; xor eax, eax; mov rbx, [rsp+8]; nop
    let reload = [0x48, 0x8b, 0x5c, 0x24, 0x08];
    let function = checked(&[SPILL, CLEAR, &reload, NOP, RET]);
    assert_eq!(site(&function).2, Place::Register(Register::Rbx));
    // From another slot comes something else.
    let other = [0x48, 0x8b, 0x44, 0x24, 0x10];
    let function = checked(&[SPILL, &other, &[0x48, 0x89, 0xd9], NOP, RET]);
    assert_eq!(site(&function).2, Place::Stack { words: 1 });
}

#[test]
fn slots_move_with_rsp() {
    let sub: &[u8] = &[0x48, 0x83, 0xec, 0x20]; // sub rsp, 0x20
    let lea: &[u8] = &[0x48, 0x8d, 0x64, 0x24, 0x10]; // lea rsp, [rsp+0x10]
    let add: &[u8] = &[0x48, 0x81, 0xc4, 0x08, 0, 0, 0]; // add rsp, 8
    let function = checked(&[SPILL, CLEAR, sub, NOP, RET]);
    assert_eq!(site(&function).2, Place::Stack { words: 5 });
    let function = checked(&[SPILL, CLEAR, sub, lea, add, NOP, RET]);
    assert_eq!(site(&function).2, Place::Stack { words: 2 });
}

#[test]
fn pushes_move_rsp_and_may_hold_the_value() {
    // push rax as the entry; xor eax, eax; push 1 (not emulated); nop
    let function = code(&[&[0x50], CLEAR, &[0x6a, 0x01], NOP, RET]);
    assert_eq!(site(&function), (5, Emulated::Nop, Place::Stack { words: 1 }));
    // pop rcx instead: the slot lies below rsp and is nobody's.
    let function = code(&[&[0x50], CLEAR, &[0x59], NOP, RET]);
    assert_eq!(entry(&function), Err(NoSite::Lost(START + 4)));
}

#[test]
fn an_overwritten_slot_is_gone() {
    let gone: [&[u8]; 6] = [
        &[0xc6, 0x44, 0x24, 0x0f, 0x00], // mov byte [rsp+15], 0
        &[0x0f, 0x11, 0x44, 0x24, 0x04], // movups [rsp+4], xmm0
        &[0x48, 0x89, 0x4c, 0xcc, 0x08], // mov [rsp+rcx*8+8], rcx
        &[0x48, 0x89, 0x0b],             // mov [rbx], rcx
        &[0x48, 0x89, 0xec],             // mov rsp, rbp
        &[0x48, 0x83, 0xe4, 0xf0],       // and rsp, -16
    ];
    for write in gone {
        let function = checked(&[SPILL, CLEAR, write, NOP, RET]);
        let end = START + 13 + write.len() as u64;
        assert_eq!(entry(&function), Err(NoSite::Lost(end)), "{write:02x?}");
    }
    // The words beside it are not it.
    let beside: &[u8] = &[0x48, 0x89, 0x4c, 0x24, 0x10]; // mov [rsp+16], rcx
    let function = checked(&[SPILL, CLEAR, beside, NOP, RET]);
    assert_eq!(site(&function).2, Place::Stack { words: 1 });
}

#[test]
fn a_slot_out_of_reach_is_not_used() {
    let far: &[u8] = &[0x48, 0x81, 0xec, 0xf8, 0x03, 0, 0]; // sub rsp, 127 words
    let function = checked(&[SPILL, CLEAR, far, NOP, RET]);
    assert_eq!(entry(&function), Err(NoSite::Leaves(START + 21)));
}

#[test]
fn the_line_ends_where_the_path_divides() {
    let indirect: &[u8] = &[0xff, 0xd1]; // call rcx
    assert_eq!(entry(&checked(&[indirect, NOP, RET])), Err(NoSite::Leaves(START + 6)));
    assert_eq!(entry(&checked(&[&[0xe3, 0x01], NOP, RET])), Err(NoSite::Leaves(START + 6)));
    assert_eq!(entry(&checked(&[RET])), Err(NoSite::Leaves(START + 6)));
    let overridden: &[u8] = &[0x2e, 0x74, 0x01]; // a jump with a hint prefix
    assert_eq!(entry(&checked(&[overridden, NOP, RET])), Err(NoSite::Leaves(START + 6)));
}

#[test]
fn the_first_branch_is_a_site() {
    // cmp byte [rip+x], 0; je +1
    let function = checked(&[&[0x80, 0x3d, 0, 1, 0, 0, 0], &[0x74, 1], NOP, RET]);
    assert_eq!(site(&function), (13, Emulated::Branch, IN_RAX));
    let long: &[u8] = &[0x0f, 0x84, 1, 0, 0, 0];
    let function = checked(&[&[0x80, 0x3d, 0, 1, 0, 0, 0], long, NOP, RET]);
    assert_eq!(site(&function), (13, Emulated::Branch, IN_RAX));
}

#[test]
fn behind_a_call_the_next_call_is_a_site_before_it_runs() {
    // call; mov rbx, rax; mov ecx, 1; mov rax, rdx; call
    let function =
        code(&[CALL, &[0x48, 0x89, 0xc3], &[0xb9, 1, 0, 0, 0], &[0x48, 0x89, 0xd0], CALL, RET]);
    let found = behind_call(&function, 0).unwrap();
    assert_eq!(
        (found.address - START, found.instruction, found.place),
        (16, Emulated::Call, Place::Register(Register::Rbx))
    );
}

#[test]
fn the_instruction_right_behind_a_call_may_be_the_site() {
    let found = behind_call(&code(&[CALL, NOP, RET]), 0).unwrap();
    assert_eq!((found.address - START, found.place), (5, IN_RAX));
}

#[test]
fn a_jump_from_elsewhere_to_behind_the_call_is_refused() {
    // je L; call; L: nop
    let function = code(&[&[0x74, 5], CALL, NOP, RET]);
    assert_eq!(behind_call(&function, 2), Err(NoSite::JumpInto { from: START, to: START + 7 }));
}

#[test]
fn what_is_no_call_has_no_return() {
    let function = code(&[CALL, NOP, &[0xff, 0xd0], NOP, RET]);
    for (call, case) in [(1, "within"), (5, "a nop"), (6, "through a register"), (99, "outside")] {
        assert_eq!(behind_call(&function, call), Err(NoSite::NoCall(START + call)), "{case}");
    }
    assert_eq!(behind_call(CALL, 0), Err(NoSite::Leaves(START + 5)));
}

#[test]
fn bytes_that_are_no_code_are_refused_as_a_whole() {
    let refused = |code: &[u8]| Listing::decode(code, START).err();
    assert_eq!(refused(&[]), Some(DisasmError::Size(0)));
    assert_eq!(refused(&vec![0x90; MAX_CODE + 1]), Some(DisasmError::Size(MAX_CODE + 1)));
    assert_eq!(refused(&[0x90, 0x06]), Some(DisasmError::NotCode(START + 1)));
    assert_eq!(refused(&[0x90, 0xe8, 0, 0]), Some(DisasmError::NotCode(START + 1)));
    assert_eq!(
        refused(&[0xeb, 0x01, 0xb0, 0x90, 0xc3]),
        Some(DisasmError::IntoInstruction { from: START, to: START + 3 })
    );
}

#[test]
fn padding_behind_the_end_is_no_harm() {
    for padding in [&[0xcc, 0xcc][..], &[0], &[0, 0, 0], &[0xcc, 0, 0, 0]] {
        assert!(Listing::decode(&code(&[RET, padding]), START).is_ok(), "{padding:02x?}");
    }
    // A jump back by 52 bytes ends in cc as well.
    let mut loops = vec![0x90; 50];
    loops.extend([0xeb, 0xcc]);
    let listing = Listing::decode(&loops, START).unwrap();
    assert_eq!(listing.target_at(START + 50), Some(START));
}

#[test]
fn instructions_are_shown_as_disassemblers_do() {
    let function = code(&[PUSH, CALL, &[0x41, 0x50], &[0x76, 0x10]]);
    let mut function = function;
    function.extend([0x90; 32]);
    let listing = Listing::decode(&function, START).unwrap();
    let shown: Vec<String> = listing.boundaries().take(5).map(|at| listing.text(at)).collect();
    assert_eq!(shown, ["push rbp", "call 0x402006", "push r8", "jbe 0x40101a", "nop"]);
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

#[test]
fn damaged_and_cut_off_code_never_panics_and_sites_stay_on_boundaries() {
    let whole = checked(&[PUSH, SPILL, CLEAR, CALL, RELOAD, NOP, CALL, RET]);
    for end in 0..whole.len() {
        fuzz_disasm(&whole[..end]);
    }
    let mut random = Random(1);
    for _ in 0..20_000 {
        let mut damaged = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(damaged.len());
            damaged[at] = random.next().to_le_bytes()[0];
        }
        fuzz_disasm(&damaged);
        let Ok(listing) = Listing::decode(&damaged, START) else { continue };
        if let Ok(found) = after_entry(&listing, Register::Rax) {
            assert!(listing.is_boundary(found.address) && found.address > START);
            let at = usize::try_from(found.address - START).unwrap();
            assert!(emulated(&damaged[at..at + 1]).is_some() || damaged.len() > at + 1);
        }
    }
    for _ in 0..5_000 {
        let noise: Vec<u8> =
            (0..random.below(64)).map(|_| random.next().to_le_bytes()[0]).collect();
        fuzz_disasm(&noise);
    }
}
