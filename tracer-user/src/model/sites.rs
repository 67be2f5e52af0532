//! What is counted for each spawn site, kept up to date with every event.

use std::collections::BTreeMap;

use crate::base::{FrameId, KTime, Nanos};

use super::ended::Recent;

/// Most spawn sites counted apart; more are counted under [`FrameId::UNKNOWN`].
pub const MAX_SITES: usize = 1 << 14;

/// Buckets of [`Lifetimes`]: the last holds all from 2^47 ns (39 hours) on.
const BUCKETS: usize = 48;

/// Lifetimes of ended tasks whose birth and death were both seen; bucket `i` holds `[2^i, 2^(i+1))` ns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifetimes {
    buckets: [u64; BUCKETS],
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS] }
    }
}

impl Lifetimes {
    fn add(&mut self, length: Nanos) {
        let bucket = (length.0.max(1).ilog2() as usize).min(BUCKETS - 1);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
    }

    /// How many were at least so long; those of its last doubling below may be among them.
    pub fn at_least(&self, length: Nanos) -> u64 {
        let first = (length.0.max(1).ilog2() as usize).min(BUCKETS - 1);
        self.buckets.iter().skip(first).sum()
    }

    /// How many are counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A length that at least `percent` of a hundred did not exceed: the upper end of the bucket.
    pub fn at_most(&self, percent: u64) -> Option<Nanos> {
        let count = self.count();
        let wanted = count.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += n;
            if count > 0 && seen >= wanted {
                return Some(Nanos(2u64 << i));
            }
        }
        None
    }
}

/// One spawn site.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpawnSite {
    /// Births told by events.
    pub births: u64,
    /// Deaths told by events.
    pub deaths: u64,
    /// Tasks that a look found new, after the first look.
    pub appeared: u64,
    /// Tasks that a complete look found gone.
    pub vanished: u64,
    /// Tasks alive by all that is known, the runtime's own included.
    pub alive: u64,
    /// How long those lived that were seen to the end.
    pub lifetimes: Lifetimes,
    /// The newest ends, however they were known.
    pub ends: Recent,
}

/// All spawn sites of a process.
#[derive(Debug, Default)]
pub(super) struct Sites {
    by_frame: BTreeMap<FrameId, SpawnSite>,
}

impl Sites {
    /// The counts of a site, to be changed.
    pub fn at(&mut self, site: FrameId) -> &mut SpawnSite {
        let room = self.by_frame.len() < MAX_SITES || self.by_frame.contains_key(&site);
        self.by_frame.entry(if room { site } else { FrameId::UNKNOWN }).or_default()
    }

    /// A task was counted under the wrong site.
    pub fn move_alive(&mut self, from: FrameId, to: FrameId) {
        let site = self.at(from);
        site.alive = site.alive.saturating_sub(1);
        self.at(to).alive += 1;
    }

    /// A death was counted under the wrong site.
    pub fn move_death(&mut self, from: FrameId, to: FrameId) {
        let site = self.at(from);
        site.deaths = site.deaths.saturating_sub(1);
        self.at(to).deaths += 1;
    }

    /// A task from here ended; how long it lived, where known.
    pub fn end(&mut self, site: FrameId, lived: Option<Nanos>, at: KTime) {
        let site = self.at(site);
        site.ends.add(at);
        site.alive = site.alive.saturating_sub(1);
        if let Some(length) = lived {
            site.lifetimes.add(length);
        }
    }

    /// A lifetime learned late.
    pub fn add_lifetime(&mut self, site: FrameId, lived: Nanos) {
        self.at(site).lifetimes.add(lived);
    }

    pub fn get(&self, site: FrameId) -> Option<&SpawnSite> {
        self.by_frame.get(&site)
    }

    pub fn all(&self) -> impl Iterator<Item = (FrameId, &SpawnSite)> {
        self.by_frame.iter().map(|(&id, site)| (id, site))
    }

    /// All tasks are gone.
    pub fn clear_alive(&mut self) {
        self.by_frame.values_mut().for_each(|s| s.alive = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_of_lifetimes_is_the_upper_end_of_its_bucket() {
        let mut lifetimes = Lifetimes::default();
        for _ in 0..99 {
            lifetimes.add(Nanos(1_000));
        }
        lifetimes.add(Nanos::from_secs(100));
        assert_eq!(lifetimes.at_most(90), Some(Nanos(1_024)));
        assert!(lifetimes.at_most(100) > Some(Nanos::from_secs(60)));
        assert_eq!(Lifetimes::default().at_most(50), None);
    }

    #[test]
    fn more_sites_than_the_bound_are_counted_together() {
        let mut sites = Sites::default();
        for i in 0..MAX_SITES as u32 + 10 {
            sites.at(FrameId(i + 1)).births += 1;
        }
        assert_eq!(sites.all().count(), MAX_SITES + 1);
        assert_eq!(sites.all().map(|(_, s)| s.births).sum::<u64>(), MAX_SITES as u64 + 10);
    }
}
