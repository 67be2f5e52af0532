//! How numbers, lengths, moments and objects are said in text. May use: view, base, stream.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::{Frame, WaitClass};
use crate::stream::{ChannelState, LockKind, Mode, WaitsOn};
use crate::view::{Waited, WallTime};

/// A number in groups of three: `23 000`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// `1 goroutine`, `23 000 goroutines`.
pub fn counted(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(n))
}

/// A size: `512 B`, `64 KiB`, `9.4 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 10.0 && value.fract() >= 0.05 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A wait: `4.2 s`, `at least 4.2 s`, `unknown`.
pub fn waited(waited: Waited) -> String {
    match waited {
        Waited::Exact(n) => n.to_string(),
        Waited::AtLeast(n) => format!("at least {n}"),
        Waited::Unknown => "unknown".to_owned(),
    }
}

/// The waits from the shortest to the longest, whichever of the two is which.
pub fn wait_range(shortest: Waited, longest: Waited) -> String {
    let mut known = (shortest.known(), longest.known());
    if known.0 > known.1 && known.1.is_some() {
        known = (known.1, known.0);
    }
    match known {
        (Some(a), Some(b)) if a.to_string() != b.to_string() => {
            let least = if matches!((shortest, longest), (Waited::Exact(_), Waited::Exact(_))) {
                ""
            } else {
                "at least "
            };
            format!("for {least}{a} to {b}")
        }
        (_, Some(n)) => {
            let exact = matches!(
                (shortest, longest),
                (_, Waited::Exact(_)) | (Waited::Exact(_), Waited::Unknown)
            );
            format!("for {}{n}", if exact { "" } else { "at least " })
        }
        (Some(_), None) => format!("for {}", self::waited(shortest)),
        (None, None) => "for an unknown time".to_owned(),
    }
}

/// A moment with its zone: `2026-11-21 11:39:42 UTC`.
pub fn moment(at: WallTime, zone: &TimeZone) -> String {
    in_zone(at, zone, "%Y-%m-%d %H:%M:%S %Z")
}

/// A moment of the day with its zone: `11:39:42 UTC`.
pub fn time_of_day(at: WallTime, zone: &TimeZone) -> String {
    in_zone(at, zone, "%H:%M:%S %Z")
}

fn in_zone(at: WallTime, zone: &TimeZone, format: &str) -> String {
    match Timestamp::from_nanosecond(i128::from(at.0)) {
        Ok(t) => t.to_zoned(zone.clone()).strftime(format).to_string(),
        Err(_) => "unknown time".to_owned(),
    }
}

/// The place of a frame: `/src/a.go:12`; empty if it is not known.
pub fn place(frame: &Frame) -> String {
    match (frame.file.is_empty(), frame.line) {
        (true, _) => String::new(),
        (false, 0) => frame.file.to_string(),
        (false, line) => format!("{}:{line}", frame.file),
    }
}

/// A lock, named as Go does.
pub fn lock(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Mutex => "mutex",
        LockKind::RwRead => "read-write mutex (to read)",
        LockKind::RwWrite => "read-write mutex (to write)",
        LockKind::WaitGroup => "wait group",
        LockKind::Cond => "condition variable",
        LockKind::Semaphore => "semaphore",
    }
}

/// What a lock's own words say of who holds it, as more of its name.
fn held_by(kind: LockKind, held: u32) -> String {
    match (kind, held) {
        (LockKind::Mutex | LockKind::RwRead | LockKind::RwWrite, 0) => " (free)".to_owned(),
        (LockKind::Mutex, _) => " (locked)".to_owned(),
        (LockKind::RwRead, _) => " (a writer has it or waits for it)".to_owned(),
        (LockKind::RwWrite, n) => format!(" (read by {})", count(n.into())),
        (LockKind::WaitGroup, n) => format!(" (at {})", count(n.into())),
        (LockKind::Cond | LockKind::Semaphore, _) => String::new(),
    }
}

/// Most channels of a select that are named one by one.
const CHANNELS_NAMED: usize = 4;

