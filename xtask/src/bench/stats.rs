//! Numbers that can be trusted: medians and quartiles of paired samples.

use std::fmt;

/// Measured values of one kind.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes in a value.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The value below which this part of the samples lies, between neighbours linearly; not a number if there are none.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        #[allow(clippy::cast_precision_loss)]
        let place = part * last as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let below = place.floor() as usize;
        let at = |index: usize| sorted.get(index.min(last)).copied().unwrap_or(f64::NAN);
        at(below) + (at(below + 1) - at(below)) * place.fract()
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Value by value, this one over that one: what was measured in the same round is compared.
    pub fn over(&self, other: &Samples) -> Samples {
        Samples(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// Value by value, this one less that one.
    pub fn minus(&self, other: &Samples) -> Samples {
        Samples(self.0.iter().zip(&other.0).map(|(a, b)| a - b).collect())
    }

    /// Each value, changed.
    pub fn map(&self, change: impl Fn(f64) -> f64) -> Samples {
        Samples(self.0.iter().copied().map(change).collect())
    }

    /// The mean, and the interval that has the true one with 95 % (Student's t).
    pub fn mean(&self) -> Mean {
        #[allow(clippy::cast_precision_loss)]
        let n = self.0.len() as f64;
        let mean = self.0.iter().sum::<f64>() / n;
        let squares: f64 = self.0.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (n - 1.0) / n).sqrt();
        let t = T_95.get(self.0.len().saturating_sub(2)).copied().unwrap_or(2.0);
        Mean { mean, off: t * error }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Student's t for 95 %, from one degree of freedom on.
const T_95: [f64; 20] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
];

/// A mean and how far the true one may be off it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half of the interval.
    pub off: f64,
}

/// `0.9930 (95 %: 0.9861..0.9999)`.
impl fmt::Display for Mean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mean { mean, off } = self;
        write!(f, "{mean:.4} (95 %: {:.4}..{:.4})", mean - off, mean + off)
    }
}

/// `0.973 [0.968..0.979]`: median and the middle half.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median().abs() {
            m if m >= 1_000.0 => 0,
            m if m >= 100.0 => 1,
            m if m >= 10.0 => 2,
            _ => 3,
        };
        let (low, high) = (self.quantile(0.25), self.quantile(0.75));
        write!(f, "{:.digits$} [{low:.digits$}..{high:.digits$}]", self.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.to_vec())
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert!((samples(&[5.0, 1.0, 3.0]).median() - 3.0).abs() < 1e-9);
        assert!((samples(&[1.0, 2.0, 3.0, 4.0]).median() - 2.5).abs() < 1e-9);
        assert!(samples(&[]).median().is_nan());
    }

    #[test]
    fn the_interval_of_a_mean_is_wider_for_few_samples() {
        let Mean { mean, off } = samples(&[1.0, 2.0, 3.0]).mean();
        assert!((mean - 2.0).abs() < 1e-9 && (off - 4.303 / 3f64.sqrt()).abs() < 1e-3, "{off}");
        let many: Vec<f64> = (0..300).map(|i| f64::from(i % 3)).collect();
        assert!(samples(&many).mean().off < 0.1);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let ratio = samples(&[2.0, 30.0]).over(&samples(&[1.0, 10.0]));
        assert_eq!(ratio, samples(&[2.0, 3.0]));
    }

    #[test]
    fn a_line_has_the_median_and_the_middle_half() {
        assert_eq!(samples(&[1.0, 2.0, 3.0]).to_string(), "2.000 [1.500..2.500]");
        assert_eq!(samples(&[1_000.0, 2_000.0, 3_000.0]).to_string(), "2000 [1500..2500]");
    }
}
