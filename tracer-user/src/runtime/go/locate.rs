//! Where a Go runtime keeps its goroutines, in one process, without symbols.
//!
//! The function table says where each function is; `moduledata` says where the code was loaded;
//! the code of `runtime.forEachGRace` says where the list of goroutines is. Everything found is
//! checked against the memory before it is believed.

use crate::object::elf::{ElfError, Image};
use crate::object::pclntab::{Func, ReadTableError, Table};
use crate::object::{ByteSource, pclntab};
use crate::target::{FileAt, ReadError, ReadMem};

use super::bytes::{u32_at, u64_at};
use super::detect::GoProgram;
use super::layout::Layout;
use super::scheduler::{self, Places};
use super::{gc, operands};

/// Bytes of writable memory searched for `moduledata` at most.
const MAX_SEARCH: u64 = 1 << 30;
/// Bytes searched at a time.
const CHUNK: usize = 1 << 20;
/// Bytes of one function's code read at most.
const MAX_CODE: u64 = 16 << 10;
/// Bytes of inline trees read at most.
const MAX_INLINE_TREES: u64 = 256 << 20;
/// Goroutines that a runtime can have at most: what a list of more would take is beyond any memory.
const MAX_LIST: u64 = 1 << 32;
/// How often two variables are compared that may change in between.
const COMPARISONS: usize = 8;

/// Why the structures of the runtime could not be found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LocateError {
    /// The memory cannot be read.
    #[error("the Go runtime's structures cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The file does not hold a table.
    #[error("{0}")]
    Table(#[from] ReadTableError),
    /// The file cannot be read.
    #[error("the Go program's file cannot be read: {0}")]
    Elf(#[from] ElfError),
    /// There is no function table.
    #[error(
        "no Go function table (pclntab) in the file: the binary was packed or altered; trace the unpacked program"
    )]
    NoTable,
    /// There is no module that belongs to the table.
    #[error(
        "no moduledata that belongs to the function table: the binary was altered, or is not of the Go version it states"
    )]
    NoModule,
    /// A function is missing or its code is not as expected.
    #[error("the list of goroutines was not found: {0}")]
    NoList(&'static str),
}

/// The variables of the runtime that list all goroutines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allgs {
    /// Address of `runtime.allglen`.
    pub len: u64,
    /// Address of `runtime.allgptr`.
    pub array: u64,
}

/// What `moduledata` says, in the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module {
    /// Its address.
    pub address: u64,
    /// Start of the code that the function table describes.
    pub text: u64,
    /// Its end.
    pub etext: u64,
    /// What offsets of inline trees are relative to.
    pub gofunc: u64,
}

/// A Go runtime, located in a process.
#[derive(Clone, Debug)]
pub struct Located {
    /// How this version lays out its structures.
    pub layout: &'static Layout,
    /// The function table, placed where the code is in the process, with inline trees.
    pub table: Table,
    /// The module it belongs to.
    pub module: Module,
    /// The list of goroutines.
    pub allgs: Allgs,
    /// Addresses of which one is that of `runtime.semtable`.
    pub semtable: Vec<u64>,
    /// Address of the times that the collector notes; None where they were not found.
    pub gc_times: Option<u64>,
    /// Where the scheduler keeps its numbers; None where that was not found.
    pub scheduler: Option<Places>,
}

/// Locates the runtime of a program in the memory of its process.
///
/// # Errors
/// If a structure is not found or does not stand up to its checks.
pub fn locate(mem: &dyn ReadMem, program: &GoProgram) -> Result<Located, LocateError> {
    locate_known(mem, program, None)
}

/// As [`locate`], with the table as it was found in another process of the same file: reading and
/// holding it again would cost as much as all else.
///
/// # Errors
/// As [`locate`].
pub fn locate_known(
    mem: &dyn ReadMem,
    program: &GoProgram,
    known: Option<&Table>,
) -> Result<Located, LocateError> {
    let GoProgram { file, image, bias, layout, .. } = program;
    let bias = *bias;
    let at = pclntab::locate(image, file).ok_or(LocateError::NoTable)?;
    let table = match known {
        Some(known) => known.clone().with_text(known.header_text()),
        None => Table::read(image, file, at)?,
    };
    let search = Search { mem, image, bias, layout };
    let module = search.module(at.vaddr.wrapping_add(bias), &table)?;
    let table = table.with_text(module.text);
    let table = match known {
        Some(_) => table,
        None => with_inline_trees(table, file, image, module.gofunc.wrapping_sub(bias))?,
    };
    let functions = Functions::of(&table);
    let allgs = search.allgs(&functions)?;
    let semtable = search.semtable(&functions);
    let gc_times = search.gc_times(&functions);
    let scheduler = search.scheduler(&functions);
    Ok(Located { layout, table, module, allgs, semtable, gc_times, scheduler })
}

fn with_inline_trees(
    table: Table,
    file: &FileAt,
    image: &Image,
    gofunc: u64,
) -> Result<Table, ElfError> {
    let len = table.inline_tree_bytes().min(MAX_INLINE_TREES).min(ByteSource::len(file));
    let mut trees = vec![0; usize::try_from(len).unwrap_or(0)];
    image.read(file, gofunc, &mut trees)?;
    Ok(table.with_inline_trees(trees.into()))
}

