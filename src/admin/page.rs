//! The live page: one file that asks for nothing outside itself, and reads `/live`.
//!
//! Its script and its style are inline, and the only ones that the browser runs: the Content-Security-Policy names their
//! digests. So even a value that became markup by a mistake of the script could do nothing.

use std::sync::LazyLock;

use axum::{
    http::{
        HeaderMap,
        header::{
            ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use crate::base64;

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
/// In a function, so that no name meets one of the browser's.
const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("page/base.js"),
    include_str!("page/chart.js"),
    include_str!("page/state.js"),
    include_str!("page/summary.js"),
    include_str!("page/rules.js"),
    include_str!("page/detail.js"),
    include_str!("page/key.js"),
    include_str!("page/limiter.js"),
    include_str!("page/events.js"),
    include_str!("page/stream.js"),
    "})();\n"
);

static PAGE: LazyLock<String> =
    LazyLock::new(|| FRAME.replacen("{style}", STYLE, 1).replacen("{script}", SCRIPT, 1));

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = |text: &str| base64::encode(Sha256::digest(text).as_slice());
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(SCRIPT),
        digest(STYLE)
    )
});

/// Whether a browser asks. Others, such as curl, accept anything and name nothing.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .any(|accepted| accepted.as_bytes().windows(9).any(|part| part == b"text/html"))
}

pub(super) fn answer() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (VARY, "accept"),
    ];
    (headers, PAGE.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counts;

    #[test]
    fn the_script_and_the_style_end_where_the_page_says() {
        assert_eq!(PAGE.matches("</script").count(), 1);
        assert_eq!(PAGE.matches("</style").count(), 1);
        assert!(!PAGE.contains("{style}") && !PAGE.contains("{script}"));
    }

    #[test]
    fn data_never_becomes_markup_and_nothing_outside_is_asked_for() {
        for word in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
        {
            assert!(!PAGE.contains(word), "{word}");
        }
        // Names of XML and of its vocabularies are no addresses.
        let named = PAGE.replace("http://www.w3.org/2000/svg", "");
        assert!(!named.contains("http://") && !named.contains("https://") && !named.contains("src=\"//"));
        assert!(!POLICY.contains("unsafe"), "{}", *POLICY);
    }

    #[test]
    fn the_page_shows_the_answers_of_every_source() {
        for source in Counts::SOURCES {
            assert!(PAGE.contains(&format!("[\"{}\", ", source.word())), "{}", source.word());
        }
    }

    #[test]
    fn a_browser_gets_the_page_and_curl_the_list() {
        let asked = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, value.parse().unwrap());
            }
            is_asked_for(&headers)
        };
        assert!(asked(&["text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"]));
        assert!(asked(&["application/json", "text/html"]));
        assert!(!asked(&["*/*"]) && !asked(&[]));
    }
}
