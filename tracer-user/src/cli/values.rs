//! Words typed by people into values: lengths of time, sizes, PIDs, Go versions. Each refusal says
//! what would have been right. May use: base, pipeline::settings.

use std::path::{Path, PathBuf};

use crate::base::{Nanos, Pid};
use crate::pipeline::settings::{Budget, Glob, GoMinor, Moment, MomentOf, RingSize, Trigger};
use crate::record::Limits;

/// The largest PID that Linux gives out (include/linux/threads.h, `PID_MAX_LIMIT`).
const PID_MAX: u32 = 4 << 20;

/// Units of time, longest name first where one begins like another.
const TIMES: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Units of size; those without `i` are powers of two as well, as in other tools of the kernel.
const SIZES: [(&str, u64); 10] = [
    ("B", 1),
    ("K", 1 << 10),
    ("KB", 1 << 10),
    ("KiB", 1 << 10),
    ("M", 1 << 20),
    ("MB", 1 << 20),
    ("MiB", 1 << 20),
    ("G", 1 << 30),
    ("GB", 1 << 30),
    ("GiB", 1 << 30),
];

/// A length of time: `100ms`, `1.5s`, `1m30s`, `2h`, `0`.
///
/// # Errors
/// In words, if it is none.
pub fn duration(text: &str) -> Result<Nanos, String> {
    const WANTED: &str =
        "a length of time is a number with a unit, such as 100ms, 30s, 5m, 1h or 1m30s";
    if text == "0" {
        return Ok(Nanos(0));
    }
    let mut rest = text;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| c.is_alphabetic());
        if !number.is_empty() && unit.is_empty() && after.is_empty() {
            return Err(format!("the unit is missing; did you mean {text}s? {WANTED}"));
        }
        let scale = TIMES.iter().find(|(name, _)| *name == unit).ok_or(WANTED)?.1;
        let part = scaled(number, scale).ok_or(WANTED)?;
        sum = sum.checked_add(part).ok_or("this is longer than loiter can count")?;
        rest = after;
    }
    if text.is_empty() { Err(WANTED.to_owned()) } else { Ok(Nanos(sum)) }
}

/// A length of time that is not zero.
///
/// # Errors
/// In words, if it is none.
pub fn positive_duration(text: &str) -> Result<Nanos, String> {
    match duration(text)? {
        Nanos(0) => Err("it must be longer than nothing".to_owned()),
        n => Ok(n),
    }
}

/// A length of time that can lie between two looks.
///
/// # Errors
/// In words, if it is none.
pub fn interval(text: &str) -> Result<Nanos, String> {
    let n = duration(text)?;
    if n < Nanos::from_millis(100) || n > Nanos::from_secs(3_600) {
        return Err("it must be from 100ms to 1h".to_owned());
    }
    Ok(n)
}

/// A size of the ring: `64KiB`, `8MiB`.
///
/// # Errors
/// In words, if it is none.
pub fn ring_size(text: &str) -> Result<RingSize, String> {
    RingSize::new(size(text)?).ok_or_else(|| {
        "the ring needs a power of two from 4KiB to 1GiB, such as 64KiB or 8MiB".to_owned()
    })
}

/// A size in bytes: `64KiB`, `2GiB`.
///
/// # Errors
/// In words, if it is none.
pub fn size(text: &str) -> Result<u64, String> {
    const WANTED: &str = "a size is a number with a unit, such as 64KiB or 8MiB";
    let (number, unit) = split(text, |c| c.is_ascii_digit());
    let scale = if unit.is_empty() { Some(1) } else { None };
    let scale = scale.or_else(|| {
        SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, n)| *n)
    });
    Ok(scale.and_then(|s| number.parse::<u64>().ok()?.checked_mul(s)).ok_or(WANTED)?)
}

/// How much of a recording is kept at most.
///
/// # Errors
/// In words, if it is no size, or too small for two segments.
pub fn recording_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        n if n >= Limits::LEAST_BYTES => Ok(n),
        _ => Err("a recording needs 1MiB at least".to_owned()),
    }
}

