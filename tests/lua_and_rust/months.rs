//! The months of the calendar, by the arithmetic of the script and of the crate.

use redis::{Connection, cmd, pipe};
use tollgate::store::{
    memory::MemoryStore,
    redis::script::{self, Call, Now},
};
use tollgate_core::{
    calendar::Month,
    decision::{Answer, Demand, Seen, Take, Verdict},
    descriptor::{BucketKey, Entry, Hits},
    limit::{Algorithm, Limit, LimitSpec, Unit, Windows},
};

use crate::{answer, load, support};

const DAY_US: u64 = 86_400_000_000;
/// Lua's numbers are exact below it.
const LAST_US: u64 = 1 << 53;

fn quota(requests_per_unit: u32) -> Limit {
    let spec = LimitSpec {
        algorithm: Algorithm::FixedWindow,
        windows: Windows::CalendarMonth,
        ..LimitSpec::new(requests_per_unit, Unit::Month)
    };
    spec.check().expect("sound")
}

fn take(limit: &Limit, hits: Hits) -> Take {
    let entry = Entry { key: b"test", value: b"months" };
    Take { key: BucketKey::new(b"edge", [entry].into_iter(), limit, None), demand: Demand::new(hits, limit) }
}

/// Each day is asked at its first and at its last microsecond.
#[tokio::test]
async fn the_script_ends_every_month_of_three_centuries_when_the_calendar_does() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    let digest = load(&mut connection);
    let peek = [take(&quota(9), Hits::Peek)];
    let days: Vec<u64> = (0..=(LAST_US - 31 * DAY_US) / DAY_US).collect();
    let (mut asked, mut months) = (0, 0);
    for days in days.chunks(4_000) {
        let instants: Vec<u64> = days.iter().flat_map(|day| [day * DAY_US, (day + 1) * DAY_US - 1]).collect();
        let mut pipeline = pipe();
        for now_us in &instants {
            let mut command = Call::new([&peek[..]]).command("EVALSHA", &digest);
            command.arg(*now_us);
            pipeline.add_command(command);
        }
        let replies: Vec<Vec<u8>> = pipeline.query(&mut connection).expect("every call runs");
        for (now_us, reply) in instants.iter().zip(&replies) {
            let Seen::FixedWindow(window) = answer(reply, &peek).found[0].seen else { panic!("a window") };
            let month = Month::at(*now_us);
            assert_eq!((window.ends_us, window.count), (month.ends_us, 0), "{now_us}");
            asked += 1;
            months = months.max(month.number + 1);
        }
    }
    assert!(asked > 200_000 && months > 3_400, "{asked} instants in {months} months");
}

/// A store whose clock the test sets.
enum Clocked<'c> {
    Memory(MemoryStore),
    Redis(&'c mut Connection),
}

impl Clocked<'_> {
    fn ask(&mut self, takes: &[Take], now_us: u64) -> Answer {
        match self {
            Clocked::Memory(store) => store.take_at(takes, now_us).expect("room"),
            Clocked::Redis(connection) => {
                let mut command = Call::new([takes]).command("EVAL", &script::text(Now::Argument));
                let reply: Vec<u8> = command.arg(now_us).query(connection).expect("runs");
                answer(&reply, takes)
            }
        }
    }

    /// How many of five requests for one hit each pass, and the end of the window.
    fn ask_five(&mut self, limit: &Limit, now_us: u64) -> (usize, u64) {
        let one = [take(limit, Hits::Take(1))];
        let answers: Vec<Answer> = (0..5).map(|_| self.ask(&one, now_us)).collect();
        let Seen::FixedWindow(window) = answers[0].found[0].seen else { panic!("a window") };
        (answers.iter().filter(|answer| answer.verdict == Verdict::Allow).count(), window.ends_us)
    }
}

/// `edge_us` begins a month, and the month before has `days` days.
fn a_month_holds_its_limit_from_its_first_microsecond_to_its_last(
    store: &mut Clocked<'_>,
    (edge_us, days): (u64, u64),
) {
    let limit = quota(3);
    let first_us = edge_us - days * DAY_US;
    assert_eq!(store.ask_five(&limit, first_us - 1).1, first_us, "the month before it ends there");
    assert_eq!(store.ask_five(&limit, first_us), (3, edge_us));
    for later_us in [1, 27 * DAY_US, 28 * DAY_US - 1, days * DAY_US - 1] {
        assert_eq!(store.ask_five(&limit, first_us + later_us), (0, edge_us), "{later_us}");
    }
    let back = [take(&limit, Hits::GiveBack(1))];
    store.ask(&back, edge_us - 1);
    assert_eq!(store.ask_five(&limit, edge_us - 1), (1, edge_us), "what was given back");
    let (passed, ends_us) = store.ask_five(&limit, edge_us);
    assert_eq!(passed, 3, "all of the next month");
    assert!((28 * DAY_US..=31 * DAY_US).contains(&(ends_us - edge_us)), "{ends_us}");
    // The clock steps back.
    assert_eq!(store.ask_five(&limit, edge_us - 1), (0, ends_us), "it stays in the later month");
}

#[tokio::test]
async fn memory_and_redis_hold_a_quota_around_the_ends_of_months_and_leap_days() {
    let Some(redis) = support::redis().await else { return };
    let mut connection = support::connection(&redis);
    // Days since the epoch. Redis does not keep what expired by its own clock, so all of them are in the future.
    let edges = [
        (20_939, 30), // 2027-05-01
        (21_244, 29), // 2028-03-01
        (21_974, 28), // 2030-03-01
        (46_081, 29), // 2096-03-01
        (47_117, 31), // 2099-01-01
        (47_541, 28), // 2100-03-01, of a century that is not leap
    ];
    for (day, days) in edges {
        let month = Month::at(day * DAY_US);
        assert_eq!((month.starts_us, Month::at(day * DAY_US - 1).seconds()), (day * DAY_US, days * 86_400));
        let () = cmd("FLUSHALL").query(&mut connection).expect("clears");
        for mut store in [Clocked::Memory(MemoryStore::new()), Clocked::Redis(&mut connection)] {
            a_month_holds_its_limit_from_its_first_microsecond_to_its_last(&mut store, (day * DAY_US, days));
        }
    }
}
