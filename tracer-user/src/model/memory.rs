//! Memory and numbers of tasks of a process over time: how fast both climb. Samples are kept at
//! doubling distance, so that the whole time watched fits into a few.

use crate::base::{KTime, Nanos};

/// Most samples kept.
const SAMPLES: usize = 32;
/// Samples are at least this far apart.
const APART: Nanos = Nanos::from_secs(5);
/// So few samples make no slope.
const LEAST_SAMPLES: usize = 4;

/// A quantity at moments, thinned out with age.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    kept: Vec<(KTime, u64)>,
    apart: Nanos,
    newest: Option<(KTime, u64)>,
}

impl Default for Samples {
    fn default() -> Self {
        Self { kept: Vec::new(), apart: APART, newest: None }
    }
}

impl Samples {
    pub fn add(&mut self, at: KTime, value: u64) {
        self.newest = Some((at, value));
        if self.kept.last().is_some_and(|&(last, _)| at.since(last) < self.apart) {
            return;
        }
        if self.kept.len() >= SAMPLES {
            let mut keep = false;
            self.kept.retain(|_| {
                keep = !keep;
                keep
            });
            self.apart = Nanos(self.apart.0.saturating_mul(2));
        }
        self.kept.push((at, value));
    }

    pub fn newest(&self) -> Option<(KTime, u64)> {
        self.newest
    }

    /// The first of all.
    pub fn first(&self) -> Option<(KTime, u64)> {
        self.kept.first().copied()
    }

    /// How much a second it grows since a moment, by least squares; None without enough samples.
    pub fn slope_since(&self, since: KTime) -> Option<f64> {
        let points: Vec<(f64, f64)> = self
            .kept
            .iter()
            .filter(|&&(at, _)| at >= since)
            .map(|&(at, value)| (at.since(since).as_secs_f64(), value as f64))
            .collect();
        if points.len() < LEAST_SAMPLES {
            return None;
        }
        let n = points.len() as f64;
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
        let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
        let spread: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        let both: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
        (spread > 0.0).then(|| both / spread)
    }
}

/// Memory of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// When this was so.
    pub at: KTime,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// The tightest limit that its cgroups set, bytes.
    pub limit_bytes: Option<u64>,
}

/// Memory of a process over time.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryTrack {
    rss: Samples,
    limit_bytes: Option<u64>,
}

impl MemoryTrack {
    pub fn add(&mut self, memory: Memory) {
        self.rss.add(memory.at, memory.rss_bytes);
        self.limit_bytes = memory.limit_bytes;
    }

    pub fn newest(&self) -> Option<Memory> {
        let (at, rss_bytes) = self.rss.newest()?;
        Some(Memory { at, rss_bytes, limit_bytes: self.limit_bytes })
    }

    pub fn slope_since(&self, since: KTime) -> Option<f64> {
        self.rss.slope_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_climb_has_its_slope_however_long_it_lasts() {
        let mut samples = Samples::default();
        for s in (0..100_000).step_by(7) {
            samples.add(KTime(s * 1_000_000_000), 1_000 + 3 * s);
        }
        assert!(samples.kept.len() <= SAMPLES);
        let slope = samples.slope_since(KTime(0)).unwrap();
        assert!((slope - 3.0).abs() < 0.01, "{slope}");
        assert_eq!(samples.first(), Some((KTime(0), 1_000)));
    }

    #[test]
    fn too_few_samples_have_no_slope() {
        let mut samples = Samples::default();
        samples.add(KTime(0), 1);
        samples.add(KTime(60_000_000_000), 2);
        assert_eq!(samples.slope_since(KTime(0)), None);
    }
}
