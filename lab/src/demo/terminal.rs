//! The terminal output of the demo.

use std::io::{self, Write};

use super::{
    figures::{Claim, Figures, Latency, RUN_AGAIN, TO_REPEAT, Verdict},
    herd::Arrivals,
};
use crate::report::Table;

/// One line of progress.
pub fn say(line: &str) {
    // A closed pipe is not an error of the demo.
    let _ = writeln!(io::stderr(), "· {line}");
}

pub fn table(figures: &Figures, files: &[String]) {
    let _ = print(&mut io::stdout().lock(), figures, files);
}

fn print(out: &mut impl Write, figures: &Figures, files: &[String]) -> io::Result<()> {
    writeln!(out, "\n{TO_REPEAT}")?;
    for claims in figures.claims.chunk_by(|one, next| one.load == next.load) {
        writeln!(out, "\n{}", claims[0].load)?;
        let table = table_of(claims);
        let mut lines = table.lines();
        writeln!(out, "{}", lines.next().unwrap_or_default())?;
        for (line, claim) in lines.zip(claims) {
            writeln!(out, "{line}")?;
            explain(out, claim)?;
        }
    }
    writeln!(out, "\na denied request, raw\n")?;
    for line in figures.denial.lines() {
        writeln!(out, "  {line}")?;
    }
    herd(out, figures)?;
    writeln!(out, "\none request after the other through one node")?;
    let row = |latency: &Latency| {
        vec![latency.through.to_owned(), latency.p50_us.to_string(), latency.p99_us.to_string()]
    };
    let latency = Table::of_numbers(&["", "p50 µs", "p99 µs"]).with_rows(figures.latency.iter().map(row));
    write!(out, "{}", latency.text())?;
    writeln!(out, "      $ {RUN_AGAIN}")?;
    writeln!(out, "\n{}; {} s", figures.machine, figures.took_s)?;
    for file in files {
        writeln!(out, "{file}")?;
    }
    Ok(())
}

fn table_of(claims: &[Claim]) -> Table {
    let row = |claim: &Claim| {
        let ratio = if claim.allowed > 0.0 { format!("{:.2}", claim.ratio()) } else { "-".to_owned() };
        vec![claim.subject.clone(), claim.measured.to_string(), format!("{:.1}", claim.allowed), ratio]
    };
    Table::of_numbers(&["", "admitted", "allowed", "ratio"]).with_rows(claims.iter().map(row))
}

fn explain(out: &mut impl Write, claim: &Claim) -> io::Result<()> {
    writeln!(out, "      {}: {}", verdict(claim.verdict), claim.claim)?;
    writeln!(out, "      {}", claim.reason)?;
    writeln!(out, "      $ {}", claim.command)
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Shown => "shown",
        Verdict::Refuted => "REFUTED",
        Verdict::NotProven => "NOT PROVEN",
    }
}

fn herd(out: &mut impl Write, figures: &Figures) -> io::Result<()> {
    let herd = &figures.herd;
    writeln!(
        out,
        "\n{} clients with {} per minute each, all emptied at once: arrivals in the busiest second after that",
        herd.clients, herd.per_minute
    )?;
    let row = |name: &str, arrivals: &Arrivals| vec![name.to_owned(), arrivals.peak().to_string()];
    let peaks = Table::of_numbers(&["", "requests"]).with_rows([
        row("fixed window (a model)", &herd.fixed_window),
        row("Tollgate, waits not jittered", &herd.without_jitter),
        row("Tollgate, as it is", &herd.with_jitter),
    ]);
    write!(out, "{}", peaks.text())?;
    writeln!(out, "      $ {RUN_AGAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::page::sample;

    #[test]
    fn every_figure_has_a_command_and_to_repeat_is_said_once_above_them() {
        let figures = sample::figures();
        let mut out = Vec::new();
        print(&mut out, &figures, &[]).unwrap();
        let text = String::from_utf8(out).unwrap();
        // One for each claim, one for the herd, one for the latency.
        assert_eq!(text.matches("\n      $ ").count(), figures.claims.len() + 2, "{text}");
        assert_eq!(text.matches("\n      $ make demo\n").count(), 2, "{text}");
        let said =
            "\nTo repeat a command, run `target/release/lab up` and use the addresses that it prints\n";
        assert_eq!(text.matches(said).count(), 1, "{text}");
        assert!(text.find(said) < text.find("\n      $ "), "{text}");
    }
}
