//! One file of code: its headers, its functions, its debug information, read when they are needed.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::base::Pid;
use crate::object::elf::Image;
use crate::object::{ByteSource, SourceError};
use crate::target::FileAt;

use super::budget::Budget;
use super::debug::{Debug, Place};
use super::symbols::{self, Symbols};

/// Where separate debug files lie, by build id (gdb, "Separate Debug Files").
const DEBUG_DIR: &str = "/usr/lib/debug/.build-id";
/// Most bytes of a section that is needed for walking stacks: a browser has 20 MB.
const MAX_UNWIND: u64 = 64 << 20;

/// Where the bytes of a binary are.
#[derive(Debug)]
enum Bytes {
    File(FileAt),
    Memory(Box<[u8]>),
}

impl ByteSource for Bytes {
    fn len(&self) -> u64 {
        match self {
            Bytes::File(file) => ByteSource::len(file),
            Bytes::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        match self {
            Bytes::File(file) => ByteSource::read_at(file, offset, buf),
            Bytes::Memory(bytes) => bytes.as_ref().read_at(offset, buf),
        }
    }
}

/// A section with where it lies, as linked.
pub struct UnwindSection {
    /// Address as linked.
    pub address: u64,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// One file of code.
#[derive(Debug)]
pub struct Binary {
    name: Box<str>,
    bytes: Bytes,
    image: Image,
    symbols: OnceLock<Symbols>,
    /// Reading it remembers what it read, for one at a time.
    debug: OnceLock<Mutex<Option<Debug>>>,
    /// The separate debug file.
    separate: OnceLock<Option<Box<Binary>>>,
    /// In whose root that is looked for first.
    seen_by: Option<Pid>,
    /// What debug information may take.
    budget: Arc<Budget>,
}

impl Binary {
    /// Of a file; None if it is no program or library.
    pub fn of_file(file: FileAt, path: &Path) -> Option<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        Self::new(&name, Bytes::File(file))
    }

    /// Of bytes in memory.
    pub fn of_bytes(name: &str, bytes: Box<[u8]>) -> Option<Self> {
        Self::new(name, Bytes::Memory(bytes))
    }

    fn new(name: &str, bytes: Bytes) -> Option<Self> {
        let image = Image::parse(&bytes).ok()?;
        let name = name.chars().filter(|c| !c.is_control()).collect::<String>().into();
        Some(Self {
            name,
            bytes,
            image,
            symbols: OnceLock::new(),
            debug: OnceLock::new(),
            separate: OnceLock::new(),
            seen_by: None,
            budget: Arc::default(),
        })
    }

    /// Has a separate debug file looked for in the root of a process that maps the file: a container
    /// has its own, and loiter's may have none.
    #[must_use]
    pub fn seen_by(self, pid: Pid) -> Self {
        Self { seen_by: Some(pid), ..self }
    }

