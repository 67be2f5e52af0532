//! The maps and globals, and the counters in them. Sizes here are defaults; the loader sets them.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use tracer_common::config::{KernelLayout, MAX_SLOTS, Parked, SlotCounters, TargetConfig};
use tracer_common::thread::{Sleeper, WaitKey, WaitTotals};

#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

#[map]
pub static TARGETS: Array<TargetConfig> = Array::with_max_entries(MAX_SLOTS, 0);

#[map]
pub static COUNTERS: PerCpuArray<SlotCounters> = PerCpuArray::with_max_entries(MAX_SLOTS, 0);

#[map]
pub static LOST: Array<u64> = Array::with_max_entries(MAX_SLOTS, 0);

// Preallocated: kernels before 6.1 warn about allocating maps in tracing programs.
#[map]
pub static PARKED: HashMap<u64, Parked> = HashMap::with_max_entries(1, 0);

#[map]
pub static TGIDS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_SLOTS, 0);

#[map]
pub static SLEEPERS: HashMap<u32, Sleeper> = HashMap::with_max_entries(1, 0);

#[map]
pub static WAITS: HashMap<WaitKey, WaitTotals> = HashMap::with_max_entries(1, 0);

/// Never written: too long for the stack of a program.
#[map]
pub static NO_WAITS: Array<WaitTotals> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
pub static WAKE_SHIFT: Global<u32> = Global::new(20);

#[unsafe(no_mangle)]
pub static KERNEL_LAYOUT: Global<KernelLayout> = Global::new(KernelLayout {
    pidns_dev: 0,
    pidns_ino: 0,
    task_tgid: 0,
    task_exit_code: 0,
    task_signal: 0,
    signal_live: 0,
    task_pid: 0,
    task_nvcsw: 0,
    task_thread_pid: 0,
    task_flags: 0,
    pid_level: 0,
    pid_numbers: 0,
    task_stack: 0,
    realtime: 0,
    task_ran: 0,
    task_ran_before: 0,
});

/// One field of [`KERNEL_LAYOUT`]: reading all of it would be a load for each field.
macro_rules! kernel {
    ($field:ident) => {{
        let layout = &raw const $crate::maps::KERNEL_LAYOUT;
        // SAFETY: a `Global` is laid out as its value, which the loader has filled in.
        #[allow(unused_unsafe, reason = "some users are unsafe blocks")]
        unsafe {
            (&raw const (*layout.cast::<tracer_common::config::KernelLayout>()).$field)
                .read_volatile()
        }
    }};
}
pub(crate) use kernel;

/// The counters of one slot on this CPU.
///
/// A uprobe program can be preempted by another one on the same CPU, so even per-CPU values need
/// atomic adds.
#[derive(Clone, Copy)]
pub struct Counters {
    slot: u32,
    at: *mut SlotCounters,
}

/// Why a hit left no record.
#[derive(Clone, Copy)]
pub enum Lost {
    RingFull,
    MapFull,
    UserRead,
}

impl Counters {
    #[inline(always)]
    pub fn of(slot: u16) -> Option<Self> {
        let slot = u32::from(slot);
        Some(Self { slot, at: COUNTERS.get_ptr_mut(slot)? })
    }

    #[inline(always)]
    pub fn hit(self, site: u8) {
        let site = usize::from(site);
        if site < tracer_common::ids::site::COUNT {
            // SAFETY: `at` points to a map value for as long as the program runs; `site` is in bounds.
            add(unsafe { addr_of_mut!((*self.at).hits).cast::<u64>().add(site) });
        }
    }

    #[inline(always)]
    pub fn process_hit(self) {
        // SAFETY: `at` points to a map value for as long as the program runs.
        add(unsafe { addr_of_mut!((*self.at).process_hits) });
    }

    #[inline(always)]
    pub fn thread_hit(self) {
        // SAFETY: as above.
        add(unsafe { addr_of_mut!((*self.at).thread_hits) });
    }

    #[inline(always)]
    pub fn end_found(self) {
        // SAFETY: as above.
        add(unsafe { addr_of_mut!((*self.at).waits_end_found) });
    }

    #[inline(always)]
    pub fn untotalled(self) {
        // SAFETY: as above.
        add(unsafe { addr_of_mut!((*self.at).waits_untotalled) });
    }

    #[inline(always)]
    pub fn submitted(self) {
        // SAFETY: as above.
        add(unsafe { addr_of_mut!((*self.at).submitted) });
    }

    #[inline(always)]
    pub fn quiet(self) {
        // SAFETY: as above.
        add(unsafe { addr_of_mut!((*self.at).quiet) });
    }

    #[inline(always)]
    pub fn waker_unread(self) {
        // SAFETY: as above.
        add(unsafe { addr_of_mut!((*self.at).waker_unread) });
    }

    #[inline(always)]
    pub fn lost(self, why: Lost) {
        // SAFETY: as above.
        add(unsafe {
            match why {
                Lost::RingFull => addr_of_mut!((*self.at).lost_ring_full),
                Lost::MapFull => addr_of_mut!((*self.at).lost_map_full),
                Lost::UserRead => addr_of_mut!((*self.at).lost_user_read),
            }
        });
        if let Some(total) = LOST.get_ptr_mut(self.slot) {
            add(total);
        }
    }

    /// Records lost so far, on all CPUs.
    #[inline(always)]
    pub fn lost_before(self) -> u32 {
        match LOST.get_ptr(self.slot) {
            // SAFETY: a map value; an aligned word is read whole.
            Some(total) => unsafe { addr_of!(*total).read_volatile() as u32 },
            None => 0,
        }
    }
}

/// Adds one.
#[inline(always)]
fn add(at: *mut u64) {
    add_up(at, 1);
}

/// Adds to a field of a map value: aligned, alive, shared through atomics only. In assembly, because
/// `core` has no atomic add for this target.
#[inline(always)]
pub fn add_up(at: *mut u64, what: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({at} + 0) += {what}",
            at = in(reg) at,
            what = in(reg) what,
            options(nostack),
        );
    }
}
