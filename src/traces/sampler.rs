//! Decides which requests are recorded.

use super::context::TraceId;

/// Which requests are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// For requests whose caller says nothing; for all, if callers do not decide.
    pub ratio: Ratio,
    /// Whether a caller that says so decides.
    pub is_parent_based: bool,
}

/// The part of traces that is recorded, from 0 to 1. Whoever uses the same part records the same traces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    /// All traces.
    pub const ALL: Ratio = Ratio(1.0);
    /// None of them.
    pub const NONE: Ratio = Ratio(0.0);

    /// Reads a number from 0 to 1.
    pub fn parse(text: &str) -> Option<Ratio> {
        text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).map(Ratio)
    }

    /// By the lower 63 bits of the trace's id, as other SDKs do.
    fn takes(self, trace: TraceId) -> bool {
        let lower = trace.0 & u128::from(u64::MAX >> 1);
        #[expect(clippy::cast_precision_loss, reason = "a trace more or less does not matter")]
        let place = lower as f64 / (1_u64 << 63) as f64;
        self.0 >= 1.0 || place < self.0
    }
}

impl Sampler {
    pub(super) fn takes(self, by_parent: Option<bool>, trace: TraceId) -> bool {
        match by_parent {
            Some(is_sampled) if self.is_parent_based => is_sampled,
            _ => self.ratio.takes(trace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_decides_only_if_the_sampler_lets_it() {
        let trace = TraceId(1);
        for (is_parent_based, ratio, by_parent, taken) in [
            (true, Ratio::NONE, Some(true), true),
            (true, Ratio::ALL, Some(false), false),
            (true, Ratio::ALL, None, true),
            (false, Ratio::ALL, Some(false), true),
            (false, Ratio::NONE, Some(true), false),
        ] {
            assert_eq!(Sampler { ratio, is_parent_based }.takes(by_parent, trace), taken, "{ratio:?}");
        }
    }

    #[test]
    fn a_ratio_takes_its_part_of_the_traces_and_the_same_ones_each_time() {
        let ratio = Ratio::parse("0.25").expect("a ratio");
        let taken = (0..20_000).filter(|_| ratio.takes(TraceId::random())).count();
        assert!((4_500..5_500).contains(&taken), "{taken}");
        assert!(ratio.takes(TraceId(1)) && !ratio.takes(TraceId(u128::MAX)));
        for text in ["-0.1", "1.1", "NaN", "half", ""] {
            assert_eq!(Ratio::parse(text), None, "{text}");
        }
    }
}
