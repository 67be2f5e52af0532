//! Registers of the probed thread.
//!
//! The verifier wants constant offsets into the context, and the compiler likes to merge the arms
//! of a `match` into one load at a computed offset; loads in assembly are left as they are.
//! Source of the offsets: arch/x86/include/asm/ptrace.h, `struct pt_regs`, unchanged since 2.6.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::programs::ProbeContext;
use tracer_common::ids::loc;

macro_rules! load {
    ($ctx:expr, $offset:literal) => {{
        let value: u64;
        // SAFETY: reads 8 bytes of the context, which is a pt_regs of 168 bytes.
        unsafe {
            core::arch::asm!(
                concat!("{value} = *(u64 *)({context} + ", $offset, ")"),
                value = out(reg) value,
                context = in(reg) $ctx.as_ptr(),
                options(pure, readonly, nostack),
            );
        }
        value
    }};
}

/// The g register of Go's internal calling convention, `r14`.
#[inline(always)]
pub fn current_g(ctx: &ProbeContext) -> u64 {
    load!(ctx, 8)
}

/// Why there is no value.
pub enum NoValue {
    /// The location is not one (cannot happen: the loader encodes it).
    BadLocation,
    /// The stack could not be read.
    UserRead,
}

/// The value at a location of the attach cookie.
#[inline(always)]
pub fn value_at(ctx: &ProbeContext, location: u8) -> Result<u64, NoValue> {
    if location & loc::STACK != 0 {
        let words = u64::from(location & !loc::STACK);
        let at = load!(ctx, 152).wrapping_add(words * 8) as *const u64;
        // SAFETY: the helper checks the address.
        return unsafe { bpf_probe_read_user(at) }.map_err(|_| NoValue::UserRead);
    }
    Ok(match location {
        0 => load!(ctx, 80),
        1 => load!(ctx, 88),
        2 => load!(ctx, 96),
        3 => load!(ctx, 40),
        4 => load!(ctx, 152),
        5 => load!(ctx, 32),
        6 => load!(ctx, 104),
        7 => load!(ctx, 112),
        8 => load!(ctx, 72),
        9 => load!(ctx, 64),
        10 => load!(ctx, 56),
        11 => load!(ctx, 48),
        12 => load!(ctx, 24),
        13 => load!(ctx, 16),
        14 => load!(ctx, 8),
        15 => load!(ctx, 0),
        _ => return Err(NoValue::BadLocation),
    })
}
