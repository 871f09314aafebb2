//! The terminal output of the benchmark: progress to stderr, results to stdout.

use std::io::{self, Write};

use super::{
    median, peers,
    tables::{self, Detail},
};
use crate::bench::{
    admission,
    case::Case,
    figures::{CaseFigures, ContenderFigures, Report},
    sample::Sample,
    stats::Spread,
    targets::Outcome,
};

/// One line of progress.
pub fn say(line: &str) {
    // A closed pipe is not an error of the benchmark.
    let _ = writeln!(io::stderr(), "· {line}");
}

pub fn round(number: usize, rounds: usize, contenders: &[ContenderFigures]) {
    let rate = |contender: &ContenderFigures| {
        let last = contender.runs.last().map(Sample::per_second);
        format!("{} {}/s", contender.label, median(Spread::from_values(last)))
    };
    let rates: Vec<String> = contenders.iter().map(rate).collect();
    say(&format!("  round {number}/{rounds}: {}", rates.join(" · ")));
}

pub fn list(cases: &[Case]) {
    let mut out = io::stdout().lock();
    for case in cases {
        let _ = writeln!(out, "{:<28} {}", case.name, case.load);
    }
    let _ = writeln!(
        out,
        "{:<28} three replicas: across the edge of a second, and 2,000 at once",
        admission::NAME
    );
}

/// Prints a case as soon as it is measured.
pub fn case(case: &CaseFigures) {
    let _ = print_case(&mut io::stdout().lock(), case);
}

fn print_case(out: &mut impl Write, case: &CaseFigures) -> io::Result<()> {
    writeln!(out, "\n{}: {}", case.name, case.load)?;
    if let Some(rate) = case.rate {
        writeln!(out, "  asked {rate:.0} times a second")?;
    }
    writeln!(out, "  {}\n", case.placement)?;
    write!(out, "{}", tables::figures(case, Detail::Medians).text())?;
    let ratios = tables::ratios(case);
    if !ratios.is_empty() {
        write!(out, "\n{}", ratios.text())?;
    }
    for line in tables::masters(case).into_iter().chain(tables::fills(case)) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

pub fn summary(report: &Report, outcomes: &[Outcome], files: &[String]) {
    let _ = print_summary(&mut io::stdout().lock(), report, outcomes, files);
}

fn print_summary(
    out: &mut impl Write,
    report: &Report,
    outcomes: &[Outcome],
    files: &[String],
) -> io::Result<()> {
    let admissions = peers::admissions(report);
    if !admissions.is_empty() {
        writeln!(out, "\nAdmission: three replicas; limits of 10 a second and of 100 a minute\n")?;
        write!(out, "{}", admissions.text())?;
    }
    writeln!(out, "\nTargets: medians over the rounds, ratios within a round\n")?;
    write!(out, "{}", tables::targets(outcomes).text())?;
    writeln!(out)?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "{}; {} s", report.machine, report.took_s)?;
    files.iter().try_for_each(|file| writeln!(out, "{file}"))
}
