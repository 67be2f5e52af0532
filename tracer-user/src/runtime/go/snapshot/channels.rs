//! What a parked goroutine waits on, from the list at `g.waiting`.
//!
//! Sources: `src/runtime/runtime2.go` (`sudog`), `chan.go` (`hchan`), `select.go` (all cases of a
//! select are chained by `waitlink`), `sema.go` (from 1.26 on a semaphore's waiter is at
//! `g.waiting` too, with no channel and the semaphore's address as element).

use std::collections::HashMap;

use crate::runtime::go::bytes::{u32_at, u64_at};
use crate::runtime::go::layout::Layout;
use crate::stream::ChannelState;
use crate::target::{ReadError, ReadMem};

use super::batch::{Batch, Ticket};

/// Around the word that a semaphore's waiters wait on lies the primitive that it belongs to:
/// from this far before it ...
pub(super) const BEFORE_WORD: u64 = 16;
/// ... so many bytes.
const AROUND: usize = 40;

/// Most channels of one select that are told.
pub(super) const MAX_CHANNELS: usize = 256;

/// A goroutine that waits, by addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiter {
    /// Address of the g.
    pub(super) g: u64,
    /// `g.waiting`; not zero.
    pub(super) sudog: u64,
}

/// What it waits on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Object {
    /// Channels, in the order of the runtime's list.
    Channels(Box<[ChannelState]>),
    /// A semaphore or notification list.
    Address {
        /// Where it is.
        word: u64,
        /// The bytes from [`BEFORE_WORD`] before it on; None if they could not be read.
        around: Option<[u8; AROUND]>,
    },
    /// It could not be read, or changed meanwhile.
    Unknown,
}

/// One list being followed.
struct Chain {
    g: u64,
    next: u64,
    channels: Vec<u64>,
    address: Option<u64>,
    broken: bool,
}

impl Chain {
    /// Takes in one sudog; afterwards `next` is zero at the end of the list.
    fn add(&mut self, layout: &Layout, sudog: Option<&[u8]>) {
        let fields = sudog.and_then(|bytes| {
            let at = |offset: u16| u64_at(bytes, usize::from(offset));
            let o = &layout.sudog;
            Some((at(o.g)?, at(o.c)?, at(o.elem)?, at(o.waitlink)?))
        });
        let first = self.channels.is_empty();
        match fields {
            Some((g, 0, element, _)) if g == self.g && first => {
                self.address = Some(element);
                self.next = 0;
            }
            Some((g, channel, _, next)) if g == self.g && channel != 0 => {
                self.channels.push(channel);
                self.next = if self.channels.len() < MAX_CHANNELS { next } else { 0 };
            }
            _ => {
                self.broken = true;
                self.next = 0;
            }
        }
    }
}

/// Reads what each of `waiters` waits on, in their order.
pub(super) fn read(
    mem: &dyn ReadMem,
    layout: &Layout,
    waiters: &[Waiter],
    bytes: &mut u64,
) -> Result<Vec<Object>, ReadError> {
    let mut chains: Vec<Chain> = waiters
        .iter()
        .map(|w| Chain {
            g: w.g,
            next: w.sudog,
            channels: Vec::new(),
            address: None,
            broken: false,
        })
        .collect();
    let mut batch = Batch::default();
    // One round for each place in the lists; `next` becomes zero after at most MAX_CHANNELS.
    while chains.iter().any(|chain| chain.next != 0) {
        batch.clear();
        let open = chains.iter_mut().filter(|chain| chain.next != 0);
        let asked: Vec<(&mut Chain, Ticket)> = open
            .map(|chain| {
                let ticket = batch.add(chain.next, usize::from(layout.sudog.size));
                (chain, ticket)
            })
            .collect();
        *bytes = bytes.saturating_add(batch.run(mem)?);
        for (chain, ticket) in asked {
            chain.add(layout, batch.get(ticket));
        }
    }
    states(mem, layout, chains, bytes)
}

/// Reads the channels themselves.
fn states(
    mem: &dyn ReadMem,
    layout: &Layout,
    chains: Vec<Chain>,
    bytes: &mut u64,
) -> Result<Vec<Object>, ReadError> {
    let mut batch = Batch::default();
    let mut asked: Vec<Vec<(u64, Ticket)>> = Vec::with_capacity(chains.len());
    let mut words: HashMap<u64, Ticket> = HashMap::new();
    for chain in &chains {
        let ask = |&address: &u64| (address, batch.add(address, usize::from(layout.hchan.size)));
        asked.push(chain.channels.iter().map(ask).collect());
        if let Some(word) = chain.address
            && let Some(start) = word.checked_sub(BEFORE_WORD)
        {
            words.entry(word).or_insert_with(|| batch.add(start, AROUND));
        }
    }
    *bytes = bytes.saturating_add(batch.run(mem)?);
    let objects = chains.iter().zip(asked).map(|(chain, tickets)| {
        if let (Some(word), false) = (chain.address, chain.broken) {
            let around = words.get(&word).and_then(|&ticket| batch.get(ticket));
            return Object::Address { word, around: around.and_then(|raw| raw.try_into().ok()) };
        }
        let channels: Option<Box<[ChannelState]>> = tickets
            .iter()
            .map(|&(address, ticket)| state(layout, address, batch.get(ticket)?))
            .collect();
        channels.filter(|_| !chain.broken).map_or(Object::Unknown, Object::Channels)
    });
    Ok(objects.collect())
}