/// Functions whose code is read, by name.
const NAMES: [&str; 9] = [
    "runtime.forEachGRace",
    "runtime.atomicAllG",
    "runtime.allgadd",
    "runtime.semacquire1",
    "runtime.semrelease1",
    "runtime.gcStart",
    "runtime.gcMarkDone",
    "runtime.gcMarkTermination",
    "runtime.schedtrace",
];

/// Where those functions are: entry and end.
struct Functions {
    ranges: [Option<(u64, u64)>; NAMES.len()],
}

impl Functions {
    fn of(table: &Table) -> Self {
        let found = table.named(&NAMES);
        let range = |func: &Func<'_>| (func.entry(), func.end());
        Self { ranges: std::array::from_fn(|i| found.get(i)?.first().map(range)) }
    }

    fn get(&self, name: &str) -> Option<(u64, u64)> {
        *self.ranges.get(NAMES.iter().position(|n| *n == name)?)?
    }
}

/// What is searched.
struct Search<'a> {
    mem: &'a dyn ReadMem,
    image: &'a Image,
    bias: u64,
    layout: &'static Layout,
}

impl Search<'_> {
    /// The module whose function table is at `table_at`. From 1.26 on it has a section of its
    /// own; before, it lies among the data without pointers.
    fn module(&self, table_at: u64, table: &Table) -> Result<Module, LocateError> {
        let sections =
            [".go.module", ".noptrdata"].iter().filter_map(|name| self.image.section(name));
        let sections = sections.map(|section| (section.vaddr, section.size));
        let segments =
            self.image.segments().iter().filter(|s| s.writable).map(|s| (s.vaddr, s.file_size));
        let mut left = MAX_SEARCH;
        for (start, size) in sections.chain(segments) {
            let size = size.min(left);
            left = left.saturating_sub(size);
            if let Some(module) =
                self.module_in(start.wrapping_add(self.bias), size, table_at, table)?
            {
                return Ok(module);
            }
        }
        Err(LocateError::NoModule)
    }

    fn module_in(
        &self,
        start: u64,
        size: u64,
        table_at: u64,
        table: &Table,
    ) -> Result<Option<Module>, ReadError> {
        let mut done = 0_u64;
        let mut buf = Vec::new();
        while done < size {
            let len = usize::try_from(size.saturating_sub(done)).unwrap_or(CHUNK).min(CHUNK);
            buf.resize(len, 0);
            let at = start.wrapping_add(done);
            if self.readable(at, &mut buf)? {
                let words = (0_u64..).step_by(8).zip(buf.chunks_exact(8));
                for (offset, _) in words.filter(|(_, word)| u64_at(word, 0) == Some(table_at)) {
                    if let Some(module) = self.module_at(at.wrapping_add(offset), table)? {
                        return Ok(Some(module));
                    }
                }
            }
            done = done.saturating_add(len as u64);
        }
        Ok(None)
    }

    /// Checks what may be a module: its list of functions is as long as the table's, and its
    /// bounds enclose each other.
    fn module_at(&self, address: u64, table: &Table) -> Result<Option<Module>, ReadError> {
        let o = &self.layout.moduledata;
        let mut raw = vec![0; usize::from(o.size)];
        if !self.readable(address, &mut raw)? {
            return Ok(None);
        }
        let word = |offset: u16| u64_at(&raw, usize::from(offset));
        let module = || {
            let functions = word(o.ftab.checked_add(8)?)?;
            let (min, max) = (word(o.minpc)?, word(o.maxpc)?);
            let (text, etext) = (word(o.text)?, word(o.etext)?);
            let sound = functions == (table.len() as u64).checked_add(1)?
                && text <= min
                && min < max
                && max <= etext
                && self.is_code(text)
                && (table.header_text() == 0
                    || table.header_text().wrapping_add(self.bias) == text
                    || table.header_text() == text);
            sound.then_some(Module { address, text, etext, gofunc: word(o.gofunc)? })
        };
        Ok(module())
    }

    fn is_code(&self, address: u64) -> bool {
        let linked = address.wrapping_sub(self.bias);
        let code = self.image.segments().iter().filter(|s| s.executable);
        code.into_iter()
            .any(|s| linked.checked_sub(s.vaddr).is_some_and(|within| within < s.mem_size))
    }

    /// The list of goroutines: `runtime.forEachGRace` is there in every binary, and the only two
    /// words it loads are `allglen` and `allgptr`, in this order. Where nothing is inlined it
    /// calls `runtime.atomicAllG` for them.
    fn allgs(&self, functions: &Functions) -> Result<Allgs, LocateError> {
        for name in ["runtime.forEachGRace", "runtime.atomicAllG"] {
            let loads = self.operands(functions, name, operands::loads)?;
            // A caller may go on to load others; a function that loads more in between is
            // another one.
            if let [len, array] = loads[..] {
                let found = Allgs { len, array };
                if self.is_list(found)? {
                    self.cross_check(functions, found)?;
                    return Ok(found);
                }
            }
        }
        Err(LocateError::NoList(
            "neither runtime.forEachGRace nor runtime.atomicAllG loads it as they do in the Go versions known",
        ))
    }

    /// `runtime.allgadd` appends to the slice `allgs` (three words in a row) and then copies its
    /// pointer and length to the two variables: they must agree.
    fn cross_check(&self, functions: &Functions, found: Allgs) -> Result<(), LocateError> {
        let loads = self.operands(functions, "runtime.allgadd", operands::loads)?;
        let slice = loads.iter().copied().find(|&x| {
            [8, 16].iter().all(|&n| x.checked_add(n).is_some_and(|next| loads.contains(&next)))
        });
        let Some(slice) = slice else {
            // The code may load the words in another way; the list has been checked already.
            return Ok(());
        };
        for _ in 0..COMPARISONS {
            let before = self.word(found.array)?;
            let agree = self.word(slice)? == before
                && self.word(slice.wrapping_add(8))? >= self.word(found.len)?;
            if agree && self.word(found.array)? == before {
                return Ok(());
            }
        }
        Err(LocateError::NoList("runtime.allgadd appends to another list"))
    }

    /// The first entry must be a g: its saved context points back at it, and its state exists.
    fn is_list(&self, found: Allgs) -> Result<bool, LocateError> {
        let check = || -> Result<bool, ReadError> {
            let len = self.word(found.len)?;
            if len == 0 || len > MAX_LIST {
                return Ok(false);
            }
            let g = self.word(self.word(found.array)?)?;
            let back =
                u64::from(self.layout.g.sched).saturating_add(u64::from(self.layout.gobuf.g));
            let mut status = [0; 4];
            self.mem.read(g.wrapping_add(u64::from(self.layout.g.atomicstatus)), &mut status)?;
            let known = u32_at(&status, 0).is_some_and(|s| s & !0x1000 <= 11);
            Ok(known && self.word(g.wrapping_add(back))? == g)
        };
        match check() {
            Ok(sound) => Ok(sound),
            Err(ReadError::Unmapped { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Addresses that the semaphore functions take: one of them is the table of semaphores.
    /// Which one is told when there are waiters to prove it.
    fn semtable(&self, functions: &Functions) -> Vec<u64> {
        let mut all: Vec<u64> = ["runtime.semacquire1", "runtime.semrelease1"]
            .iter()
            .flat_map(|name| self.operands(functions, name, operands::taken).unwrap_or_default())
            .filter(|&address| self.is_data(address))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Where the collector notes the times of its phases.
    fn gc_times(&self, functions: &Functions) -> Option<u64> {
        let of = |name, which| self.operands(functions, name, which).unwrap_or_default();
        let operands = gc::Operands {
            start: of("runtime.gcStart", operands::stores),
            done: of("runtime.gcMarkDone", operands::stores),
            end: of("runtime.gcMarkTermination", operands::stores),
            reads: of("runtime.gcMarkTermination", operands::loads),
        };
        operands.times().filter(|&address| self.is_data(address))
    }

    /// Where the scheduler keeps its numbers.
    fn scheduler(&self, functions: &Functions) -> Option<Places> {
        let of = |which| self.operands(functions, "runtime.schedtrace", which).unwrap_or_default();
        let (taken, loads) = (of(operands::taken), of(operands::loads));
        let places = scheduler::Operands { taken, loads, any: of(operands::any) };
        let mut places = places.places(self.layout).filter(|places| self.is_data(places.sched))?;
        places.allp.retain(|&address| self.is_data(address));
        Some(places)
    }

    fn is_data(&self, address: u64) -> bool {
        let linked = address.wrapping_sub(self.bias);
        let data = self.image.segments().iter().filter(|s| s.writable);
        data.into_iter()
            .any(|s| linked.checked_sub(s.vaddr).is_some_and(|within| within < s.mem_size))
    }

    fn operands(
        &self,
        functions: &Functions,
        name: &'static str,
        of: fn(&[u8], u64) -> Vec<u64>,
    ) -> Result<Vec<u64>, LocateError> {
        let Some((entry, end)) = functions.get(name) else {
            return Ok(Vec::new());
        };
        let len = usize::try_from(end.saturating_sub(entry).min(MAX_CODE)).unwrap_or(0);
        let mut code = vec![0; len];
        self.mem.read(entry, &mut code)?;
        Ok(of(&code, entry))
    }

    fn word(&self, address: u64) -> Result<u64, ReadError> {
        let mut raw = [0; 8];
        self.mem.read(address, &mut raw)?;
        Ok(u64::from_le_bytes(raw))
    }

    /// A read that may fail because nothing is mapped there.
    fn readable(&self, address: u64, buf: &mut [u8]) -> Result<bool, ReadError> {
        match self.mem.read(address, buf) {
            Ok(()) => Ok(true),
            Err(error @ (ReadError::Gone | ReadError::Denied)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}
