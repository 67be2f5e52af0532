//! The bytes of functions, out of the file.

use crate::object::ByteSource;
use crate::object::disasm::{Branch, Listing, MAX_CODE, direct_branches};
use crate::object::elf::{ElfError, Image, Segment};
use crate::object::pclntab::Func;

use super::{PlanError, shown};

/// Bytes of code searched for calls at most: ten times what large programs have.
const MAX_SEARCH: u64 = 2 << 30;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Bytes of a call behind its first: pieces overlap by so much, that none is missed.
const OVERLAP: usize = 4;

/// A program's code.
pub(super) struct Code<'a, S: ?Sized> {
    pub image: &'a Image,
    pub source: &'a S,
}

impl<S: ByteSource + ?Sized> Code<'_, S> {
    /// The bytes of a function, padding included.
    pub(super) fn function(&self, function: &Func<'_>) -> Result<Vec<u8>, PlanError> {
        let outside =
            || PlanError::NotInCode { name: shown(function).into(), address: function.entry() };
        let size = function.end().checked_sub(function.entry()).ok_or_else(outside)?;
        let size =
            usize::try_from(size).ok().filter(|&size| size <= MAX_CODE).ok_or_else(outside)?;
        let offset = self.file_offset(function, function.entry(), size)?;
        let mut bytes = vec![0; size];
        self.source.read_at(offset, &mut bytes).map_err(read_failed)?;
        Ok(bytes)
    }

    /// Disassembles a function.
    pub(super) fn listing<'c>(
        &self,
        function: &Func<'_>,
        bytes: &'c [u8],
    ) -> Result<Listing<'c>, PlanError> {
        Listing::decode(bytes, function.entry()).map_err(|why| PlanError::NotUnderstood {
            name: shown(function).into(),
            address: function.entry(),
            why,
        })
    }

    /// Where `len` bytes of a function's code lie in the file; they must all be in one segment
    /// that may be executed.
    pub(super) fn file_offset(
        &self,
        function: &Func<'_>,
        address: u64,
        len: usize,
    ) -> Result<u64, PlanError> {
        let holds = |segment: &&Segment| {
            let within = address.checked_sub(segment.vaddr);
            let end = within.and_then(|within| within.checked_add(len as u64));
            len > 0 && end.is_some_and(|end| end <= segment.file_size)
        };
        let segment = self.executable().find(holds);
        segment
            .and_then(|s| s.file_offset.checked_add(address.checked_sub(s.vaddr)?))
            .ok_or_else(|| PlanError::NotInCode { name: shown(function).into(), address })
    }

    fn executable(&self) -> impl Iterator<Item = &Segment> {
        self.image.segments().iter().filter(|segment| segment.executable)
    }

    /// Finds the bytes of calls of and jumps to `target` from code at `from..to`, `most` of
    /// them and one more at most.
    pub(super) fn branches_to(
        &self,
        target: u64,
        (from, to): (u64, u64),
        most: usize,
    ) -> Result<Vec<Branch>, PlanError> {
        let mut found = Vec::new();
        let mut left = MAX_SEARCH;
        let mut buf = Vec::new();
        for segment in self.executable() {
            let start = segment.vaddr.max(from);
            let end = segment.vaddr.saturating_add(segment.file_size).min(to);
            let mut at = start;
            while at < end && left > 0 && found.len() <= most {
                let size = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK + OVERLAP);
                let size = usize::try_from(left).unwrap_or(size).min(size);
                buf.resize(size, 0);
                let offset = segment.file_offset.saturating_add(at - segment.vaddr);
                self.source.read_at(offset, &mut buf).map_err(read_failed)?;
                let next = at.saturating_add(CHUNK as u64);
                let here = direct_branches(&buf, at, target).filter(|b| b.address() < next);
                found.extend(here.take(most + 1));
                at = next;
                left = left.saturating_sub(CHUNK as u64);
            }
        }
        Ok(found)
    }
}

fn read_failed(source: crate::object::SourceError) -> PlanError {
    ElfError::Read { what: "code", source }.into()
}
