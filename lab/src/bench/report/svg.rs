//! The picture: for each case, the CPU time per decision of the service and of Redis, and its spread over the rounds.

use super::{median, number};
use crate::{
    bench::{
        figures::{CaseFigures, ContenderFigures, Report, labels},
        sample::Sample,
        stats::Spread,
    },
    report::escape,
};

const WIDTH: f64 = 960.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 46.0;
const TOP: f64 = 64.0;
const SERVICE: Panel =
    Panel { x: 230.0, width: 230.0, title: "service CPU, µs", figure: Sample::service_us };
const REDIS: Panel = Panel { x: 540.0, width: 200.0, title: "Redis CPU, µs", figure: Sample::redis_us };
const RATE_X: f64 = 950.0;

/// Bars of one figure.
struct Panel {
    x: f64,
    width: f64,
    title: &'static str,
    figure: fn(&Sample) -> Option<f64>,
}

pub fn svg(report: &Report) -> String {
    let mut y = TOP;
    let mut body = String::new();
    for figures in &report.cases {
        body.push_str(&case(figures, y));
        y += HEAD + ROW * figures.contenders.len() as f64;
    }
    let height = y + 10.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="system-ui, sans-serif" font-size="12">
<title>CPU per decision of Tollgate and of its alternatives</title>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="10" y="26" font-size="17" font-weight="600" fill="#1c1e21">CPU per decision: medians of {rounds} rounds, lines from the least to the most</text>
<text x="10" y="46" fill="#5b6168">{machine}; {date}</text>
{body}</svg>
"##,
        rounds = report.rounds,
        machine = escape(&report.machine),
        date = escape(&report.date),
    )
}

fn case(case: &CaseFigures, y: f64) -> String {
    let mut body = format!(
        r##"<text x="10" y="{title_y}" font-weight="600" fill="#1c1e21">{name}</text>
<text x="150" y="{title_y}" fill="#5b6168">{load}</text>
<text x="{RATE_X}" y="{head_y}" text-anchor="end" fill="#5b6168">decisions/s</text>
"##,
        title_y = y + 18.0,
        head_y = y + 36.0,
        name = escape(&case.name),
        load = escape(&case.load),
    );
    for panel in [&SERVICE, &REDIS] {
        body.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" fill=\"#5b6168\">{}</text>\n",
            panel.x,
            y + 36.0,
            panel.title
        ));
        let spreads = case.contenders.iter().map(|contender| contender.spread(panel.figure));
        let most = spreads.flatten().map(|spread| spread.max).fold(0.0, f64::max);
        for (index, contender) in case.contenders.iter().enumerate() {
            let bar_y = y + HEAD + ROW * index as f64;
            body.extend(
                contender
                    .spread(panel.figure)
                    .map(|spread| panel.bar(spread, most, bar_y, colour(contender))),
            );
        }
    }
    for (index, contender) in case.contenders.iter().enumerate() {
        body.push_str(&words(contender, y + HEAD + ROW * index as f64 + 12.0));
    }
    body
}

fn words(contender: &ContenderFigures, y: f64) -> String {
    format!(
        r##"<text x="222" y="{y}" text-anchor="end" fill="#1c1e21">{label}</text>
<text x="{RATE_X}" y="{y}" text-anchor="end" fill="#1c1e21">{rate}</text>
"##,
        label = escape(&contender.label),
        rate = median(contender.spread(|run| Some(run.per_second()))),
    )
}

// === impl Panel ===

impl Panel {
    fn bar(&self, spread: Spread, most: f64, y: f64, colour: &str) -> String {
        let scale = |value: f64| if most > 0.0 { value / most * self.width } else { 0.0 };
        let (length, min, max) = (scale(spread.median), scale(spread.min), scale(spread.max));
        let middle = y + 8.0;
        format!(
            r##"<rect x="{x}" y="{bar_y}" width="{length:.1}" height="12" rx="2" fill="{colour}"/>
<line x1="{x1:.1}" x2="{x2:.1}" y1="{middle}" y2="{middle}" stroke="#1c1e21"/>
<text x="{text_x:.1}" y="{text_y}" fill="#1c1e21">{value}</text>
"##,
            x = self.x,
            bar_y = y + 2.0,
            x1 = self.x + min,
            x2 = self.x + max,
            text_x = self.x + length.max(max) + 6.0,
            text_y = y + 12.0,
            value = number(spread.median),
        )
    }
}

/// Each kind of contender has the same colour in all cases.
fn colour(contender: &ContenderFigures) -> &'static str {
    let label = contender.label.as_str();
    match label {
        labels::FLOOR => "#b4bac1",
        labels::EVALSHA => "#b79ad6",
        labels::INCRBY => "#e0913a",
        labels::INCRBY_ONE => "#f0c48f",
        _ if label.starts_with(labels::MEMORY) => "#7fb8a4",
        _ if label.starts_with(labels::REDIS) => "#2f6fb2",
        _ => "#c65d7b",
    }
}
