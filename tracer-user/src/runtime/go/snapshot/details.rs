//! What hangs on the g's of a group beside their stacks: objects waited on, labels, threads,
//! timers. Each sort is one batched read for the whole group.

use std::collections::HashMap;

use crate::runtime::go::bytes::u64_at;
use crate::runtime::go::layout::Layout;
use crate::target::{ReadError, ReadMem};

use super::batch::{Batch, Ticket};
use super::channels::{self, Object, Waiter};
use super::goroutine::Goroutine;
use super::labels::{self, LabelForm, Labels};
use super::semaphores::SudogOf;

/// `timer.when`: after `pp` (`src/runtime/time.go` up to 1.22).
const TIMER_WHEN: u64 = 8;

/// What was read for one group.
#[derive(Debug, Default)]
pub(super) struct Details {
    objects: HashMap<u64, Object>,
    labels: HashMap<u64, Labels>,
    threads: HashMap<u64, u64>,
    timers: HashMap<u64, u64>,
}

/// What is wanted for a group.
pub(super) struct Wanted<'a> {
    pub(super) layout: &'a Layout,
    /// Waiters of semaphores, where the runtime does not list them in the g.
    pub(super) semaphores: &'a SudogOf,
    /// Whether this goroutine sleeps: its timer is of interest.
    pub(super) sleeps: &'a dyn Fn(&Goroutine) -> bool,
}

impl Details {
    /// Reads all of it.
    pub(super) fn read(
        mem: &dyn ReadMem,
        wanted: &Wanted<'_>,
        goroutines: &[Goroutine],
        bytes: &mut u64,
    ) -> Result<Self, ReadError> {
        let mut details = Self {
            objects: objects(mem, wanted, goroutines, bytes)?,
            labels: labels::read(
                mem,
                LabelForm::of(wanted.layout.minor),
                &distinct(goroutines.iter().map(|g| g.labels)),
                bytes,
            )?,
            ..Self::default()
        };
        let machines = distinct(goroutines.iter().flat_map(|g| [g.m, g.locked_m]));
        let procid = u64::from(wanted.layout.m.procid);
        details.threads = words(mem, &machines, procid, bytes)?;
        let asleep = goroutines.iter().filter(|g| (wanted.sleeps)(g)).filter_map(|g| g.timer);
        details.timers = words(mem, &distinct(asleep), TIMER_WHEN, bytes)?;
        Ok(details)
    }

    /// What it waits on.
    pub(super) fn object(&self, g: &Goroutine) -> Option<&Object> {
        self.objects.get(&g.address)
    }

    /// Its labels.
    pub(super) fn labels(&self, g: &Goroutine) -> Labels {
        self.labels.get(&g.labels).cloned().unwrap_or_default()
    }

    /// The thread (as the target counts it) of the m at this address.
    pub(super) fn thread(&self, m: u64) -> Option<u64> {
        self.threads.get(&m).copied()
    }

    /// When its timer fires, nanoseconds of CLOCK_MONOTONIC.
    pub(super) fn timer(&self, g: &Goroutine) -> Option<u64> {
        g.sleep_when.or_else(|| self.timers.get(&g.timer?).copied()).filter(|&when| when != 0)
    }
}

/// The addresses, each once, without zero.
fn distinct(addresses: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut all: Vec<u64> = addresses.filter(|&a| a != 0).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The word at `offset` of each structure.
fn words(
    mem: &dyn ReadMem,
    addresses: &[u64],
    offset: u64,
    bytes: &mut u64,
) -> Result<HashMap<u64, u64>, ReadError> {
    let mut batch = Batch::default();
    let asked: Vec<(u64, Ticket)> =
        addresses.iter().filter_map(|&a| Some((a, batch.add(a.checked_add(offset)?, 8)))).collect();
    *bytes = bytes.saturating_add(batch.run(mem)?);
    Ok(asked
        .into_iter()
        .filter_map(|(a, ticket)| Some((a, u64_at(batch.get(ticket)?, 0)?)))
        .collect())
}

fn objects(
    mem: &dyn ReadMem,
    wanted: &Wanted<'_>,
    goroutines: &[Goroutine],
    bytes: &mut u64,
) -> Result<HashMap<u64, Object>, ReadError> {
    let waiters: Vec<Waiter> = goroutines
        .iter()
        .filter(|g| g.status.is_waiting())
        .filter_map(|g| {
            let sudog =
                if g.waiting != 0 { g.waiting } else { *wanted.semaphores.get(&g.address)? };
            Some(Waiter { g: g.address, sudog })
        })
        .collect();
    let objects = channels::read(mem, wanted.layout, &waiters, bytes)?;
    Ok(waiters.into_iter().map(|w| w.g).zip(objects).collect())
}
