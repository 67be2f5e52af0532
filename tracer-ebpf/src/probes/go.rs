//! The five site kinds of a Go program, one uprobe program each.
//!
//! The cost of a hit is what decides whether probes can be afforded at all, so neighbouring fields
//! of the g are read at one go, and nothing is looked up that is not needed for the record.

use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_probe_read_user as bpf_probe_read_user_bytes;
use aya_ebpf::helpers::{bpf_get_attach_cookie, bpf_probe_read_user};
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use aya_log_ebpf::error;
use tracer_common::config::{NO_OFFSET, Parked, TargetConfig, WINDOW, parked_key, parked_tag};
use tracer_common::event::{Birth, Park, Ready, Task, Wait};
use tracer_common::ids::{Cookie, kind, site};

use super::registers::{NoValue, current_g, value_at};
use crate::emit::{emit, now};
use crate::maps::{Counters, Lost, PARKED, TARGETS};

#[uprobe]
pub fn birth(ctx: ProbeContext) {
    hit(&ctx, site::BIRTH, born);
}

#[uprobe]
pub fn death(ctx: ProbeContext) {
    hit(&ctx, site::DEATH, died);
}

#[uprobe]
pub fn park(ctx: ProbeContext) {
    hit(&ctx, site::PARK, parked);
}

#[uprobe]
pub fn run(ctx: ProbeContext) {
    hit(&ctx, site::RUN, ran);
}

#[uprobe]
pub fn ready(ctx: ProbeContext) {
    hit(&ctx, site::READY, made_ready);
}

/// The target's memory could not be read.
struct Unreadable;

/// One hit of a probe.
struct Hit<'a> {
    ctx: &'a ProbeContext,
    time_ns: u64,
    slot: u16,
    counters: Counters,
    target: &'a TargetConfig,
    g: u64,
}

/// Tells target and g of the hit and counts it; what the handler cannot read is counted as lost.
#[inline(always)]
fn hit(ctx: &ProbeContext, expected: u8, handler: impl FnOnce(&Hit) -> Result<(), Unreadable>) {
    let time_ns = now();
    // SAFETY: the context is the one this program was called with.
    let cookie = Cookie(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) });
    let slot = cookie.slot();
    let (Some(counters), Some(target)) = (Counters::of(slot), TARGETS.get(u32::from(slot))) else {
        return impossible(ctx, cookie.0, expected);
    };
    counters.hit(expected);
    if cookie.site() != expected {
        impossible(ctx, cookie.0, expected);
    }
    let g = match value_at(ctx, cookie.location()) {
        Ok(g) => g,
        Err(NoValue::UserRead) => return counters.lost(Lost::UserRead),
        Err(NoValue::BadLocation) => {
            impossible(ctx, cookie.0, expected);
            return counters.lost(Lost::UserRead);
        }
    };
    let hit = Hit { ctx, time_ns, slot, counters, target, g };
    if handler(&hit).is_err() {
        counters.lost(Lost::UserRead);
    }
}

/// The loader made a cookie that does not fit: a bug of loiter, told through the log. A program of
/// its own, since the log's code is longer than all the rest.
#[inline(never)]
#[cold]
fn impossible(ctx: &ProbeContext, cookie: u64, expected: u8) {
    error!(ctx, "attach cookie {:x} does not fit a probe of site kind {}", cookie, expected);
}

impl Hit<'_> {
    #[inline(always)]
    fn emit<T: 'static>(&self, kind: u8, body: impl FnOnce(tracer_common::event::Header) -> T) {
        emit(self.counters, self.slot, kind, self.time_ns, body);
    }

    #[inline(always)]
    fn goid(&self) -> Result<u64, Unreadable> {
        read(self.g, self.target.g_goid)
    }

    #[inline(always)]
    fn parked_key(&self) -> u64 {
        parked_key(self.slot, self.g)
    }
}

