//! What a hit costs, learned from the processor time that the kernel accounts for: the target's own
//! (the trap, the program and its record run in the target's threads, as kernel time) and loiter's.
//! A figure from an idle child would be three to five times too low: caches are warm there.
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

/// What is taken for granted before anything was measured, and how far it may be off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prior {
    /// ns a hit.
    pub cost: f64,
    /// Standard deviation of it, ns.
    pub doubt: f64,
    /// Never lower than this.
    pub least: f64,
    /// Never higher.
    pub most: f64,
}

impl Prior {
    /// Of the target: trap, program and record, as measured on a web server at full load.
    pub const TARGET: Prior = Prior { cost: 1_000.0, doubt: 500.0, least: 300.0, most: 6_000.0 };
    /// Of loiter: a record taken out of the ring and fed to the model.
    pub const LOITER: Prior = Prior { cost: 500.0, doubt: 400.0, least: 50.0, most: 6_000.0 };
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

    /// In some interval there was so much other work, so many hits, and both took this time.
    pub fn note(&mut self, work: Nanos, hits: u64, time: Nanos) {
        let (work, hits, time) = (work.0 as f64, hits as f64, time.0 as f64);
        let weight = 1.0 / (TICK * time + ROUNDING);
        let keep = 0.5f64.powf(1.0 / HALF_LIFE);
        let sums = [&mut self.ww, &mut self.wh, &mut self.hh, &mut self.wt, &mut self.ht];
        let news = [work * work, work * hits, hits * hits, work * time, hits * time];
        for (sum, new) in sums.into_iter().zip(news) {
            *sum = *sum * keep + new * weight;
        }
    }

    /// What a hit costs, ns.
    pub fn cost(&self) -> f64 {
        let Prior { cost, doubt, least, most } = self.prior;
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
        (0..times).for_each(|_| it.note(Nanos(user), hits, Nanos(kernel as u64)));
    }

    #[test]
    fn before_anything_was_measured_it_is_what_was_measured_elsewhere() {
        let it = Calibration::new(Prior::TARGET);
        assert!((it.cost() - Prior::TARGET.cost).abs() < 1.0);
    }

    #[test]
    fn load_without_and_with_probes_tells_what_a_hit_costs() {
        for cost in [600.0, 1_000.0, 3_000.0] {
            let mut it = Calibration::new(Prior::TARGET);
            feed(&mut it, SECOND / 5, 0, 0.8, cost, 25);
            feed(&mut it, SECOND / 8, 40_000, 0.8, cost, 10);
            assert!((it.cost() / cost - 1.0).abs() < 0.15, "{} of {cost}", it.cost());
        }
    }

    #[test]
    fn more_load_is_not_taken_for_dearer_hits() {
        let mut it = Calibration::new(Prior::TARGET);
        for load in 1..20 {
            feed(&mut it, load * 10_000_000, load * 1_000, 0.9, 1_200.0, 5);
        }
        assert!((it.cost() / 1_200.0 - 1.0).abs() < 0.3, "{}", it.cost());
    }

    #[test]
    fn hits_take_no_more_than_all_there_is() {
        let mut it = Calibration::new(Prior::TARGET);
        feed(&mut it, SECOND / 10, 200_000, 0.0, 600.0, 50);
        assert!((it.cost() / 600.0 - 1.0).abs() < 0.1, "{}", it.cost());
    }

    #[test]
    fn whatever_is_measured_it_stays_within_reason() {
        let mut it = Calibration::new(Prior::TARGET);
        feed(&mut it, 0, 1, 0.0, 1e12, 10);
        feed(&mut it, u64::MAX, u64::MAX, 0.0, 0.0, 10);
        assert!(it.cost().is_finite());
        assert!((Prior::TARGET.least..=Prior::TARGET.most).contains(&it.cost()));
    }
}
