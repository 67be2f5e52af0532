//! What a hit costs, learned from the processor time that the kernel accounts for: the target's own
//! (the trap, the program and its record run in the target's threads, as kernel time) and loiter's.
//! A figure from an idle child would be three to five times too low: caches are warm there. So they
//! are at full load; where hits are rare each finds them cold, and costs as many times more.
//!
//! Both are the same problem: of something that takes `a` for each unit of other work and `c` for
//! each hit, many sums are seen. Least squares find both, beginning from what was measured
//! elsewhere, and forget slowly. No clock, no I/O.

use crate::base::Nanos;

/// Old samples weigh half after so many newer ones: five minutes of samples.
const HALF_LIFE: f64 = 1_500.0;
/// The kernel samples at clock ticks: processor time comes in pieces of this, ns.
const TICK: f64 = 4e6;
/// What a figure rounded to hundredths of a second is off by, squared.
const ROUNDING: f64 = 1.7e13;

/// Rarer hits than these a second find the caches no colder.
const RARE: f64 = 2_000.0;

/// What is taken for granted before anything was measured, and how far it may be off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prior {
    /// ns a hit, where one follows the other.
    pub cost: f64,
    /// A hit of `r` a second costs `1 + cold / sqrt(r)` times that.
    pub cold: f64,
    /// Standard deviation of it, ns.
    pub doubt: f64,
    /// Never lower than this.
    pub least: f64,
    /// Never higher.
    pub most: f64,
}

impl Prior {
    /// Of the target: trap, program and record, and what follows when it goes on with cold caches. As measured on a web server
    /// by `cargo xtask bench`: 1.0 us a hit at full load, 1.6 at 25 000 hits a second, 3 to 4 at 4 500.
    pub const TARGET: Prior =
        Prior { cost: 1_000.0, cold: 150.0, doubt: 500.0, least: 300.0, most: 6_000.0 };
    /// Of loiter: a record taken out of the ring and fed to the model.
    pub const LOITER: Prior =
        Prior { cost: 500.0, cold: 0.0, doubt: 400.0, least: 50.0, most: 6_000.0 };

    /// How many times as much a hit costs at so many a second as where one follows the other.
    fn weight(&self, rate: f64) -> f64 {
        1.0 + self.cold / rate.max(RARE).sqrt()
    }
}

/// Splits a time into a share of other work and a cost a hit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Calibration {
    prior: Prior,
    /// Weighted sums: other work squared, other work times hits, hits squared, other work times
    /// the time explained, hits times it.
    ww: f64,
    wh: f64,
    hh: f64,
    wt: f64,
    ht: f64,
}

impl Calibration {
    /// Nothing measured yet.
    pub const fn new(prior: Prior) -> Self {
        Self { prior, ww: 0.0, wh: 0.0, hh: 0.0, wt: 0.0, ht: 0.0 }
    }

    /// In an interval of length `over` there was so much other work, so many hits, and both took this
    /// time.
    pub fn note(&mut self, over: Nanos, work: Nanos, hits: u64, time: Nanos) {
        let (work, hits, time) = (work.0 as f64, hits as f64, time.0 as f64);
        let hits = hits * self.prior.weight(hits * 1e9 / over.0.max(1) as f64);
        let weight = 1.0 / (TICK * time + ROUNDING);
        let keep = 0.5f64.powf(1.0 / HALF_LIFE);
        let sums = [&mut self.ww, &mut self.wh, &mut self.hh, &mut self.wt, &mut self.ht];
        let news = [work * work, work * hits, hits * hits, work * time, hits * time];
        for (sum, new) in sums.into_iter().zip(news) {
            *sum = *sum * keep + new * weight;
        }
    }

    /// What a hit costs at so many a second, ns.
    pub fn cost(&self, rate: f64) -> f64 {
        self.least_cost() * self.prior.weight(rate)
    }

    /// What it costs where one follows the other.
    fn least_cost(&self) -> f64 {
        let Prior { cost, doubt, least, most, .. } = self.prior;
        let known = 1.0 / (doubt * doubt);
        let (hh, ht) = (self.hh + known, self.ht + known * cost);
        // Of the other work nothing is known beforehand: a weak pull towards none keeps it solvable.
        let ww = self.ww + 1e-12;
        let whole = ww * hh - self.wh * self.wh;
        let found = (ww * ht - self.wh * self.wt) / whole;
        // Other work takes no less than nothing: hits take no more than all of it.
        let found = found.min(ht / hh);
        if found.is_finite() { found.clamp(least, most) } else { cost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A fifth of a second of a program that takes `a` of kernel time for each unit of user time, with hits that
    /// cost `c` each.
    fn feed(it: &mut Calibration, user: u64, hits: u64, a: f64, c: f64, times: u32) {
        let kernel = user as f64 * a + hits as f64 * c;
        let note = |_| it.note(Nanos(SECOND / 5), Nanos(user), hits, Nanos(kernel as u64));
        (0..times).for_each(note);
    }

    #[test]
    fn where_hits_are_rare_each_costs_more() {
        let it = Calibration::new(Prior::TARGET);
        let costs = [1e7, 300_000.0, 25_000.0, 4_500.0, 100.0, 0.0].map(|rate| it.cost(rate));
        assert!(costs.is_sorted(), "{costs:?}");
        assert!(costs[0] < 1_100.0 && costs[5] < 4_500.0, "{costs:?}");
    }

    #[test]
    fn before_anything_was_measured_it_is_what_was_measured_elsewhere() {
        let it = Calibration::new(Prior::TARGET);
        assert!((it.least_cost() - Prior::TARGET.cost).abs() < 1.0);
    }

    #[test]
    fn load_without_and_with_probes_tells_what_a_hit_costs() {
        for cost in [600.0, 1_000.0, 3_000.0] {
            let mut it = Calibration::new(Prior::TARGET);
            feed(&mut it, SECOND / 5, 0, 0.8, cost, 25);
            feed(&mut it, SECOND / 8, 40_000, 0.8, cost, 10);
            let found = it.cost(200_000.0);
            assert!((found / cost - 1.0).abs() < 0.15, "{found} of {cost}");
        }
    }

    #[test]
    fn more_load_is_not_taken_for_dearer_hits() {
        let mut it = Calibration::new(Prior::TARGET);
        for load in 1..20 {
            feed(&mut it, load * 10_000_000, load * 1_000, 0.9, 1_200.0, 5);
        }
        let found = it.cost(50_000.0);
        assert!((found / 1_200.0 - 1.0).abs() < 0.3, "{found}");
    }

    #[test]
    fn hits_take_no_more_than_all_there_is() {
        let mut it = Calibration::new(Prior::TARGET);
        feed(&mut it, SECOND / 10, 200_000, 0.0, 600.0, 50);
        let found = it.cost(1e6);
        assert!((found / 600.0 - 1.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn whatever_is_measured_it_stays_within_reason() {
        let mut it = Calibration::new(Prior::TARGET);
        feed(&mut it, 0, 1, 0.0, 1e12, 10);
        feed(&mut it, u64::MAX, u64::MAX, 0.0, 0.0, 10);
        for rate in [0.0, 1e5, 1e300] {
            assert!(it.cost(rate).is_finite());
        }
        assert!((Prior::TARGET.least..=Prior::TARGET.most).contains(&it.least_cost()));
    }
}
