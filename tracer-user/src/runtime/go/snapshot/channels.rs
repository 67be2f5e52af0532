//! What a parked goroutine waits on, from the list at `g.waiting`.
//!
//! Sources: `src/runtime/runtime2.go` (`sudog`), `chan.go` (`hchan`), `select.go` (all cases of a
//! select are chained by `waitlink`), `sema.go` (from 1.26 on a semaphore's waiter is at
//! `g.waiting` too, with no channel and the semaphore's address as element), `time.go` (`timer`:
//! from 1.23 on the channel of a timer points at it).

use std::collections::HashMap;

use crate::runtime::go::bytes::{u16_at, u32_at, u64_at};
use crate::runtime::go::layout::Layout;
use crate::stream::{Carries, ChannelState};
use crate::target::{ReadError, ReadMem};

use super::batch::{Batch, Ticket};

/// Around the word that a semaphore's waiters wait on lies the primitive that it belongs to:
/// from this far before it ...
pub(super) const BEFORE_WORD: u64 = 16;
/// ... so many bytes.
const AROUND: usize = 40;

/// Most channels of one select that are told.
pub(super) const MAX_CHANNELS: usize = 256;

/// Size of a `time.Time` (`src/time/time.go`).
const TIME_SIZE: u16 = 24;
/// Where the hash of a type lies in it (`src/runtime/type.go`, `_type`, up to 1.20, then
/// `src/internal/abi/type.go`, `Type`): behind two words.
const TYPE_HASH: u16 = 16;
/// The hash of `time.Time`: of its name (`src/cmd/compile/internal/types/fmt.go`, `TypeHash`); read
/// in programs of 1.19.8, 1.21.13 and 1.22.10.
const TIME_HASH: u64 = 2_360_098_281;

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
    let mut lock_words: HashMap<u64, Ticket> = HashMap::new();
    for chain in &chains {
        let ask = |&address: &u64| (address, batch.add(address, usize::from(layout.hchan.size)));
        asked.push(chain.channels.iter().map(ask).collect());
        if let Some(word) = chain.address
            && let Some(start) = word.checked_sub(BEFORE_WORD)
        {
            lock_words.entry(word).or_insert_with(|| batch.add(start, AROUND));
        }
    }
    *bytes = bytes.saturating_add(batch.run(mem)?);
    let hchans = || asked.iter().flatten().filter_map(|&(_, ticket)| batch.get(ticket));
    let feeds = Feeds {
        periods: words(
            mem,
            hchans().filter_map(|hchan| timer(layout, hchan)),
            layout.timer.period,
            bytes,
        )?,
        types: words(mem, hchans().filter_map(|hchan| time_type(layout, hchan)), TYPE_HASH, bytes)?,
    };
    let objects = chains.iter().zip(asked).map(|(chain, tickets)| {
        if let (Some(word), false) = (chain.address, chain.broken) {
            let around = lock_words.get(&word).and_then(|&ticket| batch.get(ticket));
            return Object::Address { word, around: around.and_then(|raw| raw.try_into().ok()) };
        }
        let channels: Option<Box<[ChannelState]>> = tickets
            .iter()
            .map(|&(address, ticket)| state(layout, address, batch.get(ticket)?, &feeds))
            .collect();
        channels.filter(|_| !chain.broken).map_or(Object::Unknown, Object::Channels)
    });
    Ok(objects.collect())
}

/// The timer that feeds a channel.
fn timer(layout: &Layout, hchan: &[u8]) -> Option<u64> {
    u64_at(hchan, usize::from(layout.hchan.timer?)).filter(|&timer| timer != 0)
}

/// The type of a channel's elements, where that alone can tell that a timer feeds it: up to 1.22.
fn time_type(layout: &Layout, hchan: &[u8]) -> Option<u64> {
    let size = u16_at(hchan, usize::from(layout.hchan.elemsize))?;
    let capacity = u64_at(hchan, usize::from(layout.hchan.dataqsiz))?;
    let fits = layout.hchan.timer.is_none() && (size, capacity) == (TIME_SIZE, 1);
    u64_at(hchan, usize::from(layout.hchan.elemtype)).filter(|&t| fits && t != 0)
}

