//! The results of a run of the demo, for the terminal, the page and the JSON file.

use super::{herd::Arrivals, picture::Picture};

/// How the commands of the claims can be run again; shown once above them.
pub const TO_REPEAT: &str =
    "To repeat a command, run `target/release/lab up` and use the addresses that it prints";

/// Repeats the herd and the latency, which need the client that is part of the demo.
pub const RUN_AGAIN: &str = "make demo";

#[derive(Debug, Clone)]
pub struct Figures {
    /// In the order in which they are shown.
    pub claims: Vec<Claim>,
    pub admission: Admission,
    /// The 429 as it came over the socket.
    pub denial: String,
    /// Of the live page; or a sentence that says why there is none.
    pub picture: Result<Picture, String>,
    pub herd: HerdArrivals,
    pub latency: Vec<Latency>,
    /// For example `2 cores, Envoy 1.40.0, Redis 7.0.15`.
    pub machine: String,
    /// How long the scenarios took.
    pub took_s: u64,
}

/// A claim of the demo, and its measurement.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The claim as a whole sentence, which the verdict is about.
    pub claim: String,
    /// The load, such as `10 per second for one key, 3 nodes, 12 s of load`.
    pub load: String,
    /// The limiter under that load, such as `per-node limiter`.
    pub subject: String,
    pub measured: u64,
    /// The number of requests that the limit allows, including fractions of refilled tokens.
    pub allowed: f64,
    pub verdict: Verdict,
    /// One sentence.
    pub reason: String,
    /// The command that repeats it against `lab up`.
    pub command: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The claim is true.
    Shown,
    /// The claim is false.
    Refuted,
    /// The run says nothing about it: answers were missing or fallback answers.
    NotProven,
}

/// Admitted requests over time, under the identical load.
#[derive(Debug, Clone)]
pub struct Admission {
    pub per_second: u64,
    pub burst: u64,
    pub bin_ms: u64,
    /// Admitted in each bin since the first request.
    pub naive: Vec<u64>,
    pub tollgate: Vec<u64>,
}

#[derive(Debug, Clone)]
pub struct HerdArrivals {
    pub clients: u32,
    pub per_minute: u32,
    pub with_jitter: Arrivals,
    pub without_jitter: Arrivals,
    /// A model, not a measurement.
    pub fixed_window: Arrivals,
}

/// Latency of sequential requests through one node.
#[derive(Debug, Clone)]
pub struct Latency {
    /// Such as `no limiter`.
    pub through: &'static str,
    pub p50_us: u64,
    pub p99_us: u64,
    pub samples: usize,
}

impl Claim {
    /// Measured divided by allowed; 0 if nothing was allowed.
    pub fn ratio(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let measured = self.measured as f64;
        if self.allowed > 0.0 { measured / self.allowed } else { 0.0 }
    }
}

impl Admission {
    /// The requests allowed from the first one to the end of this number of bins: burst + refill.
    pub fn allowed_after(&self, bins: usize) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let (burst, per_bin) = (self.burst as f64, (self.per_second * self.bin_ms) as f64 / 1_000.0);
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let bins = bins as f64;
        burst + per_bin * bins
    }

    /// The requests admitted in all these bins, divided by the number allowed until their end.
    pub fn ratio(&self, bins: &[u64]) -> f64 {
        let allowed = self.allowed_after(bins.len());
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let admitted = bins.iter().sum::<u64>() as f64;
        if allowed > 0.0 { admitted / allowed } else { 0.0 }
    }
}
