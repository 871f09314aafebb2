//! The cases that are run by default, and the full matrix.

use super::{
    case::{Case, Contender, Load, Pace, Via},
    figures::labels,
    keys::{Keys, Mix},
};

const THOUSAND: Keys = Keys::Uniform(1_000);
const MILLION: u32 = 1_000_000;

/// Each row of the targets comes from one or two of these; the rest is what users will ask about, and one that once
/// went wrong: requests for two keys, of which one waits for its answer.
fn fourteen() -> Vec<Case> {
    let allowed = |keys, concurrency| Load::closed(keys, Mix::Allowed, concurrency);
    let (floor, memory, redis) = (Contender::floor, Contender::memory, Contender::redis);
    let (incrby, one_connection) = (Contender::incrby, Contender::incrby_one_connection);
    let all = || vec![floor(), memory(), redis(), incrby(), one_connection()];
    let four = || {
        let one = redis().with_descriptors(labels::REDIS_1_DESCRIPTOR, 1);
        vec![floor(), memory(), redis(), one, incrby(), one_connection()]
    };
    let runtimes = || {
        let memory_2 = memory().with_runtimes(labels::MEMORY_2_RUNTIMES, 2);
        vec![memory(), memory_2, redis(), redis().with_runtimes(labels::REDIS_2_RUNTIMES, 2)]
    };
    let doors = || {
        let check = |contender: Contender, label| contender.checked(label, Via::Check);
        let browser = |contender: Contender, label| contender.checked(label, Via::CheckForBrowser);
        vec![memory(), check(memory(), labels::MEMORY_CHECK), browser(memory(), labels::MEMORY_BROWSER)]
    };
    vec![
        Case::new(
            "one-at-a-time",
            allowed(THOUSAND, 1),
            vec![floor(), memory(), redis(), Contender::evalsha(), incrby()],
        ),
        Case::new("uniform-64", allowed(THOUSAND, 64), all()),
        Case::new("uniform-512", allowed(THOUSAND, 512), all()),
        Case::new("hot-64", allowed(Keys::One, 64), vec![floor(), memory(), redis(), incrby()]),
        Case::new("zipf-64", allowed(Keys::Zipf(MILLION), 64), vec![floor(), memory(), redis(), incrby()]),
        Case::new("zipf-512", allowed(Keys::Zipf(MILLION), 512), vec![floor(), redis(), incrby()]),
        Case::new("four-64", Load { descriptors: 4, ..allowed(THOUSAND, 64) }, four()),
        Case::new(
            "half-denied-64",
            Load::closed(THOUSAND, Mix::Half, 64),
            vec![floor(), memory(), redis(), incrby()],
        )
        .filled(1_000),
        Case::new(
            "one-denied-64",
            Load::closed(Keys::One, Mix::Denied, 64),
            vec![floor(), memory(), redis(), Contender::cache_off()],
        )
        .stretched(2),
        Case::new(
            "pairs-512",
            Load { descriptors: 2, ..Load::closed(Keys::Uniform(30), Mix::Pairs, 512) },
            vec![memory(), redis(), Contender::cache_off()],
        ),
        Case::new(
            "half-peak-64",
            Load { pace: Pace::HalfPeak, ..allowed(THOUSAND, 64) },
            vec![floor(), memory(), redis()],
        ),
        Case::new("authz-64", allowed(THOUSAND, 64), doors()),
        Case::new("two-runtimes-64", allowed(THOUSAND, 64), runtimes()),
        Case::new(
            "million-512",
            Load::closed(Keys::Uniform(MILLION), Mix::Once, 512),
            vec![memory(), redis()],
        )
        .filled(MILLION),
    ]
}

/// TLS costs each connection a handshake, which `lab handshakes` measures, and each message what this one shows.
fn over_tls() -> Case {
    let load = Load::closed(THOUSAND, Mix::Allowed, 64);
    Case::new("tls-64", load, vec![Contender::floor(), Contender::memory(), Contender::memory_tls()])
}

