//! What follows from the findings: one verdict, its exit status, and the reason in one sentence.
//!
//! The order is the whole policy. Where nothing was ever denied the requests may not have met the limit at all (a
//! misspelt header), so nothing is proven, also if more were admitted than it allows. Else too much is a proof,
//! whatever else went wrong; next, answers that the limiter did not make prove nothing; only then is it held
//! against a limiter that it denied too often or told its clients the wrong thing.

use std::cmp::Reverse;

use super::{
    findings::{Counts, FallbackAnswers, Findings},
    metrics::Decisions,
    report::{milli, seconds},
};
use tollgate_core::{
    audit::{Unjustified, Worst},
    limit::Algorithm,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    TooMuch,
    TooLittle,
    BrokenContract,
    NotProven,
}

impl Verdict {
    pub fn exit_status(self) -> u8 {
        match self {
            Verdict::Holds => 0,
            Verdict::TooMuch | Verdict::TooLittle | Verdict::BrokenContract => 1,
            Verdict::NotProven => 3,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::TooMuch => "too much",
            Verdict::TooLittle => "too little",
            Verdict::BrokenContract => "broken contract",
            Verdict::NotProven => "not proven",
        }
    }
}

pub(super) fn decide(findings: &Findings) -> (Verdict, String) {
    let denials = &findings.denials;
    let (verdict, reason) = if findings.counts.denied > 0
        && let Some(worst) = findings.surplus()
    {
        (Verdict::TooMuch, too_much(findings, &worst))
    } else if let Some(reason) = unproven(findings) {
        (Verdict::NotProven, reason)
    } else if let Some(worst) = denials.worst {
        (Verdict::TooLittle, too_little(findings, &worst))
    } else if let Some((rule, broken)) = findings.broken.iter().max_by_key(|(_, broken)| broken.count) {
        let more = match findings.broken.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more rules were broken"),
        };
        let reason = format!(
            "{} answers broke the rule that {rule} (for example {}){more}",
            broken.count, broken.example
        );
        (Verdict::BrokenContract, reason)
    } else {
        (Verdict::Holds, holds(findings))
    };
    (verdict, format!("{}: {reason}", verdict.name()))
}

fn too_much(findings: &Findings, worst: &Worst) -> String {
    let most = findings.limit.burst();
    let sum = match worst.windows {
        None => format!("burst {most} + {} refilled", milli(worst.refilled_milli)),
        Some(1) => "in one window".to_owned(),
        Some(windows) => format!("{most} in each of {windows} windows"),
    };
    format!(
        "{} admitted between {} and {} where {} were allowed ({sum})",
        worst.interval.admitted,
        seconds(worst.interval.from_us),
        seconds(worst.interval.to_us),
        milli(findings.allowed_milli(worst.refilled_milli)),
    )
}

fn too_little(findings: &Findings, worst: &Unjustified) -> String {
    let level = milli(worst.level_milli);
    let room = match findings.limit.algorithm() {
        Algorithm::FixedWindow => format!("its window had room for at least {level} more"),
        _ => format!("the bucket held at least {level} tokens"),
    };
    let room = match worst.held_back_milli {
        0 => room,
        held_back => format!("{room}, of which leases may hold back {}", milli(held_back)),
    };
    format!(
        "{} of {} denials were unjustified; one between {} and {}, when {room}{}",
        findings.denials.unjustified,
        findings.denials.checked,
        seconds(worst.denial.start_us),
        seconds(worst.denial.end_us),
        lease_left_out(findings),
    )
}

/// What leases hold back is no fault, but only with `--lease` is it known.
fn lease_left_out(findings: &Findings) -> String {
    match findings.fallback_answers {
        FallbackAnswers::Counted(Decisions { from_leases, .. })
            if from_leases > 0 && findings.limit.lease_us() == 0 =>
        {
            format!(
                " (leases made {from_leases} decisions: if this limit has a lease, say so by --lease TIME)"
            )
        }
        _ => String::new(),
    }
}

