use std::collections::BTreeMap;

use super::{Verdict, decide};
use crate::{
    args::ProveArgs,
    findings::{FallbackAnswers, Findings, Run},
    metrics::Decisions,
    phases::Course,
    record::{Broken, Class, Entry, Record},
};
use tollgate_core::{
    audit::{Bound, Clocks, Remoteness, Span},
    limit::{Algorithm, Limit, LimitSpec, Unit},
};

/// A limit of one a second, and requests 10 µs long: (start, class, status).
fn findings(requests: &[(u64, Class, u16)]) -> Findings {
    let limit = Limit::new(1, Unit::Second, None).unwrap();
    findings_of(limit, Clocks { began_us: 0, stepped_us: 0 }, requests)
}

fn findings_of(limit: Limit, clocks: Clocks, requests: &[(u64, Class, u16)]) -> Findings {
    let entry = |&(start_us, class, status): &(u64, Class, u16)| Entry {
        span: Span { start_us, end_us: start_us + 10 },
        latency_us: 10,
        status,
        target: 0,
        class,
    };
    let entries = requests.iter().map(entry).collect();
    Findings::new(Run {
        bound: Bound::for_limit(&limit, Remoteness::SameClock, clocks),
        limit,
        is_other_clock: false,
        targets: vec!["http://h/".to_owned()],
        record: Record { entries, ..Record::default() },
        course: Course::default(),
        fallback_answers: FallbackAnswers::NotAsked,
    })
}

const ADMITTED: (u64, Class, u16) = (0, Class::Admitted, 200);
const DENIED: (u64, Class, u16) = (20, Class::Denied, 429);
const ONE_TOO_MANY: (u64, Class, u16) = (40, Class::Admitted, 200);
const WRONGLY_DENIED: (u64, Class, u16) = (5_000_000, Class::Denied, 429);
const FAILED: (u64, Class, u16) = (6_000_000, Class::Failed, 503);

fn verdict(requests: &[(u64, Class, u16)]) -> (Verdict, u8) {
    let verdict = decide(&findings(requests)).0;
    (verdict, verdict.exit_status())
}

fn broken() -> BTreeMap<&'static str, Broken> {
    BTreeMap::from([("a rule holds", Broken { count: 7, example: "no rule".to_owned() })])
}

#[test]
fn too_much_comes_before_nothing_proven_and_that_before_too_little() {
    assert_eq!(verdict(&[ADMITTED, DENIED]), (Verdict::Holds, 0));
    assert_eq!(verdict(&[ADMITTED, DENIED, WRONGLY_DENIED]), (Verdict::TooLittle, 1));
    assert_eq!(verdict(&[ADMITTED, DENIED, WRONGLY_DENIED, FAILED]), (Verdict::NotProven, 3));
    assert_eq!(verdict(&[ADMITTED, DENIED, ONE_TOO_MANY, WRONGLY_DENIED, FAILED]), (Verdict::TooMuch, 1));
}

#[test]
fn a_broken_contract_counts_only_where_the_limit_was_kept() {
    let mut kept = findings(&[ADMITTED, DENIED]);
    kept.broken = broken();
    let (verdict, reason) = decide(&kept);
    assert_eq!((verdict, verdict.exit_status()), (Verdict::BrokenContract, 1));
    assert_eq!(reason, "broken contract: 7 answers broke the rule that a rule holds (for example no rule)");
    let mut too_little = findings(&[WRONGLY_DENIED]);
    too_little.broken = broken();
    assert_eq!(decide(&too_little).0, Verdict::TooLittle);
    let mut unproven = findings(&[ADMITTED, DENIED, FAILED]);
    unproven.broken = broken();
    assert_eq!(decide(&unproven).0, Verdict::NotProven);
}

#[test]
fn the_reason_for_too_much_shows_the_sum() {
    let (_, reason) =
        decide(&findings(&[ADMITTED, DENIED, ONE_TOO_MANY, (400_000, Class::AdmittedUnsigned, 200)]));
    assert_eq!(
        reason,
        "too much: 3 admitted between 0.000 s and 0.400 s where 1.4 were allowed (burst 1 + 0.4 refilled)"
    );
}

#[test]
fn the_reason_for_too_little_shows_a_denial() {
    let (_, reason) = decide(&findings(&[WRONGLY_DENIED]));
    assert_eq!(
        reason,
        "too little: 1 of 1 denials were unjustified; one between 5.000 s and 5.000 s, \
         when the bucket held at least 1 tokens"
    );
}

