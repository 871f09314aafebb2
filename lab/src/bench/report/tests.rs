use std::fs;

use super::*;
use crate::{
    bench::{
        admission::{Admission, Answers},
        figures::{Fill, Report, tests::case},
        targets,
    },
    binaries,
};

fn report() -> Report {
    let floor: &[f64] = &[7.0, 8.0, 9.0];
    let redis: &[f64] = &[10.0, 12.0, 20.0];
    let mut uniform = case(
        "uniform-64",
        &[("floor", floor), ("Redis", redis), ("INCRBY+EXPIRE", redis), ("<peer>", redis)],
    );
    uniform.contenders[1].fill =
        Some(Fill { keys: 102_400, seconds: 2.0, kib_before: 2_048, kib_after: 12_048 });
    Report {
        machine: "2 cores of A&B".to_owned(),
        command: "lab bench".to_owned(),
        date: "2026-11-25".to_owned(),
        took_s: 60,
        admissions: Vec::new(),
        cases: vec![uniform, case("empty", &[])],
        notes: vec!["a note".to_owned()],
    }
}

#[test]
fn a_figure_has_about_three_digits() {
    assert_eq!(
        [0.314_f64, 1.0, 12.345, 99.96, 123.4, 1_234_567.8].map(number),
        ["0.31", "1.00", "12.3", "100.0", "123", "1,234,568"]
    );
}

#[test]
fn a_spread_is_shown_where_there_is_one() {
    let spread = |min, median, max| Some(Spread { min, median, max });
    assert_eq!(with_spread(spread(1.0, 1.5, 2.0)), "1.50 [1.00 2.00]");
    assert_eq!(with_spread(spread(1.0, 1.0, 1.0)), "1.00");
    assert_eq!(with_spread(None), "-");
}

