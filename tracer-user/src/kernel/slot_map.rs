//! Hash maps of the kernel part whose entries are those of slots: reading and forgetting the entries of
//! one slot, in batches. May use: aya, kernel::{counters, load, sys}.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{HashMap, MapData};
use aya::{Ebpf, Pod};

use super::KernelError;
use super::counters;
use super::load::{map_error, take_hash};

/// Which map it is, and whose its entries are.
#[derive(Clone, Copy)]
pub struct SlotMapKind<K, V> {
    /// Its name in the object.
    pub name: &'static str,
    /// What its entries are, for errors.
    pub what: &'static str,
    /// An entry that is none, to make room for what is read.
    pub none: (K, V),
    /// Whose an entry is.
    pub slot_of: fn(&K, &V) -> u16,
}

/// Such a map.
pub struct SlotMap<K: Pod, V: Pod> {
    kind: SlotMapKind<K, V>,
    map: HashMap<MapData, K, V>,
    /// Another descriptor of it, for reading in batches.
    fd: OwnedFd,
    capacity: u32,
}

impl<K: Pod, V: Pod> SlotMap<K, V> {
    /// Takes the map out of the object; `capacity` is the number of entries it has room for.
    ///
    /// # Errors
    /// If the object has no such map.
    pub fn take(
        ebpf: &mut Ebpf,
        kind: SlotMapKind<K, V>,
        capacity: u32,
    ) -> Result<Self, KernelError> {
        let (map, fd) = take_hash(ebpf, kind.name)?;
        let map = map.try_into().map_err(map_error(kind.name))?;
        Ok(Self { kind, map, fd, capacity })
    }

    /// The entries of a slot.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn of_slot(&self, slot: u16) -> Result<Vec<(K, V)>, KernelError> {
        let mut found = Vec::new();
        let SlotMapKind { what, none, slot_of, .. } = self.kind;
        counters::walk(self.fd.as_fd(), what, self.capacity, none, |key, value| {
            if slot_of(key, value) == slot {
                found.push((*key, *value));
            }
        })?;
        Ok(found)
    }

    /// Forgets the entries of a slot.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn forget(&mut self, slot: u16) -> Result<(), KernelError> {
        for (key, _) in self.of_slot(slot)? {
            // The kernel part may have removed it meanwhile.
            let _gone = self.map.remove(&key);
        }
        Ok(())
    }
}
