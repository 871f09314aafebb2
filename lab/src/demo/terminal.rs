//! What the demo prints.

use std::io::{self, Write};

use super::figures::{Claim, Figures, Verdict};

/// One line of progress.
pub fn say(line: &str) {
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(io::stderr(), "· {line}");
}

pub fn table(figures: &Figures, files: &[String]) {
    let _ = print(&mut io::stdout().lock(), figures, files);
}

fn print(out: &mut impl Write, figures: &Figures, files: &[String]) -> io::Result<()> {
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
    writeln!(out, "\n{}; {} s", figures.machine, figures.took_s)?;
    for file in files {
        writeln!(out, "{file}")?;
    }
    Ok(())
}

fn row(out: &mut impl Write, claim: &Claim) -> io::Result<()> {
    let ratio = if claim.allowed > 0.0 { format!("{:.2}", claim.ratio()) } else { "-".to_owned() };
    writeln!(
        out,
        "  {:<30}{:>10}{:>10.1}{:>8}   {}",
        claim.subject,
        claim.measured,
        claim.allowed,
        ratio,
        verdict(claim.verdict)
    )?;
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
    writeln!(out, "  {:<30}{:>10}", "Tollgate, as it is", herd.with_jitter.peak())
}
