//! Which file of code lies where in a process.

use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::Pid;
use crate::target::{FileAt, FileKey, Mapping, Maps, ReadMem};

use super::Binary;

/// Most files of code of one process; a browser maps some hundred.
const MAX_MODULES: usize = 4096;
/// The kernel's own code in every process, in two or more pages.
const MAX_VDSO: u64 = 64 << 10;

/// A file of code, as it is mapped.
#[derive(Clone, Debug)]
pub struct Module {
    /// First address of the code.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// To be added to addresses as linked.
    pub bias: u64,
    /// The file.
    pub binary: Arc<Binary>,
}

impl Module {
    /// The address as linked.
    pub fn linked(&self, address: u64) -> u64 {
        address.wrapping_sub(self.bias)
    }
}

type Files = HashMap<FileKey, Option<Arc<Binary>>, RandomState>;

/// All files of code of a process.
#[derive(Default, Debug)]
pub struct Modules {
    list: Vec<Module>,
    /// All that were read; shared with others of the same process.
    files: Arc<Mutex<Files>>,
    vdso: Option<(u64, Option<Arc<Binary>>)>,
}

impl Modules {
    /// Others of the same process, which share the files that were read.
    pub fn sharing(&self) -> Self {
        Self { files: Arc::clone(&self.files), ..Self::default() }
    }

    /// Brings the list in line with the mappings of now; whether it changed.
    pub fn refresh(&mut self, pid: Pid, maps: &Maps, mem: &dyn ReadMem) -> bool {
        let mut list = Vec::new();
        for mapping in maps.iter().filter(|m| m.perms.execute) {
            if list.len() < MAX_MODULES
                && let Some(module) = self.module(pid, mapping, mem)
            {
                list.push(module);
            }
        }
        let key = |m: &Module| (m.start, m.end, m.bias, Arc::as_ptr(&m.binary));
        let changed = !self.list.iter().map(key).eq(list.iter().map(key));
        self.list = list;
        changed
    }

    fn module(&mut self, pid: Pid, mapping: &Mapping, mem: &dyn ReadMem) -> Option<Module> {
        let (start, end) = (mapping.start, mapping.end);
        if mapping.path.as_os_str() == "[vdso]" {
            let binary = self.vdso(mapping, mem)?;
            let first = binary.image().segments().first()?.vaddr;
            return Some(Module { start, end, bias: start.wrapping_sub(first), binary });
        }
        let key = mapping.file?;
        let open = || {
            let file = FileAt::mapped(pid, mapping).ok()?;
            Binary::of_file(file, &mapping.path).map(|binary| Arc::new(binary.seen_by(pid)))
        };
        let binary = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            if files.len() >= MAX_MODULES && !files.contains_key(&key) {
                return None;
            }
            files.entry(key).or_insert_with(open).clone()?
        };
        let bias = binary.image().code_bias(start, mapping.offset)?;
        Some(Module { start, end, bias, binary })
    }

    fn vdso(&mut self, mapping: &Mapping, mem: &dyn ReadMem) -> Option<Arc<Binary>> {
        if self.vdso.as_ref().is_none_or(|(at, _)| *at != mapping.start) {
            let len = usize::try_from(mapping.len().min(MAX_VDSO)).ok()?;
            let mut bytes = vec![0; len];
            let read = mem.read(mapping.start, &mut bytes).is_ok();
            let binary = read.then(|| Binary::of_bytes("[vdso]", bytes.into())).flatten();
            self.vdso = Some((mapping.start, binary.map(Arc::new)));
        }
        self.vdso.as_ref().and_then(|(_, binary)| binary.clone())
    }

    /// All of them, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.list.iter()
    }

    /// The one that holds an address.
    pub fn find(&self, address: u64) -> Option<&Module> {
        let above = self.list.partition_point(|m| m.start <= address);
        self.list.get(above.checked_sub(1)?).filter(|m| address < m.end)
    }
}
