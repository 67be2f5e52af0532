//! The lives of all processes of the host: which program each runs. Attached only where all of
//! them are watched.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::config::HOST_SLOT;
use tracer_common::event::Process;
use tracer_common::ids::kind;

use super::threads::tid_of;
use super::traced::{current, load};
use crate::emit::{emit, now};
use crate::maps::{Counters, kernel};

#[btf_tracepoint(function = "sched_process_exec")]
pub fn host_exec(_ctx: BtfTracePointContext) -> i32 {
    if let Some((tgid, _)) = current() {
        tell(kind::EXEC, tgid);
    }
    0
}

#[btf_tracepoint(function = "sched_process_fork")]
pub fn host_fork(ctx: BtfTracePointContext) -> i32 {
    if current().is_none() {
        return 0;
    }
    let child: *const u8 = ctx.arg(1);
    // SAFETY: `child` is the tracepoint's typed argument; the offset is the kernel's own.
    let child_tgid = unsafe { load::<i32>(child, kernel!(task_tgid)) } as u32;
    let own_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if child_tgid != own_tgid {
        tell(kind::FORK, tid_of(child));
    }
    0
}

#[inline(always)]
fn tell(kind: u8, tgid: u32) {
    if let Some(counters) = Counters::of(HOST_SLOT) {
        counters.process_hit();
        let value = u64::from(tgid);
        emit(counters, HOST_SLOT, kind, now(), |header| Process { header, value });
    }
}
