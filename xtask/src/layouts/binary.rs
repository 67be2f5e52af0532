//! What a program's DWARF and data say: structures, constants, addresses of variables, strings.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use gimli::{AttributeValue, EndianSlice, LittleEndian, UnitRef};
use object::{Object as _, ObjectSection as _, ObjectSegment as _};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = gimli::DebuggingInformationEntry<Bytes<'a>>;

/// A member of a structure.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub offset: u64,
    /// The name of its type.
    pub of_type: String,
}

/// A structure.
#[derive(Clone, Debug, Default)]
pub struct Struct {
    pub size: u64,
    pub members: Vec<Member>,
}

/// A Go program, with its symbols.
#[derive(Debug, Default)]
pub struct Binary {
    pub structs: HashMap<String, Struct>,
    pub constants: HashMap<String, u64>,
    variables: HashMap<String, u64>,
    /// What is loaded: address and contents.
    segments: Vec<(u64, Vec<u8>)>,
}

impl Binary {
    /// Reads all of it.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = object::File::parse(&*bytes).context("not an object file")?;
        let mut binary = Binary::default();
        for segment in file.segments() {
            binary.segments.push((segment.address(), segment.data()?.to_vec()));
        }
        let sections = gimli::DwarfSections::load(|id| -> Result<Cow<'_, [u8]>> {
            match file.section_by_name(id.name()) {
                Some(section) => Ok(section.uncompressed_data()?),
                None => Ok(Cow::Borrowed(&[])),
            }
        })?;
        let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            let unit = dwarf.unit(header)?;
            binary.read_unit(unit.unit_ref(&dwarf))?;
        }
        Ok(binary)
    }

    fn read_unit(&mut self, unit: UnitRef<'_, Bytes<'_>>) -> Result<()> {
        let mut entries = unit.entries();
        let mut inside: Option<(isize, String)> = None;
        while let Some(entry) = entries.next_dfs()? {
            if let Some((depth, name)) = &inside
                && entry.depth() == depth + 1
                && entry.tag() == gimli::DW_TAG_member
            {
                let member = member(&unit, entry)?;
                let of = self.structs.entry(name.clone()).or_default();
                of.members.extend(member);
                continue;
            }
            if entry.depth() != 1 {
                continue;
            }
            inside = None;
            let Some(name) = name_of(&unit, entry)? else { continue };
            match entry.tag() {
                gimli::DW_TAG_structure_type => {
                    let size = number(entry, gimli::DW_AT_byte_size).unwrap_or(0);
                    // A structure is described once; a second look would double its members.
                    if !self.structs.contains_key(&name) {
                        self.structs.insert(name.clone(), Struct { size, members: Vec::new() });
                        inside = Some((1, name));
                    }
                }
                gimli::DW_TAG_constant => {
                    if let Some(value) = number(entry, gimli::DW_AT_const_value) {
                        self.constants.insert(name, value);
                    }
                }
                gimli::DW_TAG_variable => {
                    if let Some(address) = address(&unit, entry)? {
                        self.variables.insert(name, address);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of the program's memory as it starts.
    fn memory(&self, address: u64, len: usize) -> Result<&[u8]> {
        self.segments
            .iter()
            .find_map(|(start, bytes)| {
                let from = usize::try_from(address.checked_sub(*start)?).ok()?;
                bytes.get(from..from.checked_add(len)?)
            })
            .with_context(|| format!("{len} bytes at {address:#x} are not in the program"))
    }

    fn word(&self, address: u64) -> Result<u64> {
        let bytes = self.memory(address, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().context("a word has 8 bytes")?))
    }

    /// The strings of a variable that is an array of `count` strings.
    pub fn strings(&self, variable: &str, count: u64) -> Result<Vec<String>> {
        let start =
            *self.variables.get(variable).with_context(|| format!("no variable {variable}"))?;
        (0..count)
            .map(|i| {
                let at = start + 16 * i;
                let (text, len) = (self.word(at)?, self.word(at + 8)?);
                if len == 0 {
                    return Ok(String::new());
                }
                let bytes = self.memory(text, usize::try_from(len)?)?;
                Ok(std::str::from_utf8(bytes)?.to_owned())
            })
            .collect()
    }

    /// Offset of a member by the names on the way to it; embedded structures need not be named.
    pub fn offset(&self, structure: &str, path: &[&str]) -> Result<Option<u64>> {
        let Some((first, rest)) = path.split_first() else { return Ok(Some(0)) };
        let Some(found) = self.structs.get(structure) else { bail!("no structure {structure}") };
        for member in &found.members {
            if member.name == *first {
                return match self.offset_in(member, rest)? {
                    Some(within) => Ok(Some(member.offset + within)),
                    None => Ok(None),
                };
            }
        }
        // An embedded structure has the name of its type.
        for member in &found.members {
            let embedded = member.of_type.rsplit('.').next() == Some(member.name.as_str());
            if embedded
                && self.structs.contains_key(&member.of_type)
                && let Some(within) = self.offset(&member.of_type, path)?
            {
                return Ok(Some(member.offset + within));
            }
        }
        Ok(None)
    }

    fn offset_in(&self, member: &Member, rest: &[&str]) -> Result<Option<u64>> {
        if rest.is_empty() {
            return Ok(Some(0));
        }
        if !self.structs.contains_key(&member.of_type) {
            return Ok(None);
        }
        self.offset(&member.of_type, rest)
    }
}

fn name_of<'a>(unit: &UnitRef<'_, Bytes<'a>>, entry: &Entry<'a>) -> Result<Option<String>> {
    let Some(value) = entry.attr_value(gimli::DW_AT_name) else { return Ok(None) };
    Ok(Some(unit.attr_string(value)?.to_string_lossy().into_owned()))
}

fn number(entry: &Entry<'_>, name: gimli::DwAt) -> Option<u64> {
    let attribute = entry.attr(name)?;
    attribute.udata_value().or_else(|| u64::try_from(attribute.sdata_value()?).ok())
}

fn member<'a>(unit: &UnitRef<'_, Bytes<'a>>, entry: &Entry<'a>) -> Result<Option<Member>> {
    let (Some(name), Some(offset)) =
        (name_of(unit, entry)?, number(entry, gimli::DW_AT_data_member_location))
    else {
        return Ok(None);
    };
    let of_type = match entry.attr_value(gimli::DW_AT_type) {
        Some(AttributeValue::UnitRef(at)) => name_of(unit, &unit.entry(at)?)?,
        Some(AttributeValue::DebugInfoRef(at)) => match at.to_unit_offset(&unit.header) {
            Some(at) => name_of(unit, &unit.entry(at)?)?,
            None => None,
        },
        _ => None,
    };
    Ok(Some(Member { name, offset, of_type: of_type.unwrap_or_default() }))
}

fn address<'a>(unit: &UnitRef<'_, Bytes<'a>>, entry: &Entry<'a>) -> Result<Option<u64>> {
    let Some(AttributeValue::Exprloc(expression)) = entry.attr_value(gimli::DW_AT_location) else {
        return Ok(None);
    };
    let mut operations = expression.operations(unit.encoding());
    Ok(match operations.next()? {
        Some(gimli::Operation::Address { address }) => Some(address),
        Some(gimli::Operation::AddressIndex { index }) => Some(unit.address(index)?),
        _ => None,
    })
}
