//! The ELF reader on files made here, whole, cut off and altered.

use super::*;

/// A program of one page of code at 0x401000 (file 0x1000) and, 0x200 bytes into a page, data
/// at 0x403200 (file 0x2200) that is larger in memory than in the file.
fn program(kind: u16) -> Vec<u8> {
    let mut file = vec![0u8; 0x2300];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &kind.to_le_bytes());
    put(18, &EM_X86_64.to_le_bytes());
    put(24, &0x40_1000u64.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &3u16.to_le_bytes());
    let headers: [(u32, u32, u64, u64, u64, u64); 3] = [
        (PT_LOAD, 5, 0x1000, 0x40_1000, 0x1000, 0x1000),
        (PT_LOAD, 6, 0x2200, 0x40_3200, 0x100, 0x900),
        (PT_NOTE, 4, 0x2200, 0x40_3200, 36, 36),
    ];
    for (i, (kind, flags, offset, vaddr, in_file, in_memory)) in headers.into_iter().enumerate() {
        let at = 64 + 56 * i;
        put(at, &kind.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        put(at + 8, &offset.to_le_bytes());
        put(at + 16, &vaddr.to_le_bytes());
        put(at + 32, &in_file.to_le_bytes());
        put(at + 40, &in_memory.to_le_bytes());
    }
    put(0x2200, b"\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0\xab\xcd\0\0");
    file
}

#[test]
fn addresses_and_file_offsets_are_turned_into_each_other() {
    let file = program(ET_EXEC);
    let image = Image::parse(&file).unwrap();
    assert_eq!(image.kind(), Kind::Fixed);
    assert_eq!(image.file_offset(0x40_1010), Some(0x1010));
    assert_eq!(image.vaddr(0x2210), Some(0x40_3210));
    assert_eq!(image.file_offset(0x40_3300), None, "zeroed memory is not in the file");
    assert_eq!(image.file_offset(0x40_2000), None);
    assert_eq!(image.vaddr(0x10), None);
}

#[test]
fn the_bias_comes_from_any_mapping_of_the_file() {
    let image = Image::parse(&program(ET_DYN)).unwrap();
    let at = 0x7f00_0000_0000;
    assert_eq!(image.bias(at, 0x1000), Some(at - 0x40_1000));
    // The data's mapping begins at the page, before the segment.
    assert_eq!(image.bias(at, 0x2000), Some(at - 0x40_3000));
    assert_eq!(image.bias(at, 0x9000), None);
}

#[test]
fn a_read_that_leaves_the_segment_is_refused() {
    let file = program(ET_EXEC);
    let image = Image::parse(&file).unwrap();
    assert!(image.read(&file, 0x40_32f8, &mut [0; 8]).is_ok());
    assert_eq!(
        image.read(&file, 0x40_32f9, &mut [0; 8]),
        Err(ElfError::NotLoaded { address: 0x40_32f9, len: 8 })
    );
    assert_eq!(image.loaded_from(0x40_32f9), 7);
}

#[test]
fn the_build_id_is_read_from_the_notes() {
    let file = program(ET_EXEC);
    let ids = Image::parse(&file).unwrap().build_ids(&file);
    assert_eq!(ids, BuildIds { gnu: Some("abcd".into()), go: None });
}

#[test]
fn files_for_others_are_refused_by_what_they_are() {
    let refused = |at: usize, byte: u8| {
        let mut file = program(ET_EXEC);
        file[at] = byte;
        Image::parse(&file).unwrap_err().to_string()
    };
    assert!(refused(0, 0).contains("not an ELF file"));
    assert!(refused(4, 1).contains("32-bit"));
    assert!(refused(5, 2).contains("big endian"));
    assert!(refused(18, 183).contains("arm64"));
    assert!(refused(16, 1).contains("type 1"));
    assert!(refused(56, 0).contains("no program headers"));
    assert!(refused(57, 255).contains("more program headers"));
}

#[test]
fn a_prefix_of_a_file_is_an_error_and_no_more() {
    let file = program(ET_EXEC);
    for len in 0..64 + 3 * 56 {
        assert!(Image::parse(&file[..len]).is_err(), "{len}");
    }
}