/// An object that is waited on; None if it is not known.
pub fn object(on: &WaitsOn) -> Option<String> {
    match on {
        WaitsOn::Unknown => None,
        WaitsOn::Lock { kind, address, held } => {
            let held = held.map(|held| held_by(*kind, held)).unwrap_or_default();
            Some(format!("{} {address:#x}{held}", lock(*kind)))
        }
        WaitsOn::Timer { .. } => Some("a timer".to_owned()),
        WaitsOn::Futex(futex) => Some(futex.words()),
        WaitsOn::Files(files) => Some(files.words()),
        WaitsOn::Channels(channels) => match &**channels {
            [] => None,
            [one] => Some(channel(one)),
            many => {
                let mut named: Vec<String> =
                    many.iter().take(CHANNELS_NAMED).map(channel).collect();
                if many.len() > CHANNELS_NAMED {
                    named.push(format!("{} more", count((many.len() - CHANNELS_NAMED) as u64)));
                }
                Some(format!("{} channels: {}", many.len(), named.join("; ")))
            }
        },
    }
}

fn channel(c: &ChannelState) -> String {
    if c.address == 0 {
        return "a nil channel".to_owned();
    }
    let buffer = match (c.capacity, c.length) {
        (0, _) => "unbuffered".to_owned(),
        (cap, len) if len == cap => format!("full with {}", count(cap)),
        (cap, 0) => format!("empty, room for {}", count(cap)),
        (cap, len) => format!("holds {} of {}", count(len), count(cap)),
    };
    let closed = if c.closed { ", closed" } else { "" };
    format!("channel {:#x} ({buffer}{closed})", c.address)
}

/// What a class of waits means, to follow `3 goroutines`: `wait to send on a channel`.
pub fn doing(class: Option<WaitClass>, count: u64) -> String {
    let many = match class {
        Some(WaitClass::ChanSend) => "wait to send on a channel",
        Some(WaitClass::ChanReceive) => "wait to receive from a channel",
        Some(WaitClass::Select) => "wait in a select",
        Some(WaitClass::Never) => "can never run again",
        Some(WaitClass::Lock) => "wait for a lock",
        Some(WaitClass::Group) => "wait for other goroutines",
        Some(WaitClass::Io) => "wait for I/O",
        Some(WaitClass::Sleep) => "sleep",
        Some(WaitClass::Coroutine) => "wait for their turn as a coroutine",
        Some(WaitClass::Runtime) => "wait in the runtime",
        Some(WaitClass::Other) | None => "wait",
    };
    let (verb, rest) = many.split_once(' ').map_or((many, ""), |(verb, rest)| (verb, rest));
    let ending = if count == 1 && verb != "can" { "s" } else { "" };
    format!("{verb}{ending} {rest}").trim_end().to_owned()
}

/// What a mode follows, beside the looks.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::None => "no events",
        Mode::Lifecycle => "births and deaths",
        Mode::All => "every wait and wake-up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;

    #[test]
    fn one_waits_and_several_wait() {
        assert_eq!(doing(Some(WaitClass::Lock), 1), "waits for a lock");
        assert_eq!(doing(Some(WaitClass::Lock), 2), "wait for a lock");
        assert_eq!(doing(Some(WaitClass::Sleep), 1), "sleeps");
        assert_eq!(doing(Some(WaitClass::Never), 1), "can never run again");
    }

    #[test]
    fn numbers_are_grouped_and_sizes_rounded() {
        assert_eq!(
            [0, 999, 1000, 23_000, 1_000_000].map(count),
            ["0", "999", "1 000", "23 000", "1 000 000"]
        );
        assert_eq!(
            [0, 1023, 1024, 9_856_614, 65_536, u64::MAX].map(size),
            ["0 B", "1023 B", "1 KiB", "9.4 MiB", "64 KiB", "16777216 TiB"]
        );
    }

    #[test]
    fn a_range_of_waits_says_at_least_once_and_equal_ends_once() {
        let s = |n| Nanos::from_secs(n);
        let least = |n| Waited::AtLeast(s(n));
        assert_eq!(wait_range(least(2), least(120)), "for at least 2.0 s to 2 min 0 s");
        assert_eq!(wait_range(Waited::Exact(s(2)), Waited::Exact(s(2))), "for 2.0 s");
        assert_eq!(wait_range(least(2), least(2)), "for at least 2.0 s");
        assert_eq!(wait_range(Waited::Unknown, Waited::Unknown), "for an unknown time");
    }

    #[test]
    fn a_moment_has_its_zone() {
        assert_eq!(
            moment(WallTime(1_795_261_182_000_000_000), &TimeZone::UTC),
            "2026-11-21 11:39:42 UTC"
        );
        assert_eq!(moment(WallTime(i64::MIN), &TimeZone::UTC), "1677-09-21 00:12:43 UTC");
    }
}