/// A Redis Cluster and Sentinels beside one Redis.
fn topologies() -> Vec<Case> {
    let case = |concurrency, descriptors, contenders| {
        let load = Load { descriptors, ..Load::closed(THOUSAND, Mix::Allowed, concurrency) };
        let four = if descriptors > 1 { "-four" } else { "" };
        Case::new(format!("cluster{four}-{concurrency}"), load, contenders)
    };
    let three = || vec![Contender::redis(), Contender::cluster(), Contender::sentinel()];
    let with_long_way = || {
        vec![Contender::redis(), Contender::cluster(), Contender::cluster_long_way(), Contender::sentinel()]
    };
    vec![
        case(64, 1, with_long_way()),
        case(512, 1, with_long_way()),
        case(64, 4, three()),
        case(512, 4, three()),
    ]
}

/// Those that are run by default.
pub fn usual() -> Vec<Case> {
    let mut cases = fourteen();
    cases.extend(topologies());
    cases
}

/// The usual ones, the one over TLS, and each concurrency with each set of keys, number of descriptors, mix and number of runtimes.
///
/// Half denied goes with at most 1,000 keys: all that deny have to be used up first.
pub fn all() -> Vec<Case> {
    let mut cases = usual();
    cases.push(over_tls());
    for runtimes in [1, 2] {
        for concurrency in [1, 64, 512] {
            for (name, keys) in [("hot", Keys::One), ("uniform", THOUSAND), ("zipf", Keys::Zipf(MILLION))] {
                for descriptors in [1, 4] {
                    for mix in [Mix::Allowed, Mix::Half, Mix::Denied] {
                        let load = Load { descriptors, ..Load::closed(keys, mix, concurrency) };
                        let name = format!("c{concurrency}-{name}-d{descriptors}-{mix}-r{runtimes}");
                        cases.extend(matrix_case(name, load, runtimes));
                    }
                }
            }
        }
    }
    cases
}

fn matrix_case(name: String, load: Load, runtimes: usize) -> Option<Case> {
    let mut contenders = vec![Contender::floor(), Contender::memory(), Contender::redis()];
    for contender in &mut contenders {
        contender.subject.runtimes = runtimes;
    }
    // Windows of a second would be new keys all the time: INCRBY has a place only where they last.
    if load.mix != Mix::Denied {
        contenders.extend([Contender::incrby(), Contender::incrby_one_connection()]);
    }
    let case = Case::new(name, load, contenders);
    match (load.mix, load.keys) {
        (Mix::Half, Keys::Zipf(_)) | (Mix::Denied, Keys::Uniform(_) | Keys::Zipf(_)) => None,
        (Mix::Half, Keys::Uniform(count)) => Some(case.filled(count)),
        (Mix::Half, _) => Some(case.filled(1)),
        _ => Some(case),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_eighteen_usual_cases_and_all_names_differ() {
        assert_eq!(usual().len(), 18);
        let all = all();
        let names: HashSet<&str> = all.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn the_usual_cases_take_under_twenty_minutes() {
        // 2 s and what is around it, five times; and at most 90 s for each contender that sees a million keys.
        let seconds = |case: &Case| {
            let runs = 5 * case.contenders.len() as u32;
            let fill = if case.fill == Some(MILLION) { 90 * case.contenders.len() as u32 } else { 0 };
            f64::from(runs) * (2.0 * f64::from(case.stretch) + 0.5) + f64::from(fill)
        };
        let sum: f64 = usual().iter().map(seconds).sum();
        assert!(sum < 1_150.0, "{sum} s");
    }

    #[test]
    fn contenders_of_one_case_can_be_told_apart() {
        for case in all() {
            let labels: HashSet<&str> = case.contenders.iter().map(|it| it.label.as_str()).collect();
            assert_eq!(labels.len(), case.contenders.len(), "{}", case.name);
        }
    }
}
