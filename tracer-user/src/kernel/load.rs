//! Loads the kernel part: maps, programs, globals. [`Kernel`] holds them; dropping it undoes all.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use tracer_common::config::{
    HOST_SLOT, KernelLayout, MAX_SLOTS, Parked, SlotCounters, TargetConfig,
};
use tracer_common::ids::name;

use crate::stream::Calls;
use crate::stream::decode::RawRecord;

use super::attach::Target;
use super::btf::KernelTypes;
use super::calls::CallPrograms;
use super::counters::{self, Missed, ParkedTask, PlainCounters, PlainParked, PlainTarget};
use super::features::{Features, MultiSupport, Obstacle};
use super::log::Diagnostics;
use super::multi::{Instructions, MultiPrograms};
use super::process::{self, HostLives, ProcessPrograms};
use super::ring::{Drained, Fill, Ring};
use super::slot_map::{SlotMap, SlotMapKind};
use super::slots::Slots;
use super::threads::Threads;
use super::{KernelError, object, page_size, selftest, sys};

/// Largest ring: beyond this a reader that lags so far cannot catch up anyway.
const MOST_RING_BYTES: u32 = 1 << 30;
/// Largest number of remembered parks: 96 bytes of kernel memory each.
const MOST_PARKED: u32 = 1 << 24;
/// The ring's reader is woken at each of so many equal parts.
const WAKE_PARTS: u32 = 8;

/// The last slot is kept for trying uprobe_multi on loiter itself.
const SELF_TEST_SLOT: u16 = MAX_SLOTS as u16 - 1;
const _: () = assert!(HOST_SLOT < SELF_TEST_SLOT);

/// How probes are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AttachMethod {
    /// uprobe_multi where it works, else perf events.
    #[default]
    Auto,
    /// uprobe_multi or nothing (Linux 6.6 and later).
    Multi,
    /// Perf events (any Linux from 5.15 on; needs CAP_SYS_ADMIN).
    PerfEvent,
}

/// The method in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// uprobe_multi links.
    Multi,
    /// Perf-event uprobes.
    PerfEvent,
}

impl Method {
    /// The word used in text and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Method::Multi => "uprobe_multi",
            Method::PerfEvent => "perf-event uprobes",
        }
    }
}

/// What must be known when the kernel part is loaded.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// Size of the ring in bytes: a power of two, a page at least.
    pub ring_bytes: u32,
    /// Tasks whose park can be remembered at a time over all targets, for `min_wait`. Costs about
    /// 96 bytes of kernel memory each from the start; 1 where no target has a `min_wait`.
    pub parked_capacity: u32,
    /// Threads whose sleep can be remembered at a time over all targets, where their waits are
    /// followed. Costs about 100 bytes of kernel memory each from the start; 1 where nobody's are.
    pub thread_capacity: u32,
    /// Totals of waits over all targets: one a process and thing waited on. About 320 bytes each; 1
    /// where no thread's waits are followed.
    pub totals_capacity: u32,
    /// Whether system calls are followed for some target; else no room is made for them.
    pub calls: Calls,
    /// How probes are to be attached.
    pub attach_method: AttachMethod,
    /// What is told of processes that are no targets.
    pub host_lives: HostLives,
}

impl LoadSettings {
    /// 8 MiB: 150 000 records, a third of a second at the highest rate seen.
    pub const DEFAULT_RING_BYTES: u32 = 8 << 20;
    /// 25 MB of kernel memory.
    pub const DEFAULT_PARKED_CAPACITY: u32 = 262_144;
    /// 6 MB of kernel memory; as many threads as a host commonly allows by half.
    pub const DEFAULT_THREAD_CAPACITY: u32 = 65_536;
    /// 5 MB of kernel memory.
    pub const DEFAULT_TOTALS_CAPACITY: u32 = 16_384;

    /// A capacity for system calls.
    pub(super) const fn call_capacity(&self, capacity: u32) -> u32 {
        match self.calls {
            Calls::Left => 1,
            Calls::Followed => capacity,
        }
    }
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self {
            ring_bytes: Self::DEFAULT_RING_BYTES,
            parked_capacity: Self::DEFAULT_PARKED_CAPACITY,
            thread_capacity: Self::DEFAULT_THREAD_CAPACITY,
            totals_capacity: Self::DEFAULT_TOTALS_CAPACITY,
            calls: Calls::Left,
            attach_method: AttachMethod::default(),
            host_lives: HostLives::default(),
        }
    }
}

