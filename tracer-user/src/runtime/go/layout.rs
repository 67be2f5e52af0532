//! Where the Go runtime keeps what loiter reads, by minor version.
//!
//! The numbers are in `layouts.rs`, which `cargo xtask layouts` makes from the toolchains. They
//! are the same within a minor version: patch releases were compared (1.21.0 to 1.21.13, 1.24.3
//! to 1.24.11); only `m` drifts, behind the fields that are used here. A version that is not in the
//! table is refused: a wrong name is worse than none.

use std::fmt;

use crate::object::pclntab::FuncId;
use crate::symbolize::go::Rules;

use super::layouts::LAYOUTS;
use super::version::Version;

/// Defines a structure of offsets, all in bytes from its start.
macro_rules! offsets {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            /// Its size in bytes.
            pub size: u16,
        }
    };
}

offsets! {
    /// `runtime.g`: a goroutine.
    G {
        /// `stack`: low and high end, two words.
        stack: u16,
        /// `m`: the thread it runs on, or 0.
        m: u16,
        /// `sched`: a [`Gobuf`], its saved registers.
        sched: u16,
        /// `syscallsp`: stack pointer at the entry of a system call, or 0.
        syscallsp: u16,
        /// `syscallpc`: program counter there.
        syscallpc: u16,
        /// `syscallbp`: frame pointer there (since 1.23).
        syscallbp: Option<u16>,
        /// `stktopsp`: where its stack pointer was at first.
        stktopsp: u16,
        /// `param`
        param: u16,
        /// `atomicstatus`: its state, 32 bits.
        atomicstatus: u16,
        /// `goid`
        goid: u16,
        /// `waitsince`: about when it blocked; mostly 0, and may be too early.
        waitsince: u16,
        /// `waitreason`: index into [`Layout::wait_reasons`], 8 bits.
        waitreason: u16,
        /// `parkingOnChan`: it is about to park on a channel, 8 bits.
        parking_on_chan: u16,
        /// `tracking`: whether the runtime measures its latency just now, 8 bits.
        tracking: u16,
        /// `trackingSeq`: grows each time it leaves running, 8 bits.
        tracking_seq: u16,
        /// `trackingStamp`: when the measured stretch began (since 1.20).
        tracking_stamp: Option<u16>,
        /// `runnableTime`
        runnable_time: u16,
        /// `lockedm`: the thread it is locked to, or 0.
        lockedm: u16,
        /// `gopc`: return address of the `go` statement that made it.
        gopc: u16,
        /// `ancestors`
        ancestors: u16,
        /// `startpc`: entry of its function.
        startpc: u16,
        /// `parentGoid` (since 1.21).
        parent_goid: Option<u16>,
        /// `waiting`: list of [`Sudog`]s it waits with.
        waiting: u16,
        /// `labels`: its pprof labels.
        labels: u16,
        /// `timer`: a sleeper's [`Timer`]; where there is `sleepWhen`, that is to be read.
        timer: Option<u16>,
        /// `sleepWhen`: when a sleeper's timer fires (since 1.23).
        sleep_when: Option<u16>,
        /// `selectDone`, 32 bits.
        select_done: u16,
        /// `coroarg`: the coroutine it is switching to (since 1.22).
        coroarg: Option<u16>,
        /// `bubble` (since 1.25; 1.24: `syncGroup`): the synctest bubble it is in.
        bubble: Option<u16>,
        /// `runningCleanups`, 8 bits (since 1.25).
        running_cleanups: Option<u16>,
    }
}

offsets! {
    /// `runtime.gobuf`: saved registers.
    Gobuf {
        /// `sp`
        sp: u16,
        /// `pc`
        pc: u16,
        /// `g`
        g: u16,
        /// `bp`
        bp: u16,
    }
}

