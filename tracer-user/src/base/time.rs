//! Time as data: nobody below the pipeline reads a clock.

use std::fmt;

/// A length of time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }
    /// Whole seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }
    /// As seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl From<std::time::Duration> for Nanos {
    fn from(d: std::time::Duration) -> Self {
        Self(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Nanos {
    /// As people say it: `850 µs`, `12 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        let s = ns / 1_000_000_000;
        match ns {
            0..1_000 => write!(f, "{ns} ns"),
            1_000..1_000_000 => write!(f, "{} µs", ns / 1_000),
            1_000_000..1_000_000_000 => write!(f, "{} ms", ns / 1_000_000),
            _ if s < 60 => write!(f, "{}.{} s", s, ns / 100_000_000 % 10),
            _ if s < 3_600 => write!(f, "{} min {} s", s / 60, s % 60),
            _ if s < 86_400 => write!(f, "{} h {} min", s / 3_600, s / 60 % 60),
            _ => write!(f, "{} d {} h", s / 86_400, s / 3_600 % 24),
        }
    }
}

/// A moment on CLOCK_MONOTONIC, in nanoseconds: the clock of the kernel part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KTime(pub u64);

impl KTime {
    /// Time passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: KTime) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
    /// This moment, `n` later.
    pub const fn after(self, n: Nanos) -> KTime {
        KTime(self.0.saturating_add(n.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_as_people_say_them() {
        let shown: Vec<String> =
            [850_000, 12_000_000, 4_230_000_000, 200_000_000_000, 7_500_000_000_000]
                .iter()
                .map(|&n| Nanos(n).to_string())
                .collect();
        assert_eq!(shown, ["850 µs", "12 ms", "4.2 s", "3 min 20 s", "2 h 5 min"]);
    }
}
