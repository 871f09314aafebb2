//! What a run of the demo found: the facts, for the terminal, the page and the JSON file.

use super::herd::Arrivals;

/// Where the commands of claims run; said once above them.
pub const WHERE_COMMANDS_RUN: &str = "beside `target/release/lab up`, with its addresses";

/// What shows the herd and the latency again: they need a client of their own, which is the demo's.
pub const RUN_AGAIN: &str = "make demo";

#[derive(Debug, Clone)]
pub struct Figures {
    /// In the order in which they are shown.
    pub claims: Vec<Claim>,
    pub admission: Admission,
    /// The 429 as it came over the socket.
    pub denial: String,
    pub herd: HerdArrivals,
    pub latency: Vec<Latency>,
    /// For example `2 cores, Envoy 1.40.0, Redis 7.0.15`.
    pub machine: String,
    /// How long the scenarios took.
    pub took_s: u64,
}

/// Something that the demo says is so, and what it measured.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What is claimed, as a whole sentence: its verdict is about this.
    pub claim: String,
    /// What was done, such as `10 per second for one key, 3 nodes, 12 s of load`.
    pub load: String,
    /// Who was under it, such as `per-node limiter`.
    pub subject: String,
    pub measured: u64,
    /// What the limit allows; with the tenths that were refilled.
    pub allowed: f64,
    pub verdict: Verdict,
    /// One sentence.
    pub reason: String,
    /// What a reader types to see it again, against `lab up`.
    pub command: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What was claimed is so.
    Shown,
    /// It is not.
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

/// Of requests through one node, one after the other.
#[derive(Debug, Clone)]
pub struct Latency {
    /// Such as `no limiter`.
    pub through: &'static str,
    pub p50_us: u64,
    pub p99_us: u64,
    pub samples: usize,
}

impl Claim {
    /// Measured by allowed.
    pub fn ratio(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let measured = self.measured as f64;
        if self.allowed > 0.0 { measured / self.allowed } else { 0.0 }
    }
}

impl Admission {
    /// What the limit allows from the first request to the end of so many bins: burst + refill.
    pub fn allowed_after(&self, bins: usize) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let (burst, per_bin) = (self.burst as f64, (self.per_second * self.bin_ms) as f64 / 1_000.0);
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let bins = bins as f64;
        burst + per_bin * bins
    }

    /// What was admitted in all these bins, by what is allowed until their end.
    pub fn ratio(&self, bins: &[u64]) -> f64 {
        let allowed = self.allowed_after(bins.len());
        #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
        let admitted = bins.iter().sum::<u64>() as f64;
        if allowed > 0.0 { admitted / allowed } else { 0.0 }
    }
}
