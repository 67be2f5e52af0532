//! Which file of code lies where in a process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::base::Pid;
use crate::target::{FileAt, FileKey, Mapping, Maps, ReadMem};

use super::Binary;
use super::budget::Budget;

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

/// All files that were read of a process.
#[derive(Default, Debug)]
struct Files {
    /// None = no program or library, or it cannot be read.
    by_key: HashMap<FileKey, Option<Arc<Binary>>, RandomState>,
    /// What their debug information may take together.
    budget: Arc<Budget>,
}

impl Files {
    /// Forgets those that are no longer mapped, once there would be no room for those that are.
    fn make_room(&mut self, mapped: &HashSet<FileKey, RandomState>) {
        let new = mapped.iter().filter(|key| !self.by_key.contains_key(*key)).count();
        if self.by_key.len().saturating_add(new) > MAX_MODULES {
            self.by_key.retain(|key, _| mapped.contains(key));
        }
    }

    /// The file, which `open` opens where it is new; None also if there are too many.
    fn get(&mut self, key: FileKey, open: impl FnOnce() -> Option<Binary>) -> Option<Arc<Binary>> {
        if self.by_key.len() >= MAX_MODULES && !self.by_key.contains_key(&key) {
            return None;
        }
        let budget = &self.budget;
        let new = || open().map(|binary| Arc::new(binary.within(Arc::clone(budget))));
        self.by_key.entry(key).or_insert_with(new).clone()
    }
}

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
        let code = maps.iter().filter(|m| m.perms.execute);
        self.files().make_room(&code.filter_map(|m| m.file).collect());
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

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
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
            Binary::of_file(file, &mapping.path).map(|binary| binary.seen_by(pid))
        };
        let binary = self.files().get(key, open)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inode: u64) -> FileKey {
        FileKey { major: 8, minor: 1, inode }
    }

    fn keys(inodes: std::ops::Range<u64>) -> HashSet<FileKey, RandomState> {
        inodes.map(key).collect()
    }

    /// Files of these numbers, as if they could not be read.
    fn files(inodes: std::ops::Range<u64>) -> Files {
        let by_key = inodes.map(|inode| (key(inode), None)).collect();
        Files { by_key, ..Files::default() }
    }

    #[test]
    fn files_that_are_no_longer_mapped_make_room_for_those_that_are() {
        let most = MAX_MODULES as u64;
        let mut all = files(0..most);
        all.make_room(&keys(0..most));
        assert_eq!(all.by_key.len(), MAX_MODULES, "all are mapped");
        all.make_room(&keys(5..most + 1));
        assert_eq!(all.by_key.len(), MAX_MODULES - 5);
        assert!(all.by_key.contains_key(&key(5)) && !all.by_key.contains_key(&key(4)));
    }

    #[test]
    fn a_library_that_was_unloaded_is_remembered_while_there_is_room() {
        let mut all = files(0..100);
        all.make_room(&keys(50..200));
        assert_eq!(all.by_key.len(), 100);
    }

    #[test]
    fn beyond_the_most_files_none_is_opened_and_known_ones_are_still_found() {
        let most = MAX_MODULES as u64;
        let mut all = files(0..most);
        assert!(all.get(key(most), || unreachable!("there is no room")).is_none());
        assert!(all.get(key(0), || unreachable!("it is known")).is_none());
        assert_eq!(all.by_key.len(), MAX_MODULES);
    }
}
