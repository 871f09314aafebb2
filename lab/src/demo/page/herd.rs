//! The herd: arrivals per second, three times on the same scale.

use super::text::count;
use crate::{
    demo::{
        figures::{HerdArrivals, RUN_AGAIN},
        herd::Arrivals,
    },
    report::chart::{Label, Plot, float, ticks_within},
};

struct Multiple<'a> {
    id: &'static str,
    name: &'static str,
    origin: &'static str,
    /// The CSS class of the bars.
    class: &'static str,
    arrivals: &'a Arrivals,
}

pub(super) fn section(herd: &HerdArrivals) -> String {
    let multiples = multiples(herd);
    let all = multiples.iter().flat_map(|multiple| &multiple.arrivals.per_second);
    let most = all.copied().max().unwrap_or(0);
    let charts: String = multiples.iter().map(|multiple| figure(multiple, most)).collect();
    let (clients, per_minute) = (count(herd.clients.into()), count(herd.per_minute.into()));
    let [model, without, with] = multiples.map(|multiple| count(multiple.arrivals.peak()));
    format!(
        r#"<section>
<h2>When everybody was denied at once</h2>
<p>{clients} clients with a limit of {per_minute} per minute each send until they are denied, in the same second
(grey), and again when they are told to. (So each sends at least one request more than it may.) The busiest second after that brings {model} requests in a fixed window, which
gives everybody everything back at one instant; {without} where each client has one request back at a time;
and <strong>{with}</strong> where <code>retry-after</code> also spreads them.</p>
<div class="multiples">
{charts}</div>
<p><code class="command">{RUN_AGAIN}</code></p>
</section>
"#
    )
}

fn multiples(herd: &HerdArrivals) -> [Multiple<'_>; 3] {
    let measured =
        |id, name, arrivals| Multiple { id, name, origin: "measured", class: "tollgate", arrivals };
    [
        Multiple {
            id: "fixed-window",
            name: "Fixed window",
            origin: "a model, not measured",
            class: "model",
            arrivals: &herd.fixed_window,
        },
        measured("without-jitter", "Tollgate without jitter", &herd.without_jitter),
        measured("with-jitter", "Tollgate with jitter", &herd.with_jitter),
    ]
}

fn figure(multiple: &Multiple<'_>, most: u64) -> String {
    let Multiple { id, name, origin, class, arrivals } = *multiple;
    let seconds = arrivals.per_second.len() as u64;
    let y_max = float(most.max(1));
    let plot = Plot { width: 290.0, height: 210.0, top: 40.0, x_max: float(seconds), y_max };
    let content = plot.axes(&ticks_within(seconds, 5), &ticks_within(most, 4), "requests per second")
        + &bars(&plot, arrivals, class);
    let peak = count(arrivals.peak());
    let desc = format!("Over {seconds} s; the busiest second after the first has {peak} requests.");
    let svg = plot.svg(&Label { id, class: "multiple", title: name, desc: &desc }, &content);
    let admitted = count(arrivals.admitted);
    format!(
        r#"<figure>
<figcaption><b>{name}</b><br><span class="small">{origin}<br>{admitted} admitted in {seconds} s</span></figcaption>
{svg}</figure>
"#
    )
}

fn bars(plot: &Plot, arrivals: &Arrivals, class: &str) -> String {
    let mut bars = String::new();
    for (second, number) in (0_u64..).zip(&arrivals.per_second).filter(|(_, number)| **number > 0) {
        let (x, y) = (plot.x(float(second)), plot.y(float(*number)));
        let width = (plot.x(float(second + 1)) - x - 1.0).max(0.5);
        let height = plot.bottom() - y;
        let class = if second == 0 { "first" } else { class };
        bars += &format!(
            r#"<rect class="{class}" x="{:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#,
            x + 0.5
        );
    }
    bars + &peak_label(plot, arrivals)
}

/// Above the first of the busiest seconds, and inside the picture.
fn peak_label(plot: &Plot, arrivals: &Arrivals) -> String {
    let peak = arrivals.peak();
    let busiest = (0_u64..).zip(&arrivals.per_second).skip(1).find(|(_, number)| **number == peak);
    let Some((second, _)) = busiest.filter(|_| peak > 0) else {
        let (x, y) = ((plot.x(0.0) + plot.right()) / 2.0, (plot.top + plot.bottom()) / 2.0);
        return format!(r#"<text class="axis middle" x="{x:.1}" y="{y:.1}">nobody came back</text>"#);
    };
    // As wide as `peak 1,050` and the first bar, so that the label never lies over either.
    let x = plot.x(float(second) + 0.5).clamp(plot.x(0.0) + 44.0, plot.right() - 36.0);
    let y = plot.y(float(peak)) - 6.0;
    format!(r#"<text class="name middle" x="{x:.1}" y="{y:.1}">peak {}</text>"#, count(peak))
}