#[test]
fn whoever_left_out_the_lease_is_told_to_say_it() {
    let decided = |from_leases| {
        let mut findings = findings(&[WRONGLY_DENIED]);
        let decisions = Decisions { store_made: 9, from_leases, fallback_answers: 0 };
        findings.fallback_answers = FallbackAnswers::Counted(decisions);
        decide(&findings).1
    };
    let told = decided(7);
    assert!(
        told.ends_with(" (leases made 7 decisions: if this limit has a lease, say so by --lease TIME)"),
        "{told}"
    );
    assert!(!decided(0).contains("lease"));
}

/// One a day, where the run begins a second before midnight.
fn of_windows(requests: &[(u64, Class, u16)]) -> Findings {
    let window = LimitSpec { algorithm: Algorithm::FixedWindow, ..LimitSpec::new(1, Unit::Day) };
    let clocks = Clocks { began_us: 20_785 * 86_400_000_000 - 1_000_000, stepped_us: 0 };
    findings_of(window.check().unwrap(), clocks, requests)
}

#[test]
fn the_reasons_name_windows_where_the_limit_counts_in_them() {
    let next_day: (u64, Class, u16) = (2_000_000, Class::Admitted, 200);
    assert_eq!(
        decide(&of_windows(&[ADMITTED, DENIED, next_day])).1,
        "holds: in no window were more than 1 admitted (2 in all), and each of 1 denials was justified and told its \
         client when to come back"
    );
    let late = (3_000_000, Class::Admitted, 200);
    let (verdict, reason) = decide(&of_windows(&[ADMITTED, DENIED, next_day, late]));
    assert_eq!(verdict, Verdict::TooMuch);
    assert_eq!(
        reason,
        "too much: 2 admitted between 2.000 s and 3.000 s where 1 were allowed (in one window)"
    );
    let around: (u64, Class, u16) = (999_995, Class::Admitted, 200);
    let reason = decide(&of_windows(&[DENIED, around, around, around])).1;
    assert!(reason.ends_with("where 2 were allowed (1 in each of 2 windows)"), "{reason}");
    let (verdict, reason) = decide(&of_windows(&[ADMITTED, WRONGLY_DENIED]));
    assert_eq!(verdict, Verdict::TooLittle);
    assert!(reason.ends_with("when its window had room for at least 1 more"), "{reason}");

    let findings = of_windows(&[ADMITTED, DENIED, next_day, late]);
    let text = crate::report::text(&findings, Verdict::TooMuch, "");
    assert!(text.contains("\nlimit           1 per day, in fixed windows\n"), "{text}");
    assert!(
        text.contains("\nworst interval  2.000 s to 3.000 s: 2 admitted, 1 allowed, 1 too many\n"),
        "{text}"
    );
}

#[test]
fn every_answer_that_the_limiter_did_not_make_leaves_the_run_unproven() {
    for (class, status, said) in [
        (Class::Failed, 503, "not proven: 1 of 3 answers were errors (503)"),
        (Class::Silent, 0, "not proven: 1 of 3 requests got no answer ()"),
        (Class::AdmittedUnsigned, 200, "not proven: 1 of 3 answers carried no ratelimit headers"),
        (Class::DeniedUnsigned, 429, "not proven: 1 of 3 answers carried no ratelimit headers"),
    ] {
        // Late enough to be no too-much.
        let (verdict, reason) = decide(&findings(&[ADMITTED, DENIED, (3_000_000, class, status)]));
        assert_eq!((verdict, reason.as_str()), (Verdict::NotProven, said));
    }
    assert_eq!(
        decide(&findings(&[ADMITTED])).1,
        "not proven: no request was denied, so the load never reached the limit"
    );
}

#[test]
fn fallback_answers_and_unreadable_metrics_leave_the_run_unproven() {
    let decided = |store_made, fallback_answers| {
        FallbackAnswers::Counted(Decisions { store_made, fallback_answers, ..Decisions::default() })
    };
    for (fallback_answers, expected) in [
        (decided(5, 0), Verdict::Holds),
        (decided(5, 1), Verdict::NotProven),
        (decided(0, 0), Verdict::NotProven),
        (FallbackAnswers::Unreadable("refused".to_owned()), Verdict::NotProven),
    ] {
        let mut findings = findings(&[ADMITTED, DENIED]);
        findings.fallback_answers = fallback_answers.clone();
        assert_eq!(decide(&findings).0, expected, "{fallback_answers:?}");
        let mut too_much = super::tests::findings(&[ADMITTED, DENIED, ONE_TOO_MANY]);
        too_much.fallback_answers = fallback_answers;
        assert_eq!(decide(&too_much).0, Verdict::TooMuch);
    }
}