#[test]
fn the_page_holds_what_it_was_measured_on_and_each_ratio_with_its_spread() {
    let report = report();
    let page = markdown::markdown(&report, &targets::evaluate(&report));
    for part in [
        "`lab bench` on 2026-11-25",
        "anywhere. Run on 2026-11-25: 3 rounds of 1 s, 2 cores of A&B.",
        "2 cores of A&B",
        "- a note",
        "| Redis | 1.50 [1.43 2.22] |",
        "100 bytes a key",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(page.contains("| uniform-64 | ≤ 1.35 | 1.50 [1.43 2.22] | MISSED |"), "{page}");
}

#[test]
fn what_more_masters_decide_is_calculated_from_what_a_take_costs() {
    let costs = [("Redis", &[4.0][..]), ("Cluster of three", &[8.0][..])];
    let report = Report { cases: vec![case("cluster-64", &costs)], ..report() };
    let page = markdown::markdown(&report, &[]);
    for part in [
        "| one Redis, 64 in flight | 250,000 | 500,000 | 2,500,000 |",
        "| Cluster of 10 masters, 64 in flight | 1,250,000 | 2,500,000 | 12,500,000 |",
        "as one Redis: 1.50 times with 64 in flight.",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn the_columns_of_a_terminal_table_stand_below_each_other() {
    let text = tables::figures(&report().cases[0], tables::Detail::Medians).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    let widths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
}

#[test]
fn the_picture_escapes_what_others_named_and_has_a_bar_for_each_figure() {
    let picture = svg::svg(&report());
    assert!(picture.contains("&lt;peer&gt;") && !picture.contains("<peer>"));
    assert!(picture.contains("2 cores of A&amp;B"));
    // The background, and both panels of four contenders.
    assert_eq!(picture.matches("<rect").count(), 1 + 8);
    assert!(!picture.contains("NaN"));
}

#[test]
fn the_json_holds_every_run_and_what_came_of_them() {
    let report = report();
    let json = json::json(&report, &targets::evaluate(&report));
    let redis = &json["cases"][0]["contenders"][1];
    assert_eq!(redis["runs"].as_array().unwrap().len(), 3);
    assert_eq!(redis["service_cpu_us_per_decision"]["median"], 12.0);
    assert_eq!(redis["fill"]["bytes_per_key"], 100.0);
    assert_eq!(json["targets"].as_array().unwrap().len(), targets::TARGETS.len());
}

/// With another service, and what it and Tollgate admitted.
fn beside_a_peer() -> Report {
    let answers = |admitted: &[u64]| -> Vec<Answers> {
        admitted.iter().map(|admitted| Answers { admitted: *admitted, ..Answers::default() }).collect()
    };
    let admission = |label: &str, edge: &[u64], at_once: &[u64]| Admission {
        label: label.to_owned(),
        edge: answers(edge),
        at_once: answers(at_once),
    };
    let admissions =
        vec![admission("Redis", &[11, 11], &[100, 101, 101]), admission("<peer>", &[20], &[100])];
    Report { admissions, ..report() }
}

#[test]
fn the_first_table_has_tollgate_and_each_other_service_and_what_they_admit() {
    let page = markdown::markdown(&beside_a_peer(), &[]);
    let (first, second) = (page.find("## Beside other services"), page.find("## Targets"));
    assert!(first.is_some() && first < second);
    for part in [
        "| uniform-64 | Tollgate | 100 | 0.00 | 0.00 | 12.0 [10.0 20.0] | 12.0 [10.0 20.0] | - |",
        "| uniform-64 | <peer> | 100 | 0.00 | 0.00 | 12.0 [10.0 20.0] | 12.0 [10.0 20.0] | 1.00 |",
        "| Tollgate | 11 | 101 [100 101] of 2,000 | 0 |",
        "| <peer> | 20 | 100 of 2,000 | 0 |",
        "It has not been run for this page",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!markdown::markdown(&Report { cases: Vec::new(), ..report() }, &[]).contains("## Beside"));
}

#[test]
fn a_run_of_one_case_keeps_what_the_page_says_of_the_others() {
    let kept = Report {
        cases: vec![case("hot-64", &[("floor", &[1.0])]), report().cases.remove(0)],
        ..beside_a_peer()
    };
    let kept = markdown::markdown(&kept, &targets::evaluate(&kept));
    let slower: &[f64] = &[30.0];
    let again = case("uniform-64", &[("floor", &[10.0]), ("Redis", slower), ("another peer", slower)]);
    let new = Report { date: "2026-12-24".to_owned(), cases: vec![again], ..report() };
    let new = markdown::markdown(&new, &targets::evaluate(&new));
    let page = merge::merged(&new, &kept);
    for part in [
        "`lab bench` on 2026-12-24",
        "### hot-64\n\nsome; anywhere. Run on 2026-11-25",
        "### uniform-64\n\nsome; anywhere. Run on 2026-12-24",
        "| uniform-64 | ≤ 1.35 | 3.00 | MISSED |",
        "| uniform-64 | another peer |",
        // Nobody has counted admissions again.
        "| Tollgate | 11 | 101 [100 101] of 2,000 | 0 |",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("| uniform-64 | <peer> |"), "{page}");
    assert_eq!(page.matches("### uniform-64").count(), 1);
    assert_eq!(merge::merged(&page, &page), page);
    // A row that only the kept page has.
    let only = Report { cases: Vec::new(), ..report() };
    let only = markdown::markdown(&only, &targets::evaluate(&only));
    let kept = merge::merged(&only, &page);
    assert!(kept.contains("| uniform-64 | ≤ 1.35 | 3.00 | MISSED |"), "{kept}");
    assert!(kept.contains("| uniform-64 | another peer |"), "{kept}");
}

#[test]
fn without_a_page_to_keep_the_new_one_stands_alone() {
    let new = markdown::markdown(&beside_a_peer(), &[]);
    // Its second case is not one that is known, and so is left out.
    assert!(merge::merged(&new, "").contains("### uniform-64"));
}

#[test]
fn the_page_in_docs_says_what_a_run_of_today_would_say_around_its_figures() {
    let page = fs::read_to_string(binaries::checkout().join("docs/performance.md")).unwrap();
    let told = "docs/performance.md lacks this; `lab bench --cases CASE --write-docs` writes the page anew";
    for words in [markdown::HOW, peers::HOW, peers::ADMISSION, scaling::HOW] {
        assert!(page.contains(words), "{told}: {words}");
    }
    for target in &targets::TARGETS {
        let row = format!("| {} | {} | {} |", target.work, target.case, target.bound);
        assert!(page.contains(&row), "{told}: {row}");
    }
}