/// Reads a word of the target.
#[inline(always)]
fn read(base: u64, offset: u16) -> Result<u64, Unreadable> {
    let at = base.wrapping_add(u64::from(offset)) as *const u64;
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(at) }.map_err(|_| Unreadable)
}

/// Room for a piece of the g, read at one go. Filled in place: moving it would cost more
/// instructions than reading it.
struct Room(MaybeUninit<[u64; WINDOW as usize / 8]>);

impl Room {
    #[inline(always)]
    const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    #[inline(always)]
    fn fill(&mut self, g: u64, start: u16) -> Result<Window<'_>, Unreadable> {
        let at = g.wrapping_add(u64::from(start)) as *const core::ffi::c_void;
        // SAFETY: writes `WINDOW` bytes into as many; the helper checks the address.
        let error =
            unsafe { bpf_probe_read_user_bytes(self.0.as_mut_ptr().cast(), u32::from(WINDOW), at) };
        if error != 0 {
            return Err(Unreadable);
        }
        // SAFETY: the helper has filled it.
        Ok(Window { start, words: unsafe { self.0.assume_init_ref() } })
    }
}

/// A piece of the g.
struct Window<'a> {
    start: u16,
    words: &'a [u64; WINDOW as usize / 8],
}

impl Window<'_> {
    /// The word at an offset of the g. The loader has checked that it lies within
    /// (`TargetConfig::is_readable`); the mask tells the verifier.
    #[inline(always)]
    fn word(&self, offset: u16) -> u64 {
        let index = usize::from(offset.wrapping_sub(self.start) / 8) & (self.words.len() - 1);
        self.words[index]
    }

    /// The byte at an offset of the g.
    #[inline(always)]
    fn byte(&self, offset: u16) -> u8 {
        (self.word(offset) >> (u64::from(offset % 8) * 8)) as u8
    }
}

#[inline(always)]
fn born(hit: &Hit) -> Result<(), Unreadable> {
    let target = hit.target;
    let goid = hit.goid()?;
    let mut room = Room::new();
    let fields = room.fill(hit.g, target.birth_window())?;
    let parent = if target.g_parent == NO_OFFSET { 0 } else { fields.word(target.g_parent) };
    hit.emit(kind::BIRTH, |header| Birth {
        header,
        g: hit.g,
        goid,
        parent,
        gopc: fields.word(target.g_gopc),
        startpc: fields.word(target.g_startpc),
    });
    Ok(())
}

#[inline(always)]
fn died(hit: &Hit) -> Result<(), Unreadable> {
    if hit.target.min_wait_ns != 0 {
        let _not_there = PARKED.remove(hit.parked_key());
    }
    let goid = hit.goid()?;
    hit.emit(kind::DEATH, |header| Task { header, g: hit.g, goid });
    Ok(())
}

#[inline(always)]
fn parked(hit: &Hit) -> Result<(), Unreadable> {
    let mut room = Room::new();
    let fields = room.fill(hit.g, hit.target.g_goid)?;
    let goid = fields.word(hit.target.g_goid);
    let reason = fields.byte(hit.target.g_waitreason);
    let run_seq = fields.byte(hit.target.g_tracking_seq);
    if hit.target.min_wait_ns == 0 {
        hit.emit(kind::PARK, |header| Park {
            header,
            g: hit.g,
            goid,
            reason,
            run_seq,
            pad: 0,
            pad2: 0,
        });
    } else {
        let tid = hit.ctx.pid();
        let tag = parked_tag(hit.time_ns);
        let parked_ns = hit.time_ns;
        remember(hit, Parked { parked_ns, ready_ns: 0, goid, waker: 0, tid, reason, run_seq, tag });
    }
    Ok(())
}