#[test]
fn a_run_cut_short_proves_only_too_much() {
    for cut in [|f: &mut Findings| f.is_interrupted = true, |f: &mut Findings| f.is_full = true] {
        let mut short = findings(&[ADMITTED, DENIED]);
        cut(&mut short);
        assert_eq!(decide(&short).0, Verdict::NotProven);
        let mut short = findings(&[ADMITTED, DENIED, ONE_TOO_MANY]);
        cut(&mut short);
        assert_eq!(decide(&short).0, Verdict::TooMuch);
    }
}

#[test]
fn both_reports_carry_the_reason_and_the_figures() {
    let findings = findings(&[ADMITTED, DENIED, ONE_TOO_MANY]);
    let (verdict, reason) = decide(&findings);
    let text = crate::report::text(&findings, verdict, &reason);
    assert!(text.starts_with(&reason), "{text}");
    assert!(text.contains("\nworst interval  0.000 s to 0.000 s: 2 admitted, 1 allowed"), "{text}");
    assert!(text.contains("\nanswers         200: 2, 429: 1\n"), "{text}");
    assert!(text.contains("\n100.0 %  http://h/         3         2         1       0\n"), "{text}");
    assert!(text.ends_with("\nexit status 1\n"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&crate::report::json(&findings, verdict, &reason)).unwrap();
    assert_eq!(json["reason"], reason.as_str());
    assert_eq!(json["worst_interval"]["admitted"], 2);
    assert_eq!(json["worst_interval"]["surplus"], 0.999);
    assert_eq!(json["statuses"]["200"], 2);
    assert_eq!(json["targets"][0]["counts"]["denied"], 1);
    assert_eq!(json["targets"][0]["share_percent"], 100.0);
    // The type that the CLI hands over is public, and so is all it takes to make one.
    let _: fn(ProveArgs) -> std::process::ExitCode = crate::run;
}

#[test]
fn where_nothing_was_denied_nothing_is_proven_though_more_were_admitted_than_allowed() {
    for class in [Class::Admitted, Class::AdmittedUnsigned] {
        let all_pass = findings(&[ADMITTED, (40, class, 200), (60, class, 200)]);
        let (verdict, reason) = decide(&all_pass);
        assert_eq!((verdict, verdict.exit_status()), (Verdict::NotProven, 3));
        let said = "no request was denied: 3 admitted between 0.000 s and 0.000 s where 1 were allowed";
        assert!(reason.contains(said), "{reason}");
        assert!(reason.contains("look at the headers and the path"), "{reason}");
    }
}

#[test]
fn the_rules_that_denied_are_named_the_commonest_first() {
    let mut holds = findings(&[ADMITTED, DENIED]);
    holds.denied_by = BTreeMap::from([("edge.a".to_owned(), 1), ("edge.remote_address".to_owned(), 7)]);
    let (verdict, reason) = decide(&holds);
    assert!(reason.contains("denials (by `edge.remote_address`, `edge.a`) was justified"), "{reason}");
    let text = crate::report::text(&holds, verdict, &reason);
    assert!(text.contains("\ndenied by       edge.remote_address, 7 times\n"), "{text}");
    let json = crate::report::json(&holds, verdict, &reason);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["denied_by"][1], serde_json::json!({ "rule": "edge.remote_address", "count": 7 }));
}

#[test]
fn the_contract_is_said_to_be_kept_only_in_answers_that_the_limiter_signed() {
    let contract = |requests: &[(u64, Class, u16)]| {
        let findings = findings(requests);
        let text = crate::report::text(&findings, Verdict::NotProven, "");
        let line = text.lines().find_map(|line| line.strip_prefix("contract        ")).map(str::to_owned);
        line.unwrap()
    };
    let silent = (30, Class::Silent, 0);
    assert_eq!(contract(&[ADMITTED, DENIED, FAILED, silent]), "kept in 2 answers");
    let none = "not seen: no answer carried ratelimit headers";
    assert_eq!(contract(&[silent, FAILED]), none);
    assert_eq!(contract(&[(0, Class::AdmittedUnsigned, 200), (9, Class::DeniedUnsigned, 429)]), none);
}
