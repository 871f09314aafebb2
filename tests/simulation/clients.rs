//! Clients: they ask in closed and open loops, may lose patience, and some come back at the exact microsecond.

use std::{cell::RefCell, rc::Rc};

use rand::RngExt;

use super::{
    Broken,
    disturbance::Replica,
    plan::Pace,
    traffic::{self, Wish},
    world::{Event, Fate, Request, World},
};
use tollgate::{
    fallback::Source,
    store::{
        StoreError,
        redis::dispatch::{self, Dispatched},
    },
};
use tollgate_core::{
    decision::{Answer, Demand, Take, Verdict},
    descriptor::{BucketKey, Hits},
    limit::Limit,
};

#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) request: usize,
    pub(super) post: Rc<Post>,
}

/// Keeps the answers that a dispatcher hands out until they are delivered.
#[derive(Debug, Default)]
pub(super) struct Post {
    pub(super) answers: RefCell<Vec<(usize, Result<Answer, StoreError>)>>,
    pub(super) gone: RefCell<Vec<bool>>,
}

impl dispatch::Ticket for Ticket {
    fn is_gone(&self) -> bool {
        self.post.gone.borrow()[self.request]
    }

    fn answer(self, answer: Result<Answer, StoreError>) {
        self.post.answers.borrow_mut().push((self.request, answer));
    }
}

impl World<'_> {
    pub(super) fn ask_later(&mut self, client: usize) {
        let gap_ns = self.traffic.random_range(self.plan.clients[client].gap_ns.clone());
        self.schedule(gap_ns, Event::Demand { client });
    }

    pub(super) fn ask(&mut self, client: usize) -> Result<(), Broken> {
        if self.now_ns >= self.plan.until_ns {
            return Ok(());
        }
        let client_plan = &self.plan.clients[client];
        if client_plan.pace == Pace::Open {
            self.ask_later(client);
        }
        let edition = self.replica(client).edition;
        let wishes = match self.returns_for[client].take() {
            Some(bucket) => vec![Wish { bucket, hits: Hits::Take(1), edition }],
            None => traffic::wishes(&mut self.traffic, self.plan, edition),
        };
        let request = self.requests.len();
        let takes = traffic::takes(&wishes, &self.plan.buckets);
        self.requests.push(Request::new(client, wishes, takes.clone(), self.now_ns));
        self.post.gone.borrow_mut().push(false);
        self.note(request, |request| format!("asked for: {:?}", request.wishes));

        let now_us = self.local_us(client_plan.runtime);
        let runtime = &mut self.runtimes[client_plan.runtime];
        let ticket = || (Ticket { request, post: Rc::clone(&self.post) }, ());
        let denial_cache = runtime.denial_cache.get_mut();
        match runtime.dispatcher.dispatch(takes.into(), ticket, denial_cache, now_us) {
            Dispatched::Denied(denial) => return self.answered(request, Ok(denial)),
            Dispatched::Refused(error) => return self.answered(request, Err(error)),
            Dispatched::Queued(()) => runtime.queued.push(request),
        }
        self.wake(client_plan.runtime);
        if self.weather.random_bool(self.plan.network.cancelled) {
            let after_ns = self.weather.random_range(0..20_000_000);
            self.schedule(after_ns, Event::Cancel { request });
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, request: usize) {
        if self.requests[request].fate == Fate::Answered {
            return;
        }
        self.requests[request].fate = Fate::Cancelled;
        self.post.gone.borrow_mut()[request] = true;
        self.note(request, |_| "cancelled".to_owned());
        self.go_on(request);
    }

    /// A request is over, and its client asks again.
    fn go_on(&mut self, request: usize) {
        let client = self.requests[request].client;
        match self.plan.clients[client].pace {
            Pace::Open => {}
            Pace::Closed => self.ask_later(client),
            Pace::Prompt => {
                let bucket = self.requests[request].wishes[0].bucket;
                let limit = &self.plan.buckets[bucket].limits[self.replica(client).edition];
                let Some(after_ns) = self.token_after_ns(bucket, limit) else {
                    return self.ask_later(client);
                };
                self.returns_for[client] = Some(bucket);
                self.schedule(after_ns, Event::Demand { client });
            }
        }
    }

    /// The time until the store's clock shows a token in this bucket, up to two microseconds too early or too late;
    /// none if it takes too long, or if there is a token.
    fn token_after_ns(&mut self, bucket: usize, limit: &Limit) -> Option<u64> {
        let store_us = self.store.now_us(self.now_ns);
        let wait_us = limit.wait_us(self.store.full_at(bucket, limit.per_us()), limit.cost(1), store_us);
        let jitter_ns = self.weather.random_range(0..4_000);
        (1..500_000).contains(&wait_us).then(|| {
            let shown_ns = self.store.shows_ns(store_us + wait_us);
            (shown_ns + jitter_ns).saturating_sub(self.now_ns + 2_000)
        })
    }

    pub(super) fn replica(&self, client: usize) -> &Replica {
        &self.replicas[self.plan.runtimes[self.plan.clients[client].runtime].replica]
    }

    // === answers ===

    /// The answer of its replica's local buckets, each with its share of the limit; the replica count is right.
    fn fallback_answer(&mut self, request: usize) -> Verdict {
        let record = &self.requests[request];
        let runtime = self.plan.clients[record.client].runtime;
        let (number, local_us) = (self.plan.runtimes[runtime].replica, self.local_us(runtime));
        let replicas = u32::try_from(self.replicas.len()).expect("a few");
        let take = |wish: &Wish| {
            let bucket = &self.plan.buckets[wish.bucket];
            let share = bucket.limits[wish.edition].share(replicas)?;
            Some(Take { key: bucket.key, demand: Demand::new(wish.hits, &share) })
        };
        let takes: Option<Vec<Take>> = record.wishes.iter().map(take).collect();
        let denial_cache = &self.runtimes[runtime].denial_cache;
        let is_known_empty = |key: &BucketKey| denial_cache.borrow_mut().knows(key, local_us);
        // A share of less than one hit denies.
        let answer = takes
            .and_then(|takes| self.replicas[number].local.take_at(&takes, is_known_empty, local_us).ok());
        answer.map_or(Verdict::Deny, |answer| answer.verdict)
    }

    /// Delivers the answers that a dispatcher has handed out.
    pub(super) fn deliver(&mut self) -> Result<(), Broken> {
        let answers = self.post.answers.take();
        answers.into_iter().try_for_each(|(request, answer)| self.answered(request, answer))
    }

    fn answered(&mut self, request: usize, answer: Result<Answer, StoreError>) -> Result<(), Broken> {
        self.note(request, |_| format!("answered: {answer:?}"));
        if self.requests[request].fate == Fate::Cancelled {
            return Ok(());
        }
        self.is_answered_well(request, &answer)?;
        self.requests[request].fate = Fate::Answered;
        let told = match answer {
            Ok(answer) => (answer.verdict, answer.source.into()),
            Err(_) => (self.fallback_answer(request), Source::Local),
        };
        self.requests[request].answered = Some((self.now_ns, told));
        self.go_on(request);
        Ok(())
    }
}
