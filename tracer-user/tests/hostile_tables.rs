//! Go's tables and ELF headers of real binaries, cut off and corrupted: parsers give errors or
//! nonsense, but never panic and always end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Variant, go_build, or_skip};
use loiter::object::elf::Image;
use loiter::object::pclntab::locate;
use loiter::object::{buildinfo, fuzz};

/// A linear congruential generator: the same bytes on each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 17
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound
    }

    /// A number at which parsers go wrong.
    fn odd(&mut self) -> u64 {
        let odd =
            [0, 1, 7, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];
        if self.next().is_multiple_of(2) { odd[self.below(odd.len())] } else { self.next() }
    }
}

/// Calls `parse` with `rounds` corrupted copies; most changes are in the first `hot` bytes.
fn corrupt(original: &[u8], hot: usize, rounds: usize, parse: fn(&[u8])) {
    let mut random = Random(42);
    let mut bytes = original.to_vec();
    for _ in 0..rounds {
        let mut changed = Vec::new();
        for _ in 0..=random.below(8) {
            let range = if random.next().is_multiple_of(4) { bytes.len() } else { hot };
            let at = random.below(range.min(bytes.len()) - 8);
            let width = 1 << random.below(4);
            changed.push(at);
            let value = random.odd().to_le_bytes();
            bytes[at..at + width].copy_from_slice(&value[..width]);
        }
        parse(&bytes);
        for at in changed {
            bytes[at..at + 8].copy_from_slice(&original[at..at + 8]);
        }
    }
}

/// Calls `parse` with prefixes: each of the first 1 000 bytes, then `count` more.
fn cut_off(original: &[u8], count: usize, parse: fn(&[u8])) {
    let step = (original.len() / count).max(1);
    for len in (0..original.len().min(1000)).chain((1000..original.len()).step_by(step)) {
        parse(&original[..len]);
    }
}

fn binary(version: &str, variant: Variant) -> Result<Vec<u8>, String> {
    std::fs::read(go_build(version, "pingpong", variant)?).map_err(|e| e.to_string())
}

#[test]
fn a_damaged_function_table_does_no_harm() {
    for version in ["1.19", "1.27.3"] {
        let bytes = or_skip!(binary(version, Variant::Default));
        let image = Image::parse(&bytes).unwrap();
        let at = locate(&image, &bytes).unwrap();
        let mut table = vec![0; usize::try_from(at.max_size).unwrap()];
        image.read(&bytes, at.vaddr, &mut table).unwrap();
        cut_off(&table, 200, fuzz::pclntab);
        corrupt(&table, 256, 1000, fuzz::pclntab);
        // The list of functions and their records.
        let functions =
            usize::try_from(u64::from_le_bytes(table[64..72].try_into().unwrap())).unwrap();
        let mut random = Random(7);
        for _ in 0..100 {
            let mut bytes = table.clone();
            for _ in 0..200 {
                let at = functions + random.below(table.len() - functions - 8);
                bytes[at..at + 4].copy_from_slice(&random.odd().to_le_bytes()[..4]);
            }
            fuzz::pclntab(&bytes);
        }
    }
}

#[test]
fn damaged_elf_headers_do_no_harm() {
    for variant in [Variant::Default, Variant::ExternalPie] {
        let bytes = or_skip!(binary("1.27.3", variant));
        cut_off(&bytes, 30, fuzz::elf);
        corrupt(&bytes, 1024, 300, fuzz::elf);
    }
}

#[test]
fn a_damaged_section_table_does_no_harm() {
    let mut bytes = or_skip!(binary("1.24.11", Variant::Default));
    let sections = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    let mut random = Random(3);
    for _ in 0..200 {
        let at = sections + random.below(64 * 20);
        let old = bytes[at..at + 8].to_vec();
        bytes[at..at + 8].copy_from_slice(&random.odd().to_le_bytes());
        fuzz::elf(&bytes);
        bytes[at..at + 8].copy_from_slice(&old);
    }
}

#[test]
fn damaged_build_information_does_no_harm() {
    let bytes = or_skip!(binary("1.27.3", Variant::Default));
    let image = Image::parse(&bytes).unwrap();
    let section = image.section(".go.buildinfo").unwrap();
    let info = image.section_contents(&bytes, section, 1 << 20).unwrap();
    assert!(buildinfo::parse(&info).is_ok());
    cut_off(&info, info.len(), fuzz::build_info);
    corrupt(&info, info.len(), 20_000, fuzz::build_info);
}

/// Sections that lie do not mislead: the table is found by its magic.
#[test]
fn a_table_whose_section_header_is_wiped_is_still_found() {
    let bytes = or_skip!(binary("1.27.3", Variant::Stripped));
    let found = locate(&Image::parse(&bytes).unwrap(), &bytes).unwrap();
    let mut wiped = bytes.clone();
    // e_shoff, e_shnum, e_shstrndx
    wiped[40..48].fill(0);
    wiped[60..64].fill(0);
    let image = Image::parse(&wiped).unwrap();
    assert!(image.sections().is_empty());
    assert_eq!(locate(&image, &wiped).map(|at| at.vaddr), Some(found.vaddr));
    assert!(buildinfo::read(&image, &wiped).is_ok());
}
