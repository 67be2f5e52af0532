//! The same facts from an independent source: the compiler's DWARF, read by gimli.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use gimli::{AttributeValue, EndianSlice, LittleEndian, UnitRef};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = gimli::DebuggingInformationEntry<Bytes<'a>>;

/// A function that was inlined, within a function.
pub struct Inlined {
    pub name: String,
    pub ranges: Vec<(u64, u64)>,
    /// How many inlined functions are around it.
    pub depth: isize,
    pub call: (String, u32),
}

/// A function with code of its own.
pub struct Function {
    pub name: String,
    pub low: u64,
    pub high: u64,
    pub inlined: Vec<Inlined>,
}

/// A line of the line table: it holds from its address on.
pub struct Row {
    pub address: u64,

    pub file: String,
    pub line: u32,
}

#[derive(Default)]
pub struct Dwarf {
    pub functions: Vec<Function>,
    pub rows: Vec<Row>,
    pub symbols: Vec<(String, u64)>,
}

/// A logical frame: function, file, line.
pub type Frame = (String, String, u32);

impl Dwarf {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let mut all = Dwarf::default();
        for symbol in file.symbols() {
            all.symbols.push((symbol.name().unwrap_or_default().to_owned(), symbol.address()));
        }
        let sections = gimli::DwarfSections::load(|id| -> object::Result<Cow<'_, [u8]>> {
            match file.section_by_name(id.name()) {
                Some(section) => section.uncompressed_data(),
                None => Ok(Cow::Borrowed(&[])),
            }
        })
        .unwrap();
        let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
        let mut units = Vec::new();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next().unwrap() {
            units.push(dwarf.unit(header).unwrap());
        }
        let units: Vec<_> = units.iter().map(|unit| unit.unit_ref(&dwarf)).filter(is_go).collect();
        let mut names = Names::default();
        units.iter().for_each(|unit| read_names(unit, &mut names));
        for unit in &units {
            all.read_lines(unit);
            all.read_functions(unit, &names);
        }
        all.rows.sort_by_key(|row| row.address);
        all
    }

    pub fn symbol(&self, names: &[&str]) -> u64 {
        let found = self.symbols.iter().find(|(name, _)| names.contains(&name.as_str()));
        found.unwrap_or_else(|| panic!("no symbol {names:?}")).1
    }

    fn read_lines(&mut self, unit: &UnitRef<'_, Bytes<'_>>) {
        let Some(program) = unit.line_program.clone() else { return };
        let mut rows = program.rows();
        let mut open: Option<(u64, String, u32)> = None;
        while let Some((header, row)) = rows.next_row().unwrap() {
            if let Some((address, file, line)) = open.take()
                && row.address() > address
            {
                self.rows.push(Row { address, file, line });
            }
            if !row.end_sequence() {
                let file = row.file(header).map(|f| path_of(unit, f, header)).unwrap_or_default();
                let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap());
                open = Some((row.address(), file, line));
            }
        }
    }

    fn read_functions(&mut self, unit: &UnitRef<'_, Bytes<'_>>, names: &Names) {
        let mut entries = unit.entries();
        let mut within: Option<isize> = None;
        let mut open: Vec<isize> = Vec::new();
        while let Some(entry) = entries.next_dfs().unwrap() {
            let depth = entry.depth();
            if within.is_some_and(|outer| depth <= outer) {
                within = None;
            }
            open.retain(|&d| d < depth);
            match entry.tag() {
                gimli::DW_TAG_subprogram => {
                    let ranges = ranges(unit, entry);
                    let Some(&(low, high)) = ranges.first() else { continue };
                    let Some(name) = name_of(unit, entry, names) else { continue };
                    self.functions.push(Function { name, low, high, inlined: Vec::new() });
                    within = Some(depth);
                    open.clear();
                }
                gimli::DW_TAG_inlined_subroutine if within.is_some() => {
                    let inlined = Inlined {
                        name: name_of(unit, entry, names).unwrap(),
                        ranges: ranges(unit, entry),
                        depth: isize::try_from(open.len()).unwrap(),
                        call: call_site(unit, entry),
                    };
                    self.functions.last_mut().unwrap().inlined.push(inlined);
                    open.push(depth);
                }
                _ => {}
            }
        }
    }
}

