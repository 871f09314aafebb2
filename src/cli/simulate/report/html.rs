//! The result as one page that needs nothing else: no script, no font, no other host.

use std::fmt::Write as _;

use super::{
    Simulated, clock, numbers, percent, place,
    plot::{Series, Steps, plot},
    remarks, remarks_on, rows, share, windows_sentence,
};
use crate::cli::simulate::{changes::Changed, log::time, side::Side, tally::DeniedKey};
use tollgate_core::{limit::Algorithm, matcher::LimitIndex};

const STYLE: &str = include_str!("page.css");
/// Limits with a colour of their own.
const COLOURS: usize = 5;

pub(in crate::cli::simulate) fn html(result: &Simulated<'_, '_>) -> String {
    let Simulated { seen, side, .. } = result;
    let first_us = seen.first_us.unwrap_or(0);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>tollgate simulate</title><style>\n{STYLE}</style></head><body><main>\n\
         <h1>Simulation</h1><p class=\"quiet\">{} requests, {} to {}</p>\n{}",
        seen.requests,
        time::text(first_us),
        time::text(seen.last_us),
        tiles(result)
    );
    for remark in remarks(seen, result.missed, None).iter().chain(&remarks_on(side)) {
        put(&mut page, &format!("<p>{}</p>", escaped(remark)));
    }
    put(&mut page, &plots(side));
    put(&mut page, "<h2>By limit</h2>");
    put(&mut page, &by_limit(side, first_us));
    if let Some(windows) = side.windows() {
        put(&mut page, &format!("<p>{}</p>", escaped(&windows_sentence(windows, side.tally.denied))));
    }
    if side.tally.denied > 0 {
        put(&mut page, "<h2>Denied most often</h2>");
        put(&mut page, &by_key(&side.tally.top(result.top), first_us));
    }
    if let Some((_, changes)) = result.against {
        changed(&mut page, &changes.newly_denied, "Newly denied", result);
        changed(&mut page, &changes.newly_admitted, "Newly admitted", result);
    }
    page.push_str("</main></body></html>\n");
    page
}

fn tiles(result: &Simulated<'_, '_>) -> String {
    let tally = &result.side.tally;
    let share = |part: u64| format!("{part} <small>{} %</small>", percent(part, tally.requests));
    let mut tiles = vec![
        ("admitted", share(tally.requests - tally.denied), ""),
        ("denied", share(tally.denied), "denied"),
    ];
    if let Some(windows) = result.side.windows() {
        tiles.push(("of these, fixed windows admit", windows.more.to_string(), ""));
    }
    if let Some((_, changes)) = result.against {
        tiles.push(("newly denied", share(changes.newly_denied.requests), "denied"));
        tiles.push(("newly admitted", share(changes.newly_admitted.requests), ""));
    }
    let tiles = tiles.iter().map(|(name, figure, class)| {
        format!("<div><dt>{name}</dt><dd class=\"{class}\">{figure}</dd></div>")
    });
    format!("<dl>{}</dl>\n", tiles.collect::<String>())
}