/// What freezes a flight recorder: `finding`, `exit`, `tasks>N`, `tasks>N/s`.
///
/// # Errors
/// In words, if it is none of these.
pub fn trigger(text: &str) -> Result<Trigger, String> {
    const WANTED: &str =
        "a trigger is finding, exit, tasks>N (more tasks than N) or tasks>N/s (a faster rise)";
    let number = |digits: &str| digits.parse::<u64>().ok().filter(|n| *n > 0);
    match text {
        "finding" => Ok(Trigger::Finding),
        "exit" => Ok(Trigger::Exit),
        _ => {
            let bound = text.strip_prefix("tasks>").ok_or(WANTED)?;
            let trigger = match bound.strip_suffix("/s") {
                Some(rise) => number(rise).map(|per_second| Trigger::Rise { per_second }),
                None => number(bound).map(|over| Trigger::Tasks { over }),
            };
            Ok(trigger.ok_or(WANTED)?)
        }
    }
}

/// What watching may cost, or that it may cost anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BudgetOrOff(pub Option<Budget>);

/// A budget: `1%`, `0.5%`, `off`.
///
/// # Errors
/// In words, if it is none.
pub fn budget(text: &str) -> Result<BudgetOrOff, String> {
    const WANTED: &str = "a budget is a percentage such as 1% or 0.5%, up to 100%; or `off`";
    if text == "off" {
        return Ok(BudgetOrOff(None));
    }
    let number = text.strip_suffix('%').ok_or(WANTED)?;
    // A hundredth in millionths.
    let millionths = scaled(number, 10_000).and_then(|n| u32::try_from(n).ok());
    let budget = millionths.and_then(Budget::from_millionths).ok_or(WANTED)?;
    Ok(BudgetOrOff(Some(budget)))
}

/// A pattern for names.
///
/// # Errors
/// In words, if it is none.
pub fn glob(text: &str) -> Result<Glob, String> {
    Glob::new(text).ok_or_else(|| "a pattern has 1 to 1024 characters".to_owned())
}

/// A moment of a recording: on the wall clock, or counted from its start or end.
///
/// # Errors
/// In words, if it is none.
pub fn moment(text: &str) -> Result<Moment, String> {
    const WANTED: &str = "a moment is a time such as 2026-11-21T02:30:00 (in the zone of TZ), \
                          2026-11-21T02:30:00Z, +90s (after the start) or -10s (before the end)";
    if let Some(after) = text.strip_prefix('+') {
        return duration(after).map(Moment::AfterStart);
    }
    if let Some(before) = text.strip_prefix('-') {
        return duration(before).map(Moment::BeforeEnd);
    }
    let wall = text.parse::<jiff::Timestamp>().or_else(|_no_zone| {
        let civil: jiff::civil::DateTime = text.parse()?;
        civil.to_zoned(super::terminal::zone()).map(|zoned| zoned.timestamp())
    });
    let wall = wall.map_err(|_| WANTED)?;
    i64::try_from(wall.as_nanosecond()).map(Moment::Wall).map_err(|_| WANTED.to_owned())
}

/// A dump or recording, and a moment of it behind an `@`.
///
/// # Errors
/// In words, if what follows the `@` is no moment.
pub fn moment_of(text: &str) -> Result<MomentOf, String> {
    match text.rsplit_once('@') {
        // A name may have an @ in it.
        Some((path, at)) if !Path::new(text).exists() => {
            Ok(MomentOf { path: path.into(), at: Some(moment(at)?) })
        }
        _ => Ok(MomentOf { path: text.into(), at: None }),
    }
}

/// A process or a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A process that runs.
    Process(Pid),
    /// A file or directory.
    Recording(PathBuf),
}

/// A PID, or a file or directory that is there.
///
/// # Errors
/// In words, if it is neither.
pub fn subject(text: &str) -> Result<Subject, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits && Path::new(text).exists() {
        return Ok(Subject::Recording(text.into()));
    }
    pid(text).map(Subject::Process).map_err(|why| match digits {
        true => why,
        false => format!("{why}; no recording of this name is there either"),
    })
}

