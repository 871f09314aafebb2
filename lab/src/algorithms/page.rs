//! docs/algorithms.md, its picture, and the figures as JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::{Figures, NUMBERS};
use crate::{
    bench::{stats::Spread, today},
    report::{
        Table,
        chart::{self, Label, Plot, float},
        escape,
    },
};

const PROSE: &str = include_str!("prose.md");
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
/// The CSS class of each line.
const CLASSES: [&str; 4] = ["first", "second", "naive", "tollgate"];
/// The limit per minute that the picture shows.
const SHOWN: u32 = 100;

pub(super) fn markdown(all: &[Figures], machine: &str, command: &str) -> String {
    let date = today();
    let head = format!(
        "# Ways to count\n\n{PROSE}\n## Measured\n\nWritten by `{command} --write-docs` on {date}: {machine}. Do not edit.\n"
    );
    let plot = format!(
        "\n![What one client gets that asks as often as it can, across the edge of a window](algorithms.svg)\n\n*{SHOWN} a minute; the load begins a second before a minute ends.*\n"
    );
    format!("{head}\n{}{plot}", table(all).markdown())
}

pub(super) fn table(all: &[Figures]) -> Table {
    let row = |Figures { contender, cost, admitted }: &Figures| {
        vec![
            contender.label(),
            admitted.worst.to_string(),
            admitted.worst_second.to_string(),
            cost.bytes.to_string(),
            format!("{:.0}", cost.bytes_of_all),
            spread(cost.denied_us),
            spread(cost.allowed_us),
        ]
    };
    Table::of_numbers(&[
        "limit",
        "admitted in the worst minute",
        "in the worst second",
        "bytes a key",
        "of all",
        "denied µs",
        "allowed µs",
    ])
    .with_rows(all.iter().map(row))
}

fn spread(spread: Spread) -> String {
    format!("{:.1} [{:.1} {:.1}]", spread.median, spread.min, spread.max)
}

pub(super) fn json(all: &[Figures]) -> String {
    let spread = |spread: Spread| json!({"median": spread.median, "min": spread.min, "max": spread.max});
    let figures = all.iter().map(|Figures { contender, cost, admitted }| {
        json!({
            "limit": contender.label(),
            "requests_per_minute": contender.n,
            "algorithm": contender.algorithm.name(),
            "burst": contender.burst,
            "worst_minute": admitted.worst,
            "worst_second": admitted.worst_second,
            "bytes_per_key": cost.bytes,
            "bytes_of_all_per_key": cost.bytes_of_all,
            "denied_us": spread(cost.denied_us),
            "allowed_us": spread(cost.allowed_us),
        })
    });
    format!("{:#}\n", json!({ "numbers": NUMBERS, "figures": figures.collect::<Vec<_>>() }))
}

/// Admissions over time of those that allow [`SHOWN`] a minute, as an SVG file.
pub(super) fn svg(all: &[Figures]) -> String {
    let shown: Vec<&Figures> = all.iter().filter(|figures| figures.contender.n == SHOWN).collect();
    let last = |figures: &&Figures| figures.admitted.curve.last().copied().unwrap_or((1, 1));
    let end_us = shown.iter().map(|figures| last(figures).0).max().unwrap_or(1);
    let most = u64::from(shown.iter().map(|figures| last(figures).1).max().unwrap_or(1));
    let y_ticks = chart::ticks_over(most, 4);
    let plot = Plot {
        width: WIDTH,
        height: HEIGHT,
        top: 44.0,
        x_max: end_us as f64 / 1e6,
        y_max: y_ticks.last().copied().map_or(1.0, float),
    };
    let mut content =
        plot.axes(&chart::ticks_within(end_us / 1_000_000, 6), &y_ticks, "requests admitted since the start");
    for (index, (figures, class)) in shown.iter().zip(CLASSES).enumerate() {
        let point = |(us, count): &(u64, u32)| {
            format!("{:.1},{:.1} ", plot.x(*us as f64 / 1e6), plot.y(f64::from(*count)))
        };
        let points: String = figures.admitted.curve.iter().map(point).collect();
        let name = figures.contender.label();
        let name = escape(name.split_once(", ").map_or(name.as_str(), |(_, name)| name));
        let x = 60.0 + 172.0 * index as f64;
        let _ = writeln!(
            content,
            r#"<polyline class="line {class}" points="{points}"/><line class="line {class}" x1="{x}" x2="{}" y1="28" y2="28"/><text x="{}" y="32">{name}</text>"#,
            x + 14.0,
            x + 20.0
        );
    }
    let title = format!("Admissions over time at {SHOWN} a minute");
    let desc = "A client asks as often as it can, from a second before the edge of a minute.";
    plot.file(&Label { id: "algorithms", class: "file", title: &title, desc }, &content)
}
