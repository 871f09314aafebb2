use super::*;
use crate::bench::{cases, figures::tests::case};

fn report(cases: Vec<CaseFigures>) -> Report {
    let (machine, command, date) = (String::new(), String::new(), String::new());
    Report { machine, command, date, took_s: 1, cases, admissions: Vec::new(), notes: Vec::new() }
}

fn outcome(report: &Report, work: &str) -> Outcome {
    evaluate(report).into_iter().find(|outcome| outcome.target.work.starts_with(work)).unwrap()
}

#[test]
fn the_median_of_the_rounds_decides_and_not_the_worst() {
    let floor: &[f64] = &[10.0; 3];
    let memory: &[f64] = &[11.0, 19.0, 11.9];
    let redis: &[f64] = &[14.0, 13.6, 12.0];
    let uniform = case("uniform-64", &[("floor", floor), ("memory", memory), ("Redis", redis)]);
    let report = report(vec![uniform]);
    let met = outcome(&report, "memory, allowed");
    assert_eq!((met.verdict, met.measured.unwrap().max), (Verdict::Met, 1.9));
    assert_eq!(outcome(&report, "Redis, 1,000 keys, 64").verdict, Verdict::Missed);
}

#[test]
fn what_was_not_run_is_neither_met_nor_missed() {
    assert!(evaluate(&report(vec![])).iter().all(|outcome| outcome.verdict == Verdict::NotMeasured));
}

#[test]
fn targets_can_be_told_apart_by_their_words() {
    let words: std::collections::HashSet<&str> = TARGETS.iter().map(|target| target.work).collect();
    assert_eq!(words.len(), TARGETS.len());
}

#[test]
fn a_rate_has_to_reach_its_bound_and_a_cost_has_to_stay_below() {
    assert!(Bound::AtLeast(0.9).holds(0.95) && !Bound::AtLeast(0.9).holds(0.89));
    assert!(Bound::AtMost(1.2).holds(1.2) && !Bound::AtMost(1.2).holds(1.21));
}

#[test]
fn each_target_is_read_from_one_of_the_usual_cases_whose_contenders_it_names() {
    let figures = |case: &crate::bench::case::Case| {
        let profiled = cases::profiled_in(case);
        let contenders: Vec<(&str, &[f64])> =
            case.contenders.iter().chain(&profiled).map(|it| (it.label.as_str(), &[1.0][..])).collect();
        crate::bench::figures::tests::case(&case.name, &contenders)
    };
    let mut report = report(cases::usual().iter().map(figures).collect());
    for case in &mut report.cases {
        for contender in &mut case.contenders {
            let fill = crate::bench::figures::Fill { keys: 1, seconds: 1.0, kib_before: 1, kib_after: 2 };
            contender.fill = Some(fill);
            for run in &mut contender.runs {
                (run.p50_us, run.p99_us, run.resident_kib) = (1.0, 1.0, Some(1));
            }
        }
    }
    for outcome in evaluate(&report) {
        assert!(outcome.measured.is_some(), "{}", outcome.target.work);
    }
}
