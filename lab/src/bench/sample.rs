//! One run of one contender: what was counted, and what it cost.

use serde_json::{Value, json};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    pub seconds: f64,
    pub ok: u64,
    pub over: u64,
    /// The part of both that was under a limit that denies.
    pub limited: u64,
    /// Answers without a decision.
    pub errors: u64,
    /// Requests that had no answer a second after the end.
    pub unanswered: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// User + system time of the service's process, where its number is known.
    pub service_cpu_us: Option<f64>,
    /// One for each Redis that decides, if it is known.
    pub masters: Vec<Master>,
    pub load_cpu_us: f64,
    /// The resident memory of the service at the end.
    pub resident_kib: Option<u64>,
}

/// What one Redis used, and the calls that it answered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Master {
    pub cpu_us: f64,
    pub calls: u64,
}

// === impl Sample ===

impl Sample {
    /// Requests that were answered OK or OVER_LIMIT, however many descriptors they had.
    pub const fn decisions(&self) -> u64 {
        self.ok + self.over
    }

    pub fn per_second(&self) -> f64 {
        self.decisions() as f64 / self.seconds
    }

    pub fn service_us(&self) -> Option<f64> {
        self.each(self.service_cpu_us?)
    }

    pub fn redis_us(&self) -> Option<f64> {
        self.each(self.redis_cpu_us()?)
    }

    pub fn redis_cpu_us(&self) -> Option<f64> {
        (!self.masters.is_empty()).then(|| self.masters.iter().map(|master| master.cpu_us).sum())
    }

    pub fn redis_calls(&self) -> Option<u64> {
        (!self.masters.is_empty()).then(|| self.masters.iter().map(|master| master.calls).sum())
    }

    pub fn load_us(&self) -> Option<f64> {
        self.each(self.load_cpu_us)
    }

    pub fn calls(&self) -> Option<f64> {
        self.each(self.redis_calls()? as f64)
    }

    pub fn resident_mib(&self) -> Option<f64> {
        Some(self.resident_kib? as f64 / 1_024.0)
    }

    /// None if nothing was decided: 0 would look like the best figure.
    fn each(&self, sum: f64) -> Option<f64> {
        (self.decisions() > 0).then(|| sum / self.decisions() as f64)
    }

    pub fn json(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "ok": self.ok,
            "over_limit": self.over,
            "limited": self.limited,
            "errors": self.errors,
            "unanswered": self.unanswered,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "p999_us": self.p999_us,
            "service_cpu_us": self.service_cpu_us,
            "redis": self.masters.iter().map(|master| json!([master.cpu_us, master.calls])).collect::<Vec<_>>(),
            "load_cpu_us": self.load_cpu_us,
            "resident_kib": self.resident_kib,
        })
    }

    /// Reads what [`Sample::json`] wrote; none if a figure is missing.
    pub fn from_json(json: &Value) -> Option<Sample> {
        Some(Sample {
            seconds: json["seconds"].as_f64()?,
            ok: json["ok"].as_u64()?,
            over: json["over_limit"].as_u64()?,
            limited: json["limited"].as_u64()?,
            errors: json["errors"].as_u64()?,
            unanswered: json["unanswered"].as_u64()?,
            p50_us: json["p50_us"].as_f64()?,
            p99_us: json["p99_us"].as_f64()?,
            p999_us: json["p999_us"].as_f64()?,
            service_cpu_us: json["service_cpu_us"].as_f64(),
            masters: json["redis"].as_array()?.iter().map(Master::from_json).collect::<Option<_>>()?,
            load_cpu_us: json["load_cpu_us"].as_f64()?,
            resident_kib: json["resident_kib"].as_u64(),
        })
    }
}

// === impl Master ===

impl Master {
    fn from_json(json: &Value) -> Option<Master> {
        Some(Master { cpu_us: json[0].as_f64()?, calls: json[1].as_u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            seconds: 2.0,
            ok: 300,
            over: 100,
            limited: 200,
            errors: 5,
            unanswered: 1,
            p50_us: 10.5,
            p99_us: 99.0,
            p999_us: 101.0,
            service_cpu_us: Some(4_000.0),
            masters: vec![Master { cpu_us: 800.0, calls: 40 }],
            load_cpu_us: 800.0,
            resident_kib: Some(2_048),
        }
    }

    #[test]
    fn a_denial_is_a_decision_and_an_error_is_none() {
        let sample = sample();
        assert_eq!((sample.decisions(), sample.per_second()), (400, 200.0));
        assert_eq!((sample.service_us(), sample.redis_us()), (Some(10.0), Some(2.0)));
        assert_eq!((sample.calls(), sample.load_us()), (Some(0.1), Some(2.0)));
    }

    #[test]
    fn what_the_load_generator_prints_is_what_the_bench_reads() {
        let printed = sample().json().to_string();
        assert_eq!(Sample::from_json(&printed.parse().unwrap()), Some(sample()));
        assert_eq!(Sample::from_json(&json!({ "ok": 3 })), None);
    }

    #[test]
    fn a_run_without_decisions_costs_nothing_that_could_be_compared() {
        let sample = Sample { service_cpu_us: Some(9.0), ..Sample::default() };
        assert_eq!(sample.service_us(), None);
    }
}
