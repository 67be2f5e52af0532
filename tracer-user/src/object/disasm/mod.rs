//! Instructions of a program: where they begin, which of them the kernel emulates under a probe,
//! and where a value is when such an instruction is reached.
//!
//! An int3 inside of an instruction, or on one that a jump reaches by a path nobody thought of,
//! breaks the target. So a whole function is disassembled, every jump in it is known, and a site is
//! given only where all of it was understood; anything else is refused with the reason. Bytes in,
//! facts out; x86-64 only. May use: base.

mod calls;
mod emulated;
mod follow;
mod listing;
mod site;
mod stack_check;

pub use calls::{Branch, direct_branches};
pub use emulated::{Emulated, emulated};
pub use follow::{MAX_STACK_WORDS, Place, Register};
pub use listing::{DisasmError, Listing, MAX_CODE};
pub use site::{Found, NoSite, after_call, after_entry};
pub use stack_check::OddStart;

#[cfg(test)]
mod tests;

/// What a fuzzer calls: whatever the bytes are, looking for sites ends, without a panic.
pub fn fuzz_disasm(bytes: &[u8]) {
    const START: u64 = 0x40_1000;
    for branch in direct_branches(bytes, START, START) {
        if let Ok(listing) = Listing::decode(bytes, START) {
            let _ = after_call(&listing, branch.address(), Register::Rax);
        }
    }
    if let Ok(listing) = Listing::decode(bytes, START) {
        let _ = after_entry(&listing, Register::Rax);
    }
}