/// The kernel part, loaded.
pub struct Kernel {
    pub(super) slots: Slots<Target>,
    pub(super) ebpf: Ebpf,
    /// The programs for uprobe_multi; None where perf events are used.
    pub(super) multi: Option<MultiPrograms>,
    pub(super) targets: Array<MapData, PlainTarget>,
    pub(super) counters: PerCpuArray<MapData, PlainCounters>,
    pub(super) lost: Array<MapData, u64>,
    parked: SlotMap<u64, PlainParked>,
    pub(super) tgids: HashMap<MapData, u32, u32>,
    process: Result<ProcessPrograms, String>,
    host: ProcessPrograms,
    pub(super) threads: Threads,
    pub(super) calls: CallPrograms,
    ring: Ring,
    logger: EbpfLogger<Diagnostics>,
    diagnostics: Diagnostics,
}

impl Kernel {
    /// Loads the kernel part.
    ///
    /// # Errors
    /// If it was not built in, if this kernel, these rights or this sandbox do not allow it (the
    /// error names which and the remedy), or if a setting is out of range.
    pub fn load(settings: &LoadSettings) -> Result<Self, KernelError> {
        check(settings)?;
        let bytes = object::bytes()?;
        let features = Features::detect();
        if let Some(obstacle) = features.obstacles().into_iter().next() {
            return Err(obstacle.into());
        }
        // What is missing here costs the process events, not the probes.
        let types = process::kernel_types();
        let layout = types.as_ref().ok().and_then(KernelTypes::layout).unwrap_or_default();
        let layout = process::with_realtime(layout);
        let layout = process::with_pid_namespace(layout)
            .map_err(|source| KernelError::System { what: "reading /proc/self/ns/pid", source })?;

        let mut ebpf = load_maps(bytes, settings, layout)?;
        let instructions = Instructions::relocate(bytes, |name| map_fd(ebpf.map(name)?))
            .map_err(|why| KernelError::Object { why })?;
        let process = match &types {
            Ok(types) if types.layout().is_some() => ProcessPrograms::attach(&instructions, types),
            Ok(_) => Err("this kernel's types lack a field that is needed".to_owned()),
            Err(why) => Err(why.clone()),
        };
        let host = ProcessPrograms::of_host(settings.host_lives, &instructions, types.as_ref())?;
        let threads = Threads::load(&mut ebpf, settings, &instructions, types.as_ref())?;
        let calls = CallPrograms::load(&mut ebpf, settings)?;
        let diagnostics = Diagnostics::default();
        let logger = EbpfLogger::init_with_logger(&mut ebpf, diagnostics.clone())
            .map_err(|e| KernelError::Object { why: e.to_string() })?;
        let ring =
            RingBuf::try_from(take(&mut ebpf, name::RING)?).map_err(map_error(name::RING))?;
        let ring = Ring::new(ring, u64::from(settings.ring_bytes))
            .map_err(|e| KernelError::Map { map: name::RING, why: e.to_string() })?;
        let parked = SlotMapKind {
            name: name::PARKED,
            what: "parked tasks",
            none: (0, PlainParked(Parked::default())),
            slot_of: |key, _| counters::slot_of(*key),
        };
        let mut kernel = Self {
            slots: Slots::new(HOST_SLOT),
            targets: take(&mut ebpf, name::TARGETS)?
                .try_into()
                .map_err(map_error(name::TARGETS))?,
            counters: take(&mut ebpf, name::COUNTERS)?
                .try_into()
                .map_err(map_error(name::COUNTERS))?,
            lost: take(&mut ebpf, name::LOST)?.try_into().map_err(map_error(name::LOST))?,
            parked: SlotMap::take(&mut ebpf, parked, settings.parked_capacity)?,
            tgids: take(&mut ebpf, name::TGIDS)?.try_into().map_err(map_error(name::TGIDS))?,
            ebpf,
            multi: None,
            process,
            host,
            threads,
            calls,
            ring,
            logger,
            diagnostics,
        };
        kernel.choose(settings.attach_method, &features, &instructions)?;
        Ok(kernel)
    }

    /// Loads the site programs for one of the methods.
    fn choose(
        &mut self,
        wanted: AttachMethod,
        features: &Features,
        from: &Instructions,
    ) -> Result<(), KernelError> {
        if wanted != AttachMethod::PerfEvent {
            match MultiPrograms::load(from) {
                Ok(programs) => {
                    self.multi = Some(programs);
                    if self.multi_sees_all_threads(features.multi)? {
                        return Ok(());
                    }
                    self.multi = None;
                    if wanted == AttachMethod::Multi {
                        return Err(Obstacle::NoMulti.into());
                    }
                }
                Err((_, why, _))
                    if wanted == AttachMethod::Auto && why.raw_os_error() == Some(libc::EINVAL) => {
                }
                Err((program, source, log)) => {
                    return Err(KernelError::Program { program, source, log });
                }
            }
        }
        if let Some(obstacle) = features.perf_event_obstacle() {
            return Err(obstacle.into());
        }
        name::SITE_PROGRAMS.iter().try_for_each(|name| load_for_perf_event(&mut self.ebpf, name))
    }