offsets! {
    /// `runtime.sudog`: a goroutine in a list of waiters.
    Sudog {
        /// `g`
        g: u16,
        /// `next`
        next: u16,
        /// `prev`
        prev: u16,
        /// `elem`; since 1.26 its word that is always set (`elem.vu`).
        elem: u16,
        /// `isSelect`, 8 bits.
        is_select: u16,
        /// `success`, 8 bits.
        success: u16,
        /// `parent`, in a tree of semaphores.
        parent: u16,
        /// `waitlink`: the next in `g.waiting`, or of the same semaphore.
        waitlink: u16,
        /// `c`: the channel; since 1.26 its word that is always set (`c.vu`).
        c: u16,
    }
}

offsets! {
    /// `runtime.hchan`: a channel.
    Hchan {
        /// `qcount`: elements in the buffer.
        qcount: u16,
        /// `dataqsiz`: its capacity.
        dataqsiz: u16,
        /// `buf`
        buf: u16,
        /// `elemsize`, 16 bits.
        elemsize: u16,
        /// `closed`, 32 bits.
        closed: u16,
        /// `timer`: the timer that feeds it (since 1.23).
        timer: Option<u16>,
        /// `elemtype`
        elemtype: u16,
        /// `recvq`: a [`Waitq`].
        recvq: u16,
        /// `sendq`: a [`Waitq`].
        sendq: u16,
    }
}

offsets! {
    /// `runtime.waitq`: a list of waiters.
    Waitq {
        /// `first`
        first: u16,
        /// `last`
        last: u16,
    }
}

offsets! {
    /// `runtime.timer`
    Timer {
        /// `when`: when it fires, CLOCK_MONOTONIC in ns.
        when: u16,
        /// `period`: if it fires again and again, how often, in ns.
        period: u16,
    }
}

offsets! {
    /// `runtime.m`: a thread. Only fields that no patch release moved.
    M {
        /// `g0`: the goroutine with the scheduler's stack.
        g0: u16,
        /// `procid`: its tid in its own PID namespace.
        procid: u16,
        /// `gsignal`: the goroutine with the signal stack.
        gsignal: u16,
        /// `curg`: the goroutine it runs, or 0.
        curg: u16,
        /// `p`
        p: u16,
        /// `id`
        id: u16,
    }
}

offsets! {
    /// `runtime.p`: a processor.
    P {
        /// `id`: its place in the list, 32 bits.
        id: u16,
        /// `status`: 32 bits.
        status: u16,
        /// `runqhead`: of its queue, 32 bits.
        runqhead: u16,
        /// `runqtail`: as many more as wait in it, 32 bits.
        runqtail: u16,
    }
}

offsets! {
    /// `runtime.schedt`: the scheduler.
    Schedt {
        /// `lock`
        lock: u16,
        /// `nmidle`: threads that wait for work, 32 bits.
        nmidle: u16,
        /// `mnext`: threads made so far.
        mnext: u16,
        /// `nmfreed`: threads that ended.
        nmfreed: u16,
        /// `npidle`: processors without work, 32 bits.
        npidle: u16,
        /// `nmspinning`: threads that look for work, 32 bits.
        nmspinning: u16,
        /// Length of the queue of all, 32 bits.
        runqsize: u16,
    }
}

offsets! {
    /// `runtime.moduledata`: what the linker tells the runtime of a module.
    Moduledata {
        /// `pcHeader`: address of the function table.
        pc_header: u16,
        /// `funcnametab`, a slice.
        funcnametab: u16,
        /// `pclntable`, a slice: from the list of functions to the table's end.
        pclntable: u16,
        /// `ftab`, a slice of functions + 1 entries.
        ftab: u16,
        /// `minpc`
        minpc: u16,
        /// `maxpc`
        maxpc: u16,
        /// `text`: what the function table's offsets are relative to.
        text: u16,
        /// `etext`
        etext: u16,
        /// `noptrdata`
        noptrdata: u16,
        /// `end`
        end: u16,
        /// `rodata`
        rodata: u16,
        /// `gofunc`: what inline trees' offsets are relative to.
        gofunc: u16,
        /// `textsectmap`, a slice.
        textsectmap: u16,
        /// `hasmain`, 8 bits.
        hasmain: u16,
        /// `next`: the next module, or 0.
        next: u16,
    }
}

