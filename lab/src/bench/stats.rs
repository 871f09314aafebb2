//! Percentiles, and what several runs say together.

/// The least, the median and the most of several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

// === impl Spread ===

impl Spread {
    /// None of none, and what is no number (0 / 0) does not count. The median of two is their mean.
    pub fn from_values(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { min, median, max })
    }
}

/// The smallest sample that a `share` of all samples does not exceed (nearest rank); 0 of none.
pub fn percentile(sorted: &[u32], share: f64) -> u32 {
    #[allow(clippy::cast_sign_loss, reason = "a share of a count is at least 0")]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_that_so_many_do_not_exceed() {
        let samples: Vec<u32> = (1..=1_000).collect();
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|share| percentile(&samples, share)), [500, 990, 999, 1_000]);
        assert_eq!(percentile(&[1, 2, 3], 0.5), 2);
        assert_eq!(percentile(&[7], 0.001), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn a_median_is_not_moved_by_one_run_that_went_wrong() {
        let spread = Spread::from_values([5.0, 900.0, 4.0, 6.0, 5.5]).unwrap();
        assert_eq!(spread, Spread { min: 4.0, median: 5.5, max: 900.0 });
        assert_eq!(Spread::from_values([1.0, 3.0]).unwrap().median, 2.0);
    }

    #[test]
    fn runs_that_measured_nothing_have_no_spread() {
        assert_eq!(Spread::from_values([]), None);
        assert_eq!(Spread::from_values([f64::NAN, f64::INFINITY]), None);
    }
}
