//! What the demo prints.

use std::io::{self, Write};

use super::figures::{Claim, Figures, RUN_AGAIN, Verdict, WHERE_COMMANDS_RUN};

/// One line of progress.
pub fn say(line: &str) {
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(io::stderr(), "· {line}");
}

pub fn table(figures: &Figures, files: &[String]) {
    let _ = print(&mut io::stdout().lock(), figures, files);
}

fn print(out: &mut impl Write, figures: &Figures, files: &[String]) -> io::Result<()> {
    writeln!(out, "\ncommands: {WHERE_COMMANDS_RUN}")?;
    let mut load = "";
    for claim in &figures.claims {
        if claim.load != load {
            load = &claim.load;
            writeln!(out, "\n{load}")?;
            writeln!(out, "  {:<30}{:>10}{:>10}{:>8}", "", "admitted", "allowed", "ratio")?;
        }
        row(out, claim)?;
    }
    writeln!(out, "\na denied request, raw\n")?;
    for line in figures.denial.lines() {
        writeln!(out, "  {line}")?;
    }
    herd(out, figures)?;
    writeln!(out, "\none request after the other through one node")?;
    writeln!(out, "  {:<30}{:>10}{:>10}", "", "p50 µs", "p99 µs")?;
    for latency in &figures.latency {
        writeln!(out, "  {:<30}{:>10}{:>10}", latency.through, latency.p50_us, latency.p99_us)?;
    }
    writeln!(out, "      $ {RUN_AGAIN}")?;
    writeln!(out, "\n{}; {} s", figures.machine, figures.took_s)?;
    for file in files {
        writeln!(out, "{file}")?;
    }
    Ok(())
}

fn row(out: &mut impl Write, claim: &Claim) -> io::Result<()> {
    let ratio = if claim.allowed > 0.0 { format!("{:.2}", claim.ratio()) } else { "-".to_owned() };
    let Claim { subject, measured, allowed, .. } = claim;
    writeln!(out, "  {subject:<30}{measured:>10}{allowed:>10.1}{ratio:>8}")?;
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
    writeln!(out, "  {:<30}{:>10}", "fixed window (a model)", herd.fixed_window.peak())?;
    writeln!(out, "  {:<30}{:>10}", "Tollgate, waits not jittered", herd.without_jitter.peak())?;
    writeln!(out, "  {:<30}{:>10}", "Tollgate, as it is", herd.with_jitter.peak())?;
    writeln!(out, "      $ {RUN_AGAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::page::sample;

    #[test]
    fn every_figure_has_a_command_and_where_they_run_is_said_once_above_them() {
        let figures = sample::figures();
        let mut out = Vec::new();
        print(&mut out, &figures, &[]).unwrap();
        let text = String::from_utf8(out).unwrap();
        // One for each claim, one for the herd, one for the latency.
        assert_eq!(text.matches("\n      $ ").count(), figures.claims.len() + 2, "{text}");
        assert_eq!(text.matches("\n      $ make demo\n").count(), 2, "{text}");
        let said = "\ncommands: beside `target/release/lab up`, with its addresses\n";
        assert_eq!(text.matches(said).count(), 1, "{text}");
        assert!(text.find(said) < text.find("\n      $ "), "{text}");
    }
}