/// Numbers of the functions that the runtime treats in a special way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct FuncIds {
    pub async_preempt: u8,
    pub cgocallback: u8,
    /// Since 1.22.
    pub corostart: Option<u8>,
    /// `debugCallV2`
    pub debug_call: u8,
    pub gc_bg_mark_worker: u8,
    pub goexit: u8,
    pub gopanic: u8,
    pub handle_async_event: u8,
    pub mcall: u8,
    pub morestack: u8,
    pub mstart: u8,
    pub panicwrap: u8,
    /// Since 1.25.
    pub run_cleanups: Option<u8>,
    /// `runFinalizers`; up to 1.24 `runfinq`.
    pub run_finalizers: u8,
    pub runtime_main: u8,
    pub sigpanic: u8,
    pub systemstack: u8,
    /// Code that the compiler made, not written by anybody.
    pub wrapper: u8,
}

impl FuncIds {
    /// Whether the function was not called but put on the stack by the runtime: its caller
    /// stopped at its program counter, not behind a call. Source: src/runtime/traceback.go,
    /// `unwinder.next` (1.26: `isInjectedCall`). The dump of 1.19 does so for `sigpanic` alone and
    /// so can be a line off for a goroutine that was preempted; that is not copied.
    pub fn is_injected(&self, id: FuncId) -> bool {
        [self.sigpanic, self.async_preempt, self.debug_call].contains(&id.0)
    }
}

/// What loiter knows of one minor version of the Go runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// 27 of `go1.27.3`.
    pub minor: u16,
    /// The version the numbers were taken from, such as `go1.27.3`.
    pub source: &'static str,
    /// A goroutine.
    pub g: G,
    /// Saved registers.
    pub gobuf: Gobuf,
    /// A waiter.
    pub sudog: Sudog,
    /// A channel.
    pub hchan: Hchan,
    /// A list of waiters.
    pub waitq: Waitq,
    /// A timer.
    pub timer: Timer,
    /// A thread.
    pub m: M,
    /// A processor.
    pub p: P,
    /// The scheduler.
    pub schedt: Schedt,
    /// A module.
    pub moduledata: Moduledata,
    /// Special functions.
    pub func_ids: FuncIds,
    /// The runtime's words for `g.waitreason`, by its value. See [`super::reasons`].
    pub wait_reasons: &'static [&'static str],
}

/// A version that loiter does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Go version `{version}` is not supported: {why}. Supported: {supported}. {remedy}")]
pub struct UnsupportedVersion {
    version: Box<str>,
    why: &'static str,
    supported: Supported,
    remedy: Box<str>,
}

/// Lists the versions in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Supported;

impl fmt::Display for Supported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, layout) in LAYOUTS.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}1.{}", layout.minor)?;
        }
        Ok(())
    }
}

