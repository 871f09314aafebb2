//! The promises of every store, tested on each of them.

mod support;

use std::{sync::Arc, time::Duration};

use tollgate::store::{Backend, Store};
use tollgate_core::{
    calendar::Month,
    decision::{Answer, Demand, Seen, Take, Verdict},
    descriptor::{BucketKey, Entry, Hits},
    limit::{Algorithm, Exact, Limit, LimitSpec, Unit, Windows},
};

/// Long, because these tests are about exactness and not about time.
const DEADLINE: Duration = Duration::from_secs(5);

/// A limit that gives nothing back while a test runs.
fn slow(burst: u32) -> Limit {
    Limit::new(1, Unit::Day, Some(burst)).expect("sound")
}

fn take(name: &str, limit: &Limit, hits: Hits) -> Take {
    let entry = Entry { key: b"test", value: name.as_bytes() };
    Take {
        key: BucketKey::new(b"contract", [entry].into_iter(), limit, None),
        demand: Demand::new(hits, limit),
    }
}

async fn ask(store: &Store, takes: &[Take]) -> Answer {
    store.take(takes.into()).await.expect("the store answers")
}

fn fits(answer: &Answer) -> Vec<bool> {
    answer.found.iter().map(|found| found.fits).collect()
}

async fn admits_the_burst_and_no_more(store: Arc<Store>) {
    let limit = slow(3);
    let one = [take("burst", &limit, Hits::Take(1))];
    for left in [2, 1, 0] {
        let answer = ask(&store, &one).await;
        assert_eq!(answer.verdict, Verdict::Allow);
        let after = one[0]
            .demand
            .tokens()
            .and_then(|tokens| tokens.after(answer.found[0].full_at(), answer.now_us))
            .expect("it fitted");
        assert_eq!(limit.level(after, answer.now_us), left);
    }
    let denied = ask(&store, &one).await;
    assert_eq!(denied.verdict, Verdict::Deny);
    let wait_us = limit.wait_us(denied.found[0].full_at(), limit.cost(1), denied.now_us);
    let day_us = 86_400_000_000;
    assert!((day_us - 60_000_000..=day_us).contains(&wait_us), "{wait_us}");
}

async fn charges_all_or_none(store: Arc<Store>) {
    let (two, one) = (slow(2), slow(1));
    let both = [take("all-a", &two, Hits::Take(1)), take("all-b", &one, Hits::Take(1))];
    assert_eq!(ask(&store, &both).await.verdict, Verdict::Allow);
    let denied = ask(&store, &both).await;
    assert_eq!((denied.verdict, fits(&denied)), (Verdict::Deny, vec![true, false]));
    assert_eq!(ask(&store, &both[..1]).await.verdict, Verdict::Allow, "the denial charged nothing");
    assert_eq!(ask(&store, &both[..1]).await.verdict, Verdict::Deny);
}

async fn adds_up_a_bucket_that_stands_twice(store: Arc<Store>) {
    let limit = slow(3);
    let one = take("twice", &limit, Hits::Take(1));
    assert_eq!(ask(&store, &[one, one]).await.verdict, Verdict::Allow);
    assert_eq!(fits(&ask(&store, &[one, one]).await), [true, false]);
    assert_eq!(ask(&store, &[one]).await.verdict, Verdict::Allow);
    assert_eq!(ask(&store, &[one]).await.verdict, Verdict::Deny);
}

async fn peeks_without_charging(store: Arc<Store>) {
    let limit = slow(1);
    let (peek, one) = (take("peek", &limit, Hits::Peek), take("peek", &limit, Hits::Take(1)));
    for _ in 0..3 {
        assert_eq!(ask(&store, &[peek]).await.verdict, Verdict::Allow);
    }
    assert_eq!(ask(&store, &[one]).await.verdict, Verdict::Allow);
    assert_eq!(ask(&store, &[peek]).await.verdict, Verdict::Deny);
}

async fn gives_back_up_to_full(store: Arc<Store>) {
    let limit = slow(5);
    assert_eq!(ask(&store, &[take("back", &limit, Hits::Take(5))]).await.verdict, Verdict::Allow);
    assert_eq!(ask(&store, &[take("back", &limit, Hits::GiveBack(9))]).await.verdict, Verdict::Allow);
    assert_eq!(ask(&store, &[take("back", &limit, Hits::Take(6))]).await.verdict, Verdict::Deny);
    let last = ask(&store, &[take("back", &limit, Hits::Take(5))]).await;
    assert_eq!((last.verdict, last.found[0].full_at()), (Verdict::Allow, Exact::default()));
}