    /// Has its debug information share a budget with that of other files.
    #[must_use]
    pub(super) fn within(self, budget: Arc<Budget>) -> Self {
        Self { budget, ..self }
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its headers.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The function that holds an address as linked, as the linker names it.
    pub(super) fn function(&self, address: u64) -> Option<String> {
        let from_separate = || self.separate()?.symbols().find(address);
        self.symbols().find(address).or_else(from_separate)
    }

    /// Where the data lies, as linked, that the file exports under a name.
    pub fn data(&self, name: &str) -> Option<std::ops::Range<u64>> {
        symbols::data(&self.image, &self.bytes, name)
    }

    fn symbols(&self) -> &Symbols {
        self.symbols.get_or_init(|| Symbols::read(&self.image, &self.bytes))
    }

    /// Whether the file itself names no function.
    pub fn is_stripped(&self) -> bool {
        self.image.section(".symtab").is_none() || self.symbols().is_empty()
    }

    /// Functions and lines at an address as linked, innermost first.
    pub(super) fn places(&self, address: u64) -> Vec<Place> {
        let own = self.own_places(address);
        if !own.is_empty() {
            return own;
        }
        self.separate().map(|file| file.own_places(address)).unwrap_or_default()
    }

    fn own_places(&self, address: u64) -> Vec<Place> {
        let read = || Mutex::new(Debug::read(&self.image, &self.bytes, &self.budget));
        let debug = self.debug.get_or_init(read);
        let debug = debug.lock().unwrap_or_else(PoisonError::into_inner);
        debug.as_ref().map(|debug| debug.places(address)).unwrap_or_default()
    }

    /// The separate debug file of the same build. Only where the file itself lacks something.
    fn separate(&self) -> Option<&Binary> {
        let open = || {
            if self.image.section(".debug_info").is_some() {
                return None;
            }
            let id = self.image.build_ids(&self.bytes).gnu?;
            let (first, rest) = id.split_at_checked(2)?;
            let path = format!("{DEBUG_DIR}/{first}/{rest}.debug");
            let path = Path::new(&path);
            let of_this_build = |file: FileAt| {
                let binary = Self::of_file(file, path)?.within(Arc::clone(&self.budget));
                let same = binary.image.build_ids(&binary.bytes).gnu.as_ref() == Some(&id);
                same.then(|| Box::new(binary))
            };
            let theirs = self.seen_by.and_then(|pid| FileAt::within_root_of(pid, path).ok());
            theirs.and_then(of_this_build).or_else(|| of_this_build(FileAt::open(path).ok()?))
        };
        self.separate.get_or_init(open).as_deref()
    }

    /// A section that says how to walk stacks.
    pub fn unwind_section(&self, name: &str) -> Option<UnwindSection> {
        let section = self.image.section(name).filter(|s| s.size <= MAX_UNWIND)?;
        let bytes = self.image.section_contents(&self.bytes, section, MAX_UNWIND).ok()?;
        Some(UnwindSection { address: section.vaddr, bytes: bytes.into() })
    }

    /// Where a section lies, as linked.
    pub fn section_range(&self, name: &str) -> Option<std::ops::Range<u64>> {
        let section = self.image.section(name)?;
        Some(section.vaddr..section.vaddr.checked_add(section.size)?)
    }
}

/// Entry for fuzzing: whatever a file holds, naming its addresses ends without a panic.
pub fn fuzz_binary(bytes: &[u8]) {
    let Some(binary) = Binary::of_bytes("fuzzed", bytes.into()) else { return };
    let segments: Vec<_> = binary.image.segments().to_vec();
    for segment in segments.iter().take(8) {
        for within in [0, 1, segment.mem_size / 2, segment.mem_size.saturating_sub(1)] {
            let address = segment.vaddr.wrapping_add(within);
            let _ = binary.places(address);
            if let Some(name) = binary.function(address) {
                let _ = super::demangled(&name);
            }
        }
    }
    for name in [".eh_frame", ".eh_frame_hdr", ".text"] {
        let _ = binary.unwind_section(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shared object of some kilobytes with functions and unwind tables: the kernel's own.
    fn vdso() -> Option<Vec<u8>> {
        use crate::base::Pid;
        use crate::target::{LiveMem, Maps, ReadMem as _};
        let me = Pid(std::process::id());
        let maps = Maps::of(me).ok()?;
        let mapping = maps.iter().find(|m| m.path.as_os_str() == "[vdso]")?;
        let mut bytes = vec![0; usize::try_from(mapping.len()).ok()?];
        LiveMem::open(me).ok()?.read(mapping.start, &mut bytes).ok()?;
        Some(bytes)
    }

    #[test]
    fn every_prefix_and_thousands_of_corruptions_of_a_library_are_survived() {
        let Some(whole) = vdso() else { return };
        let binary = Binary::of_bytes("vdso", whole.clone().into()).unwrap();
        assert!(!binary.is_stripped() || !binary.symbols().is_empty());
        for end in (0..whole.len()).step_by(7) {
            fuzz_binary(&whole[..end]);
        }
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..3_000 {
            let mut bytes = whole.clone();
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            fuzz_binary(&bytes);
        }
    }
}
