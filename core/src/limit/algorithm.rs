//! The ways to count.

/// How hits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// Refilled steadily: over every interval at most burst + refill.
    #[default]
    TokenBucket,
    /// At most `requests_per_unit` in each window, in UTC; [`Windows`](super::Windows) says where they begin.
    FixedWindow,
    /// At most `requests_per_unit` in every period, wherever it starts.
    SlidingWindowLog,
}

impl Algorithm {
    /// All algorithms, in the order of the documentation.
    pub const ALL: [Algorithm; 3] =
        [Algorithm::TokenBucket, Algorithm::SlidingWindowLog, Algorithm::FixedWindow];

    /// The algorithm of this name in a limits file; None if there is none.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in a limits file.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::TokenBucket => "token_bucket",
            Algorithm::FixedWindow => "fixed_window",
            Algorithm::SlidingWindowLog => "sliding_window_log",
        }
    }
}