impl Layout {
    /// All versions in the table, oldest first.
    pub fn all() -> &'static [Layout] {
        &LAYOUTS
    }

    /// The layout for a version as a binary states it, such as `go1.27.3` or
    /// `go1.22.3 X:boringcrypto`.
    ///
    /// # Errors
    /// If the version is not in the table or is none.
    pub fn for_version(version: &str) -> Result<&'static Layout, UnsupportedVersion> {
        let refuse = |why, remedy: String| UnsupportedVersion {
            // The version is the target's text: it goes to a terminal.
            version: version.chars().take(64).filter(|c| !c.is_control()).collect(),
            why,
            supported: Supported,
            remedy: remedy.into_boxed_str(),
        };
        let assume = |minor: u16| {
            format!(
                "If its runtime is laid out like that of a supported version, `--assume-go 1.{minor}` \
                 uses that one's layout"
            )
        };
        let (oldest, newest) = (Self::oldest(), Self::newest());
        let Some(parsed) = Version::parse(version) else {
            return Err(refuse("it does not name a release", assume(newest)));
        };
        if let Some(layout) = Self::for_minor(parsed.minor) {
            return Ok(layout);
        }
        Err(match parsed.minor {
            m if m > newest => refuse("it is newer than this loiter", assume(newest)),
            m if m < oldest => refuse("it is too old", assume(oldest)),
            m => refuse("loiter has no layouts for it", assume(m.saturating_add(1))),
        })
    }

    /// The layout of 1.`minor`.
    pub fn for_minor(minor: u16) -> Option<&'static Layout> {
        LAYOUTS.iter().find(|layout| layout.minor == minor)
    }

    fn oldest() -> u16 {
        LAYOUTS.first().map_or(0, |layout| layout.minor)
    }

    fn newest() -> u16 {
        LAYOUTS.last().map_or(0, |layout| layout.minor)
    }

    /// How this version's own dump names, hides and shows frames.
    pub fn rules(&self) -> Rules {
        let ids = &self.func_ids;
        Rules {
            minor: self.minor,
            wrapper: FuncId(ids.wrapper),
            gopanic: FuncId(ids.gopanic),
            sigpanic: FuncId(ids.sigpanic),
            panicwrap: FuncId(ids.panicwrap),
            // Up to 1.24 the finalizer goroutine is hidden as any function of the runtime.
            always_shown: ids
                .run_cleanups
                .map(|cleanups| [FuncId(ids.run_finalizers), FuncId(cleanups)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_release_and_suffix_gets_its_minors_layout() {
        for (version, minor) in [
            ("go1.19", 19),
            ("go1.19.8", 19),
            ("go1.21.0-rc2", 21),
            ("go1.21rc2", 21),
            ("go1.22.3 X:boringcrypto", 22),
            ("go1.24.4 (Red Hat 1.24.4-1.el10)", 24),
            ("go1.27-devel_abc", 27),
            ("devel go1.27-0123abc Tue Mar 3", 27),
            ("1.26.6", 26),
        ] {
            assert_eq!(Layout::for_version(version).map(|l| l.minor), Ok(minor), "{version}");
        }
    }

    #[test]
    fn unknown_versions_are_refused_with_what_is_supported_and_the_remedy() {
        for (version, assumed) in [
            ("go1.18.10", "--assume-go 1.19"),
            ("go1.20.3", "--assume-go 1.21"),
            ("go1.28", "--assume-go 1.27"),
            ("go2.0", "--assume-go 1.27"),
            ("devel +0123abc", "--assume-go 1.27"),
            ("", "--assume-go 1.27"),
        ] {
            let message = Layout::for_version(version).unwrap_err().to_string();
            assert!(
                message.contains("1.19, 1.21, 1.22, 1.23, 1.24, 1.25, 1.26, 1.27"),
                "{message}"
            );
            assert!(message.contains(assumed), "{message}");
        }
    }

    #[test]
    fn a_hostile_version_does_not_reach_the_terminal_as_it_is() {
        let version = format!("go\x1b[31m{}", "9".repeat(100_000));
        let message = Layout::for_version(&version).unwrap_err().to_string();
        assert!(message.len() < 500 && !message.contains('\x1b'), "{message}");
    }

    #[test]
    fn offsets_lie_within_their_structures() {
        for layout in Layout::all() {
            assert!(layout.g.goid + 8 <= layout.g.size);
            assert!(layout.g.sched + layout.gobuf.size <= layout.g.size);
            assert!(layout.sudog.c + 8 <= layout.sudog.size);
            assert!(layout.moduledata.gofunc + 8 <= layout.moduledata.size);
        }
    }
}
