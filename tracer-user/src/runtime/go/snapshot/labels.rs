//! pprof labels of goroutines, out of the target's memory.
//!
//! Sources: `src/runtime/pprof/label.go` of each version (`labelMap`: up to 1.23 a
//! `map[string]string`, from 1.24 on a slice of `{key, value}`) and, for the map up to 1.23,
//! `src/runtime/map.go` (`hmap`, `bmap`). A label set is never changed once a goroutine has it.

use std::collections::HashMap;

use crate::runtime::go::bytes::{u8_at, u64_at};
use crate::target::{ReadError, ReadMem};

use super::batch::{Batch, Ticket};

/// Labels as the model has them.
pub(super) type Labels = Box<[(Box<str>, Box<str>)]>;

/// Most labels kept of a set: the common ones have one to five.
const MAX_LABELS: u64 = 64;
/// Most bytes kept of a key or value; longer ones are cut.
const MAX_TEXT: u64 = 256;
/// Most buckets of a map: `2^4` buckets of 8 hold more than [`MAX_LABELS`] even when half full.
const MAX_BUCKET_BITS: u8 = 4;
/// Most overflow buckets followed from one bucket.
const MAX_OVERFLOW: usize = 8;

/// `{data pointer, length}` of a Go string.
const STRING: usize = 16;
/// A key and a value.
const PAIR: usize = 2 * STRING;
/// Slots of a bucket (`bucketCnt`).
const SLOTS: usize = 8;
/// `bmap` of a `map[string]string`: 8 hash bytes, 8 keys, 8 values, the overflow pointer.
const BUCKET: usize = 8 + SLOTS * PAIR + 8;
/// `hmap`: up to and with `oldbuckets`.
const HMAP: usize = 32;
/// Smallest hash byte of a slot in use (`minTopHash`); 2 to 4 mean "moved to the new buckets".
const MIN_TOP_HASH: u8 = 5;
/// `evacuatedX`.
const FIRST_EVACUATED: u8 = 2;

/// How a runtime keeps a label set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LabelForm {
    /// `map[string]string` with buckets.
    Map,
    /// A slice of pairs.
    Slice,
}

impl LabelForm {
    /// That of Go 1.`minor`.
    pub(super) const fn of(minor: u16) -> Self {
        if minor < 24 { LabelForm::Map } else { LabelForm::Slice }
    }
}

/// A Go string in the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Text {
    address: u64,
    len: u64,
}

impl Text {
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self { address: u64_at(bytes, at)?, len: u64_at(bytes, at.checked_add(8)?)? })
    }
}

/// Reads the label sets at `pointers` (values of `g.labels`, each once, none zero). A set that
/// cannot be read is absent.
pub(super) fn read(
    mem: &dyn ReadMem,
    form: LabelForm,
    pointers: &[u64],
    bytes: &mut u64,
) -> Result<HashMap<u64, Labels>, ReadError> {
    let pairs = match form {
        LabelForm::Slice => slices(mem, pointers, bytes)?,
        LabelForm::Map => maps(mem, pointers, bytes)?,
    };
    texts(mem, pairs, bytes)
}

type Pairs = Vec<(u64, Vec<(Text, Text)>)>;

fn slices(mem: &dyn ReadMem, pointers: &[u64], bytes: &mut u64) -> Result<Pairs, ReadError> {
    let mut heads = Batch::default();
    let tickets: Vec<(u64, Ticket)> = pointers.iter().map(|&p| (p, heads.add(p, STRING))).collect();
    *bytes = bytes.saturating_add(heads.run(mem)?);
    let mut lists = Batch::default();
    let wanted: Vec<(u64, Ticket)> = tickets
        .iter()
        .filter_map(|&(pointer, ticket)| {
            let head = heads.get(ticket)?;
            let count = u64_at(head, 8)?.min(MAX_LABELS);
            let len = usize::try_from(count).ok()?.checked_mul(PAIR)?;
            Some((pointer, lists.add(u64_at(head, 0)?, len)))
        })
        .collect();
    *bytes = bytes.saturating_add(lists.run(mem)?);
    let pairs = wanted.iter().filter_map(|&(pointer, ticket)| {
        let list = lists.get(ticket)?;
        Some((pointer, list.chunks_exact(PAIR).filter_map(pair).collect()))
    });
    Ok(pairs.collect())
}

