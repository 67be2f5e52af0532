//! The seccomp filter: `exit_group` of x86-64 asks, everything else goes its way (seccomp(2)).
//! Runs in the child between fork and exec: async-signal-safe calls only.

use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::io::Errno;

/// AUDIT_ARCH_X86_64 of include/uapi/linux/audit.h. The same number is another call elsewhere.
const ARCH_X86_64: u32 = 0xc000_003e;
/// Offsets in `struct seccomp_data` of include/uapi/linux/seccomp.h.
const NR: u32 = 0;
const ARCH: u32 = 4;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

const PROGRAM: [libc::sock_filter; 6] = [
    op(LOAD, 0, 0, ARCH),
    op(JUMP_EQUAL, 0, 3, ARCH_X86_64),
    op(LOAD, 0, 0, NR),
    op(JUMP_EQUAL, 0, 1, libc::SYS_exit_group as u32),
    op(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
];

/// Puts the filter on the calling process; gives its listener, which does not survive an exec.
///
/// A privileged process keeps its right to gain more by set-user-id programs; for others the
/// kernel wants that to be given up first.
pub(super) fn install() -> Result<OwnedFd, Errno> {
    match listen() {
        Err(Errno::ACCESS) => {
            rustix::thread::set_no_new_privs(true)?;
            listen()
        }
        done => done,
    }
}

/// With waits that only a fatal signal ends, where the kernel has them (5.19): Go sends itself
/// signals to preempt, and each would have the call made anew.
fn listen() -> Result<OwnedFd, Errno> {
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match set(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::INVAL) => set(listener),
        done => done,
    }
}

fn set(flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
    let program = libc::sock_fprog {
        len: PROGRAM.len() as libc::c_ushort,
        filter: PROGRAM.as_ptr().cast_mut(),
    };
    // SAFETY: `program` and the filter it points to live for the call, which only reads them; the
    // length is that of the filter.
    let fd = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    match libc::c_int::try_from(fd) {
        // SAFETY: the call gave this new descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        // SAFETY: reads this thread's errno.
        _ => Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() })),
    }
}
