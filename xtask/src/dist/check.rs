//! What is promised of the static binary, read from the file itself.

use anyhow::{Context as _, Result, bail, ensure};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, elf};

use super::build;

/// Most bytes of the binary.
const MOST_BYTES: usize = 15_000_000;

/// Checks that a binary runs without anything else, is small, and names nothing of this machine.
///
/// # Errors
/// Names the promise that is not kept.
pub fn binary(bytes: &[u8]) -> Result<()> {
    ensure!(
        bytes.len() <= MOST_BYTES,
        "the binary has {} bytes, {MOST_BYTES} are promised at most",
        bytes.len()
    );
    is_static(bytes)?;
    for (place, _) in build::places()? {
        names_not(bytes, &place.to_string_lossy())?;
    }
    Ok(())
}

fn is_static(bytes: &[u8]) -> Result<()> {
    let file = ElfFile64::<Endianness>::parse(bytes).context("the binary is no ELF file")?;
    let endian = file.endian();
    let headers = file.elf_header().program_headers(endian, bytes)?;
    if headers.iter().any(|header| header.p_type(endian) == elf::PT_INTERP) {
        bail!("the binary is not static: it asks for a dynamic linker");
    }
    ensure!(
        file.build_id()?.is_some(),
        "the binary has no build id: debuggers cannot find its symbols"
    );
    Ok(())
}

/// Fails if a path of this machine is in the binary.
fn names_not(bytes: &[u8], path: &str) -> Result<()> {
    let found = bytes.windows(path.len()).position(|part| part == path.as_bytes());
    let Some(at) = found else { return Ok(()) };
    let end = at.saturating_add(120).min(bytes.len());
    let around = String::from_utf8_lossy(bytes.get(at..end).unwrap_or_default()).into_owned();
    bail!(
        "the binary names a path of this machine, so that it is another one elsewhere: {around:?}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_machine_is_found_wherever_it_stands() {
        assert!(names_not(b"abc/home/me/x", "/home/me").is_err());
        assert!(names_not(b"/home/m", "/home/me").is_ok());
    }

    #[test]
    fn a_program_that_needs_a_dynamic_linker_is_not_static() {
        let own = std::env::current_exe().ok().and_then(|path| std::fs::read(path).ok());
        assert!(own.is_some_and(|bytes| is_static(&bytes).is_err()));
        assert!(is_static(b"#!/bin/sh").is_err());
    }
}
