use serde_json::Value;

use super::*;
use crate::{
    fallback::Fallback,
    limiter::Limiter,
    store::{Backend, Store},
};
use tollgate_core::{
    descriptor::Hits,
    limit::{Limit, Unit},
    matcher::Matcher,
    rules::{Domain, OnStoreFailure, Options, Pattern},
};

/// A log whose lines are read from the queue, where nobody writes them.
struct Unwritten {
    log: DecisionLog,
    queue: Receiver<Vec<u8>>,
    limiter: Limiter,
    matcher: Matcher,
}

fn log(admissions: u32, show_values: bool) -> Unwritten {
    let rule = |key: &str, requests| {
        Pattern::with_limit(key, None, Limit::new(requests, Unit::Day, None).expect("sound"))
    };
    let shadow =
        Pattern { options: Options { shadow_mode: true, ..Options::default() }, ..rule("shadow", 0) };
    let descriptors = vec![rule("user", 100), rule("once", 1), shadow];
    let matcher = Matcher::new(vec![Domain { name: "edge".to_owned(), descriptors, ..Domain::default() }]);
    let store: Store = Backend::memory(1_000).open(Duration::from_secs(1));
    let local = Arc::new(crate::fallback::local::Local::new(1_000, Box::new(|| None)));
    let limiter = Limiter::new(store, Fallback { default: OnStoreFailure::Error, local });
    let (lines, queue) = mpsc::sync_channel(8);
    let (counts, admissions) = (Arc::default(), NonZeroU32::new(admissions));
    let names = Arc::new(Names::new());
    let log = DecisionLog { lines, counts, admissions, show_values, names, unlogged: AtomicU32::new(0) };
    Unwritten { log, queue, limiter, matcher }
}

impl Unwritten {
    async fn ask(&self, entries: &[(&[u8], &[u8])]) {
        let descriptors = [tollgate_core::descriptor::Descriptor::new(entries.iter().copied(), Hits::One)];
        let request = Request { domain: b"edge", descriptors: descriptors.into_iter().collect() };
        let outcome = self.limiter.decide(&self.matcher, &request).await.expect("sound");
        self.log.note(Door::Rls, &request, &outcome, || Some(TraceId(0xabc)));
    }

    fn lines(&self) -> Vec<Value> {
        self.queue.try_iter().map(|line| serde_json::from_slice(&line).expect("JSON")).collect()
    }
}

#[tokio::test]
async fn every_denial_is_logged_and_one_in_so_many_admissions() {
    let log = log(3, false);
    for _ in 0..7 {
        log.ask(&[(b"user", b"u")]).await;
    }
    let admitted = log.lines();
    assert_eq!(admitted.len(), 2, "{admitted:?}");
    assert_eq!((&admitted[0]["remaining"], &admitted[1]["remaining"]), (&97.into(), &94.into()));
    for _ in 0..4 {
        log.ask(&[(b"once", b"u")]).await;
    }
    let denied: Vec<Value> = log.lines().into_iter().filter(|line| line["verdict"] == "deny").collect();
    assert_eq!(denied.len(), 3, "{denied:?}");
    assert!(denied.iter().all(|line| line["answer"] == "deny" && line["wait_us"].as_u64() > Some(0)));
    log.ask(&[(b"shadow", b"u")]).await;
    let shadow = log.lines().pop().expect("a line");
    assert_eq!((&shadow["verdict"], &shadow["answer"]), (&"would_deny".into(), &"allow".into()));
}

#[tokio::test]
async fn without_a_number_no_admission_is_logged() {
    let log = log(0, false);
    for _ in 0..3 {
        log.ask(&[(b"user", b"u")]).await;
    }
    assert!(log.lines().is_empty());
}

#[tokio::test]
async fn a_value_shows_only_if_it_is_asked_for_and_its_key_has_a_name_in_any_case() {
    for (show_values, entries) in
        [(false, r#"[{"key":"once"}]"#), (true, r#"[{"key":"once","value":"alice"}]"#)]
    {
        let log = log(0, show_values);
        log.ask(&[(b"once", b"alice")]).await;
        log.ask(&[(b"once", b"alice")]).await;
        let line = log.lines().pop().expect("a line");
        assert_eq!(line["entries"], serde_json::from_str::<Value>(entries).expect("sound"));
        let key = line["key"].as_str().expect("a text");
        assert!(key.starts_with("c-") && key.len() == 14, "{key}");
        assert_eq!(line["trace_id"], "00000000000000000000000000000abc");
        let limit =
            serde_json::json!({"requests": 1, "window": "day", "burst": 1, "algorithm": "token_bucket"});
        assert_eq!(line["limit"], limit);
    }
}

#[tokio::test]
async fn whatever_clients_send_a_line_is_one_line_of_json_and_short() {
    let log = log(0, true);
    let hostile: [&[u8]; 5] = [
        b"\"},\n{\"",
        b"\xff\xfe\x00\x1b[31m",
        "\u{202e}\u{2028}é".as_bytes(),
        &[0; 60_000],
        &[b'x'; 60_000],
    ];
    for value in hostile {
        for _ in 0..2 {
            log.ask(&[(b"once", value)]).await;
        }
        let line = log.queue.try_iter().last().expect("a line");
        assert!(line.len() < line::MOST_BYTES, "{}", line.len());
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let text = String::from_utf8(line).expect("UTF-8");
        assert!(!text.contains(['\u{202e}', '\u{2028}', '\u{1b}', '\0']), "{text}");
        let read: Value = serde_json::from_str(&text).expect("JSON");
        let shown = read["entries"][0]["value"].as_str().expect("a text");
        assert!(shown.chars().count() <= 201 && (value.len() < 1_000 || shown.ends_with('…')), "{shown}");
    }
}

#[tokio::test]
async fn many_long_entries_do_not_make_a_line_longer_than_its_bound() {
    let log = log(0, true);
    let descriptor = tollgate_core::descriptor::Descriptor::new(
        std::iter::repeat_n((&b"once\x01"[..], &[1_u8; 300][..]), 5_000),
        Hits::One,
    );
    log.ask(&[(b"once", b"u")]).await;
    let request = Request { domain: b"edge", descriptors: [descriptor].into_iter().collect() };
    // The decision is that of another descriptor; the line shows the one that it is given.
    let denied = [tollgate_core::descriptor::Descriptor::new([(&b"once"[..], &b"u"[..])], Hits::One)];
    let asked = Request { domain: b"edge", descriptors: denied.into_iter().collect() };
    let outcome = log.limiter.decide(&log.matcher, &asked).await.expect("sound");
    log.log.note(Door::Rls, &request, &outcome, || None);
    let line = log.queue.try_iter().last().expect("a line");
    assert!(line.len() < line::MOST_BYTES, "{}", line.len());
    let read: Value = serde_json::from_slice(&line).expect("JSON");
    assert!(read["entries_left_out"].as_u64() > Some(4_000), "{read}");
}

#[tokio::test]
async fn a_line_that_finds_the_queue_full_is_dropped_and_counted() {
    let log = log(1, false);
    for _ in 0..11 {
        log.ask(&[(b"user", b"u")]).await;
    }
    assert_eq!(log.log.counts.dropped.load(Ordering::Relaxed), 3);
    assert_eq!(log.lines().len(), 8);
}

#[test]
fn times_are_written_as_rfc_3339_in_utc() {
    for (us, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (951_825_599_999_999, "2000-02-29T11:59:59.999999Z"),
        (1_793_491_199_000_001, "2026-10-31T23:59:59.000001Z"),
    ] {
        assert_eq!(line::time(us), text);
    }
}
