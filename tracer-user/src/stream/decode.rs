//! Raw bytes from the ring -> checked records. Whatever arrives, this does not panic: a record of
//! an unknown kind or a wrong length, or one that names an impossible task, is an error to be
//! counted. May use: tracer-common.

use tracer_common::config::MAX_SLOTS;
use tracer_common::event::{Birth, Header, MAX_RECORD, Park, Process, Ready, Task, Wait};
use tracer_common::ids::kind;

mod threads;

pub use threads::ThreadRecord;

/// A record whose kind, length and plain invariants were checked. Addresses and ids in it are the
/// target's and still not to be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RawRecord {
    /// A goroutine was created.
    Birth(Birth),
    /// A goroutine ended.
    Death(Task),
    /// A goroutine is about to park.
    Park(Park),
    /// A goroutine starts to run.
    Run(Task),
    /// A goroutine was made runnable.
    Ready(Ready),
    /// A whole wait, written when it ended.
    Wait(Wait),
    /// The process replaced its image.
    Exec(Process),
    /// The last thread of the process exited.
    Exit(Process),
    /// The process made a child process.
    Fork(Process),
    /// About an OS thread.
    Thread(ThreadRecord),
}

impl RawRecord {
    /// The head of the record.
    pub const fn header(&self) -> &Header {
        match self {
            RawRecord::Birth(r) => &r.header,
            RawRecord::Death(r) | RawRecord::Run(r) => &r.header,
            RawRecord::Park(r) => &r.header,
            RawRecord::Ready(r) => &r.header,
            RawRecord::Wait(r) => &r.header,
            RawRecord::Exec(r) | RawRecord::Exit(r) | RawRecord::Fork(r) => &r.header,
            RawRecord::Thread(r) => r.header(),
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Too short for a head, or longer than any record.
    #[error("a record of {len} bytes: records have 24 to {MAX_RECORD}")]
    Size {
        /// Bytes that came.
        len: usize,
    },
    /// A kind that this version does not know.
    #[error("a record of unknown kind {kind}")]
    Kind {
        /// The kind byte.
        kind: u8,
    },
    /// The kind has another length.
    #[error("a record of kind {kind} with {len} bytes instead of {want}")]
    Length {
        /// The kind byte.
        kind: u8,
        /// Bytes that came.
        len: usize,
        /// Bytes it should have.
        want: usize,
    },
    /// A slot that does not exist.
    #[error("a record of slot {slot}: slots end at {MAX_SLOTS}")]
    Slot {
        /// The slot.
        slot: u16,
    },
    /// A task that cannot be: goroutine ids and tids begin at 1, a g is never at address 0, a wait
    /// ends after it began.
    #[error("a record of kind {kind} that names an impossible task")]
    Task {
        /// The kind byte.
        kind: u8,
    },
}

/// Decodes one record.
///
/// # Errors
/// If the bytes are not exactly one record that makes sense.
pub fn decode(bytes: &[u8]) -> Result<RawRecord, DecodeError> {
    let len = bytes.len();
    let mut fields = Fields(bytes);
    let header = fields.header().filter(|_| len <= MAX_RECORD).ok_or(DecodeError::Size { len })?;
    let kind = header.kind;
    let want = length_of(kind).ok_or(DecodeError::Kind { kind })?;
    if len != want {
        return Err(DecodeError::Length { kind, len, want });
    }
    if u32::from(header.slot) >= MAX_SLOTS {
        return Err(DecodeError::Slot { slot: header.slot });
    }
    let record = fields.body(header).ok_or(DecodeError::Length { kind, len, want })?;
    if is_possible(&record) { Ok(record) } else { Err(DecodeError::Task { kind }) }
}

/// Entry for fuzzing: decodes whatever it is given.
pub fn fuzz_decode(bytes: &[u8]) {
    let _whatever = decode(bytes);
}

const fn length_of(kind: u8) -> Option<usize> {
    Some(match kind {
        kind::BIRTH => size_of::<Birth>(),
        kind::DEATH | kind::RUN => size_of::<Task>(),
        kind::PARK => size_of::<Park>(),
        kind::READY => size_of::<Ready>(),
        kind::WAIT => size_of::<Wait>(),
        kind::EXEC | kind::EXIT | kind::FORK => size_of::<Process>(),
        _ => return threads::length_of(kind),
    })
}

fn is_possible(record: &RawRecord) -> bool {
    match record {
        RawRecord::Birth(r) => r.g != 0 && r.goid != 0,
        RawRecord::Death(r) | RawRecord::Run(r) => r.g != 0 && r.goid != 0,
        RawRecord::Park(r) => r.g != 0 && r.goid != 0,
        RawRecord::Ready(r) => r.g != 0 && r.goid != 0,
        RawRecord::Wait(r) => r.g != 0 && r.goid != 0 && r.parked_ns <= r.header.time_ns,
        RawRecord::Exec(_) | RawRecord::Exit(_) | RawRecord::Fork(_) => true,
        RawRecord::Thread(r) => r.is_possible(),
    }
}

/// Takes fields off the front, in the order and byte order in which the kernel part wrote them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    fn words<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut words = [0; N];
        for word in &mut words {
            *word = self.u64()?;
        }
        Some(words)
    }