fn pair(bytes: &[u8]) -> Option<(Text, Text)> {
    Some((Text::at(bytes, 0)?, Text::at(bytes, STRING)?))
}

/// Maps are read one by one: they are few, and each needs several dependent reads.
fn maps(mem: &dyn ReadMem, pointers: &[u64], bytes: &mut u64) -> Result<Pairs, ReadError> {
    let mut all = Pairs::new();
    for &pointer in pointers {
        if let Some(pairs) = one_map(mem, pointer, bytes)? {
            all.push((pointer, pairs));
        }
    }
    Ok(all)
}

/// A read that may fail without the target being gone.
fn try_read(
    mem: &dyn ReadMem,
    address: u64,
    buf: &mut [u8],
    bytes: &mut u64,
) -> Result<bool, ReadError> {
    match mem.read(address, buf) {
        Ok(()) => {
            *bytes = bytes.saturating_add(buf.len() as u64);
            Ok(true)
        }
        Err(error @ (ReadError::Gone | ReadError::Denied)) => Err(error),
        Err(_) => Ok(false),
    }
}

fn one_map(
    mem: &dyn ReadMem,
    pointer: u64,
    bytes: &mut u64,
) -> Result<Option<Vec<(Text, Text)>>, ReadError> {
    let mut word = [0; 8];
    let mut hmap = [0; HMAP];
    if !try_read(mem, pointer, &mut word, bytes)? {
        return Ok(None);
    }
    let address = u64::from_le_bytes(word);
    if address == 0 {
        return Ok(Some(Vec::new()));
    }
    if !try_read(mem, address, &mut hmap, bytes)? {
        return Ok(None);
    }
    let (Some(count), Some(bits), Some(buckets), Some(old)) =
        (u64_at(&hmap, 0), u8_at(&hmap, 9), u64_at(&hmap, 16), u64_at(&hmap, 24))
    else {
        return Ok(None);
    };
    if bits > MAX_BUCKET_BITS || count == 0 {
        return Ok(Some(Vec::new()));
    }
    let mut pairs = Vec::new();
    buckets_of(mem, buckets, 1_u64 << bits, &mut pairs, bytes)?;
    if old != 0 {
        // A map that is growing: half as many old buckets, those moved already are marked.
        buckets_of(mem, old, 1_u64 << bits.saturating_sub(1), &mut pairs, bytes)?;
    }
    pairs.truncate(usize::try_from(count.min(MAX_LABELS)).unwrap_or(0));
    Ok(Some(pairs))
}

fn buckets_of(
    mem: &dyn ReadMem,
    first: u64,
    count: u64,
    pairs: &mut Vec<(Text, Text)>,
    bytes: &mut u64,
) -> Result<(), ReadError> {
    for index in 0..count {
        let mut address = first.wrapping_add(index.wrapping_mul(BUCKET as u64));
        for _ in 0..MAX_OVERFLOW {
            let mut bucket = [0; BUCKET];
            if address == 0 || !try_read(mem, address, &mut bucket, bytes)? {
                break;
            }
            let moved = (FIRST_EVACUATED..MIN_TOP_HASH).contains(&u8_at(&bucket, 0).unwrap_or(0));
            if moved {
                break;
            }
            pairs.extend((0..SLOTS).filter_map(|slot| used_slot(&bucket, slot)));
            address = u64_at(&bucket, BUCKET.saturating_sub(8)).unwrap_or(0);
        }
    }
    Ok(())
}

fn used_slot(bucket: &[u8], slot: usize) -> Option<(Text, Text)> {
    if u8_at(bucket, slot)? < MIN_TOP_HASH {
        return None;
    }
    let key = 8_usize.checked_add(slot.checked_mul(STRING)?)?;
    let value = key.checked_add(SLOTS * STRING)?;
    Some((Text::at(bucket, key)?, Text::at(bucket, value)?))
}

