//! Which semaphore a goroutine waits on, for runtimes that do not say so in the g (up to 1.25).
//!
//! Source: `src/runtime/sema.go`, equal from 1.19 to 1.27: `semtable` is an array of 251 roots,
//! each on a cache line of its own; a root holds a treap of sudogs, one node for each semaphore,
//! ordered by address (`prev` and `next` are the children), and the further waiters of the same
//! semaphore hang on the node by `waitlink`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::runtime::go::bytes::{u32_at, u64_at};
use crate::runtime::go::layout::Layout;
use crate::target::{ReadError, ReadMem};

use super::batch::{Batch, Ticket};

/// `semTabSize`.
const ROOTS: u64 = 251;
/// `cpu.CacheLinePadSize` on amd64.
const ROOT_SIZE: usize = 64;
/// `semaRoot.treap`.
const TREAP: usize = 8;
/// `semaRoot.nwait`.
const NWAIT: usize = 16;
/// Most waiters followed: their lists are read one element after the other, about a microsecond
/// each, so this bounds a look to some tenths of a second.
const MAX_WAITERS: usize = 1 << 18;

/// Where a waiter stands, to be read again when its goroutine is.
pub(super) type SudogOf = HashMap<u64, u64>;

/// The semaphore table: found when it is first needed.
#[derive(Debug)]
pub(super) struct SemTable {
    /// Addresses that the code of `semacquire1` takes; one of them is the table.
    candidates: Vec<u64>,
    found: Option<u64>,
}

/// What is still to be read of the treaps.
#[derive(Clone, Copy)]
struct Visit {
    root: u64,
    sudog: u64,
    /// A node has children; a further waiter has none, and must be at the same semaphore.
    list_of: Option<u64>,
}

impl SemTable {
    /// The table is at one of these addresses.
    pub(super) const fn new(candidates: Vec<u64>) -> Self {
        Self { candidates, found: None }
    }

    /// The waiters of all semaphores: address of the g to that of its sudog. Empty where the
    /// table cannot be told for certain.
    pub(super) fn waiters(
        &mut self,
        mem: &dyn ReadMem,
        layout: &Layout,
        bytes: &mut u64,
    ) -> Result<SudogOf, ReadError> {
        if let Some(address) = self.found {
            return Ok(walk(mem, layout, address, bytes)?.waiters);
        }
        for &candidate in &self.candidates {
            let result = walk(mem, layout, candidate, bytes)?;
            // Waiters whose semaphores belong to the roots they were found under are proof: there
            // are 251 roots. Some may be refused because the program went on meanwhile.
            if (result.waiters.len() as u64) > result.refused.saturating_mul(4) {
                self.found = Some(candidate);
                return Ok(result.waiters);
            }
        }
        Ok(SudogOf::new())
    }
}

#[derive(Default)]
struct Walked {
    waiters: SudogOf,
    refused: u64,
}

/// Level by level, all roots at once.
fn walk(
    mem: &dyn ReadMem,
    layout: &Layout,
    table: u64,
    bytes: &mut u64,
) -> Result<Walked, ReadError> {
    let mut walked = Walked::default();
    let mut visits = roots(mem, table, bytes)?;
    let mut batch = Batch::default();
    while !visits.is_empty() && walked.waiters.len() < MAX_WAITERS {
        batch.clear();
        let size = usize::from(layout.sudog.size);
        let asked: Vec<(Visit, Ticket)> =
            visits.iter().map(|&v| (v, batch.add(v.sudog, size))).collect();
        *bytes = bytes.saturating_add(batch.run(mem)?);
        visits.clear();
        for (visit, ticket) in asked {
            let followed = batch
                .get(ticket)
                .and_then(|sudog| follow(layout, visit, sudog, &mut walked.waiters));
            match followed {
                Some(next) => visits.extend(next.into_iter().filter(|v| v.sudog != 0)),
                None => walked.refused = walked.refused.saturating_add(1),
            }
        }
    }
    Ok(walked)
}

fn roots(mem: &dyn ReadMem, table: u64, bytes: &mut u64) -> Result<Vec<Visit>, ReadError> {
    let mut raw = vec![0; ROOTS as usize * ROOT_SIZE];
    match mem.read(table, &mut raw) {
        Ok(()) => *bytes = bytes.saturating_add(raw.len() as u64),
        Err(error @ (ReadError::Gone | ReadError::Denied)) => return Err(error),
        Err(_) => return Ok(Vec::new()),
    }
    let visit = |(root, bytes): (u64, &[u8])| {
        let sudog = u64_at(bytes, TREAP)?;
        let waiting = u32_at(bytes, NWAIT)? != 0;
        (waiting && sudog != 0).then_some(Visit { root, sudog, list_of: None })
    };
    Ok((0..).zip(raw.chunks_exact(ROOT_SIZE)).filter_map(visit).collect())
}