    /// Linux 6.6 to 6.10 can have a uprobe_multi that sees only the main thread, and an older one
    /// may have it backported: there it is tried on loiter itself. (Kernels without it take the
    /// programs all the same, as they do not look at the attach type, and refuse the link.)
    fn multi_sees_all_threads(&mut self, support: MultiSupport) -> Result<bool, KernelError> {
        if support == MultiSupport::Expected {
            return Ok(true);
        }
        match self.try_multi() {
            Err(KernelError::Attach { source, .. })
                if source.raw_os_error() == Some(libc::EINVAL) =>
            {
                Ok(false)
            }
            tried => tried,
        }
    }

    /// Attaches a uprobe_multi link to loiter itself and tells whether it sees a second thread.
    ///
    /// # Errors
    /// If the link cannot be made or the counters cannot be read.
    pub fn try_multi(&mut self) -> Result<bool, KernelError> {
        let Some(programs) = &self.multi else { return Ok(false) };
        // Waits are never long enough, so this leaves no record.
        let config = TargetConfig { min_wait_ns: u64::MAX, ..selftest::NO_LAYOUT };
        let set = self.targets.set(u32::from(SELF_TEST_SLOT), PlainTarget(config), 0);
        set.map_err(map_error(name::TARGETS))?;
        let before = self.counters(SELF_TEST_SLOT)?;
        selftest::hit_from_a_second_thread(programs, SELF_TEST_SLOT)?;
        let after = self.counters(SELF_TEST_SLOT)?;
        Ok(after.hits != before.hits)
    }

    /// The method in use.
    pub fn method(&self) -> Method {
        if self.multi.is_some() { Method::Multi } else { Method::PerfEvent }
    }

    /// Why execs, exits and forks of targets are not reported; None if they are.
    pub fn process_events_missing(&self) -> Option<&str> {
        self.process.as_ref().err().map(String::as_str)
    }

    /// Messages of the kernel part about things that cannot happen; 0 unless loiter has a bug.
    pub fn diagnostics(&self) -> u64 {
        self.diagnostics.count()
    }

    /// Hands over the records that are in the ring, at most `most`, in the order in which they
    /// were reserved.
    pub fn drain(&mut self, most: usize, each: impl FnMut(RawRecord)) -> Drained {
        self.logger.flush();
        self.ring.drain(most, each)
    }

    /// How full the ring is.
    pub fn fill(&self) -> Fill {
        self.ring.fill()
    }

    /// What a slot has counted since its attach; also after its detach, until it is used again.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn counters(&self, slot: u16) -> Result<SlotCounters, KernelError> {
        let cpus = self.counters.get(&u32::from(slot), 0).map_err(map_error(name::COUNTERS))?;
        Ok(counters::sum(&cpus))
    }

    /// Runs of programs that the kernel left out, over all targets.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn missed(&self) -> Result<Missed, KernelError> {
        let failed = |source| KernelError::System { what: "BPF_OBJ_GET_INFO_BY_FD", source };
        let mut missed = Missed::default();
        for program in self.multi.iter().flat_map(MultiPrograms::iter) {
            missed.sites += sys::recursion_misses(program.as_fd()).map_err(failed)?;
        }
        for program in name::SITE_PROGRAMS.iter().filter_map(|name| self.ebpf.program(name)) {
            if let Ok(fd) = program.fd() {
                missed.sites += sys::recursion_misses(fd.as_fd()).map_err(failed)?;
            }
        }
        for program in self.threads.programs() {
            missed.threads += sys::recursion_misses(program.as_fd()).map_err(failed)?;
        }
        missed.threads += self.missed_calls().map_err(failed)?;
        let processes = self.process.iter().flat_map(ProcessPrograms::iter);
        for program in processes.chain(self.host.iter()) {
            missed.process += sys::recursion_misses(program.as_fd()).map_err(failed)?;
        }
        Ok(missed)
    }

    /// The parks of a target that are going on and were seen to begin (`min_wait` only). An entry
    /// that changes while it is read is left out: its task was running just now.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn parked(&self, slot: u16) -> Result<Vec<ParkedTask>, KernelError> {
        let found = self.parked.of_slot(slot)?;
        let parks =
            found.iter().filter_map(|(key, PlainParked(entry))| counters::parked(*key, entry));
        Ok(parks.collect())
    }

    /// Forgets all parks of a slot.
    pub(super) fn forget_parked(&mut self, slot: u16) -> Result<(), KernelError> {
        self.parked.forget(slot)
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(super) fn process_programs(&self) -> Result<(), &str> {
        self.process.as_ref().map(|_| ()).map_err(String::as_str)
    }
}

