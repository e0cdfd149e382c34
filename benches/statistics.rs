//! Statistics over blocks: geometric means with bootstrap confidence intervals, and percentiles.

use std::fmt;

/// Bootstrap samples per interval.
const RESAMPLES: usize = 10_000;

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    /// Geometric mean.
    pub(crate) mean: f64,
    /// Lower bound.
    pub(crate) low: f64,
    /// Upper bound.
    pub(crate) high: f64,
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.mean >= 100.0 { 0 } else { 2 };
        write!(f, "{:.digits$} ({:.digits$} – {:.digits$})", self.mean, self.low, self.high)
    }
}

/// Returns the geometric mean with a bootstrap interval, or `None` if there are no samples or one is not positive.
pub(crate) fn geometric_mean(samples: &[f64]) -> Option<Interval> {
    if samples.is_empty() || samples.iter().any(|sample| *sample <= 0.0) {
        return None;
    }
    let logarithms: Vec<f64> = samples.iter().map(|sample| sample.ln()).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut random = Random(0x6e6f_6f6d);
    let mut drawn = vec![0.0; logarithms.len()];
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.fill_with(|| logarithms[random.below(logarithms.len())]);
            mean(&drawn)
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| means[(share * RESAMPLES as f64) as usize].exp();
    Some(Interval { mean: mean(&logarithms).exp(), low: at(0.025), high: at(0.975) })
}

/// Returns the median, or `None` without samples.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    percentile(samples, 0.5)
}

/// Returns the sample at this quantile (0 to 1), or `None` without samples.
pub(crate) fn percentile(samples: &[f64], share: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(sorted[(share * last as f64).round() as usize])
}

/// SplitMix64 with a fixed seed: the same results always give the same report.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % bound as u64) as usize
    }
}
