//! A Go program's headers, sections and build information.
#![no_main]

use loiter::object::buildinfo;
use loiter::object::elf::Image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = Image::parse(bytes) else { return };
    let _ = image.build_ids(bytes);
    for section in image.sections() {
        let _ = image.file_offset(section.vaddr);
    }
    let _ = buildinfo::read(&image, bytes);
});