/// What a reservation ends with: its estimate is given back and the real amount is taken, in one call.
async fn settles_an_estimate_in_one_call_or_leaves_it(store: Arc<Store>) {
    let limit = slow(10);
    let reserve = [take("settle", &limit, Hits::Take(6))];
    let settle = |hits| [take("settle", &limit, Hits::GiveBack(6)), take("settle", &limit, Hits::Take(hits))];
    let left = async |expected: u64| {
        let more = [take("settle", &limit, Hits::Take(expected + 1))];
        assert_eq!(ask(&store, &more).await.verdict, Verdict::Deny, "no more than {expected}");
        if expected == 0 {
            return;
        }
        let all =
            [take("settle", &limit, Hits::Take(expected)), take("settle", &limit, Hits::GiveBack(expected))];
        assert_eq!(ask(&store, &all).await.verdict, Verdict::Allow, "no less than {expected}");
    };
    assert_eq!(ask(&store, &reserve).await.verdict, Verdict::Allow);
    assert_eq!(ask(&store, &settle(1)).await.verdict, Verdict::Allow);
    left(9).await;
    assert_eq!(ask(&store, &reserve).await.verdict, Verdict::Allow);
    // It exceeds the estimate, but fits. Afterwards memory knows that there is no room, which must not stop a settlement.
    assert_eq!(ask(&store, &settle(9)).await.verdict, Verdict::Allow);
    left(0).await;
    assert_eq!(ask(&store, &settle(3)).await.verdict, Verdict::Allow);
    left(3).await;
    // Too much: the whole call is void, and the estimate stays charged.
    assert_eq!(ask(&store, &settle(10)).await.verdict, Verdict::Deny);
    left(3).await;
}

async fn takes_512_buckets_at_once(store: Arc<Store>) {
    let limit = slow(1);
    let names: Vec<String> = (0..512).map(|number| format!("wide-{number}")).collect();
    let takes: Vec<Take> = names.iter().map(|name| take(name, &limit, Hits::Take(1))).collect();
    assert_eq!(ask(&store, &takes[511..]).await.verdict, Verdict::Allow);
    let denied = ask(&store, &takes).await;
    assert_eq!(denied.verdict, Verdict::Deny);
    assert_eq!(denied.found.iter().filter(|found| !found.fits).count(), 1);
    assert_eq!(ask(&store, &takes[..511]).await.verdict, Verdict::Allow);
}

/// 150 takes are more than a batch carries; small requests queue before and behind them.
async fn a_large_request_is_all_or_none_among_small_ones(store: Arc<Store>) {
    let limit = slow(220);
    let one = [take("large", &limit, Hits::Take(1))];
    let (small, large) = (vec![one[0]], vec![one[0]; 150]);
    let asked = (0..64).map(|number| if number % 16 == 8 { large.clone() } else { small.clone() });
    let tasks: Vec<_> = asked
        .map(|takes| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { (takes.len(), ask(&store, &takes).await) })
        })
        .collect();
    let (mut small_ones, mut large_ones) = (0, 0);
    for task in tasks {
        let (takes, answer) = task.await.expect("no panic");
        assert_eq!(answer.found.len(), takes);
        let admitted = u32::from(answer.verdict == Verdict::Allow);
        if takes == 1 { small_ones += admitted } else { large_ones += admitted }
    }
    // In any order, all 60 small ones fit beside one large one, and never beside two.
    assert_eq!((small_ones, large_ones), (60, 1));
}

async fn admits_exactly_the_burst_to_many_at_once(store: Arc<Store>) {
    let limit = slow(100);
    let one = take("many", &limit, Hits::Take(1));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..20 {
                    admitted += u32::from(ask(&store, &[one]).await.verdict == Verdict::Allow);
                }
                admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.expect("no panic");
    }
    assert_eq!(admitted, 100);
}

async fn ends_a_month_of_the_calendar_where_it_ends(store: Arc<Store>) {
    let spec = LimitSpec {
        algorithm: Algorithm::FixedWindow,
        windows: Windows::CalendarMonth,
        ..LimitSpec::new(9, Unit::Month)
    };
    let limit = spec.check().expect("sound");
    let answers = [9, 1].map(|hits| [take("month", &limit, Hits::Take(hits))]);
    let (first, second) = (ask(&store, &answers[0]).await, ask(&store, &answers[1]).await);
    let months = [&first, &second].map(|answer| Month::at(answer.now_us));
    let ends = [&first, &second].map(|answer| match answer.found[0].seen {
        Seen::FixedWindow(window) => window.ends_us,
        _ => panic!("a window"),
    });
    assert_eq!(ends, months.map(|month| month.ends_us));
    let same_month = months[0] == months[1];
    assert_eq!((first.verdict == Verdict::Allow, second.verdict == Verdict::Deny), (true, same_month));
}

async fn honours_the_contract(store: Arc<Store>) {
    admits_the_burst_and_no_more(Arc::clone(&store)).await;
    charges_all_or_none(Arc::clone(&store)).await;
    adds_up_a_bucket_that_stands_twice(Arc::clone(&store)).await;
    peeks_without_charging(Arc::clone(&store)).await;
    settles_an_estimate_in_one_call_or_leaves_it(Arc::clone(&store)).await;
    gives_back_up_to_full(Arc::clone(&store)).await;
    takes_512_buckets_at_once(Arc::clone(&store)).await;
    a_large_request_is_all_or_none_among_small_ones(Arc::clone(&store)).await;
    ends_a_month_of_the_calendar_where_it_ends(Arc::clone(&store)).await;
    admits_exactly_the_burst_to_many_at_once(store).await;
}

#[tokio::test]
async fn memory_honours_the_contract() {
    honours_the_contract(Arc::new(Backend::memory(100_000).open(DEADLINE))).await;
}

#[tokio::test]
async fn redis_honours_the_contract() {
    let Some(redis) = support::redis().await else { return };
    let store = support::open(&redis, DEADLINE).await;
    honours_the_contract(Arc::new(store)).await;
}
