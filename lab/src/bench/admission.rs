//! How many requests three replicas of a service admit that share one Redis: across the edge of a second, and of many at once.
//!
//! Fixed windows admit their limit before an edge and once more behind it, and a service that looks before it counts
//! admits what comes in between. Other than a case, this measures no speed, so nothing is pinned.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::{task::JoinSet, time::sleep};
use tollgate::pb::{
    RateLimitDescriptor, RateLimitRequest, rate_limit_descriptor::Entry, rate_limit_response::Code,
    rate_limit_service_client::RateLimitServiceClient,
};
use tonic::{Request, transport::Channel};

use super::{
    BenchError,
    case::{Contender, Service},
    limits::{DOMAIN, Rule, api_key},
    peers::{self, Program, Started},
    report::terminal,
    rounds::Setting,
    stats::Spread,
    subject::{TO_CONNECT, serve},
};
use crate::{redis::Redis, tollgate::Tollgate};

/// The name among the cases.
pub const NAME: &str = "admission";

const REPLICAS: usize = 3;
/// To each replica, since a server may answer only so many requests of one connection at a time.
const CONNECTIONS: usize = 8;
const ROUNDS: usize = 5;
/// Before the edge, and again behind it: twice what the limit allows.
const AT_THE_EDGE: usize = 20;
pub const AT_ONCE: usize = 2_000;
/// What a second has left when the first requests are sent, and what the next one has had when the others are.
const BEFORE: Duration = Duration::from_millis(950);
const BEHIND: Duration = Duration::from_millis(1_050);
/// So that the limit is what denies, and not a deadline.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one service has admitted, in each round.
#[derive(Debug, Clone)]
pub struct Admission {
    pub label: String,
    pub edge: Vec<Answers>,
    pub at_once: Vec<Answers>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    pub admitted: u64,
    pub denied: u64,
    pub errors: u64,
}

/// When the windows of a service begin, if it has windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Windows {
    Aligned,
    WithARequest,
}

/// The order of the fields ends the replicas before their Redis.
#[derive(Debug)]
struct Replicas {
    channels: Vec<Channel>,
    windows: Windows,
    _tollgates: Vec<Tollgate>,
    _peers: Vec<Started>,
    _redis: Redis,
}

pub async fn run(contenders: &[Contender], setting: &Setting<'_>) -> Result<Vec<Admission>, BenchError> {
    let mut admissions = Vec::new();
    for contender in contenders {
        terminal::say(&format!("  {}: three replicas", contender.label));
        let replicas = Replicas::start(contender, setting).await?;
        let mut admission =
            Admission { label: contender.label.clone(), edge: Vec::new(), at_once: Vec::new() };
        for round in 0..setting.rounds.unwrap_or(ROUNDS) as u32 {
            admission.edge.push(replicas.across_an_edge(round).await);
            admission.at_once.push(replicas.at_once(round).await);
        }
        admissions.push(admission);
    }
    Ok(admissions)
}

// === impl Admission ===

impl Admission {
    pub fn admitted(answers: &[Answers]) -> Option<Spread> {
        Spread::from_values(answers.iter().map(|answers| answers.admitted as f64))
    }

    pub fn errors(&self) -> u64 {
        self.edge.iter().chain(&self.at_once).map(|answers| answers.errors).sum()
    }
}

// === impl Replicas ===

impl Replicas {
    async fn start(contender: &Contender, setting: &Setting<'_>) -> Result<Replicas, BenchError> {
        let redis = Redis::start().await?;
        let (mut tollgates, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..REPLICAS {
            if let Service::Started(program) = contender.subject.service {
                let binary =
                    peers::binary(setting.binaries, program).expect("only what was named takes part");
                let folder = setting.limits.parent().unwrap_or(Path::new("."));
                peers.push(Started::start(program, binary, &redis, 1, folder).await?);
            } else {
                let serve = serve(contender.subject, setting.limits).store(redis.url());
                tollgates.push(Tollgate::start(&serve).await?);
            }
        }
        sleep(TO_CONNECT).await;
        let addrs = tollgates.iter().map(Tollgate::grpc).chain(peers.iter().map(|peer| peer.addr));
        let mut channels = Vec::new();
        for addr in addrs {
            for _ in 0..CONNECTIONS {
                let endpoint = Channel::from_shared(format!("http://{addr}")).expect("an address");
                channels.push(endpoint.connect().await.map_err(BenchError::Connect)?);
            }
        }
        // Requests in turn go to a replica each.
        let channels = (0..CONNECTIONS).flat_map(|n| channels.iter().skip(n).step_by(CONNECTIONS).cloned());
        let channels = channels.collect();
        let windows = match contender.subject.service {
            Service::Started(Program::Limitador) => Windows::WithARequest,
            _ => Windows::Aligned,
        };
        Ok(Replicas { channels, windows, _tollgates: tollgates, _peers: peers, _redis: redis })
    }

    /// Where a window begins with a request, one opens it at the edge before.
    async fn across_an_edge(&self, key: u32) -> Answers {
        sleep(Duration::from_secs(1) - since_the_edge(1)).await;
        let edge = SystemTime::now();
        let until = |since: Duration| sleep(since.saturating_sub(edge.elapsed().unwrap_or_default()));
        let mut answers = Answers::default();
        if self.windows == Windows::WithARequest {
            answers.add(self.ask(Rule::Ten, key, 1).await);
        }
        for since in [BEFORE, BEHIND] {
            until(since).await;
            answers.add(self.ask(Rule::Ten, key, AT_THE_EDGE).await);
        }
        answers
    }

    /// Within one minute.
    async fn at_once(&self, key: u32) -> Answers {
        const ROOM: Duration = Duration::from_secs(55);
        let since = since_the_edge(60);
        if since > ROOM {
            sleep(Duration::from_secs(60) - since).await;
        }
        self.ask(Rule::Hundred, key, AT_ONCE).await
    }

    async fn ask(&self, rule: Rule, key: u32, requests: usize) -> Answers {
        let mut running = JoinSet::new();
        for channel in self.channels.iter().cycle().take(requests) {
            let mut client = RateLimitServiceClient::new(channel.clone());
            let mut request = Request::new(request(rule, key));
            request.set_timeout(PATIENCE);
            running.spawn(async move { client.should_rate_limit(request).await });
        }
        let mut answers = Answers::default();
        while let Some(answer) = running.join_next().await {
            match answer.map(|answer| answer.map(|answer| answer.into_inner().overall_code())) {
                Ok(Ok(Code::Ok)) => answers.admitted += 1,
                Ok(Ok(Code::OverLimit)) => answers.denied += 1,
                _ => answers.errors += 1,
            }
        }
        answers
    }
}

impl Answers {
    const fn add(&mut self, other: Answers) {
        self.admitted += other.admitted;
        self.denied += other.denied;
        self.errors += other.errors;
    }
}

/// The part of a window that has passed, of windows that are aligned with 1970.
fn since_the_edge(window_s: u64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now - Duration::from_secs(now.as_secs() / window_s * window_s)
}

fn request(rule: Rule, key: u32) -> RateLimitRequest {
    let entry = |key: &str, value: String| Entry { key: key.to_owned().into(), value: value.into() };
    let descriptor = RateLimitDescriptor {
        entries: vec![entry("route", rule.route()), entry("api_key", api_key(key))],
        ..RateLimitDescriptor::default()
    };
    RateLimitRequest { domain: DOMAIN.to_owned(), descriptors: vec![descriptor], hits_addend: 0 }
}
