//! Sends random requests through the ratelimit filter of a real Envoy and through the engine, and compares the
//! descriptors.
//!
//! `corpus.json` has the lists of actions as Envoy reads them. Each request goes through all of them. `lists` compares
//! which lists count for a request.

mod corpus;
mod lists;
mod node;
mod recorder;
mod requests;
mod words;

use std::fmt::Write as _;

use lab::{binaries::Part, envoy::Envoy};
use rand::{SeedableRng as _, rngs::StdRng};
use tollgate::pb::RateLimitDescriptor;
use tollgate_core::{
    actions::{HttpRequest, RateLimit, descriptors},
    descriptor::Hits,
};

use crate::{recorder::Recorder, requests::Sent};

const REQUESTS: usize = 600;

/// A descriptor in the form in which both sides are compared.
#[derive(PartialEq, Eq)]
struct Seen {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    hits: Option<Hits>,
}

impl From<&RateLimitDescriptor> for Seen {
    fn from(descriptor: &RateLimitDescriptor) -> Seen {
        let entries = descriptor.entries.iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
        let negative = descriptor.is_negative_hits;
        let hits = descriptor.hits_addend.map(|hits| Hits::new(Some(hits), 1, negative));
        Seen { entries: entries.collect(), hits }
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (key, value) in &self.entries {
            write!(f, "{}={} ", key.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, "{:?}", self.hits)
    }
}

fn through_the_engine(lists: &[RateLimit], request: &HttpRequest<'_>) -> Vec<Seen> {
    let made = descriptors(lists, request).filter_map(Result::ok);
    let seen = made.map(|descriptor| Seen {
        entries: descriptor.entries().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect(),
        hits: descriptor.hits,
    });
    seen.collect()
}

/// The descriptors that only one side has, for people to read.
fn difference(envoy: &[Seen], engine: &[Seen]) -> String {
    let mut text = String::new();
    for seen in envoy.iter().filter(|seen| !engine.contains(seen)) {
        writeln!(text, "  Envoy only:  {seen:?}").expect("a string takes everything");
    }
    for seen in engine.iter().filter(|seen| !envoy.contains(seen)) {
        writeln!(text, "  engine only: {seen:?}").expect("a string takes everything");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_makes_the_descriptors_that_envoy_makes_byte_for_byte() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let corpus = corpus::read();
    let lists: Vec<RateLimit> = corpus.iter().map(corpus::checked).collect();
    let mut recorder = Recorder::start().await;
    let envoy = Envoy::start(&node::config(&corpus, recorder.addr())).await.expect("Envoy starts");

    let mut random = StdRng::seed_from_u64(node::seed());
    let (mut differences, mut compared) = (Vec::new(), 0);
    for _ in 0..REQUESTS {
        let sent = Sent::random(&mut random);
        let status = sent.send(envoy.listen()).await;
        // The recorder answers OVER_LIMIT, so any other status means that Envoy did not ask it.
        assert_eq!(status, 429, "{sent:?}");
        let from_envoy: Vec<Seen> = recorder.next().await.descriptors.iter().map(Seen::from).collect();
        let from_engine = sent.with_request(|request| through_the_engine(&lists, request));
        compared += from_envoy.len();
        if from_envoy != from_engine {
            differences.push(format!("{sent:?}\n{}", difference(&from_envoy, &from_engine)));
        }
    }
    let first = differences.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {REQUESTS} requests differ:\n{first}", differences.len());
    assert!(compared > 40 * REQUESTS, "only {compared} descriptors were made, so little was compared");
}
