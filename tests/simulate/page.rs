//! The page and the tables, with values that a client chose.

use std::fs;

use super::{BY_KEY, line, one_limit, run_with, support};

const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\"'&\u{1b}[31m";

fn ran(name: &str, flags: &[&str]) -> (String, String) {
    let config = one_limit(name, "{ unit: day, requests_per_unit: 1 }");
    let page = support::file(&format!("simulate-{name}.html"), "").display().to_string();
    let long = "l".repeat(60_000);
    let log = line(0, HOSTILE).repeat(3) + &line(1, &long).repeat(2) + &line(2, "s3cret").repeat(2);
    let args = [&["--config", &config, "--html", &page, "-"], &BY_KEY[..], flags].concat();
    let ran = run_with(&args, log.as_bytes());
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    (ran.stdout, fs::read_to_string(page).expect("it was written"))
}

#[test]
fn values_do_not_show_unless_asked_for() {
    let (text, page) = ran("hidden", &[]);
    for out in [&text, &page] {
        assert!(!out.contains("s3cret") && !out.contains("alert") && !out.contains("lll"), "{out}");
        assert_eq!(out.matches("k-").count(), 3, "three names: {out}");
    }
}

#[test]
fn what_clients_sent_is_text_and_cut() {
    let (text, page) = ran("shown", &["--show-values"]);
    assert!(text.contains("k=s3cret") && page.contains("k=s3cret"), "{text}");
    for out in [&text, &page] {
        assert!(!out.contains('\u{202e}') && !out.contains('\u{1b}'), "{out}");
        assert!(out.contains(&format!("{}…", "l".repeat(60))) && !out.contains(&"l".repeat(61)));
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"), "{page}");
}

#[test]
fn the_page_needs_no_other_host() {
    let (_, page) = ran("offline", &[]);
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme: dark"));
}
