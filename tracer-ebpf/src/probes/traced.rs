//! Whether the current thread is one of a traced process, and fields of the kernel's structures.
//!
//! These are read at offsets that the loader took from the kernel's BTF: they are constants by the
//! time the verifier looks, so it checks each load.

use aya_ebpf::bindings::bpf_pidns_info;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_ns_current_pid_tgid};
use tracer_common::ids::follow;

use crate::maps::{TGIDS, kernel};

/// The current thread, of a traced process. Ids as loiter's PID namespace counts them.
#[derive(Clone, Copy)]
pub struct Traced {
    pub tgid: u32,
    pub tid: u32,
    pub slot: u16,
    follow: u32,
}

impl Traced {
    /// Whether something of [`follow`] is followed.
    #[inline(always)]
    pub fn follows(&self, what: u32) -> bool {
        self.follow & what != 0
    }
}

/// The current thread, if it is traced.
#[inline(always)]
pub fn traced() -> Option<Traced> {
    let (tgid, tid) = current()?;
    // SAFETY: a value of 4 bytes, read whole.
    let value = *unsafe { TGIDS.get(tgid) }?;
    Some(Traced { tgid, tid, slot: (value & follow::SLOT) as u16, follow: value })
}

/// Thread group and thread as loiter's PID namespace counts them; None for a thread of another one,
/// except from the initial one, which counts all.
#[inline(always)]
pub fn current() -> Option<(u32, u32)> {
    if kernel!(pidns_ino) == 0 {
        let ids = bpf_get_current_pid_tgid();
        return Some(((ids >> 32) as u32, ids as u32));
    }
    let mut ids = bpf_pidns_info { pid: 0, tgid: 0 };
    let len = size_of::<bpf_pidns_info>() as u32;
    // SAFETY: `ids` is as long as `len` says.
    let error = unsafe {
        bpf_get_ns_current_pid_tgid(kernel!(pidns_dev), kernel!(pidns_ino), &mut ids, len)
    };
    (error == 0).then_some((ids.tgid, ids.pid))
}

/// Reads a field of a kernel structure.
///
/// # Safety
/// `base` must be a pointer the verifier knows, and `offset` that of a field of type `T`.
#[inline(always)]
pub unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the caller's promise.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}
