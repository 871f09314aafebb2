//! The result as tables for a terminal.

use std::fmt::Write as _;

use super::{
    Row, Simulated, clock, counted, numbers, place, remarks, remarks_on, rows, share, windows_sentence,
};
use crate::cli::simulate::{
    changes::Changed,
    log::time,
    tally::{DeniedKey, Values},
};
use tollgate_core::limit::Algorithm;

/// A column is as wide as its widest cell; all but the first are aligned to the right if they are numbers.
struct Table {
    rows: Vec<Vec<String>>,
}

pub(in crate::cli::simulate) fn text(result: &Simulated<'_, '_>) -> String {
    let mut out = String::new();
    let Simulated { seen, side, .. } = result;
    let first_us = seen.first_us.unwrap_or(0);
    let (from, to) = (time::text(first_us), time::text(seen.last_us));
    put(&mut out, &format!("{} from {from} to {to}", counted(seen.requests, "request", "requests")));
    if seen.out_of_order > 0 {
        let sorted = counted(seen.out_of_order.saturating_sub(seen.late), "line was", "lines were");
        put(&mut out, &format!("{sorted} out of order and sorted"));
    }
    let remarks = remarks(seen, result.missed, Some(&result.fields));
    for remark in remarks.iter().chain(&remarks_on(side)) {
        put(&mut out, remark);
    }
    let denied = side.tally.denied;
    let admitted = side.tally.requests.saturating_sub(denied);
    put(&mut out, &format!("\nadmitted {admitted}, denied {}", share(denied, side.tally.requests)));
    let rows = rows(side);
    if !rows.is_empty() {
        put(&mut out, &by_limit(&rows, first_us));
    }
    if denied > 0 {
        put(&mut out, &by_key(&side.tally.top(result.top), "denied most often", result.values, first_us));
    }
    if let Some(windows) = side.windows() {
        put(&mut out, &format!("\n{}", windows_sentence(windows, denied)));
        for row in rows.iter().filter(|row| row.excess >= 0.5) {
            let (place, excess) = (place(row.limit), row.excess);
            put(
                &mut out,
                &format!(
                    "  {place}: in some interval {excess:.0} more than burst + refill, which Tollgate never admits"
                ),
            );
        }
    }
    if let Some((other, changes)) = result.against {
        let before = share(other.tally.denied, other.tally.requests);
        put(
            &mut out,
            &format!("\nunder --against {before} are denied, {} of them under both", changes.denied_by_both),
        );
        changed(&mut out, &changes.newly_denied, "newly denied", result, first_us);
        changed(&mut out, &changes.newly_admitted, "newly admitted", result, first_us);
    }
    out
}

fn changed(out: &mut String, changed: &Changed<'_>, what: &str, result: &Simulated<'_, '_>, first_us: u64) {
    put(out, &format!("\n{what}: {}", share(changed.requests, result.seen.requests)));
    if changed.requests == 0 {
        return;
    }
    let mut table = Table::new(&["limit", "", what]);
    for (limit, requests) in changed.limits() {
        table.add([place(limit), numbers(&limit.limit), requests.to_string()]);
    }
    put(out, &table.text());
    let keys = changed.keys.top(result.top);
    let mut table = Table::new(&[what, "limit", "requests", "first", "last"]);
    for key in keys {
        let (first, last) = (clock(key.first_us, first_us), clock(key.last_us, first_us));
        table.add([key.name.clone(), place(key.limit), key.denied.to_string(), first, last]);
    }
    put(out, &table.text());
}

fn by_limit(rows: &[Row<'_>], first_us: u64) -> String {
    let mut table =
        Table::new(&["limit", "", "asked", "denied", "clients", "touched", "first", "last", "windows admit"]);
    for row in rows {
        let tally = row.tally;
        let shadow = match row.limit.options.shadow_mode {
            true => format!("{} in shadow", tally.over),
            false => share(tally.denied, tally.asked),
        };
        let times = tally.first_us.map(|first| (clock(first, first_us), clock(tally.last_us, first_us)));
        let (first, last) = times.unwrap_or_default();
        let more = match row.limit.limit.algorithm() {
            Algorithm::FixedWindow => String::new(),
            _ => format!("+{}", row.more),
        };
        table.add([
            place(row.limit),
            numbers(&row.limit.limit),
            tally.asked.to_string(),
            shadow,
            tally.clients.to_string(),
            share(tally.touched, tally.clients),
            first,
            last,
            more,
        ]);
    }
    table.text()
}

fn by_key(keys: &[&DeniedKey<'_>], title: &str, values: Values, first_us: u64) -> String {
    let mut table = Table::new(&[title, "limit", "denied", "of", "first", "last"]);
    for key in keys {
        let (first, last) = (clock(key.first_us, first_us), clock(key.last_us, first_us));
        let name = if key.name.is_empty() { "(all)".to_owned() } else { key.name.clone() };
        table.add([name, place(key.limit), key.denied.to_string(), key.asked.to_string(), first, last]);
    }
    let hint = match values {
        Values::Hashed => "\n(names are digests of the keys; --show-values shows the values)",
        Values::Shown => "",
    };
    format!("{}{hint}", table.text())
}

fn put(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a String takes everything");
}

// === impl Table ===

impl Table {
    fn new(titles: &[&str]) -> Table {
        Table { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    fn add<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.into());
    }

    fn text(&self) -> String {
        let columns = self.rows[0].len();
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let is_number = |column: usize| {
            let cells = self.rows.iter().skip(1).map(|row| &row[column]);
            cells.clone().all(|cell| cell.starts_with(|first: char| first.is_ascii_digit() || first == '+'))
                && cells.clone().all(|cell| !cell.contains("per "))
        };
        let mut text = String::from("\n");
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let (width, gap) = (widths[column], if column == 0 { "" } else { "  " });
                let written = match is_number(column) {
                    true => write!(line, "{gap}{cell:>width$}"),
                    false => write!(line, "{gap}{cell:<width$}"),
                };
                written.expect("a String takes everything");
            }
            put(&mut text, line.trim_end());
        }
        text.pop();
        text
    }
}
