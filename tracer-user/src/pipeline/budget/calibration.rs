//! What a hit costs, learned from the processor time that the kernel accounts for: the target's own
//! (the trap, the program and its record run in the target's threads, as kernel time) and loiter's.
//! A figure from an idle child would be three to five times too low: caches are warm there. So they
//! are at full load; where hits are rare each finds them cold, and costs as many times more.
//!
//! Both are the same problem: of something that takes `a` for each unit of other work and `c` for
//! each hit, many sums are seen. The kernel knows exactly how long a thread ran, and only by samples how
//! much of that was in the kernel: so what is explained is the share `time = A whole + C hits` of the exact
//! whole, where `A = a / (1 + a)` and `C = c / (1 + a)`. To explain it by the other work instead, which has
//! the error of the samples the other way round, would put more and more on the hits of a steady
//! load. Least squares find both, beginning from what was measured elsewhere, and forget slowly. No
//! clock, no I/O.

use crate::base::Nanos;

/// Samples are taken together until they make so much, ns: rounding weighs little then.
const TOGETHER: f64 = 1e9;
/// Old samples weigh half after so many newer ones: five minutes.
const HALF_LIFE: f64 = 300.0;
/// The kernel samples at clock ticks: processor time comes in pieces of this, ns.
const TICK: f64 = 4e6;
/// What a figure rounded to hundredths of a second is off by, squared.
const ROUNDING: f64 = 1.7e13;

/// Rarer hits than these a second were not measured: they are taken to find the caches no colder.
const RARE: f64 = 3_500.0;

/// Steps in which the share of other work is looked for, and then halvings of a step.
const STEPS: u32 = 64;
const HALVINGS: u32 = 12;
/// Greatest share of other work.
const MOST_SHARE: f64 = 0.95;

/// What is taken for granted before anything was measured, and how far it may be off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prior {
    /// ns a hit, where one follows the other.
    pub cost: f64,
    /// A hit of `r` a second costs `1 + cold / r` times that.
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
    /// by its processor time with and without, on two machines: 1.1 and 2.2 us a hit at full load, 3.0 at 14 500 hits a second, 4 to 5.5 at
    /// 3 500.
    pub const TARGET: Prior =
        Prior { cost: 1_600.0, cold: 6_300.0, doubt: 700.0, least: 300.0, most: 6_000.0 };
    /// Of loiter: a record taken out of the ring and fed to the model.
    pub const LOITER: Prior =
        Prior { cost: 500.0, cold: 0.0, doubt: 400.0, least: 50.0, most: 6_000.0 };

    /// What a hit costs at so many a second before anything was measured, ns.
    pub fn cost_at(&self, rate: f64) -> f64 {
        self.cost * self.weight(rate)
    }

    /// How many times as much a hit costs at so many a second as where one follows the other.
    fn weight(&self, rate: f64) -> f64 {
        1.0 + self.cold / rate.max(RARE)
    }
}

/// Splits a time into a share of other work and a cost a hit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Calibration {
    prior: Prior,
    /// What is not enough for a sample yet.
    pending: Seen,
    /// Weighted sums of products: of whole with whole, with hits and with the part, of hits with hits and the part.
    ww: f64,
    wh: f64,
    hh: f64,
    wp: f64,
    hp: f64,
    /// What a hit costs where one follows the other, as the sums say, ns.
    least_cost: f64,
}

/// What happened in an interval: ns, and hits as many as if one had followed the other.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Seen {
    over: f64,
    whole: f64,
    part: f64,
    hits: f64,
}

impl Seen {
    const NOTHING: Seen = Seen { over: 0.0, whole: 0.0, part: 0.0, hits: 0.0 };
}

impl Calibration {
    /// Nothing measured yet.
    pub const fn new(prior: Prior) -> Self {
        let (pending, least_cost) = (Seen::NOTHING, prior.cost);
        Self { prior, pending, ww: 0.0, wh: 0.0, hh: 0.0, wp: 0.0, hp: 0.0, least_cost }
    }

    /// In an interval of length `over` there was so much other work, so many hits, and both took this
    /// time.
    pub fn note(&mut self, over: Nanos, work: Nanos, hits: u64, time: Nanos) {
        let (over, work, time) = (over.0.max(1) as f64, work.0 as f64, time.0 as f64);
        let hits = hits as f64 * self.prior.weight(hits as f64 * 1e9 / over);
        let Seen { over: o, whole, part, hits: h } = self.pending;
        let pending =
            Seen { over: o + over, whole: whole + work + time, part: part + time, hits: h + hits };
        if pending.over < TOGETHER {
            self.pending = pending;
        } else {
            self.pending = Seen::NOTHING;
            self.add(pending);
            self.least_cost = self.found();
        }
    }

