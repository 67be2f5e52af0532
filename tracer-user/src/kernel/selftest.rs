//! Tries uprobe_multi on loiter itself: in Linux 6.6 to 6.9 (and in early stable releases of them)
//! its filter for one process lets only the main thread through, which nothing but a hit from
//! another thread can show. Fixed by 46ba0e49b642, "bpf: fix multi-uprobe PID filtering logic".

use std::fs;
use std::io;

use tracer_common::config::{NO_OFFSET, TargetConfig};
use tracer_common::ids::{Cookie, site};

use crate::base::Pid;
use crate::runtime::plan::{Location, Register, SiteKind};

use super::KernelError;
use super::binary::Binary;
use super::multi::MultiPrograms;

/// A layout of which nothing is read.
pub const NO_LAYOUT: TargetConfig = TargetConfig {
    min_wait_ns: 0,
    g_goid: 0,
    g_parent: NO_OFFSET,
    g_gopc: 0,
    g_startpc: 0,
    g_waitreason: 0,
    g_tracking_seq: 0,
    g_m: 0,
    m_curg: 0,
};

// An instruction of our own to probe: the kernel emulates a nop of one byte.
std::arch::global_asm!(
    ".pushsection .text.loiter_self_test,\"ax\",@progbits",
    ".balign 16",
    ".globl loiter_self_test_site",
    ".type loiter_self_test_site,@function",
    "loiter_self_test_site:",
    "nop",
    "ret",
    ".size loiter_self_test_site, .-loiter_self_test_site",
    ".popsection",
);

unsafe extern "C" {
    fn loiter_self_test_site();
}

/// Links the run program to the site, passes the site once on a thread of its own, and unlinks.
///
/// # Errors
/// If the link cannot be made.
pub fn hit_from_a_second_thread(programs: &MultiPrograms, slot: u16) -> Result<(), KernelError> {
    let pid = Pid(std::process::id());
    let binary = Binary::open(pid, std::path::Path::new(&format!("/proc/{pid}/exe")))?;
    let failed = |source| KernelError::Attach { pid, kind: SiteKind::Run, source };
    let address = loiter_self_test_site as *const () as u64;
    let offset = file_offset(address).map_err(failed)?;
    let cookie = Cookie::new(slot, site::RUN, Location::Register(Register::Rax).encode(), 0);
    let link = programs
        .link(SiteKind::Run, &binary.c_path(), &[offset], &[cookie.0], pid.0)
        .map_err(failed)?;
    let passed = std::thread::Builder::new()
        .name("self-test".to_owned())
        // SAFETY: a nop and a return.
        .spawn(|| unsafe { loiter_self_test_site() })
        .map_err(failed)?;
    let joined = passed.join();
    drop(link);
    joined.map_err(|_| failed(io::Error::other("the thread of the self-test failed")))
}

/// Offset in the file of an address of ours.
fn file_offset(address: u64) -> io::Result<u64> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    maps.lines()
        .find_map(|line| offset_in(line, address))
        .ok_or_else(|| io::Error::other("our own code is not in /proc/self/maps"))
}

fn offset_in(line: &str, address: u64) -> Option<u64> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let offset = u64::from_str_radix(words.nth(1)?, 16).ok()?;
    (start..end).contains(&address).then(|| address - start + offset)
}
