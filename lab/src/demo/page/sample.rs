//! Figures like those of a real run, for tests and for looking at the page without a run.

use crate::demo::{
    figures::{Admission, Claim, Figures, HerdArrivals, Latency, Verdict},
    herd::Arrivals,
    picture::Picture,
};

pub(in crate::demo) fn figures() -> Figures {
    Figures {
        claims: claims(),
        admission: Admission {
            per_second: 10,
            burst: 10,
            bin_ms: 100,
            naive: (0..120).map(|bin| if bin == 0 { 33 } else { 3 }).collect(),
            tollgate: (0..120).map(|bin| if bin == 0 { 11 } else { 1 }).collect(),
        },
        denial: DENIAL.to_owned(),
        picture: Ok(Picture { light: "bGlnaHQ=".to_owned(), dark: "ZGFyaw==".to_owned() }),
        herd: herd(),
        latency: [
            ("no limiter", 182, 410),
            ("per-node limiter", 191, 437),
            ("Tollgate, memory", 348, 790),
            ("Tollgate, Redis", 471, 1_260),
        ]
        .map(|(through, p50_us, p99_us)| Latency { through, p50_us, p99_us, samples: 2_000 })
        .into(),
        machine: "2 cores, Envoy 1.40.0, Redis 7.0.15".to_owned(),
        took_s: 74,
    }
}

/// A run in which nothing was counted.
pub(in crate::demo) fn nothing() -> Figures {
    let none = Arrivals { per_second: Vec::new(), admitted: 0 };
    Figures {
        claims: Vec::new(),
        admission: Admission { per_second: 0, burst: 0, bin_ms: 0, naive: Vec::new(), tollgate: vec![0; 3] },
        denial: String::new(),
        picture: Err("There is no picture of it.".to_owned()),
        herd: HerdArrivals {
            clients: 0,
            per_minute: 0,
            with_jitter: none.clone(),
            without_jitter: Arrivals { per_second: vec![0; 45], admitted: 0 },
            fixed_window: none,
        },
        latency: vec![Latency { through: "no limiter", p50_us: 0, p99_us: 0, samples: 0 }],
        machine: String::new(),
        took_s: 0,
    }
}

fn claims() -> Vec<Claim> {
    let [mut naive, mut tollgate] = ["per-node limiter", "Tollgate"].map(steady);
    (naive.measured, naive.allowed) = (390, 130.0);
    "Each node grants the whole limit, so three nodes admit three times as much."
        .clone_into(&mut naive.reason);
    (tollgate.measured, tollgate.allowed) = (130, 130.4);
    "All nodes take from one bucket.".clone_into(&mut tollgate.reason);
    let at_once = Claim {
        claim: "However many requests come at once, the burst passes and not one more.".to_owned(),
        load: "2,000 requests at once for one key, 3 nodes, a burst of 100".to_owned(),
        measured: 100,
        allowed: 100.0,
        reason: "Exactly the burst was admitted.".to_owned(),
        command: "oha -n 2000 -c 200".to_owned(),
        ..tollgate.clone()
    };
    let herd = Claim {
        claim: "Clients that were denied at once do not return at once.".to_owned(),
        load: "300 clients at 6 per minute each, all emptied at once, 45 s".to_owned(),
        measured: 4_480,
        allowed: 4_500.0,
        verdict: Verdict::NotProven,
        reason: "2 answers were fallback answers.".to_owned(),
        command: "target/release/lab demo".to_owned(),
        ..tollgate.clone()
    };
    vec![naive, tollgate, at_once, herd]
}

fn steady(subject: &str) -> Claim {
    Claim {
        claim: format!("{subject} admits what it is said to admit."),
        load: "10 per second for one key, 3 nodes, 12 s of load".to_owned(),
        subject: subject.to_owned(),
        measured: 0,
        allowed: 0.0,
        verdict: Verdict::Shown,
        reason: String::new(),
        command: "tollgate prove --target http://127.0.0.1:18001/ --target http://127.0.0.1:18002/ \
                  --target http://127.0.0.1:18003/ --header 'x-api-key: demo' --limit 10/s --duration 12s"
            .to_owned(),
    }
}

/// 150 clients in each half: seven requests each at first, then two whenever one is due.
fn herd() -> HerdArrivals {
    let arrivals = |returns: &dyn Fn(u64) -> u64| {
        let mut per_second = vec![0; 45];
        per_second[0] = 1_050;
        for client in 0..150 {
            let mut second = returns(client);
            while let Some(count) = usize::try_from(second).ok().and_then(|second| per_second.get_mut(second))
            {
                *count += 2;
                second += returns(client * 1_009 + second);
            }
        }
        let admitted = 900 + per_second[1..].iter().sum::<u64>() / 2;
        Arrivals { per_second, admitted }
    };
    let mut fixed_window = Arrivals { per_second: vec![0; 45], admitted: 1_800 };
    fixed_window.per_second[0] = 1_050;
    fixed_window.per_second[15] = 1_050;
    HerdArrivals {
        clients: 150,
        per_minute: 6,
        with_jitter: arrivals(&|seed| 10 + seed.wrapping_mul(0x9e37_79b9) / 65_536 % 3),
        without_jitter: arrivals(&|_| 10),
        fixed_window,
    }
}

const DENIAL: &str = "HTTP/1.1 429 Too Many Requests\r\n\
    x-envoy-ratelimited: true\r\n\
    retry-after: 7\r\n\
    ratelimit-limit: 10\r\n\
    ratelimit-remaining: 0\r\n\
    ratelimit-reset: 6\r\n\
    content-type: application/problem+json\r\n\
    content-length: 212\r\n\
    date: Fri, 05 Jun 2026 09:12:44 GMT\r\n\
    server: envoy\r\n\
    \r\n\
    {\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\"title\":\"Too Many Requests\",\
    \"status\":429,\"detail\":\"limit 'login' of 10 per minute is used up; the next request fits in 6 s\",\
    \"violated-policies\":[\"login\"]}";