/// Why the run proves nothing, if so. All reasons at once, since each must go before a run can prove.
fn unproven(findings: &Findings) -> Option<String> {
    let counts = &findings.counts;
    if counts.sent == 0 {
        return Some(format!("nothing was sent ({})", findings.left_out.join("; ")));
    }
    let mut reasons = Vec::new();
    if findings.is_interrupted {
        reasons.push("the run was interrupted".to_owned());
    }
    if findings.is_full {
        reasons.push(format!("the run ended early: {} requests are the most that it keeps", counts.sent));
    }
    reasons.extend(not_answered(findings));
    reasons.extend(fallback_answers_reason(&findings.fallback_answers));
    if counts.denied == 0 {
        match findings.surplus() {
            Some(worst) => reasons.push(format!(
                "no request was denied: {}, so these requests may not be under this limit at all; look at the \
                 headers and the path, and for a limiter in shadow mode or one that lets all pass",
                too_much(findings, &worst)
            )),
            None if reasons.is_empty() => {
                reasons.push("no request was denied, so the load never reached the limit".to_owned());
            }
            None => {}
        }
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Answers that were missing, or that the limiter did not make.
fn not_answered(findings: &Findings) -> Vec<String> {
    let Counts { sent, silent, failed, unsigned, .. } = findings.counts;
    let mut reasons = Vec::new();
    if silent > 0 {
        let kinds: Vec<_> =
            findings.silences.iter().map(|(kind, note)| format!("{kind}: {}", note.example)).collect();
        reasons.push(format!("{silent} of {sent} requests got no answer ({})", kinds.join("; ")));
    }
    if failed > 0 {
        let is_error = |status: &&u16| **status != 429 && !(200..300).contains(*status);
        let statuses: Vec<_> = findings.statuses.keys().filter(is_error).map(u16::to_string).collect();
        reasons.push(format!("{failed} of {sent} answers were errors ({})", statuses.join(", ")));
    }
    if unsigned > 0 {
        reasons.push(format!("{unsigned} of {sent} answers carried no ratelimit headers"));
    }
    reasons
}

fn fallback_answers_reason(fallback_answers: &FallbackAnswers) -> Option<String> {
    match fallback_answers {
        FallbackAnswers::Unreadable(error) => Some(format!("the metrics were not readable ({error})")),
        FallbackAnswers::Counted(decisions) if decisions.fallback_answers > 0 => Some(format!(
            "{} decisions were fallback answers, made without the store",
            decisions.fallback_answers
        )),
        FallbackAnswers::Counted(decisions) if decisions.store_made == 0 => {
            Some("the metrics counted no decision, so they are not those of this limiter".to_owned())
        }
        FallbackAnswers::Counted(_) | FallbackAnswers::NotAsked => None,
    }
}

fn holds(findings: &Findings) -> String {
    let (admitted, denied) = (findings.counts.admitted, findings.counts.denied);
    let (by, most) = (denied_by(findings), findings.limit.burst());
    let bound = match findings.limit.algorithm() {
        Algorithm::FixedWindow => format!("in no window were more than {most} admitted"),
        _ => format!("in no interval were more than burst {most} + refill admitted"),
    };
    format!(
        "{bound} ({admitted} in all), and each of {denied} denials{by} was justified{} and told its client when to come \
         back",
        match findings.denials.held_back {
            0 => String::new(),
            held_back => format!(" ({held_back} by leases alone)"),
        }
    )
}

/// By which rules, so that it shows where it was another one than that which was to be proven.
fn denied_by(findings: &Findings) -> String {
    let mut rules: Vec<_> = findings.denied_by.iter().collect();
    rules.sort_by_key(|(_, count)| Reverse(**count));
    let named: Vec<String> =
        rules.iter().take(3).map(|(rule, _)| format!("`{}`", rule.escape_debug())).collect();
    match rules.len() {
        0 => String::new(),
        1..=3 => format!(" (by {})", named.join(", ")),
        more => format!(" (by {}, and {} more rules)", named.join(", "), more - 3),
    }
}

#[cfg(test)]
mod tests;