fn state(layout: &Layout, address: u64, hchan: &[u8]) -> Option<ChannelState> {
    let at = |offset: u16| usize::from(offset);
    let length = u64_at(hchan, at(layout.hchan.qcount))?;
    let capacity = u64_at(hchan, at(layout.hchan.dataqsiz))?;
    let closed = u32_at(hchan, at(layout.hchan.closed))?;
    // A buffer never holds more than it can: other words mean that this is no channel.
    (length <= capacity && closed <= 1).then_some(ChannelState {
        address,
        capacity,
        length,
        closed: closed != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::FixtureMem;

    const G: u64 = 0xc000;

    fn layout(minor: u16) -> &'static Layout {
        Layout::for_minor(minor).unwrap()
    }

    fn put(mem: &mut FixtureMem, at: u64, size: u16, words: &[(u16, u64)]) {
        let mut raw = vec![0; usize::from(size)];
        for &(offset, word) in words {
            raw[usize::from(offset)..][..8].copy_from_slice(&word.to_le_bytes());
        }
        mem.put(at, raw);
    }

    fn sudog(
        mem: &mut FixtureMem,
        l: &Layout,
        at: u64,
        g: u64,
        channel: u64,
        element: u64,
        next: u64,
    ) {
        let o = &l.sudog;
        put(mem, at, o.size, &[(o.g, g), (o.c, channel), (o.elem, element), (o.waitlink, next)]);
    }

    fn channel(mem: &mut FixtureMem, l: &Layout, at: u64, length: u64, capacity: u64) {
        put(mem, at, l.hchan.size, &[(l.hchan.qcount, length), (l.hchan.dataqsiz, capacity)]);
    }

    fn read_one(mem: &FixtureMem, l: &Layout) -> Object {
        let mut bytes = 0;
        read(mem, l, &[Waiter { g: G, sudog: 0x100 }], &mut bytes).unwrap().remove(0)
    }

    #[test]
    fn all_channels_of_a_select_are_told_in_their_order() {
        let (l, mut mem) = (layout(24), FixtureMem::new());
        sudog(&mut mem, l, 0x100, G, 0x1000, 0, 0x300);
        sudog(&mut mem, l, 0x300, G, 0x2000, 0, 0);
        channel(&mut mem, l, 0x1000, 2, 3);
        channel(&mut mem, l, 0x2000, 0, 0);
        let state =
            |address, length, capacity| ChannelState { address, capacity, length, closed: false };
        let expected = Object::Channels(Box::new([state(0x1000, 2, 3), state(0x2000, 0, 0)]));
        assert_eq!(read_one(&mem, l), expected);
    }

    #[test]
    fn since_1_26_the_waiter_of_a_semaphore_tells_its_address() {
        let (l, mut mem) = (layout(26), FixtureMem::new());
        // What follows it by `waitlink` are other waiters.
        sudog(&mut mem, l, 0x100, G, 0, 0xbeef0, 0x900);
        assert_eq!(read_one(&mem, l), Object::Address { word: 0xbeef0, around: None });
        mem.put(0xbeee0, vec![7; AROUND]);
        let around = Some([7; AROUND]);
        assert_eq!(read_one(&mem, l), Object::Address { word: 0xbeef0, around });
    }

    #[test]
    fn what_belongs_to_another_goroutine_or_is_no_channel_is_not_told() {
        let (l, mut mem) = (layout(27), FixtureMem::new());
        sudog(&mut mem, l, 0x100, G + 8, 0x1000, 0, 0);
        channel(&mut mem, l, 0x1000, 0, 0);
        assert_eq!(read_one(&mem, l), Object::Unknown);
        sudog(&mut mem, l, 0x100, G, 0x1000, 0, 0);
        channel(&mut mem, l, 0x1000, 9, 3);
        assert_eq!(read_one(&mem, l), Object::Unknown);
        assert_eq!(read_one(&FixtureMem::new(), l), Object::Unknown);
    }

    #[test]
    fn a_list_that_bites_its_tail_ends_at_the_bound() {
        let (l, mut mem) = (layout(27), FixtureMem::new());
        sudog(&mut mem, l, 0x100, G, 0x1000, 0, 0x100);
        channel(&mut mem, l, 0x1000, 0, 0);
        let Object::Channels(channels) = read_one(&mem, l) else { panic!("no channels") };
        assert_eq!(channels.len(), MAX_CHANNELS);
    }
}
