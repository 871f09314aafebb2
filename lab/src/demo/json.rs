//! The figures as JSON, for `target/demo/report.json`.
//!
//! All that was measured, and beside it what the page derives: totals, ratios and peaks. Every name that
//! stands for a quantity of time says its unit.

use serde_json::{Value, json};

use super::{
    figures::{Admission, Claim, Figures, HerdArrivals, Latency, TO_REPEAT, Verdict},
    herd::Arrivals,
};

pub fn json(figures: &Figures) -> Value {
    json!({
        "commands_run": TO_REPEAT,
        "claims": figures.claims.iter().map(claim).collect::<Vec<_>>(),
        "admission": admission(&figures.admission),
        "denial": figures.denial,
        "herd": herd(&figures.herd),
        "latency": figures.latency.iter().map(latency).collect::<Vec<_>>(),
        "machine": figures.machine,
        "took_s": figures.took_s,
    })
}

fn claim(claim: &Claim) -> Value {
    json!({
        "claim": claim.claim,
        "load": claim.load,
        "subject": claim.subject,
        "measured": claim.measured,
        "allowed": claim.allowed,
        "ratio": claim.ratio(),
        "verdict": match claim.verdict {
            Verdict::Shown => "shown",
            Verdict::Refuted => "refuted",
            Verdict::NotProven => "not proven",
        },
        "reason": claim.reason,
        "command": claim.command,
    })
}

fn admission(admission: &Admission) -> Value {
    let subject = |bins: &[u64]| {
        json!({
            "admitted": bins.iter().sum::<u64>(),
            "allowed": admission.allowed_after(bins.len()),
            "ratio": admission.ratio(bins),
            "per_bin": bins,
        })
    };
    json!({
        "per_second": admission.per_second,
        "burst": admission.burst,
        "bin_ms": admission.bin_ms,
        "naive": subject(&admission.naive),
        "tollgate": subject(&admission.tollgate),
    })
}

fn herd(herd: &HerdArrivals) -> Value {
    json!({
        "clients": herd.clients,
        "per_minute": herd.per_minute,
        "with_jitter": arrivals(&herd.with_jitter, "measured"),
        "without_jitter": arrivals(&herd.without_jitter, "measured"),
        "fixed_window": arrivals(&herd.fixed_window, "a model"),
    })
}

fn arrivals(arrivals: &Arrivals, origin: &str) -> Value {
    json!({
        "origin": origin,
        "arrivals_per_second": arrivals.per_second,
        "admitted": arrivals.admitted,
        "peak_after_the_first_second": arrivals.peak(),
    })
}

fn latency(latency: &Latency) -> Value {
    json!({
        "through": latency.through,
        "p50_us": latency.p50_us,
        "p99_us": latency.p99_us,
        "samples": latency.samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::page::sample;

    #[test]
    fn every_figure_is_in_the_json() {
        let figures = sample::figures();
        let json = json(&figures);
        let claim = &json["claims"][0];
        assert_eq!(json["claims"].as_array().unwrap().len(), figures.claims.len());
        assert_eq!((&claim["measured"], &claim["allowed"]), (&390.into(), &130.0.into()));
        assert_eq!((&claim["ratio"], &claim["verdict"]), (&3.0.into(), &"shown".into()));
        for text in ["claim", "load", "subject", "reason", "command"] {
            assert!(claim[text].as_str().is_some_and(|text| !text.is_empty()), "{text}");
        }
        assert_eq!(json["admission"]["naive"]["per_bin"].as_array().unwrap().len(), 120);
        assert_eq!(json["admission"]["tollgate"]["admitted"], 130);
        assert_eq!(
            (&json["admission"]["burst"], &json["admission"]["per_second"], &json["admission"]["bin_ms"]),
            (&10.into(), &10.into(), &100.into())
        );
        assert_eq!(json["denial"], figures.denial);
        assert_eq!((&json["herd"]["clients"], &json["herd"]["per_minute"]), (&150.into(), &6.into()));
        for (name, peak) in [("fixed_window", 1_050), ("without_jitter", 300)] {
            assert_eq!(json["herd"][name]["peak_after_the_first_second"], peak);
            assert_eq!(json["herd"][name]["arrivals_per_second"].as_array().unwrap().len(), 45);
        }
        assert_eq!(json["herd"]["with_jitter"]["admitted"], figures.herd.with_jitter.admitted);
        assert_eq!(json["latency"].as_array().unwrap().len(), figures.latency.len());
        assert_eq!(json["latency"][0]["p99_us"], figures.latency[0].p99_us);
        assert_eq!((&json["machine"], &json["took_s"]), (&figures.machine.as_str().into(), &74.into()));
    }

    #[test]
    fn figures_that_are_all_zero_are_json_too() {
        assert_eq!(json(&sample::nothing())["admission"]["naive"]["ratio"], 0.0);
    }
}