/// Denials by limit, and all requests.
fn plots(side: &Side<'_>) -> String {
    let timeline = &side.tally.timeline;
    if timeline.requests.is_empty() {
        return String::new();
    }
    let steps =
        Steps { starts_us: timeline.starts_us, step_us: timeline.step_us, count: timeline.requests.len() };
    let name = |index: usize| {
        let limit = side.matcher().limits().iter().find(|limit| limit.index == LimitIndex::Configured(index));
        limit.map_or_else(
            || "other limits".to_owned(),
            |limit| format!("{}: {}", place(limit), numbers(&limit.limit)),
        )
    };
    let mut denied: Vec<(u64, usize, &Vec<u64>)> =
        timeline.denied.iter().map(|(index, counts)| (counts.iter().sum(), *index, counts)).collect();
    denied.sort_unstable_by_key(|(sum, index, _)| (std::cmp::Reverse(*sum), *index));
    let mut series: Vec<Series> = Vec::new();
    for (place, (_, index, counts)) in denied.into_iter().enumerate() {
        if place < COLOURS {
            series.push(Series { name: name(index), counts: counts.clone(), colour: format!("--s{place}") });
            continue;
        }
        if place == COLOURS {
            let (name, counts) = ("other limits".to_owned(), vec![0; timeline.requests.len()]);
            series.push(Series { name, counts, colour: format!("--s{COLOURS}") });
        }
        let others = series.last_mut().expect("it was just added");
        others.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let denied = match series.is_empty() {
        true => "<p>Nothing is denied.</p>".to_owned(),
        false => plot("denied, by limit", steps, &series),
    };
    let all = Series {
        name: "requests".to_owned(),
        counts: timeline.requests.clone(),
        colour: "--calm".to_owned(),
    };
    format!(
        "<h2>Denied over time</h2>{denied}<h2>Requests over time</h2>{}",
        plot("requests with a limit", steps, &[all])
    )
}

fn by_limit(side: &Side<'_>, first_us: u64) -> String {
    let mut table = String::from(
        "<div class=\"wide\"><table><tr><th>limit<th><th class=n>asked<th class=n>denied<th class=n>clients<th \
         class=n>touched<th>first<th>last<th class=n>fixed windows admit<th class=n>above burst + refill</tr>",
    );
    for row in rows(side) {
        let tally = row.tally;
        let denied = match row.limit.options.shadow_mode {
            true => format!("{} in shadow", tally.over),
            false => share(tally.denied, tally.asked),
        };
        let times = tally.first_us.map(|first| (clock(first, first_us), clock(tally.last_us, first_us)));
        let (first, last) = times.unwrap_or_default();
        let (more, excess) = match row.limit.limit.algorithm() {
            Algorithm::FixedWindow => (String::new(), String::new()),
            _ => (format!("+{}", row.more), format!("{:.0}", row.excess)),
        };
        let (place, numbers) = (escaped(&place(row.limit)), escaped(&numbers(&row.limit.limit)));
        let (asked, clients, touched) = (tally.asked, tally.clients, share(tally.touched, tally.clients));
        put(
            &mut table,
            &format!(
                "<tr><td><bdi>{place}</bdi><td>{numbers}<td class=n>{asked}<td class=n>{denied}<td class=n>{clients}<td \
                 class=n>{touched}<td>{first}<td>{last}<td class=n>{more}<td class=n>{excess}</tr>"
            ),
        );
    }
    table.push_str("</table></div>");
    table
}

fn by_key(keys: &[&DeniedKey<'_>], first_us: u64) -> String {
    let mut table = String::from(
        "<div class=\"wide\"><table><tr><th>key<th>limit<th class=n>requests<th class=n>of<th>first<th>last</tr>",
    );
    for key in keys {
        let (first, last) = (clock(key.first_us, first_us), clock(key.last_us, first_us));
        let name = if key.name.is_empty() { "(all)" } else { &key.name };
        let (name, place, denied) = (escaped(name), escaped(&place(key.limit)), key.denied);
        let asked = if key.asked == 0 { String::new() } else { key.asked.to_string() };
        put(
            &mut table,
            &format!(
                "<tr><td><bdi>{name}</bdi><td><bdi>{place}</bdi><td class=n>{denied}<td class=n>{asked}<td>{first}<td>{last}</tr>"
            ),
        );
    }
    table.push_str("</table></div>");
    table
}

fn changed(page: &mut String, changed: &Changed<'_>, title: &str, result: &Simulated<'_, '_>) {
    put(page, &format!("<h2>{title}: {}</h2>", share(changed.requests, result.seen.requests)));
    if changed.requests == 0 {
        put(page, "<p>None.</p>");
        return;
    }
    let limits = changed.limits().into_iter().map(|(limit, requests)| {
        let (place, numbers) = (escaped(&place(limit)), escaped(&numbers(&limit.limit)));
        format!("<tr><td><bdi>{place}</bdi><td>{numbers}<td class=n>{requests}</tr>")
    });
    let limits: String = limits.collect();
    put(
        page,
        &format!(
            "<div class=\"wide\"><table><tr><th>limit<th><th class=n>requests</tr>{limits}</table></div><p></p>"
        ),
    );
    put(page, &by_key(&changed.keys.top(result.top), result.seen.first_us.unwrap_or(0)));
}

fn put(page: &mut String, line: &str) {
    writeln!(page, "{line}").expect("a String takes everything");
}

/// A text within an element or a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}
