use proptest::prelude::*;

use super::*;
use crate::clock;

const PAUSE: Duration = Duration::from_secs(5);

fn domain(name: &str) -> Domain {
    Domain { name: name.to_owned(), ..Domain::default() }
}

fn domains(names: &str) -> Vec<Domain> {
    names.chars().map(|name| domain(&name.to_string())).collect()
}

fn in_force(settling: &Settling) -> String {
    settling.domains().into_iter().map(|domain| domain.name).collect()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn what_an_answer_has_is_in_force_at_once_and_what_it_lacks_stays_for_the_pause() {
    let mut settling = Settling::new(PAUSE);
    let start = clock::monotonic();
    assert!(settling.take(start, domains("ab")));
    assert!(!settling.take(start, domains("ba")), "the order means nothing");
    assert!(settling.take(start + seconds(1), domains("bc")));
    assert_eq!(in_force(&settling), "abc");
    let vanished = |now: Instant| settling.vanished_at(now).collect::<Vec<_>>();
    assert_eq!((vanished(start), vanished(start + seconds(1))), (vec![], vec!["a"]));
    assert_eq!(settling.due(), Some(start + seconds(6)));
    assert!(settling.settle(start + seconds(6) - Duration::from_nanos(1)).is_empty());
    assert_eq!(settling.settle(start + seconds(6)), ["a"]);
    assert_eq!((in_force(&settling).as_str(), settling.due()), ("bc", None));
}

#[test]
fn an_empty_answer_takes_nothing_away_before_the_pause_and_everything_after_it() {
    let mut settling = Settling::new(PAUSE);
    let start = clock::monotonic();
    settling.take(start, domains("ab"));
    assert!(!settling.take(start, Vec::new()));
    assert_eq!(in_force(&settling), "ab");
    assert_eq!(settling.settle(start + PAUSE), ["a", "b"]);
}

#[test]
fn a_domain_that_comes_back_is_as_if_it_had_never_been_away() {
    let mut settling = Settling::new(PAUSE);
    let start = clock::monotonic();
    settling.take(start, domains("ab"));
    settling.take(start, domains("b"));
    settling.take(start + seconds(4), domains("ab"));
    assert_eq!(settling.due(), None);
    settling.take(start + seconds(5), domains("b"));
    assert_eq!(settling.due(), Some(start + seconds(10)), "counted anew");
}

#[test]
fn newer_answers_prolong_the_pause_up_to_twelve_times() {
    let mut settling = Settling::new(PAUSE);
    let start = clock::monotonic();
    settling.take(start, domains("ab"));
    let mut gone_at = None;
    for second in 0..100 {
        let now = start + seconds(second);
        if !settling.settle(now).is_empty() {
            gone_at = Some(second);
            break;
        }
        // A refused answer is a sign of life too.
        if second % 2 == 0 { assert!(!settling.take(now, domains("b"))) } else { settling.answered(now) }
    }
    assert_eq!(gone_at, Some(60));
}

#[test]
fn after_a_reconnect_it_takes_three_times_as_long_and_without_a_connection_nothing_is_dropped() {
    let mut settling = Settling::new(PAUSE);
    let start = clock::monotonic();
    settling.take(start, domains("ab"));
    settling.take(start, domains("b"));
    settling.disconnected();
    assert_eq!((settling.due(), settling.settle(start + seconds(1_000)).len()), (None, 0));

    let again = start + seconds(2_000);
    settling.take(again, domains("b"));
    assert_eq!(settling.due(), Some(again + seconds(15)));
    settling.take(again + seconds(14), domains("b"));
    assert_eq!(settling.due(), Some(again + seconds(29)));
    settling.take(again + seconds(20), domains("b"));
    assert_eq!(settling.due(), Some(again + seconds(25)), "the server has been there for a while");
    assert_eq!(settling.settle(again + seconds(25)), ["a"]);
}

#[test]
fn without_a_pause_a_domain_is_gone_at_once() {
    let mut settling = Settling::new(Duration::ZERO);
    let now = clock::monotonic();
    settling.take(now, domains("ab"));
    settling.take(now, domains("b"));
    assert_eq!(settling.settle(now), ["a"]);
}

#[derive(Debug, Clone)]
enum Event {
    Answer(u8),
    Refused,
    Disconnected,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any::<u8>().prop_map(Event::Answer),
        1 => Just(Event::Refused),
        1 => Just(Event::Disconnected),
    ]
}

proptest! {
    /// Domains are the eight bits of an answer.
    #[test]
    fn a_domain_goes_only_after_the_pause_in_which_no_answer_had_it_and_at_the_latest_after_twelve(
        events in prop::collection::vec((0..20_u64, event()), 1..60),
    ) {
        let mut settling = Settling::new(PAUSE);
        let mut now = clock::monotonic();
        // Whether it is in force, and since when the answers of this stream lack it.
        let (mut has, mut lacks) = ([false; 8], [None; 8]);
        for (gap, event) in events {
            now += seconds(gap);
            for name in settling.settle(now) {
                let bit: usize = name.parse().unwrap();
                prop_assert!(lacks[bit].is_some_and(|since| now >= since + PAUSE), "{bit} went too early");
                (has[bit], lacks[bit]) = (false, None);
            }
            match event {
                Event::Answer(bits) => {
                    let set = (0..8).filter(|bit| bits >> bit & 1 == 1);
                    settling.take(now, set.map(|bit| domain(&bit.to_string())).collect());
                    for bit in 0..8 {
                        if bits >> bit & 1 == 1 {
                            (has[bit], lacks[bit]) = (true, None);
                        } else if has[bit] {
                            lacks[bit] = lacks[bit].or(Some(now));
                        }
                    }
                }
                Event::Refused => settling.answered(now),
                Event::Disconnected => {
                    settling.disconnected();
                    lacks = [None; 8];
                }
            }
            let kept = in_force(&settling);
            for (bit, has) in has.iter().enumerate() {
                prop_assert_eq!(kept.contains(&bit.to_string()), *has, "{}", bit);
            }
            if let Some(since) = lacks.into_iter().flatten().min() {
                let due = settling.due().unwrap();
                prop_assert!(due >= since + PAUSE && due <= since + 12 * PAUSE, "{due:?}");
            }
        }
    }
}
