//! Monitors of HotSpot (`synchronized`), by the table of offsets that the virtual machine exports
//! for its own serviceability agent (src/hotspot/share/runtime/vmStructs.cpp): which monitor a
//! thread waits to enter, and who is in it. JDK 11 to 21; where a name is missing from the table,
//! nothing is told.

use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::Tid;
use crate::symbolize::native::Modules;
use crate::target::ReadMem;

use super::{int_at, long, long_at};

/// Points to the table.
const TABLE: &str = "gHotSpotVMStructs";
/// Bytes of an entry: three names, whether it is static, offset, address.
const ENTRY: usize = 48;
/// Most entries read; JDK 17 has about 1 500.
const MAX_ENTRIES: usize = 8192;
/// Entries read at once.
const STEP: usize = 64;
/// Most bytes of a name in the table that is of use here.
const MAX_NAME: usize = 32;
/// Most threads read.
const MAX_THREADS: u32 = 10_000;

/// Where things lie in the structures of a virtual machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Java {
    /// Address of the pointer to the list of threads.
    list: u64,
    length: u64,
    threads: u64,
    os_thread: u64,
    thread_id: u64,
    pending: u64,
    stack_base: u64,
    stack_size: u64,
    owner: u64,
}

/// The threads of a virtual machine at one moment.
pub struct JavaThreads<'a> {
    java: &'a Java,
    mem: &'a dyn ReadMem,
    by_tid: HashMap<Tid, u64, RandomState>,
    tids: HashMap<u64, Tid, RandomState>,
    stacks: Vec<(Range<u64>, Tid)>,
}

/// A monitor that a thread waits to enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Monitor {
    /// Where it is.
    pub address: u64,
    /// Who is in it; None = not known.
    pub owner: Option<Tid>,
}

impl Java {
    pub(super) fn of(modules: &Modules, mem: &dyn ReadMem) -> Option<Self> {
        let module = modules.iter().find(|m| m.binary.name() == "libjvm.so")?;
        let linked = module.binary.data(TABLE)?;
        Self::read(mem, linked.start.wrapping_add(module.bias))
    }

    fn read(mem: &dyn ReadMem, table: u64) -> Option<Self> {
        let fields = fields(mem, long(mem, table)?);
        let field = |names: &[(&str, &str)]| {
            names.iter().find_map(|(of, name)| fields.get(&(*of, *name)).copied())
        };
        // What was the thread's moved to the Java thread in later versions.
        let thread = |name| field(&[("JavaThread", name), ("Thread", name)]);
        Some(Self {
            list: field(&[("ThreadsSMRSupport", "_java_thread_list")])?,
            length: field(&[("ThreadsList", "_length")])?,
            threads: field(&[("ThreadsList", "_threads")])?,
            os_thread: thread("_osthread")?,
            thread_id: field(&[("OSThread", "_thread_id")])?,
            pending: thread("_current_pending_monitor")?,
            stack_base: thread("_stack_base")?,
            stack_size: thread("_stack_size")?,
            owner: field(&[("ObjectMonitor", "_owner")])?,
        })
    }

    pub(super) fn threads<'a>(
        &'a self,
        mem: &'a dyn ReadMem,
        thread: &dyn Fn(u32) -> Option<Tid>,
    ) -> Option<JavaThreads<'a>> {
        let at = |structure, offset| long_at(mem, structure, offset);
        let list = long(mem, self.list)?;
        let length = int_at(mem, list, self.length)?.min(MAX_THREADS);
        let threads = at(list, self.threads)?;
        let mut found = JavaThreads {
            java: self,
            mem,
            by_tid: HashMap::default(),
            tids: HashMap::default(),
            stacks: Vec::new(),
        };
        for i in 0..u64::from(length) {
            let known = || {
                let address = at(threads, i.checked_mul(8)?)?;
                let os_thread = at(address, self.os_thread)?;
                let tid = thread(int_at(mem, os_thread, self.thread_id)?)?;
                let end = at(address, self.stack_base)?;
                let start = end.checked_sub(at(address, self.stack_size)?)?;
                Some((address, tid, start..end))
            };
            if let Some((address, tid, stack)) = known() {
                found.by_tid.insert(tid, address);
                found.tids.insert(address, tid);
                found.stacks.push((stack, tid));
            }
        }
        Some(found)
    }
}

