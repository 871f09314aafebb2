use proptest::prelude::*;

use super::*;
use crate::clock;

fn open() -> (Stream, DiscoveryRequest) {
    Stream::open(Node { id: "n".to_owned(), ..Node::default() })
}

#[test]
fn the_first_request_names_the_node_and_has_neither_version_nor_nonce() {
    let (_, first) = open();
    assert_eq!(first.node.unwrap().id, "n");
    assert_eq!((first.version_info.as_str(), first.response_nonce.as_str()), ("", ""));
    assert!(first.type_url == TYPE_URL && first.resource_names.is_empty() && first.error_detail.is_none());
}

#[test]
fn an_acceptance_repeats_version_and_nonce_as_they_are_and_leaves_out_the_node() {
    let (mut stream, _) = open();
    for (version, nonce) in [("7", "a"), ("7", "b"), ("1", ""), ("", "\u{1F980} /\n")] {
        let accepted = stream.accept(version.to_owned(), nonce.to_owned());
        assert_eq!((accepted.version_info.as_str(), accepted.response_nonce.as_str()), (version, nonce));
        assert!(accepted.error_detail.is_none() && accepted.node.is_none());
    }
}

#[test]
fn a_refusal_waits_longer_each_time_and_names_the_last_good_version() {
    let (mut stream, _) = open();
    stream.accept("3".to_owned(), "x".to_owned());
    let mut now = clock::monotonic();
    for seconds in [1, 2, 4, 8, 15, 15] {
        stream.refuse(now, "bad".to_owned(), "why".to_owned());
        let due = stream.due().unwrap();
        assert_eq!(due - now, Duration::from_secs(seconds));
        assert_eq!(stream.take_due(due - Duration::from_nanos(1)), None);
        let refusal = stream.take_due(due).unwrap();
        assert_eq!((refusal.version_info.as_str(), refusal.response_nonce.as_str()), ("3", "bad"));
        let detail = refusal.error_detail.unwrap();
        assert_eq!((detail.code, detail.message.as_str()), (3, "why"));
        assert_eq!(stream.due(), None, "it is sent once");
        now = due;
    }
    stream.accept("4".to_owned(), "y".to_owned());
    stream.refuse(now, "bad".to_owned(), "why".to_owned());
    assert_eq!(stream.due(), Some(now + FIRST_PAUSE), "a good answer ends the row");
}

#[test]
fn a_good_answer_takes_the_place_of_a_refusal_that_waits() {
    let (mut stream, _) = open();
    let now = clock::monotonic();
    stream.refuse(now, "bad".to_owned(), "why".to_owned());
    assert_eq!(stream.accept("2".to_owned(), "good".to_owned()).response_nonce, "good");
    assert_eq!(stream.due(), None);
}

proptest! {
    /// However fast a server sends answers that are refused.
    #[test]
    fn refusals_are_never_more_than_the_pauses_allow_and_always_of_the_newest_answer(
        gaps in prop::collection::vec(0..2_000_u64, 1..200),
    ) {
        let (mut stream, _) = open();
        let start = clock::monotonic();
        let (mut now, mut sent) = (start, 0);
        for (number, gap) in gaps.iter().enumerate() {
            let next = now + Duration::from_millis(*gap);
            if let Some(due) = stream.due().filter(|due| *due <= next) {
                let refusal = stream.take_due(due).unwrap();
                prop_assert_eq!(refusal.response_nonce, (number - 1).to_string());
                sent += 1;
            }
            now = next;
            stream.refuse(now, number.to_string(), String::new());
            prop_assert!(stream.due().unwrap() <= now + LONGEST_PAUSE);
        }
        let seconds = (now - start).as_secs();
        prop_assert!(sent <= seconds, "{sent} in {seconds} s");
    }
}