/// Keeps a park until the goroutine runs again. In place where the goroutine has parked before:
/// that spares inserting and deleting, which cost more than all the rest of the program. The
/// runtime itself orders park, ready and run of one g, so nobody else writes the entry.
#[inline(always)]
fn remember(hit: &Hit, park: Parked) {
    let key = hit.parked_key();
    if let Some(entry) = PARKED.get_ptr_mut(key) {
        // SAFETY: a map value; readers outside the kernel check the tag, see `Parked`.
        unsafe {
            (&raw mut (*entry).parked_ns).write_volatile(0);
            (&raw mut (*entry).ready_ns).write_volatile(0);
            (&raw mut (*entry).goid).write_volatile(park.goid);
            (&raw mut (*entry).waker).write_volatile(0);
            (&raw mut (*entry).tid).write_volatile(park.tid);
            (&raw mut (*entry).reason).write_volatile(park.reason);
            (&raw mut (*entry).run_seq).write_volatile(park.run_seq);
            (&raw mut (*entry).tag).write_volatile(park.tag);
            (&raw mut (*entry).parked_ns).write_volatile(park.parked_ns);
        }
    } else if PARKED.insert(key, park, 0).is_err() {
        return hit.counters.lost(Lost::MapFull);
    }
    hit.counters.quiet();
}

#[inline(always)]
fn made_ready(hit: &Hit) -> Result<(), Unreadable> {
    if hit.target.min_wait_ns == 0 {
        let goid = hit.goid()?;
        let waker = waker(hit);
        hit.emit(kind::READY, |header| Ready { header, g: hit.g, goid, waker });
        return Ok(());
    }
    hit.counters.quiet();
    let Some(entry) = PARKED.get_ptr_mut(hit.parked_key()) else { return Ok(()) };
    // SAFETY: a map value; nobody else writes it now, see `remember`.
    unsafe {
        if (*entry).parked_ns != 0 && (*entry).ready_ns == 0 {
            // The way to the waker costs more than all the rest here, and most waits are short.
            let waited = hit.time_ns.wrapping_sub((*entry).parked_ns);
            if waited >= hit.target.min_wait_ns / 2 {
                (&raw mut (*entry).waker).write_volatile(waker(hit));
            }
            (&raw mut (*entry).ready_ns).write_volatile(hit.time_ns);
        }
    }
    Ok(())
}

/// The goroutine on whose behalf this thread runs; 0 where there is none.
///
/// `ready` runs on the scheduler's stack (g0): g register -> m -> curg. The scheduler clears curg
/// before it runs timers or polls the network, and sysmon has none, so a wake-up that no goroutine
/// made is not pinned on one.
#[inline(always)]
fn waker(hit: &Hit) -> u64 {
    let target = hit.target;
    let curg = read(current_g(hit.ctx), target.g_m).and_then(|m| read(m, target.m_curg));
    let waker = match curg {
        Ok(0) => Ok(0),
        Ok(curg) => read(curg, target.g_goid),
        Err(unreadable) => Err(unreadable),
    };
    waker.unwrap_or_else(|_| {
        hit.counters.waker_unread();
        0
    })
}

#[inline(always)]
fn ran(hit: &Hit) -> Result<(), Unreadable> {
    let min_wait = hit.target.min_wait_ns;
    if min_wait == 0 {
        let goid = hit.goid()?;
        hit.emit(kind::RUN, |header| Task { header, g: hit.g, goid });
        return Ok(());
    }
    let Some(entry) = PARKED.get_ptr_mut(hit.parked_key()) else {
        hit.counters.quiet();
        return Ok(());
    };
    // SAFETY: a map value; nobody else writes it now, see `remember`.
    let park = unsafe { entry.read() };
    // SAFETY: as above.
    unsafe { (&raw mut (*entry).parked_ns).write_volatile(0) };
    if park.parked_ns == 0 || hit.time_ns.wrapping_sub(park.parked_ns) < min_wait {
        hit.counters.quiet();
        return Ok(());
    }
    hit.emit(kind::WAIT, |header| Wait {
        header,
        g: hit.g,
        goid: park.goid,
        parked_ns: park.parked_ns,
        ready_ns: park.ready_ns,
        waker: park.waker,
        reason: park.reason,
        run_seq: park.run_seq,
        pad: 0,
        pad2: 0,
    });
    Ok(())
}
