//! The picture: for each case, the CPU time per decision of the service and of Redis, and its spread over the rounds.

use super::{median, number};
use crate::{
    bench::{
        figures::{CaseFigures, ContenderFigures, Report, labels},
        sample::Sample,
        stats::Spread,
    },
    report::{
        chart::{self, Label},
        escape,
    },
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
    let desc = "Medians over the rounds, lines from the least to the most".to_owned();
    let head = format!(
        r#"<text class="title" x="10" y="26">CPU per decision: {}</text>
<text class="axis" x="10" y="46">{}; {}</text>
"#,
        desc.to_lowercase(),
        escape(&report.machine),
        escape(&report.date),
    );
    let title = "CPU per decision of Tollgate and of its alternatives";
    let label = Label { id: "bench", class: "file", title, desc: &desc };
    chart::file(WIDTH, y + 10.0, &label, &(head + &body))
}

fn case(case: &CaseFigures, y: f64) -> String {
    let mut body = format!(
        r#"<text class="head" x="10" y="{title_y}">{name}</text>
<text class="axis" x="150" y="{title_y}">{load}</text>
<text class="axis end" x="{RATE_X}" y="{head_y}">decisions/s</text>
"#,
        title_y = y + 18.0,
        head_y = y + 36.0,
        name = escape(&case.name),
        load = escape(&case.load),
    );
    for panel in [&SERVICE, &REDIS] {
        body.push_str(&format!(
            "<text class=\"axis\" x=\"{}\" y=\"{}\">{}</text>\n",
            panel.x,
            y + 36.0,
            panel.title
        ));
        let spreads = case.contenders.iter().map(|contender| contender.spread(panel.figure));
        let most = spreads.flatten().map(|spread| spread.max).fold(0.0, f64::max);
        for (index, contender) in case.contenders.iter().enumerate() {
            let bar_y = y + HEAD + ROW * index as f64;
            body.extend(
                contender.spread(panel.figure).map(|spread| panel.bar(spread, most, bar_y, class(contender))),
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
        r#"<text class="end" x="222" y="{y}">{label}</text>
<text class="end" x="{RATE_X}" y="{y}">{rate}</text>
"#,
        label = escape(&contender.label),
        rate = median(contender.spread(|run| Some(run.per_second()))),
    )
}

// === impl Panel ===

impl Panel {
    fn bar(&self, spread: Spread, most: f64, y: f64, class: &str) -> String {
        let scale = |value: f64| chart::share(value, most) * self.width;
        let (length, min, max) = (scale(spread.median), scale(spread.min), scale(spread.max));
        let middle = y + 8.0;
        format!(
            r#"<rect class="{class}" x="{x}" y="{bar_y}" width="{length:.1}" height="12" rx="2"/>
<line class="whisker" x1="{x1:.1}" x2="{x2:.1}" y1="{middle}" y2="{middle}"/>
<text x="{text_x:.1}" y="{text_y}">{value}</text>
"#,
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

/// Each kind of contender has the same colour in all cases, by its CSS class.
fn class(contender: &ContenderFigures) -> &'static str {
    let label = contender.label.as_str();
    match label {
        labels::FLOOR => "floor",
        labels::EVALSHA => "evalsha",
        labels::INCRBY => "incrby",
        labels::INCRBY_ONE => "incrby-one",
        _ if label.starts_with(labels::MEMORY) => "memory",
        _ if label.starts_with(labels::REDIS) => "tollgate",
        _ => "peer",
    }
}
