//! What a task waits on, packed: nearly all wait on one channel or one lock, and those need no
//! memory of their own.

use crate::base::KTime;
use crate::stream::{Carries, ChannelState, FileSet, FutexState, LockKind, WaitsOn};

/// [`WaitsOn`] in 24 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) enum Object {
    /// Not known, or nothing.
    #[default]
    Unknown,
    /// One channel whose sizes fit 32 bits.
    Channel { closed: bool, carries: Carries, capacity: u32, length: u32, address: u64 },
    /// Any other list of channels.
    Channels(Box<[ChannelState]>),
    /// A lock or group.
    Lock { kind: LockKind, held: Option<u32>, address: u64 },
    /// A timer.
    Timer { until: KTime },
    /// A futex.
    Futex(Box<FutexState>),
    /// Open files.
    Files(Box<FileSet>),
}

const _: () = assert!(size_of::<Object>() == 24);

impl Object {
    /// Packs.
    pub fn pack(on: WaitsOn) -> Self {
        match on {
            WaitsOn::Unknown => Object::Unknown,
            WaitsOn::Lock { kind, address, held } => Object::Lock { kind, held, address },
            WaitsOn::Timer { until } => Object::Timer { until },
            WaitsOn::Futex(futex) => Object::Futex(futex),
            WaitsOn::Files(files) => Object::Files(files),
            WaitsOn::Channels(list) => match *list {
                [c] => match (u32::try_from(c.capacity), u32::try_from(c.length)) {
                    (Ok(capacity), Ok(length)) => Object::Channel {
                        closed: c.closed,
                        carries: c.carries,
                        capacity,
                        length,
                        address: c.address,
                    },
                    _ => Object::Channels(list),
                },
                _ => Object::Channels(list),
            },
        }
    }

    /// Unpacks.
    pub fn unpack(&self) -> WaitsOn {
        match self {
            Object::Unknown => WaitsOn::Unknown,
            Object::Channel { closed, carries, capacity, length, address } => {
                WaitsOn::Channels(Box::new([ChannelState {
                    address: *address,
                    capacity: (*capacity).into(),
                    length: (*length).into(),
                    closed: *closed,
                    carries: *carries,
                }]))
            }
            Object::Channels(list) => WaitsOn::Channels(list.clone()),
            Object::Lock { kind, held, address } => {
                WaitsOn::Lock { kind: *kind, address: *address, held: *held }
            }
            Object::Timer { until } => WaitsOn::Timer { until: *until },
            Object::Futex(futex) => WaitsOn::Futex(futex.clone()),
            Object::Files(files) => WaitsOn::Files(files.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let channel = |capacity| ChannelState {
            address: 0xc000_1000,
            capacity,
            length: 3,
            closed: true,
            carries: Carries::Ticks,
        };
        for on in [
            WaitsOn::Unknown,
            WaitsOn::Channels(Box::new([])),
            WaitsOn::Channels(Box::new([channel(8)])),
            WaitsOn::Channels(Box::new([channel(1 << 40)])),
            WaitsOn::Channels(Box::new([channel(8), channel(0)])),
            WaitsOn::Lock { kind: LockKind::RwWrite, address: 7, held: None },
            WaitsOn::Lock { kind: LockKind::WaitGroup, address: 7, held: Some(0) },
            WaitsOn::Timer { until: KTime(9) },
        ] {
            assert_eq!(Object::pack(on.clone()).unpack(), on);
        }
    }
}
