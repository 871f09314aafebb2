//! The page of metrics, in the format that the scraper asks for.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE, VARY},
    },
    response::{IntoResponse as _, Response},
};
use tokio::task;

use super::Admin;
use crate::{
    metrics::{CONTENT_TYPE as PLAIN, OPEN_METRICS},
    tasks::Task,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Open,
}

pub(super) async fn exposition(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let format = preferred(&headers);
    let turn = Arc::clone(&admin.page).lock_owned().await;
    let page = task::spawn_blocking(move || {
        let _turn = turn;
        match format {
            Format::Plain => (PLAIN, admin.metrics.render()),
            Format::Open => (OPEN_METRICS, admin.metrics.render_open()),
        }
    });
    match page.await {
        Ok((kind, page)) => ([(CONTENT_TYPE, kind), (VARY, "accept")], page).into_response(),
        // A panic, which the panic hook has logged.
        Err(_) => {
            Task::MetricsPage.count_panic();
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// OpenMetrics for whoever names a version of it that is known, and does not prefer plain text.
fn preferred(headers: &HeaderMap) -> Format {
    let (mut open, mut plain) = (0.0_f32, 0.0_f32);
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let (mut quality, mut is_known) = (1.0, true);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match (name.trim(), value.trim().trim_matches('"')) {
                // Not a number: it cannot be preferred.
                ("q", value) => quality = value.parse().unwrap_or(0.0_f32),
                ("version", version) => is_known = version == "0.0.1" || version.starts_with("1."),
                _ => {}
            }
        }
        if kind.eq_ignore_ascii_case("application/openmetrics-text") && is_known {
            open = open.max(quality);
        } else if kind.eq_ignore_ascii_case("text/plain") {
            plain = plain.max(quality);
        }
    }
    if open > 0.0 && open >= plain { Format::Open } else { Format::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &[&str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        preferred(&headers)
    }

    #[test]
    fn openmetrics_is_for_those_who_name_it_and_do_not_prefer_plain_text() {
        // As Prometheus asks.
        let theirs = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(asked(&[theirs]), Format::Open);
        assert_eq!(
            asked(&["text/plain;q=0.1", "Application/OpenMetrics-Text; version=\"1.0.0\""]),
            Format::Open
        );
        for plain in [
            "*/*",
            "text/plain, application/openmetrics-text; q=0.9",
            "application/openmetrics-text; q=0",
            "application/openmetrics-text; q=much",
            "application/openmetrics-text; q=NaN",
            "application/openmetrics-text; version=2.0.0",
            "text/html; application/openmetrics-text",
        ] {
            assert_eq!(asked(&[plain]), Format::Plain, "{plain}");
        }
        assert_eq!(asked(&[]), Format::Plain);
    }
}