    fn header(&mut self) -> Option<Header> {
        Some(Header {
            time_ns: self.u64()?,
            lost_before: self.u32()?,
            slot: self.u16()?,
            kind: self.u8()?,
            pad: self.u8()?,
            tid: self.u32()?,
            tgid: self.u32()?,
        })
    }

    fn task(&mut self, header: Header) -> Option<Task> {
        Some(Task { header, g: self.u64()?, goid: self.u64()? })
    }

    fn process(&mut self, header: Header) -> Option<Process> {
        Some(Process { header, value: self.u64()? })
    }

    fn body(&mut self, header: Header) -> Option<RawRecord> {
        Some(match header.kind {
            kind::BIRTH => RawRecord::Birth(Birth {
                header,
                g: self.u64()?,
                goid: self.u64()?,
                parent: self.u64()?,
                gopc: self.u64()?,
                startpc: self.u64()?,
            }),
            kind::DEATH => RawRecord::Death(self.task(header)?),
            kind::RUN => RawRecord::Run(self.task(header)?),
            kind::PARK => RawRecord::Park(Park {
                header,
                g: self.u64()?,
                goid: self.u64()?,
                reason: self.u8()?,
                run_seq: self.u8()?,
                pad: self.u16()?,
                pad2: self.u32()?,
            }),
            kind::READY => RawRecord::Ready(Ready {
                header,
                g: self.u64()?,
                goid: self.u64()?,
                waker: self.u64()?,
            }),
            kind::WAIT => RawRecord::Wait(Wait {
                header,
                g: self.u64()?,
                goid: self.u64()?,
                parked_ns: self.u64()?,
                ready_ns: self.u64()?,
                waker: self.u64()?,
                reason: self.u8()?,
                run_seq: self.u8()?,
                pad: self.u16()?,
                pad2: self.u32()?,
            }),
            kind::EXEC => RawRecord::Exec(self.process(header)?),
            kind::EXIT => RawRecord::Exit(self.process(header)?),
            kind::FORK => RawRecord::Fork(self.process(header)?),
            _ => RawRecord::Thread(threads::body(self, header)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [u8; 16] = [
        kind::BIRTH,
        kind::DEATH,
        kind::PARK,
        kind::RUN,
        kind::READY,
        kind::WAIT,
        kind::EXEC,
        kind::EXIT,
        kind::FORK,
        kind::THREAD_BIRTH,
        kind::THREAD_DEATH,
        kind::THREAD_PARK,
        kind::THREAD_RUN,
        kind::THREAD_READY,
        kind::THREAD_WAIT,
        kind::THREAD_SPAWN,
    ];

    /// Bytes as the kernel part writes them: header, then words 1, 2, 3 ... with the last one
    /// holding reason 14 and run counter 200 where the kind has them.
    fn written(kind: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(77_000u64.to_ne_bytes());
        bytes.extend(5u32.to_ne_bytes());
        bytes.extend(9u16.to_ne_bytes());
        bytes.extend([kind, 0]);
        bytes.extend(41u32.to_ne_bytes());
        bytes.extend(40u32.to_ne_bytes());
        let words = (length_of(kind).unwrap() - 24) / 8;
        let has_reason = matches!(kind, kind::PARK | kind::WAIT);
        for word in 1..=words as u64 {
            if has_reason && word == words as u64 {
                bytes.extend([14, 200, 0, 0, 0, 0, 0, 0]);
            } else {
                bytes.extend(word.to_ne_bytes());
            }
        }
        bytes
    }

    #[test]
    fn a_birth_carries_each_field_from_its_place() {
        let RawRecord::Birth(birth) = decode(&written(kind::BIRTH)).unwrap() else { panic!() };
        let header = birth.header;
        assert_eq!((header.time_ns, header.lost_before, header.slot), (77_000, 5, 9));
        assert_eq!((header.tid, header.tgid), (41, 40));
        let fields = [birth.g, birth.goid, birth.parent, birth.gopc, birth.startpc];
        assert_eq!(fields, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_wait_carries_each_field_from_its_place() {
        let RawRecord::Wait(wait) = decode(&written(kind::WAIT)).unwrap() else { panic!() };
        let fields = [wait.g, wait.goid, wait.parked_ns, wait.ready_ns, wait.waker];
        assert_eq!(fields, [1, 2, 3, 4, 5]);
        assert_eq!((wait.reason, wait.run_seq), (14, 200));
    }

    #[test]
    fn what_a_thread_waited_for_comes_from_its_place() {
        let record = decode(&written(kind::THREAD_WAIT)).unwrap();
        let RawRecord::Thread(ThreadRecord::Wait(wait)) = record else { panic!() };
        assert_eq!(wait.asleep.arguments, [1, 2, 3]);
        assert_eq!((wait.asleep.number, wait.asleep.sleep, wait.asleep.run_seq), (4, 0, 0));
        assert_eq!((wait.parked_ns, wait.ready_ns, wait.tid, wait.waker), (5, 6, 7, 0));
    }

    #[test]
    fn a_spawn_stack_deeper_than_there_is_room_for_is_refused() {
        let mut birth = written(kind::THREAD_BIRTH);
        assert!(decode(&birth).is_ok());
        birth[32..36].copy_from_slice(&25u32.to_ne_bytes());
        assert_eq!(decode(&birth), Err(DecodeError::Task { kind: kind::THREAD_BIRTH }));
    }

    #[test]
    fn a_birth_with_a_stack_carries_each_field_from_its_place() {
        let mut bytes = written(kind::THREAD_SPAWN);
        bytes[96..100].copy_from_slice(&16u32.to_ne_bytes());
        let RawRecord::Thread(ThreadRecord::Spawn(spawn)) = decode(&bytes).unwrap() else {
            panic!()
        };
        assert_eq!((spawn.tid, spawn.parent, spawn.len), (1, 0, 16));
        assert_eq!((spawn.pc, spawn.sp, spawn.bp, spawn.bx), (2, 3, 4, 5));
        assert_eq!(spawn.r12_to_r15, [6, 7, 8, 9]);
        assert_eq!(spawn.stack[..16], bytes[104..120]);
        bytes[96..100].copy_from_slice(&4097u32.to_ne_bytes());
        assert_eq!(decode(&bytes), Err(DecodeError::Task { kind: kind::THREAD_SPAWN }));
    }

    #[test]
    fn every_kind_is_known_at_exactly_its_length() {
        for kind in KINDS {
            let mut bytes = written(kind);
            assert_eq!(decode(&bytes).unwrap().header().kind, kind);
            bytes.push(0);
            assert!(matches!(
                decode(&bytes),
                Err(DecodeError::Length { .. } | DecodeError::Size { .. })
            ));
        }
    }

    #[test]
    fn no_prefix_of_a_record_is_a_record() {
        for kind in KINDS {
            let bytes = written(kind);
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len]).is_err(), "kind {kind} at {len} bytes");
            }
        }
    }

    #[test]
    fn impossible_tasks_and_slots_are_refused() {
        let mut no_goid = written(kind::RUN);
        no_goid[32..40].fill(0);
        assert_eq!(decode(&no_goid), Err(DecodeError::Task { kind: kind::RUN }));
        let mut ends_before_it_begins = written(kind::WAIT);
        ends_before_it_begins[40..48].fill(0xff);
        assert_eq!(decode(&ends_before_it_begins), Err(DecodeError::Task { kind: kind::WAIT }));
        let mut far_slot = written(kind::RUN);
        far_slot[12..14].copy_from_slice(&1024u16.to_ne_bytes());
        assert_eq!(decode(&far_slot), Err(DecodeError::Slot { slot: 1024 }));
    }

    #[test]
    fn corrupted_records_never_panic() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..20_000 {
            let mut bytes = written(KINDS[round % KINDS.len()]);
            for _ in 0..=next() % 4 {
                let at = next() as usize % bytes.len();
                bytes[at] = next() as u8;
            }
            bytes.truncate(bytes.len() - (next() % 3) as usize * (next() % 8) as usize);
            if let Ok(record) = decode(&bytes) {
                assert!(u32::from(record.header().slot) < MAX_SLOTS);
            }
        }
    }
}