    fn add(&mut self, Seen { whole, part, hits, .. }: Seen) {
        if whole <= 0.0 {
            return;
        }
        // So far off is what ticks and rounding tell, squared.
        let weight = 1.0 / (TICK * part * (1.0 - part / whole) + ROUNDING);
        let keep = 0.5f64.powf(1.0 / HALF_LIFE);
        let sums = [&mut self.ww, &mut self.wh, &mut self.hh, &mut self.wp, &mut self.hp];
        let news = [whole * whole, whole * hits, hits * hits, whole * part, hits * part];
        for (sum, new) in sums.into_iter().zip(news) {
            *sum = *sum * keep + new * weight;
        }
    }

    /// What a hit costs at so many a second, ns.
    pub fn cost(&self, rate: f64) -> f64 {
        self.least_cost * self.prior.weight(rate)
    }

    /// What it costs where one follows the other: that of the share `A`, from nothing on, which explains best
    /// what was seen and asks for a cost that is not far from what was measured elsewhere.
    fn found(&self) -> f64 {
        let Prior { cost, least, most, .. } = self.prior;
        let step = MOST_SHARE / f64::from(STEPS);
        let fault = |share: &f64| self.fault(*share);
        let nearest = |shares: &mut dyn Iterator<Item = f64>| {
            shares.min_by(|a, b| fault(a).total_cmp(&fault(b))).unwrap_or(0.0)
        };
        let mut best = nearest(&mut (0..=STEPS).map(|n| f64::from(n) * step));
        let mut about = step;
        for _ in 0..HALVINGS {
            about /= 2.0;
            let near = [best, best - about, best + about];
            best = nearest(&mut near.into_iter().filter(|s| (0.0..=MOST_SHARE).contains(s)));
        }
        let found = self.cost_given(best);
        if found.is_finite() { found.clamp(least, most) } else { cost }
    }

    /// The cost that fits best if this is the share of other work.
    fn cost_given(&self, share: f64) -> f64 {
        let (rest, known) = (1.0 - share, self.prior.doubt.powi(-2));
        (rest * (self.hp - share * self.wh) + self.prior.cost * known)
            / (rest * rest * self.hh + known)
    }

    /// How far off what was seen and what was known beforehand are then, but for a constant.
    fn fault(&self, share: f64) -> f64 {
        let cost = self.cost_given(share);
        let hit = cost * (1.0 - share);
        let seen = share * (share * self.ww - 2.0 * self.wp)
            + hit * (hit * self.hh - 2.0 * self.hp + 2.0 * share * self.wh);
        seen + ((cost - self.prior.cost) / self.prior.doubt).powi(2)
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
        assert!(costs[0] < 1_700.0 && costs[5] < 6_000.0, "{costs:?}");
    }

    #[test]
    fn before_anything_was_measured_it_is_what_was_measured_elsewhere() {
        let it = Calibration::new(Prior::TARGET);
        assert!((it.least_cost - Prior::TARGET.cost).abs() < 1.0);
    }

    #[test]
    fn load_without_and_with_probes_tells_what_a_hit_costs() {
        for cost in [600.0, 1_000.0, 3_000.0] {
            let mut it = Calibration::new(Prior::TARGET);
            feed(&mut it, SECOND / 5, 0, 0.8, cost, 25);
            feed(&mut it, SECOND / 8, 40_000, 0.8, cost, 25);
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
        let found = it.least_cost;
        assert!((found / Prior::TARGET.cost - 1.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn a_steady_load_whose_shares_are_sampled_does_not_make_hits_dearer_and_dearer() {
        let mut it = Calibration::new(Prior::TARGET);
        // Of 40 ms in a fifth of a second 17 are the kernel's, as told by ticks of 4 ms.
        let mut random = 1u64;
        for _ in 0..3_000 {
            let ticks = (0..10).filter(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % 1_000 < 425
            });
            let time = ticks.count() as u64 * 4_000_000;
            it.note(Nanos(SECOND / 5), Nanos(40_000_000 - time), 3_000, Nanos(time));
        }
        let found = it.least_cost;
        assert!((found / Prior::TARGET.cost - 1.0).abs() < 0.35, "{found}");
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
        assert!((Prior::TARGET.least..=Prior::TARGET.most).contains(&it.least_cost));
    }
}
