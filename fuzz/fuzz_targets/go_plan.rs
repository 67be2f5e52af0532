//! A Go program's file, up to the probe plan.
#![no_main]

use loiter::object::elf::Image;
use loiter::runtime::go::layout::Layout;
use loiter::runtime::go::plan::{GoProgram, linked_table, plan};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = Image::parse(bytes) else { return };
    let Some(layout) = Layout::for_minor(27) else { return };
    let Ok(table) = linked_table(&image, bytes, layout) else { return };
    let _ = plan(&GoProgram { image: &image, source: bytes, table: &table, layout });
});