/// Signals when the ring's fill level has crossed one of its eighths, never for each record: drain on
/// a timer too, and wait edge-triggered (as tokio's `AsyncFd` does), since poll(2) and level-triggered
/// epoll tell of any record that was not read.
impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl std::os::fd::AsRawFd for Kernel {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

fn check(settings: &LoadSettings) -> Result<(), KernelError> {
    let ring = settings.ring_bytes;
    let page = u32::try_from(page_size()).unwrap_or(u32::MAX);
    if !ring.is_power_of_two() || !(page..=MOST_RING_BYTES).contains(&ring) {
        let why = "a power of two from one page (4096) to 1 GiB is needed";
        return Err(KernelError::Setting { setting: "ring size", value: u64::from(ring), why });
    }
    let capacities = [
        ("parked tasks", settings.parked_capacity),
        ("sleeping threads", settings.thread_capacity),
        ("totals of waits", settings.totals_capacity),
    ];
    for (setting, capacity) in capacities {
        if !(1..=MOST_PARKED).contains(&capacity) {
            let why = "1 to 16 777 216 is allowed";
            return Err(KernelError::Setting { setting, value: u64::from(capacity), why });
        }
    }
    Ok(())
}

fn load_maps(
    bytes: &[u8],
    settings: &LoadSettings,
    layout: KernelLayout,
) -> Result<Ebpf, KernelError> {
    let wake_shift = (settings.ring_bytes / WAKE_PARTS).ilog2();
    let layout = PlainLayout(layout);
    EbpfLoader::new()
        .btf(None)
        .override_global(name::WAKE_SHIFT, &wake_shift, true)
        .override_global(name::KERNEL_LAYOUT, &layout, true)
        .map_max_entries(name::RING, settings.ring_bytes)
        .map_max_entries(name::PARKED, settings.parked_capacity)
        .map_max_entries(name::SLEEPERS, settings.thread_capacity)
        .map_max_entries(name::WAITS, settings.totals_capacity)
        .map_max_entries(name::CALLS, settings.call_capacity(settings.thread_capacity))
        .map_max_entries(name::CALL_TOTALS, settings.call_capacity(settings.totals_capacity))
        .load(bytes)
        .map_err(|error| match error {
            aya::EbpfError::MapError(why) => map_error("of the kernel part")(why),
            other => KernelError::Object { why: whole(&other) },
        })
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PlainLayout(KernelLayout);
// SAFETY: integers without padding (asserted by size in tracer-common).
unsafe impl aya::Pod for PlainLayout {}

fn load_for_perf_event(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let missing = || KernelError::Object { why: format!("it has no program {name}") };
    let program = ebpf.program_mut(name).ok_or_else(missing)?;
    let program: &mut aya::programs::UProbe = program.try_into().map_err(|_| missing())?;
    program.load().map_err(|error| refused(name, error))
}

/// Loads a program that is attached through perf events of tracepoints.
pub(super) fn load_for_tracepoints(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let missing = || KernelError::Object { why: format!("it has no program {name}") };
    let program = ebpf.program_mut(name).ok_or_else(missing)?;
    let program: &mut aya::programs::TracePoint = program.try_into().map_err(|_| missing())?;
    program.load().map_err(|error| refused(name, error))
}

fn refused(program: &'static str, error: aya::programs::ProgramError) -> KernelError {
    match error {
        aya::programs::ProgramError::LoadError { io_error, verifier_log } => {
            KernelError::Program { program, source: io_error, log: verifier_log.to_string() }
        }
        other => KernelError::Object { why: whole(&other) },
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, KernelError> {
    ebpf.take_map(name).ok_or_else(|| KernelError::Object { why: format!("it has no map {name}") })
}

/// A hash map and a descriptor of its own, for reading it in batches.
pub(super) fn take_hash(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<(Map, OwnedFd), KernelError> {
    let map = take(ebpf, name)?;
    let fd = match &map {
        Map::HashMap(data) => data.fd().as_fd().try_clone_to_owned(),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    Ok((map, fd.map_err(|e| KernelError::Map { map: name, why: e.to_string() })?))
}

fn map_fd(map: &Map) -> Option<RawFd> {
    match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::HashMap(data) | Map::RingBuf(data) => {
            Some(data.fd().as_fd().as_raw_fd())
        }
        _ => None,
    }
}

pub(super) fn map_error(map: &'static str) -> impl Fn(MapError) -> KernelError {
    move |error| KernelError::Map { map, why: whole(&error) }
}

/// An error with all its causes.
pub(super) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_part_can_be_handed_to_another_thread() {
        fn sent<T: Send>() {}
        sent::<Kernel>();
    }
}