impl JavaThreads<'_> {
    /// The monitor that a thread waits to enter now.
    pub fn waits_for(&self, tid: Tid) -> Option<Monitor> {
        let thread = *self.by_tid.get(&tid)?;
        let address =
            long_at(self.mem, thread, self.java.pending).filter(|&monitor| monitor != 0)?;
        let owner = long_at(self.mem, address, self.java.owner)?;
        Some(Monitor { address, owner: self.thread_of(owner) })
    }

    /// An owner is a thread, or the place on its stack where it keeps the lock.
    fn thread_of(&self, owner: u64) -> Option<Tid> {
        let on_stack =
            || self.stacks.iter().find(|(stack, _)| stack.contains(&owner)).map(|(_, tid)| *tid);
        self.tids.get(&owner).copied().or_else(on_stack)
    }
}

/// The fields of use: offsets, or addresses of static ones.
fn fields(
    mem: &dyn ReadMem,
    table: u64,
) -> HashMap<(&'static str, &'static str), u64, RandomState> {
    /// Structure and field.
    const WANTED: &[(&str, &str)] = &[
        ("ThreadsSMRSupport", "_java_thread_list"),
        ("ThreadsList", "_length"),
        ("ThreadsList", "_threads"),
        ("Thread", "_osthread"),
        ("JavaThread", "_osthread"),
        ("OSThread", "_thread_id"),
        ("Thread", "_current_pending_monitor"),
        ("JavaThread", "_current_pending_monitor"),
        ("Thread", "_stack_base"),
        ("JavaThread", "_stack_base"),
        ("Thread", "_stack_size"),
        ("JavaThread", "_stack_size"),
        ("ObjectMonitor", "_owner"),
    ];
    let mut names: HashMap<u64, String, RandomState> = HashMap::default();
    let mut found = HashMap::default();
    for first in (0..MAX_ENTRIES).step_by(STEP) {
        let Some(at) = table.checked_add((first * ENTRY) as u64) else { return found };
        let entries = entries(mem, at);
        for entry in &entries {
            let word = |i: usize| entry.get(i).copied().unwrap_or_default();
            if word(0) == 0 {
                return found;
            }
            let mut is = |at: u64, name: &str| {
                names.entry(at).or_insert_with(|| text(mem, at)).as_str() == name
            };
            let wanted = WANTED.iter().find(|(of, name)| is(word(0), of) && is(word(1), name));
            if let Some(&key) = wanted {
                // Whether it is static is an int with nothing behind it.
                let is_static = word(3) & 0xffff_ffff != 0;
                found.insert(key, if is_static { word(5) } else { word(4) });
            }
        }
        if entries.len() < STEP {
            break;
        }
    }
    found
}

/// Some entries, as words; fewer where memory ends.
fn entries(mem: &dyn ReadMem, at: u64) -> Vec<[u64; 6]> {
    let mut bytes = vec![0; STEP * ENTRY];
    let mut whole = STEP;
    while whole > 0 && mem.read(at, bytes.get_mut(..whole * ENTRY).unwrap_or_default()).is_err() {
        whole /= 2;
    }
    let entry = |raw: &[u8; ENTRY]| {
        let mut words = [0; 6];
        for (word, raw) in words.iter_mut().zip(raw.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*raw);
        }
        words
    };
    let read = bytes.get(..whole * ENTRY).unwrap_or_default();
    read.as_chunks::<ENTRY>().0.iter().map(entry).collect()
}

