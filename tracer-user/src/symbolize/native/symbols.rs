//! The functions that an ELF file names, by address.

use std::sync::Arc;

use crate::object::ByteSource;
use crate::object::elf::Image;

/// Most bytes of a symbol table read: 2.8 million symbols of 24 bytes; a browser has about one.
const MAX_TABLE: u64 = 64 << 20;
/// Most bytes of names read.
const MAX_NAMES: u64 = 256 << 20;
/// Bytes of a symbol (System V ABI, `Elf64_Sym`).
const SYMBOL: usize = 24;
/// Types of symbols: functions, and functions that are chosen when the program starts.
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;
/// A function without a size ends here at the latest.
const MAX_UNSIZED: u64 = 64 << 10;
/// As [`MAX_UNSIZED`] where only what is exported has a name: much else may lie behind it.
const MAX_UNSIZED_EXPORTED: u64 = 256;
/// The table of exported names.
const EXPORTED: u8 = 1;
/// Most bytes of a name looked at.
const MAX_NAME: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Symbol {
    address: u64,
    size: u64,
    /// Where its name begins in `names`.
    name: u32,
    table: u8,
}

/// The functions of a file.
#[derive(Clone, Default, Debug)]
pub(super) struct Symbols {
    by_address: Vec<Symbol>,
    names: [Arc<[u8]>; 2],
}

impl Symbols {
    /// Reads both tables of a file; what cannot be read is left out.
    pub(super) fn read(image: &Image, source: &(impl ByteSource + ?Sized)) -> Self {
        let mut symbols = Self::default();
        for (i, (table, names)) in
            [(".symtab", ".strtab"), (".dynsym", ".dynstr")].into_iter().enumerate()
        {
            symbols.add(image, source, (table, names), i);
        }
        symbols.by_address.sort_by_key(|s| (s.address, s.table, u64::MAX - s.size));
        symbols.by_address.dedup_by_key(|s| s.address);
        symbols
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    fn add(
        &mut self,
        image: &Image,
        source: &(impl ByteSource + ?Sized),
        (table, names): (&str, &str),
        index: usize,
    ) {
        let contents = |name, max| {
            let section = image.section(name)?;
            image.section_contents(source, section, max).ok()
        };
        let (Some(table), Some(names)) = (contents(table, MAX_TABLE), contents(names, MAX_NAMES))
        else {
            return;
        };
        for raw in table.chunks_exact(SYMBOL) {
            self.by_address.extend(symbol(raw, index as u8));
        }
        if let Some(slot) = self.names.get_mut(index) {
            *slot = names.into();
        }
    }

    /// The function that holds an address as linked.
    pub(super) fn find(&self, address: u64) -> Option<String> {
        let above = self.by_address.partition_point(|s| s.address <= address);
        let symbol = self.by_address.get(above.checked_sub(1)?)?;
        let within = address.checked_sub(symbol.address)?;
        let inside = match (symbol.size, symbol.table) {
            (0, EXPORTED) => within < MAX_UNSIZED_EXPORTED,
            (0, _) => within < MAX_UNSIZED,
            (size, _) => within < size,
        };
        self.name(symbol).filter(|_| inside)
    }

    fn name(&self, symbol: &Symbol) -> Option<String> {
        let names = self.names.get(usize::from(symbol.table))?;
        let tail = names.get(usize::try_from(symbol.name).ok()?..)?;
        let tail = tail.get(..MAX_NAME).unwrap_or(tail);
        let end = memchr::memchr(0, tail)?;
        let name = tail.get(..end).filter(|name| !name.is_empty())?;
        Some(String::from_utf8_lossy(name).into_owned())
    }
}

/// Where the data of a name lies that a file exports.
pub(super) fn data(
    image: &Image,
    source: &(impl ByteSource + ?Sized),
    wanted: &str,
) -> Option<std::ops::Range<u64>> {
    /// Data.
    const STT_OBJECT: u8 = 1;
    let contents = |name, max| image.section_contents(source, image.section(name)?, max).ok();
    let (table, names) = (contents(".dynsym", MAX_TABLE)?, contents(".dynstr", MAX_NAMES)?);
    table.as_chunks::<SYMBOL>().0.iter().find_map(|raw| {
        let long = |at: usize| Some(u64::from_le_bytes(raw.get(at..at + 8)?.try_into().ok()?));
        let name = u32::from_le_bytes(raw.get(..4)?.try_into().ok()?);
        let rest = names.get(usize::try_from(name).ok()?..)?;
        let is_it =
            rest.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0));
        let is_defined = raw.get(6..8)? != [0, 0] && raw.get(4)? & 0xf == STT_OBJECT;
        let address = long(8).filter(|_| is_it && is_defined)?;
        Some(address..address.checked_add(long(16)?)?)
    })
}

/// A defined function.
fn symbol(raw: &[u8], table: u8) -> Option<Symbol> {
    let word = |at: usize| Some(u64::from_le_bytes(raw.get(at..at + 8)?.try_into().ok()?));
    let kind = raw.get(4)? & 0xf;
    let section = u16::from_le_bytes(raw.get(6..8)?.try_into().ok()?);
    let name = u32::from_le_bytes(raw.get(..4)?.try_into().ok()?);
    let (address, size) = (word(8)?, word(16)?);
    let defined = section != 0 && address != 0 && name != 0;
    (defined && matches!(kind, STT_FUNC | STT_GNU_IFUNC)).then_some(Symbol {
        address,
        size,
        name,
        table,
    })
}