/// Reads the strings themselves and sorts each set by key.
fn texts(
    mem: &dyn ReadMem,
    sets: Pairs,
    bytes: &mut u64,
) -> Result<HashMap<u64, Labels>, ReadError> {
    let mut batch = Batch::default();
    let mut ask = |text: Text| {
        let len = usize::try_from(text.len.min(MAX_TEXT)).unwrap_or(0);
        // An empty string may have any pointer.
        batch.add(if len == 0 { 0 } else { text.address }, len)
    };
    let tickets: Vec<(u64, Vec<(Ticket, Ticket)>)> = sets
        .into_iter()
        .map(|(pointer, pairs)| {
            (pointer, pairs.into_iter().map(|(k, v)| (ask(k), ask(v))).collect())
        })
        .collect();
    *bytes = bytes.saturating_add(batch.run(mem)?);
    let text = |ticket| batch.get(ticket).map(|raw| Box::<str>::from(String::from_utf8_lossy(raw)));
    let sets = tickets.into_iter().map(|(pointer, pairs)| {
        let mut labels: Vec<(Box<str>, Box<str>)> =
            pairs.into_iter().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect();
        labels.sort();
        (pointer, labels.into_boxed_slice())
    });
    Ok(sets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::FixtureMem;

    fn put_text(mem: &mut FixtureMem, at: u64, text: &str) -> [u8; 16] {
        mem.put(at, text.as_bytes());
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&at.to_le_bytes());
        raw[8..].copy_from_slice(&(text.len() as u64).to_le_bytes());
        raw
    }

    fn slice_set() -> FixtureMem {
        let mut mem = FixtureMem::new();
        let parts = ["tenant", "blue", "empty", ""];
        let raw: Vec<[u8; 16]> = (0..)
            .zip(parts)
            .map(|(i, text)| put_text(&mut mem, 0x5000 + i * 0x100, text))
            .collect();
        mem.put(0x2000, raw.concat());
        mem.put(0x1000, [0x2000_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat());
        mem
    }

    fn map_set() -> FixtureMem {
        let mut mem = FixtureMem::new();
        let mut bucket = vec![0; BUCKET];
        for (slot, key, value) in [(2, "service", "orders"), (5, "a", "b")] {
            bucket[slot] = 200;
            let at = 0x8000 + slot as u64 * 0x100;
            let (k, v) = (put_text(&mut mem, at, key), put_text(&mut mem, at + 0x40, value));
            bucket[8 + slot * 16..][..16].copy_from_slice(&k);
            bucket[136 + slot * 16..][..16].copy_from_slice(&v);
        }
        mem.put(0x4000, bucket);
        let mut hmap = vec![0; HMAP];
        hmap[0] = 2;
        hmap[16..24].copy_from_slice(&0x4000_u64.to_le_bytes());
        mem.put(0x3000, hmap);
        mem.put(0x1000, 0x3000_u64.to_le_bytes());
        mem
    }

    fn read_one(mem: &FixtureMem, form: LabelForm) -> Option<Vec<(String, String)>> {
        let mut bytes = 0;
        let all = read(mem, form, &[0x1000], &mut bytes).unwrap();
        let owned = |(k, v): &(Box<str>, Box<str>)| (k.to_string(), v.to_string());
        all.get(&0x1000).map(|set| set.iter().map(owned).collect())
    }

    #[test]
    fn labels_of_both_forms_are_read_and_sorted_by_key() {
        let own = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let slice = read_one(&slice_set(), LabelForm::Slice).unwrap();
        assert_eq!(slice, [own("empty", ""), own("tenant", "blue")]);
        let map = read_one(&map_set(), LabelForm::Map).unwrap();
        assert_eq!(map, [own("a", "b"), own("service", "orders")]);
    }

    #[test]
    fn a_set_that_is_not_mapped_is_absent() {
        assert_eq!(read_one(&FixtureMem::new(), LabelForm::Slice), None);
        assert_eq!(read_one(&FixtureMem::new(), LabelForm::Map), None);
    }

    #[test]
    fn corrupted_sets_neither_panic_nor_hang() {
        let mut state = 42_u64;
        for (form, clean) in [(LabelForm::Slice, slice_set()), (LabelForm::Map, map_set())] {
            let regions: Vec<(u64, Vec<u8>)> =
                clean.regions().map(|(a, b)| (a, b.to_vec())).collect();
            for _ in 0..3_000 {
                let mut mem = clean.clone();
                for _ in 0..3 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let (address, bytes) = &regions[(state >> 40) as usize % regions.len()];
                    let at = address + (state >> 20) % (bytes.len().max(1) as u64);
                    mem.patch(at, &[(state >> 33) as u8]);
                }
                if let Some(labels) = read_one(&mem, form) {
                    assert!(labels.len() <= MAX_LABELS as usize);
                }
            }
        }
    }
}