impl Function {
    /// The logical frames at an address, innermost first, by the inlined functions around it.
    pub fn frames(&self, address: u64, row: &Row) -> Vec<Frame> {
        let mut chain: Vec<&Inlined> = self
            .inlined
            .iter()
            .filter(|i| i.ranges.iter().any(|&(low, high)| (low..high).contains(&address)))
            .collect();
        chain.sort_by_key(|i| -i.depth);
        let mut place = (row.file.clone(), row.line);
        let mut frames = Vec::new();
        for inlined in chain {
            frames.push((inlined.name.clone(), place.0, place.1));
            place = inlined.call.clone();
        }
        frames.push((self.name.clone(), place.0, place.1));
        frames
    }
}

/// Units of C code are not in Go's table.
fn is_go(unit: &UnitRef<'_, Bytes<'_>>) -> bool {
    let mut entries = unit.entries();
    let Some(root) = entries.next_dfs().unwrap() else { return false };
    let language = root.attr_value(gimli::DW_AT_language);
    language == Some(AttributeValue::Language(gimli::DW_LANG_Go))
}

/// Names of functions by where they are described: a function inlined elsewhere refers to that.
type Names = HashMap<usize, String>;

fn read_names(unit: &UnitRef<'_, Bytes<'_>>, names: &mut Names) {
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs().unwrap() {
        if entry.tag() == gimli::DW_TAG_subprogram
            && let Some(name) = entry.attr_value(gimli::DW_AT_name)
        {
            names.insert(global(unit, entry.offset()), text(unit, name));
        }
    }
}

fn global(unit: &UnitRef<'_, Bytes<'_>>, at: gimli::UnitOffset) -> usize {
    at.to_debug_info_offset(&unit.header).unwrap().0
}

fn name_of<'a>(unit: &UnitRef<'_, Bytes<'a>>, entry: &Entry<'a>, names: &Names) -> Option<String> {
    if let Some(value) = entry.attr_value(gimli::DW_AT_name) {
        return Some(text(unit, value));
    }
    let at = match entry.attr_value(gimli::DW_AT_abstract_origin)? {
        AttributeValue::UnitRef(at) => global(unit, at),
        AttributeValue::DebugInfoRef(at) => at.0,
        other => panic!("an origin of form {other:?}"),
    };
    names.get(&at).cloned()
}

fn ranges<'a>(unit: &UnitRef<'_, Bytes<'a>>, entry: &Entry<'a>) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut ranges = unit.die_ranges(entry).unwrap();
    while let Some(range) = ranges.next().unwrap() {
        if range.begin < range.end {
            found.push((range.begin, range.end));
        }
    }
    found
}

fn call_site<'a>(unit: &UnitRef<'_, Bytes<'a>>, entry: &Entry<'a>) -> (String, u32) {
    let line = entry.attr(gimli::DW_AT_call_line).and_then(|a| a.udata_value()).unwrap_or(0);
    let index = entry.attr(gimli::DW_AT_call_file).and_then(|a| match a.value() {
        AttributeValue::FileIndex(index) => Some(index),
        _ => a.udata_value(),
    });
    let program = unit.line_program.as_ref().unwrap();
    let header = program.header();
    let file = index.and_then(|i| header.file(i)).map(|f| path_of(unit, f, header));
    (file.unwrap_or_default(), u32::try_from(line).unwrap())
}

fn path_of(
    unit: &UnitRef<'_, Bytes<'_>>,
    file: &gimli::FileEntry<Bytes<'_>>,
    header: &gimli::LineProgramHeader<Bytes<'_>>,
) -> String {
    let name = text(unit, file.path_name());
    let directory = file.directory(header).map(|d| text(unit, d)).unwrap_or_default();
    if name.starts_with('/') || ["", "."].contains(&&*directory) {
        name
    } else {
        format!("{directory}/{name}")
    }
}

fn text(unit: &UnitRef<'_, Bytes<'_>>, value: AttributeValue<Bytes<'_>>) -> String {
    let text = match value {
        AttributeValue::String(name) => name.slice().to_vec(),
        AttributeValue::DebugLineStrRef(at) => {
            unit.dwarf.debug_line_str.get_str(at).unwrap().slice().to_vec()
        }
        AttributeValue::DebugStrRef(at) => {
            unit.dwarf.debug_str.get_str(at).unwrap().slice().to_vec()
        }
        other => panic!("a text of form {other:?}"),
    };
    String::from_utf8(text).unwrap()
}