/// A PID.
///
/// # Errors
/// In words, if it is none.
pub fn pid(text: &str) -> Result<Pid, String> {
    match text.parse::<u32>() {
        Ok(n) if (1..=PID_MAX).contains(&n) => Ok(Pid(n)),
        _ if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
            Err(format!("PIDs go from 1 to {PID_MAX}"))
        }
        _ => {
            Err("a PID is a number; `loiter ps` lists the processes that can be traced".to_owned())
        }
    }
}

/// A version of Go: `1.28`, `go1.28`.
///
/// # Errors
/// In words, if it is none.
pub fn go_minor(text: &str) -> Result<GoMinor, String> {
    let number = text.strip_prefix("go").unwrap_or(text).strip_prefix("1.");
    match number.and_then(|n| n.parse().ok()) {
        Some(minor) => Ok(GoMinor(minor)),
        None => Err("a Go version is written 1.N, such as 1.27".to_owned()),
    }
}

fn split(text: &str, mut first: impl FnMut(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !first(c)).unwrap_or(text.len()))
}

/// A decimal number times a scale, exact down to the ninth decimal.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let mut sum = u128::from(whole.parse::<u64>().ok()?) * u128::from(scale);
    if !fraction.is_empty() {
        let tenths = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        sum += u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale) / tenths;
    }
    u64::try_from(sum).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, ns) in [
            ("100ms", 100_000_000),
            ("30s", 30_000_000_000),
            ("1.5s", 1_500_000_000),
            ("5m", 300_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1h", 3_600_000_000_000),
            ("250us", 250_000),
            ("7ns", 7),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Nanos(ns)), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused_with_an_example() {
        for text in
            ["", "s", "-1s", "1 s", "1.s", ".5s", "1x", "1..5s", "99999999999h", "1s2", "µ", "1µ"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("30").unwrap_err().contains("30s?"));
        assert!(positive_duration("0s").is_err());
        assert!(interval("50ms").is_err() && interval("2h").is_err());
    }

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(ring_size("8MiB"), Ok(RingSize::DEFAULT));
        assert_eq!(ring_size("8m"), Ok(RingSize::DEFAULT));
        assert_eq!(ring_size("4096"), Ok(RingSize::MIN));
        for text in ["", "MiB", "3MiB", "1KiB", "2GiB", "8Mi", "-4096", "18446744073709551615GiB"] {
            assert!(ring_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn triggers_are_words_and_bounds() {
        assert_eq!(trigger("finding"), Ok(Trigger::Finding));
        assert_eq!(trigger("exit"), Ok(Trigger::Exit));
        assert_eq!(trigger("tasks>500"), Ok(Trigger::Tasks { over: 500 }));
        assert_eq!(trigger("tasks>100/s"), Ok(Trigger::Rise { per_second: 100 }));
        for text in ["", "tasks", "tasks>", "tasks>0", "tasks>-1", "tasks>5/m", "tasks<5", "exits"]
        {
            assert!(trigger(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_budget_is_a_percentage() {
        let millionths = |text| budget(text).map(|b| b.0.map(Budget::millionths));
        assert_eq!(millionths("1%"), Ok(Some(10_000)));
        assert_eq!(millionths("0.05%"), Ok(Some(500)));
        assert_eq!(millionths("off"), Ok(None));
        for text in ["", "1", "%", "0%", "101%", "-1%", "1.%", "1 %", "none", "99999999999%"] {
            assert!(budget(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pid_is_a_number_within_the_range_of_the_kernel() {
        assert_eq!(pid("4194304"), Ok(Pid(4_194_304)));
        for text in ["0", "4194305", "99999999999999", "caddy", "", "-1", "1.0"] {
            assert!(pid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_go_version_is_its_minor_number() {
        assert_eq!(go_minor("1.28"), Ok(GoMinor(28)));
        assert_eq!(go_minor("go1.28"), Ok(GoMinor(28)));
        for text in ["2.0", "1", "1.", "1.28.3", "28", "1.-1", "1.99999"] {
            assert!(go_minor(text).is_err(), "{text}");
        }
    }
}
