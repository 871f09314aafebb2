use std::collections::HashMap;

use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest};

use super::{MOST, Memo, SERVES_US, Trip};
use crate::{
    decision::{self, Answer, Ask, Source, State, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::{Limit, Unit},
};

const STORE_US: u64 = 1_800_000_000_000_000;
/// The local clock shows something else altogether.
const LOCAL_US: u64 = 5_000_000_000;

type Table = HashMap<BucketKey, State>;

fn ten() -> Limit {
    Limit::new(10, Unit::Second, Some(1)).unwrap()
}

fn take(number: u8, hits: Hits) -> Take {
    Take { key: BucketKey::from_bytes([number; 16]), ask: Ask::new(hits, &ten()) }
}

fn one(number: u8) -> [Take; 1] {
    [take(number, Hits::Take(1))]
}

/// A trip that left at `sent_us` after the start and came back half a millisecond later.
fn trip(sent_us: u64) -> Trip {
    Trip { sent_us: LOCAL_US + sent_us, arrived_us: LOCAL_US + sent_us + 500 }
}

/// A memo that saw bucket 1 emptied.
fn emptied() -> (Memo, Table) {
    let (mut memo, mut table) = (Memo::default(), Table::default());
    let answer = decision::decide(&one(1), STORE_US, &mut table);
    memo.learn(&one(1), &answer, trip(0));
    (memo, table)
}

#[test]
fn an_admission_that_leaves_no_room_is_enough_to_deny_the_next() {
    let (memo, _) = emptied();
    let denial = memo.denial(&one(1), LOCAL_US + 1_000).unwrap();
    assert_eq!((denial.verdict, denial.source), (Verdict::Deny, Source::Memo));
    assert!(memo.denial(&one(2), LOCAL_US + 1_000).is_none(), "another bucket");
}

#[test]
fn memory_denies_until_the_store_might_admit_and_no_longer() {
    let (memo, _) = emptied();
    // A token comes after 100 ms of the store's clock, which may run a thousandth faster and, when the take
    // left, have been about to show the next microsecond.
    let last_us = 99_899;
    assert!(memo.denial(&one(1), LOCAL_US + last_us - 1).is_some());
    assert!(memo.denial(&one(1), LOCAL_US + last_us).is_none());
}

#[test]
fn a_wait_told_from_memory_counts_down_and_is_never_too_short() {
    let (memo, _) = emptied();
    let wait_us = |local_us| {
        let denial = memo.denial(&one(1), local_us).unwrap();
        ten().wait_us(denial.found[0].full_at(), ten().cost(1), denial.now_us)
    };
    // Told at the earliest when the answer came.
    assert_eq!(wait_us(LOCAL_US + 500), 100_000);
    // 50 ms later by a clock that may run a thousandth fast, and was about to show the next microsecond.
    assert_eq!(wait_us(LOCAL_US + 50_500), 50_000 + 50 + 1);
}

#[test]
fn no_entry_serves_longer_than_a_second() {
    let slow = Limit::new(1, Unit::Hour, None).unwrap();
    let takes = [Take { key: BucketKey::from_bytes([1; 16]), ask: Ask::new(Hits::Take(1), &slow) }];
    let (mut memo, mut table) = (Memo::default(), Table::default());
    memo.learn(&takes, &decision::decide(&takes, STORE_US, &mut table), trip(0));
    assert!(memo.denial(&takes, LOCAL_US + SERVES_US - 1).is_some());
    assert!(memo.denial(&takes, LOCAL_US + SERVES_US).is_none());
}

#[test]
fn an_older_answer_never_lowers_what_a_newer_one_showed() {
    let (mut memo, mut table) = emptied();
    let old = Answer { now_us: STORE_US - 10, ..decision::decide(&one(1), STORE_US, &mut Table::default()) };
    let newer = decision::decide(&one(1), STORE_US + 100_000, &mut table);
    memo.learn(&one(1), &newer, trip(100_000));
    memo.learn(&one(1), &old, trip(0));
    assert!(memo.denial(&one(1), LOCAL_US + 150_000).is_some());
}

#[test]
fn what_was_given_back_is_asked_for_again() {
    let (mut memo, _) = emptied();
    let key = one(1)[0].key;
    memo.void(key, STORE_US + 1_000, trip(1_000));
    assert!(memo.denial(&one(1), LOCAL_US + 2_000).is_none());
    // A denial from before the refund that comes late changes nothing.
    let denied = decision::decide(&one(1), STORE_US + 500, &mut emptied().1);
    assert_eq!(denied.verdict, Verdict::Deny);
    memo.learn(&one(1), &denied, trip(500));
    assert!(memo.denial(&one(1), LOCAL_US + 2_000).is_none());
    // Nor does one of the same microsecond, which may have come before the refund or after it.
    let denied = Answer { now_us: STORE_US + 1_000, ..denied };
    memo.learn(&one(1), &denied, trip(900));
    assert!(memo.denial(&one(1), LOCAL_US + 2_000).is_none());
    let denied = decision::decide(&one(1), STORE_US + 1_500, &mut emptied().1);
    memo.learn(&one(1), &denied, trip(1_500));
    assert!(memo.denial(&one(1), LOCAL_US + 2_000).is_some());
}

#[test]
fn a_request_is_denied_from_memory_only_if_each_of_its_buckets_is_known() {
    let (memo, _) = emptied();
    let both = [one(1)[0], one(2)[0]];
    assert!(memo.denial(&both, LOCAL_US).is_none());
    let refund = [one(1)[0], take(1, Hits::GiveBack(1))];
    assert!(memo.denial(&refund, LOCAL_US).is_none(), "what is given back must reach the store");
}

#[test]
fn a_peek_is_denied_and_learnt_from_as_a_take_is() {
    let (memo, mut table) = emptied();
    let peek = [take(1, Hits::Peek)];
    assert!(memo.denial(&peek, LOCAL_US + 1_000).is_some());
    let mut memo = Memo::default();
    memo.learn(&peek, &decision::decide(&peek, STORE_US, &mut table), trip(0));
    assert!(memo.denial(&one(1), LOCAL_US + 1_000).is_some());
}

#[test]
fn however_many_buckets_are_denied_memory_stays_bounded() {
    let limit = Limit::new(1, Unit::Hour, None).unwrap();
    let mut memo = Memo::default();
    for number in 0..u64::try_from(3 * MOST).unwrap() {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        let takes = [Take { key: BucketKey::from_bytes(bytes), ask: Ask::new(Hits::Take(1), &limit) }];
        memo.learn(&takes, &decision::decide(&takes, STORE_US, &mut Table::default()), trip(number / 1_000));
    }
    assert!(memo.current.len() + memo.previous.len() <= 2 * MOST);
}

proptest! {
    /// The store goes on being asked by others; whatever they do, what memory denies the store would deny.
    #[test]
    fn memory_never_denies_what_the_store_would_admit(
        burst in 1..4_u32,
        steps in proptest::collection::vec((0..120_000_u64, 1..4_u64, any::<bool>(), 0..3_000_u64), 1..60),
        drift in 0..1_000_u64,
    ) {
        let limit = Limit::new(10, Unit::Second, Some(burst)).unwrap();
        let (mut memo, mut table) = (Memo::default(), Table::default());
        let (mut local_us, mut store_us) = (LOCAL_US, STORE_US);
        for (step, hits, mine, travels) in steps {
            local_us += step;
            // The store's clock runs faster than ours, by up to one in a thousand.
            store_us += step + step * drift / 1_000_000;
            let takes = [Take { key: BucketKey::from_bytes([1; 16]), ask: Ask::new(Hits::Take(hits), &limit) }];
            if memo.denial(&takes, local_us).is_some() {
                let mut copy = table.clone();
                prop_assert_eq!(decision::decide(&takes, store_us, &mut copy).verdict, Verdict::Deny);
            }
            let answer = decision::decide(&takes, store_us, &mut table);
            if mine {
                let sent_us = local_us - travels;
                memo.learn(&takes, &answer, Trip { sent_us, arrived_us: local_us + travels });
                local_us += travels;
                store_us += travels;
            }
            prop_assert!(memo.current.len() <= 1);
        }
    }
}
