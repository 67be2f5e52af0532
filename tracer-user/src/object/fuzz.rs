//! What the fuzz targets and the corruption tests call: each parser, and everything that can be
//! asked of what it made, on any bytes at all. Nothing may panic, hang, or allocate without limit.

use ::bytes::Bytes;

use super::buildinfo;
use super::elf::Image;
use super::pclntab::{Func, Table, locate, scan};
use super::reloc::Relocations;

/// Functions of a table that are asked for everything.
const FUNCTIONS: usize = 64;

/// Headers, notes, relocations, and whatever is found in the file by them.
pub fn elf(data: &[u8]) {
    let Ok(image) = Image::parse(data) else { return };
    image.build_ids(data);
    for section in image.sections().iter().take(FUNCTIONS) {
        drop(image.section_contents(data, section, 4096));
    }
    for address in [0, image.entry(), u64::MAX] {
        image.file_offset(address);
        image.vaddr(address);
        image.bias(address, address);
        drop(image.read(data, address, &mut [0; 16]));
    }
    if let Ok(words) = Relocations::parse(&image, data) {
        words.apply(image.entry(), &mut [0; 64]);
        words.pointing_to(image.entry()).count();
    }
    drop(buildinfo::read(&image, data));
    if let Some(at) = locate(&image, data)
        && let Ok(table) = Table::read(&image, data, at)
    {
        ask(&table);
    }
}

/// A function table; its inline trees are read from the same bytes.
pub fn pclntab(data: &[u8]) {
    scan(data, 0x1000, data.len() as u64);
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(table) = Table::parse(bytes.clone()) {
        ask(&table.with_text(0x40_0000).with_inline_trees(bytes));
    }
}

/// Build information with its strings inline.
pub fn build_info(data: &[u8]) {
    drop(buildinfo::parse(data));
}

fn ask(table: &Table) {
    table.inline_tree_bytes();
    drop(table.inlined_copies(&["runtime.gopark"]));
    table.named(&["runtime.gopark", ""]);
    table.find(table.end());
    let step = (table.len() / FUNCTIONS).max(1);
    for func in table.functions().step_by(step) {
        ask_function(table, &func);
    }
}

fn ask_function(table: &Table, func: &Func<'_>) {
    func.start_line();
    let middle = func.entry().wrapping_add(func.end().wrapping_sub(func.entry()) / 2);
    for pc in [func.entry(), middle, func.end().wrapping_sub(1), u64::MAX, 0] {
        table.find(pc);
        func.stack_depth(pc);
        for level in func.levels(pc) {
            level.name();
            level.file_line();
        }
    }
}
