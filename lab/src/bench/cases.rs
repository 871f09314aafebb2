//! The cases that are run by default, and the full matrix.

use super::{
    case::{Case, Contender, Load, Pace, Via},
    figures::labels,
    keys::{Keys, Mix},
    peers::Program,
};

const THOUSAND: Keys = Keys::Uniform(1_000);
const MILLION: u32 = 1_000_000;

/// The cases in which other services take part.
const BESIDE_PEERS: [&str; 5] = ["one-at-a-time", "uniform-64", "uniform-512", "four-64", "one-denied-64"];

/// Each row of the targets comes from one or two of these; the rest is what users will ask about, and one that once
/// went wrong: requests for two keys, of which one waits for its answer.
fn fourteen() -> Vec<Case> {
    let allowed = |keys, concurrency| Load::closed(keys, Mix::Allowed, concurrency);
    let (floor, memory, redis) = (Contender::floor, Contender::memory, Contender::redis);
    let (incrby, one_connection) = (Contender::incrby, Contender::incrby_one_connection);
    let all = || vec![floor(), memory(), redis(), incrby(), one_connection()];
    let four = || {
        let one = redis().with_descriptors(labels::REDIS_1_DESCRIPTOR, 1);
        vec![floor(), memory(), redis(), one, incrby()]
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
        Case::new(
            "hot-64",
            allowed(Keys::One, 64),
            vec![floor(), memory(), redis(), Contender::leased(), incrby()],
        ),
        Case::new(
            "zipf-64",
            allowed(Keys::Zipf(MILLION), 64),
            vec![floor(), memory(), redis(), Contender::leased(), Contender::leased_long(), incrby()],
        ),
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
        ),
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

/// What leases are for: a hot key at a rate that leaves time, and a Redis that is not near. And what an abuser costs Redis
/// on a machine with many cores.
fn off_the_hot_path() -> Vec<Case> {
    let hot = Load::closed(Keys::One, Mix::Allowed, 64);
    let many = Contender::redis().with_runtimes(labels::REDIS_8_RUNTIMES, 8);
    vec![
        Case::new(
            "hot-half-peak-64",
            Load { pace: Pace::HalfPeak, ..hot },
            vec![Contender::memory(), Contender::leased()],
        )
        .in_rounds(9),
        Case::new("far-64", hot, vec![Contender::memory(), Contender::far(), Contender::far_leased()]),
        Case::new("eight-denied-64", Load { mix: Mix::Denied, ..hot }, vec![many]).stretched(2),
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
    cases.extend(off_the_hot_path());
    cases.extend(topologies());
    cases
}

/// Those of these programs that take part in the case.
pub fn peers_in(case: &Case, programs: &[Program]) -> Vec<Contender> {
    let takes_part = |program: &&Program| {
        // Its cache is for keys that are over their limit.
        BESIDE_PEERS.contains(&case.name.as_str())
            && (**program != Program::RatelimitCached || case.load.mix == Mix::Denied)
    };
    let contender =
        |program: &Program| Contender { descriptors: case.load.descriptors, ..Contender::started(*program) };
    programs.iter().filter(takes_part).map(contender).collect()
}

/// Tollgate with that program, where other services take part.
pub fn profiled_in(case: &Case) -> Vec<Contender> {
    if !BESIDE_PEERS.contains(&case.name.as_str()) {
        return Vec::new();
    }
    let contenders = [
        Contender::memory().profiled(labels::MEMORY_PROFILED),
        Contender::redis().profiled(labels::REDIS_PROFILED),
    ];
    contenders.map(|contender| Contender { descriptors: case.load.descriptors, ..contender }).into()
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
    use crate::bench::rounds::FILL_MS;

    /// All that can take part.
    fn with_peers(mut cases: Vec<Case>) -> Vec<Case> {
        for case in &mut cases {
            let peers = peers_in(case, &[Program::Ratelimit, Program::RatelimitCached, Program::Limitador]);
            case.contenders.extend(peers);
        }
        cases
    }

    /// What a case takes by default: a second and what is around it, for each run; the peak; and at most 20 s for each
    /// contender that sees a million keys.
    fn seconds(case: &Case) -> f64 {
        let run = f64::from(case.stretch) + 0.45;
        let fill = if case.fill == Some(MILLION) { FILL_MS as f64 / 1_000.0 } else { 0.0 };
        let peak = if case.load.pace == Pace::HalfPeak { 3.0 * run } else { 0.0 };
        case.contenders.len() as f64 * (case.rounds as f64 * run + fill) + peak
    }

    #[test]
    fn there_are_twenty_one_usual_cases_and_all_names_differ() {
        assert_eq!(usual().len(), 21);
        let all = all();
        let names: HashSet<&str> = all.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn the_usual_cases_take_under_twenty_minutes_with_all_peers() {
        let sum: f64 = with_peers(usual()).iter().map(seconds).sum();
        assert!(sum < 1_000.0, "{sum} s");
    }

    #[test]
    fn a_case_takes_under_a_minute_with_all_peers() {
        for case in with_peers(usual()) {
            assert!(seconds(&case) < 57.0, "{}: {} s", case.name, seconds(&case));
        }
    }

    #[test]
    fn a_case_takes_under_a_minute_with_the_program_built_with_a_profile() {
        for mut case in usual() {
            case.contenders.extend(profiled_in(&case));
            assert!(seconds(&case) < 57.0, "{}: {} s", case.name, seconds(&case));
        }
    }

    #[test]
    fn peers_take_part_where_the_comparison_is_and_the_local_cache_where_it_answers() {
        let cases = with_peers(usual());
        let with = |label: &str| -> Vec<&str> {
            let has = |case: &&Case| case.contenders.iter().any(|it| it.label == label);
            cases.iter().filter(has).map(|case| case.name.as_str()).collect()
        };
        assert_eq!(with(Program::Limitador.label()).len(), BESIDE_PEERS.len());
        assert_eq!(with(Program::RatelimitCached.label()), ["one-denied-64"]);
        let four = cases.iter().find(|case| case.name == "four-64").unwrap();
        assert!(four.contenders.iter().filter(|it| it.label == "limitador").all(|it| it.descriptors == 4));
    }

    #[test]
    fn contenders_of_one_case_can_be_told_apart() {
        for case in all() {
            let labels: HashSet<&str> = case.contenders.iter().map(|it| it.label.as_str()).collect();
            assert_eq!(labels.len(), case.contenders.len(), "{}", case.name);
        }
    }
}