/// A name; empty if it is none or too long to be of use.
fn text(mem: &dyn ReadMem, at: u64) -> String {
    let mut bytes = [0; MAX_NAME];
    let read = mem.read(at, &mut bytes).is_ok();
    let name = bytes.split(|&b| b == 0).next().filter(|name| read && name.len() < MAX_NAME);
    name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::fake::Memory;
    use super::*;

    fn machine() -> Memory {
        let mut memory = Memory::default();
        memory.long(0x100, 0x10_000);
        let rows: [(&str, &str, bool, u64); 9] = [
            ("ThreadsSMRSupport", "_java_thread_list", true, 0x2000),
            ("ThreadsList", "_length", false, 8),
            ("ThreadsList", "_threads", false, 16),
            ("Thread", "_osthread", false, 0),
            ("OSThread", "_thread_id", false, 4),
            ("Thread", "_current_pending_monitor", false, 8),
            ("Thread", "_stack_base", false, 16),
            ("Thread", "_stack_size", false, 24),
            ("ObjectMonitor", "_owner", false, 32),
        ];
        for (i, (of, name, is_static, value)) in rows.into_iter().enumerate() {
            let (at, names) = (0x10_000 + i as u64 * 48, 0x20_000 + i as u64 * 128);
            for (name, place) in [(of, names), (name, names + 64)] {
                memory.put(place, &[0; 64]);
                memory.put(place, name.as_bytes());
            }
            for (word, value) in [
                names,
                names + 64,
                0,
                u64::from(is_static),
                if is_static { 0 } else { value },
                if is_static { value } else { 0 },
            ]
            .into_iter()
            .enumerate()
            {
                memory.long(at + word as u64 * 8, value);
            }
        }
        for pad in 0..(64 * 48) {
            memory.0.entry(0x10_000 + pad).or_insert(0);
        }
        memory.long(0x2000, 0x3000);
        memory.put(0x3008, &2u32.to_le_bytes());
        memory.long(0x3010, 0x4000);
        for (i, (thread, monitor)) in [(0x5000, 0x7000), (0x6000, 0x7100)].into_iter().enumerate() {
            let i = i as u64;
            memory.long(0x4000 + i * 8, thread);
            memory.long(thread, thread + 0x100);
            memory.put(thread + 0x104, &(10 + i as u32).to_le_bytes());
            memory.long(thread + 8, monitor);
            memory.long(thread + 16, 0x9000 + i * 0x1000);
            memory.long(thread + 24, 0x800);
        }
        // The second is in the first's, by its stack; the first in the second's, by its address.
        memory.long(0x7000 + 32, 0x9900);
        memory.long(0x7100 + 32, 0x5000);
        memory
    }

    fn waits(memory: &Memory, tid: u32) -> Option<Monitor> {
        let java = Java::read(memory, 0x100)?;
        let thread = |tid| (tid < 12).then_some(Tid(tid));
        java.threads(memory, &thread)?.waits_for(Tid(tid))
    }

    #[test]
    fn a_monitor_names_who_is_in_it_by_the_thread_and_by_its_stack() {
        let memory = machine();
        assert_eq!(waits(&memory, 10), Some(Monitor { address: 0x7000, owner: Some(Tid(11)) }));
        assert_eq!(waits(&memory, 11), Some(Monitor { address: 0x7100, owner: Some(Tid(10)) }));
        assert_eq!(waits(&memory, 12), None);
    }

    #[test]
    fn a_table_that_lacks_anything_says_nothing() {
        let whole = machine();
        for row in 0..9u64 {
            let mut memory = Memory(whole.0.clone());
            memory.put(0x20_000 + row * 128, b"Other\0");
            assert_eq!(Java::read(&memory, 0x100), None, "{row}");
        }
        for missing in whole.0.keys().step_by(11) {
            let mut memory = Memory(whole.0.clone());
            memory.0.remove(missing);
            let _ = waits(&memory, 10);
        }
    }
}
