//! All measurements, and the ratios between contenders.

use super::{
    admission::Admission,
    keys::{KEYS_AT_LIMIT, Mix},
    limits::Rule,
    sample::Sample,
    stats::Spread,
};

/// The labels that identify contenders.
pub mod labels {
    pub const FLOOR: &str = "floor";
    pub const MEMORY: &str = "memory";
    pub const MEMORY_2_RUNTIMES: &str = "memory, 2 runtimes";
    pub const MEMORY_TLS: &str = "memory, TLS";
    pub const MEMORY_CHECK: &str = "memory, ext_authz";
    pub const MEMORY_BROWSER: &str = "memory, ext_authz, a browser's headers";
    pub const MEMORY_PROFILED: &str = "memory, built with a profile";
    pub const REDIS: &str = "Redis";
    pub const REDIS_PROFILED: &str = "Redis, built with a profile";
    pub const CLUSTER: &str = "Cluster of three";
    pub const CLUSTER_LONG_WAY: &str = "Cluster of three, the long way";
    pub const SENTINEL: &str = "Redis by Sentinel";
    pub const LEASED: &str = "Redis, leases";
    pub const LEASED_LONG: &str = "Redis, leases of 1 s";
    pub const FAR: &str = "Redis 2 ms away";
    pub const FAR_LEASED: &str = "Redis 2 ms away, leases";
    pub const REDIS_8_RUNTIMES: &str = "Redis, 8 runtimes";
    pub const REDIS_2_RUNTIMES: &str = "Redis, 2 runtimes";
    pub const REDIS_1_DESCRIPTOR: &str = "Redis, 1 descriptor";
    pub const CACHE_OFF: &str = "Redis, denial cache off";
    pub const INCRBY: &str = "INCRBY+EXPIRE";
    pub const INCRBY_ONE: &str = "INCRBY+EXPIRE, one connection";
    pub const EVALSHA: &str = "EVALSHA, no service";
}

#[derive(Debug, Clone)]
pub struct Report {
    pub machine: String,
    pub command: String,
    pub date: String,
    pub took_s: u64,
    pub cases: Vec<CaseFigures>,
    pub admissions: Vec<Admission>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct CaseFigures {
    pub name: String,
    /// The load in words.
    pub load: String,
    pub mix: Mix,
    pub placement: String,
    /// Requests per second, if the load is an open loop.
    pub rate: Option<f64>,
    pub rounds: usize,
    /// The measured length of each run.
    pub seconds: f64,
    pub contenders: Vec<ContenderFigures>,
}

#[derive(Debug, Clone)]
pub struct ContenderFigures {
    pub label: String,
    /// Whether what it answers depends on limits.
    pub decides: bool,
    /// Whether it is another service than Tollgate.
    pub is_peer: bool,
    /// One for each round, in their order.
    pub runs: Vec<Sample>,
    pub fill: Option<Fill>,
}

/// The keys that were asked for before the first round, and their effect on the service's resident memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fill {
    pub keys: u64,
    pub seconds: f64,
    pub kib_before: u64,
    pub kib_after: u64,
}

// === impl CaseFigures ===

impl CaseFigures {
    pub fn contender(&self, label: &str) -> Option<&ContenderFigures> {
        self.contenders.iter().find(|contender| contender.label == label)
    }

    /// The spread over the rounds of `figure`, computed from the runs of these contenders in the same round, so that
    /// drift cancels out. None if one of them did not run, or measured nothing.
    pub fn pairwise<const N: usize>(
        &self,
        labels: [&str; N],
        figure: impl Fn([&Sample; N]) -> Option<f64>,
    ) -> Option<Spread> {
        let runs: Vec<&[Sample]> =
            labels.iter().map(|label| Some(&self.contender(label)?.runs[..])).collect::<Option<_>>()?;
        let rounds = runs.iter().map(|runs| runs.len()).min()?;
        Spread::from_values(
            (0..rounds).filter_map(|round| figure(std::array::from_fn(|index| &runs[index][round]))),
        )
    }

    /// `figure` of one over that of the other.
    pub fn ratio(&self, label: &str, over: &str, figure: fn(&Sample) -> Option<f64>) -> Option<Spread> {
        self.pairwise([label, over], |[run, over]| Some(figure(run)? / figure(over)?))
    }

    /// The number of these decisions that the limits allow: all decisions under limits that never deny, and for
    /// the other limits only the refill of the run, since their burst was used up before.
    pub fn allowed(&self, run: &Sample) -> f64 {
        let one_key = f64::from(Rule::Ten.requests_per_unit()) * run.seconds + 1.0;
        let refilled = match self.mix {
            Mix::Denied => one_key,
            // At most, since some requests are for two of these keys.
            Mix::Pairs => f64::from(KEYS_AT_LIMIT) * one_key,
            Mix::Allowed | Mix::Half | Mix::Once => 0.0,
        };
        (run.decisions() - run.limited) as f64 + refilled
    }
}

// === impl ContenderFigures ===

impl ContenderFigures {
    pub fn spread(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        Spread::from_values(self.runs.iter().filter_map(figure))
    }
}

// === impl Fill ===

impl Fill {
    pub fn bytes_per_key(&self) -> Option<f64> {
        let kib = self.kib_after.checked_sub(self.kib_before)?;
        (self.keys > 0).then(|| (kib * 1_024) as f64 / self.keys as f64)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::bench::sample::Master;

    /// Decisions of `us` each, on the service's and on Redis' side.
    pub fn sample(us: f64) -> Sample {
        Sample {
            seconds: 1.0,
            ok: 100,
            service_cpu_us: Some(100.0 * us),
            masters: vec![Master { cpu_us: 100.0 * us, calls: 100 }],
            ..Sample::default()
        }
    }

    pub fn case(name: &str, contenders: &[(&str, &[f64])]) -> CaseFigures {
        let contender = |(label, us): &(&str, &[f64])| ContenderFigures {
            label: (*label).to_owned(),
            decides: true,
            is_peer: label.contains("peer"),
            runs: us.iter().map(|us| sample(*us)).collect(),
            fill: None,
        };
        CaseFigures {
            name: name.to_owned(),
            load: "some".to_owned(),
            mix: Mix::Allowed,
            placement: "anywhere".to_owned(),
            rate: None,
            rounds: 3,
            seconds: 1.0,
            contenders: contenders.iter().map(contender).collect(),
        }
    }

    #[test]
    fn drift_that_hits_a_whole_round_does_not_move_a_ratio() {
        let case = case("x", &[("a", &[2.0, 20.0, 4.0]), ("b", &[1.0, 10.0, 2.0])]);
        let ratio = case.ratio("a", "b", Sample::service_us).unwrap();
        assert_eq!(ratio, Spread { min: 2.0, median: 2.0, max: 2.0 });
    }

    #[test]
    fn a_contender_that_did_not_run_has_no_ratio() {
        let case = case("x", &[("a", &[2.0]), ("b", &[])]);
        assert_eq!(case.ratio("a", "b", Sample::service_us), None);
        assert_eq!(case.ratio("a", "c", Sample::service_us), None);
    }

    #[test]
    fn one_key_of_ten_a_second_is_allowed_ten_a_second_and_one() {
        let mut case = case("x", &[]);
        let run = Sample { seconds: 2.0, ok: 20, over: 1_000, limited: 1_020, ..Sample::default() };
        case.mix = Mix::Denied;
        assert_eq!(case.allowed(&run), 21.0);
        case.mix = Mix::Half;
        assert_eq!(case.allowed(&Sample { limited: 510, ..run }), 510.0);
    }
}