/// What is known of those that may feed channels.
struct Feeds {
    /// How often each timer fires again, in ns.
    periods: HashMap<u64, u64>,
    /// The word of each type that begins with its hash.
    types: HashMap<u64, u64>,
}

/// The word at `offset` of each structure.
fn words(
    mem: &dyn ReadMem,
    addresses: impl Iterator<Item = u64>,
    offset: u16,
    bytes: &mut u64,
) -> Result<HashMap<u64, u64>, ReadError> {
    let mut batch = Batch::default();
    let mut asked: HashMap<u64, Ticket> = HashMap::new();
    for address in addresses {
        let Some(at) = address.checked_add(offset.into()) else { continue };
        asked.entry(address).or_insert_with(|| batch.add(at, size_of::<u64>()));
    }
    *bytes = bytes.saturating_add(batch.run(mem)?);
    let word = |(address, ticket)| Some((address, u64_at(batch.get(ticket)?, 0)?));
    Ok(asked.into_iter().filter_map(word).collect())
}

/// What a channel carries.
fn carries(layout: &Layout, hchan: &[u8], feeds: &Feeds) -> Option<Carries> {
    if let Some(timer) = timer(layout, hchan) {
        return Some(match feeds.periods.get(&timer) {
            Some(0) => Carries::Timeout,
            Some(_) => Carries::Ticks,
            None => Carries::Unknown,
        });
    }
    if let Some(of) = time_type(layout, hchan) {
        return Some(match feeds.types.get(&of) {
            Some(word) if word & u64::from(u32::MAX) == TIME_HASH => Carries::Times,
            Some(_) => Carries::Values,
            None => Carries::Unknown,
        });
    }
    match u16_at(hchan, usize::from(layout.hchan.elemsize))? {
        0 => Some(Carries::Signals),
        _ => Some(Carries::Values),
    }
}

fn state(layout: &Layout, address: u64, hchan: &[u8], feeds: &Feeds) -> Option<ChannelState> {
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
        carries: carries(layout, hchan, feeds)?,
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
        let state = |address, length, capacity| ChannelState {
            address,
            capacity,
            length,
            closed: false,
            carries: Carries::Signals,
        };
        let expected = Object::Channels(Box::new([state(0x1000, 2, 3), state(0x2000, 0, 0)]));
        assert_eq!(read_one(&mem, l), expected);
    }

    #[test]
    fn since_1_23_a_timers_channel_tells_whether_it_ticks() {
        let (l, mut mem) = (layout(24), FixtureMem::new());
        let mut fed = |at: u64, timer: u64, period: u64| {
            let words =
                [(l.hchan.dataqsiz, 1), (l.hchan.elemsize, 24), (l.hchan.timer.unwrap(), timer)];
            put(&mut mem, at, l.hchan.size, &words);
            put(&mut mem, timer, l.timer.size, &[(l.timer.period, period)]);
        };
        fed(0x1000, 0x5000, 1_000_000_000);
        fed(0x2000, 0x6000, 0);
        sudog(&mut mem, l, 0x100, G, 0x1000, 0, 0x300);
        sudog(&mut mem, l, 0x300, G, 0x2000, 0, 0);
        let Object::Channels(channels) = read_one(&mem, l) else { panic!("no channels") };
        let carried: Vec<Carries> = channels.iter().map(|c| c.carries).collect();
        assert_eq!(carried, [Carries::Ticks, Carries::Timeout]);
    }

    #[test]
    fn before_1_23_a_timers_channel_is_known_by_the_type_it_carries() {
        for (hash, carried) in [
            (Some(TIME_HASH | 7 << 32), Carries::Times),
            (Some(5), Carries::Values),
            (None, Carries::Unknown),
        ] {
            let (l, mut mem) = (layout(22), FixtureMem::new());
            let words = [(l.hchan.dataqsiz, 1), (l.hchan.elemsize, 24), (l.hchan.elemtype, 0x7000)];
            put(&mut mem, 0x1000, l.hchan.size, &words);
            if let Some(hash) = hash {
                put(&mut mem, 0x7000, 48, &[(TYPE_HASH, hash)]);
            }
            sudog(&mut mem, l, 0x100, G, 0x1000, 0, 0);
            let Object::Channels(channels) = read_one(&mem, l) else { panic!("no channels") };
            assert_eq!(channels.first().map(|c| c.carries), Some(carried));
        }
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