/// Notes the waiter and tells where to go on; None if this is no waiter of this root.
fn follow(
    layout: &Layout,
    visit: Visit,
    sudog: &[u8],
    waiters: &mut SudogOf,
) -> Option<[Visit; 3]> {
    let at = |offset: u16| u64_at(sudog, usize::from(offset));
    let o = &layout.sudog;
    let (g, semaphore) = (at(o.g)?, at(o.elem)?);
    let belongs = match visit.list_of {
        Some(same) => same == semaphore,
        None => semaphore != 0 && (semaphore >> 3) % ROOTS == visit.root,
    };
    if g == 0 || !belongs {
        return None;
    }
    match waiters.entry(g) {
        Entry::Vacant(place) => place.insert(visit.sudog),
        // A goroutine waits once: this list bites its tail.
        Entry::Occupied(_) => return None,
    };
    let is_node = visit.list_of.is_none();
    let child = |address: u64| Visit { sudog: if is_node { address } else { 0 }, ..visit };
    let list = Visit { sudog: at(o.waitlink)?, list_of: Some(semaphore), ..visit };
    Some([child(at(o.prev)?), child(at(o.next)?), list])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::FixtureMem;

    const TABLE: u64 = 0x10_0000;

    fn layout() -> &'static Layout {
        Layout::for_minor(24).unwrap()
    }

    struct Node {
        at: u64,
        g: u64,
        semaphore: u64,
        left: u64,
        right: u64,
        further: u64,
    }

    fn put(mem: &mut FixtureMem, node: &Node) {
        let o = &layout().sudog;
        let mut raw = vec![0; usize::from(o.size)];
        let words =
            [(o.g, node.g), (o.elem, node.semaphore), (o.prev, node.left), (o.next, node.right)];
        for (offset, word) in words.into_iter().chain([(o.waitlink, node.further)]) {
            raw[usize::from(offset)..][..8].copy_from_slice(&word.to_le_bytes());
        }
        mem.put(node.at, raw);
    }

    /// A table whose root 5 has this treap.
    fn table(treap: u64) -> FixtureMem {
        let mut raw = vec![0; ROOTS as usize * ROOT_SIZE];
        raw[5 * ROOT_SIZE + TREAP..][..8].copy_from_slice(&treap.to_le_bytes());
        raw[5 * ROOT_SIZE + NWAIT] = 3;
        let mut mem = FixtureMem::new();
        mem.put(TABLE, raw);
        mem
    }

    fn waiters(mem: &FixtureMem, candidates: Vec<u64>) -> Vec<(u64, u64)> {
        let found = SemTable::new(candidates).waiters(mem, layout(), &mut 0).unwrap();
        let mut all: Vec<(u64, u64)> = found.into_iter().collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn waiters_of_one_semaphore_and_of_its_neighbours_in_the_tree_are_found() {
        let mut mem = table(0x100);
        let first = 5 << 3;
        let second = (5 + ROOTS) << 3;
        put(
            &mut mem,
            &Node { at: 0x100, g: 1, semaphore: first, left: 0, right: 0x300, further: 0x500 },
        );
        put(&mut mem, &Node { at: 0x300, g: 2, semaphore: second, left: 0, right: 0, further: 0 });
        put(
            &mut mem,
            &Node { at: 0x500, g: 3, semaphore: first, left: 0x9999, right: 0, further: 0 },
        );
        assert_eq!(waiters(&mem, vec![0x77, TABLE]), [(1, 0x100), (2, 0x300), (3, 0x500)]);
    }

    #[test]
    fn a_table_whose_waiters_belong_to_other_roots_is_not_believed() {
        let mut mem = table(0x100);
        put(&mut mem, &Node { at: 0x100, g: 1, semaphore: 6 << 3, left: 0, right: 0, further: 0 });
        assert_eq!(waiters(&mem, vec![TABLE]), []);
    }

    #[test]
    fn a_list_that_bites_its_tail_ends() {
        let mut mem = table(0x100);
        let same =
            Node { at: 0x100, g: 1, semaphore: 5 << 3, left: 0x100, right: 0x100, further: 0x100 };
        put(&mut mem, &same);
        assert!(waiters(&mem, vec![TABLE]).len() <= 1);
    }
}
