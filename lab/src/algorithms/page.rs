//! docs/algorithms.md, its picture, and the figures as JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::{Figures, NUMBERS};
use crate::{
    bench::{stats::Spread, today},
    report::{Table, escape},
};

const PROSE: &str = include_str!("prose.md");
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const COLOURS: [&str; 4] = ["#0b6e4f", "#6aa84f", "#c0392b", "#1f4e9c"];
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

/// Admissions over time of those that allow [`SHOWN`] a minute.
pub(super) fn svg(all: &[Figures]) -> String {
    let shown: Vec<&Figures> = all.iter().filter(|figures| figures.contender.n == SHOWN).collect();
    let last = |figures: &&Figures| figures.admitted.curve.last().copied().unwrap_or((1, 1));
    let end_us = shown.iter().map(|figures| last(figures).0).max().unwrap_or(1) as f64;
    let most = f64::from(shown.iter().map(|figures| last(figures).1).max().unwrap_or(1));
    let (left, top, width, height) = (60.0, 50.0, WIDTH - 80.0, HEIGHT - 110.0);
    let x = |us: u64| left + width * us as f64 / end_us;
    let y = |count: u32| top + height * (1.0 - f64::from(count) / most);
    let mut body = String::new();
    for seconds in [0, 30, 60, 90, 120] {
        let at = x(seconds * 1_000_000);
        let _ = writeln!(
            body,
            r##"<text x="{at:.0}" y="{:.0}" text-anchor="middle" fill="#5b6168">{seconds} s</text>"##,
            top + height + 18.0
        );
    }
    for count in [0, 100, 200, 300].into_iter().filter(|count| f64::from(*count) <= most) {
        let at = y(count);
        let _ = writeln!(
            body,
            r##"<line x1="{left}" y1="{at:.1}" x2="{:.0}" y2="{at:.1}" stroke="#d9dde1"/><text x="{:.0}" y="{:.0}" text-anchor="end" fill="#5b6168">{count}</text>"##,
            left + width,
            left - 8.0,
            at + 4.0
        );
    }
    for (index, (figures, colour)) in shown.iter().zip(COLOURS).enumerate() {
        let points: String = figures
            .admitted
            .curve
            .iter()
            .map(|(us, count)| format!("{:.1},{:.1} ", x(*us), y(*count)))
            .collect();
        let legend_x = left + 170.0 * index as f64;
        let name = figures.contender.label();
        let name = name.split_once(", ").map_or(name.as_str(), |(_, name)| name);
        let _ = writeln!(
            body,
            r##"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/><rect x="{legend_x:.0}" y="{:.0}" width="12" height="4" fill="{colour}"/><text x="{:.0}" y="{:.0}" fill="#1c1e21">{}</text>"##,
            HEIGHT - 20.0,
            legend_x + 18.0,
            HEIGHT - 14.0,
            escape(name)
        );
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="12">
<title>Admissions over time at {SHOWN} a minute</title>
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
<text x="{left}" y="28" font-size="14" font-weight="600" fill="#1c1e21">Admitted in all at {SHOWN} a minute, asked without end from a second before the edge</text>
{body}</svg>
"##
    )
}
