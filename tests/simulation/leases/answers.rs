//! What clients are answered, and the promises that each answer must keep.

use super::{
    bounds::{Admitted, Parts, excess},
    travel::MOST_RIDE_NS,
    world::{Held, World, is_among},
};
use tokio::sync::oneshot::error::TryRecvError;
use tollgate::store::StoreError;
use tollgate_core::{
    audit::{Bound, Clocks, Denials, HeldBack, Remoteness, Span},
    decision::{Answer, AnswerSource, Demand, Verdict},
    limit::Limit,
};

/// What the denial cache knows it may use for a second, and for a thousandth longer by a slow clock.
const SERVES_NS: u64 = 1_002_000_000;

impl World<'_> {
    /// Delivers the answers that the dispatchers have handed out, and those from leases that need not wait any longer.
    pub(super) fn deliver(&mut self) {
        let answers = self.post.answers.take();
        answers.into_iter().for_each(|(request, answer)| self.answered(request, answer));
        let (now_ns, mut too_late) = (self.now_ns, None);
        self.rides.retain_mut(|ride| {
            let has_left = match ride.leaves.try_recv() {
                Ok(_) => true,
                Err(TryRecvError::Empty) => return true,
                // Its process is gone.
                Err(TryRecvError::Closed) => false,
            };
            let request = &mut self.requests[ride.request];
            request.answered_ns = has_left.then_some(now_ns);
            if has_left && now_ns - request.asked_ns > MOST_RIDE_NS {
                too_late = Some(ride.request);
            }
            false
        });
        if let Some(request) = too_late {
            let detail = format!("request {request} after {} ns", now_ns - self.requests[request].asked_ns);
            self.breaks("an answer from a lease waits for a near store only", detail);
        }
    }

    pub(super) fn answered(&mut self, request: usize, answer: Result<Answer, StoreError>) {
        let record = &mut self.requests[request];
        let runtime = record.runtime;
        if record.life != self.runtimes[runtime].life {
            return;
        }
        record.answered_ns = Some(self.now_ns);
        let from_memory = answer.as_ref().is_ok_and(|answer| answer.source == AnswerSource::Cache);
        if from_memory {
            self.from_memory += 1;
            self.is_denied_rightly(request);
        }
        let mut answer = answer.ok();
        let mut spent = Vec::new();
        if let Some((part, leases)) = self.requests[request].part.take() {
            let now_us = self.local_us(runtime);
            answer = self.runtimes[runtime].queues.leases.settle(&part, answer, now_us);
            spent = leases;
        }
        match answer.map(|answer| answer.verdict) {
            Some(Verdict::Allow) => self.spends(request, &spent),
            Some(Verdict::Deny) => self.requests[request].allowed = Some(false),
            None => {}
        }
    }

    /// A request is allowed, with hits from these leases of its buckets: they count when they were set aside.
    pub(super) fn spends(&mut self, request: usize, leases: &[(usize, Held)]) {
        let record = &mut self.requests[request];
        (record.allowed, record.answered_ns) = (Some(true), Some(self.now_ns));
        let (runtime, edition, asked_ns) = (record.runtime, record.edition, record.asked_ns);
        self.runtimes[runtime].admitted += 1;
        let asked_us = self.plan.store_clock.now_us(asked_ns);
        let wishes = self.requests[request].wishes.clone();
        for (bucket, hits) in wishes {
            let Some((_, held)) = leases.iter().find(|(leased, _)| *leased == bucket) else { continue };
            let demand = self.plan.take(bucket, edition, hits).demand;
            if held.call.one != demand.one() {
                self.breaks("no lease outlives its limit's numbers", format!("request {request}: {held:?}"));
            }
            let lasts_us = asked_us.saturating_sub(held.granted_us);
            if lasts_us > u64::from(held.call.one.lease_us) || asked_us >= held.lapses_us {
                let detail = format!("request {request} after {lasts_us} µs: {held:?}");
                self.breaks("a lease is over in time", detail);
            }
            // What was reserved when the store forgot the bucket may be admitted once more.
            if self.lost_ns[bucket].is_none_or(|lost_ns| held.granted_ns > lost_ns) {
                self.admits(bucket, &demand, asked_us);
            }
        }
    }

    pub(super) fn admits(&mut self, bucket: usize, demand: &Demand, at_us: u64) {
        let worth = Parts::new(&self.plan.buckets[bucket]).cost(demand);
        self.admitted[bucket].push(Admitted { at_us, worth, losses: 0 });
    }

    /// The denial cache denied this: the store would deny it too, though others may have given hits back meanwhile.
    fn is_denied_rightly(&mut self, request: usize) {
        let (now_us, now_ns) = (self.store_us(), self.now_ns);
        let record = &self.requests[request];
        let spent = record.part.as_ref().map(|(_, leases)| leases.as_slice()).unwrap_or_default();
        let rest: Vec<(usize, u64)> =
            record.wishes.iter().copied().filter(|(bucket, _)| !is_among(spent, bucket)).collect();
        let edition = record.edition;
        let is_forgiven_lately =
            |bucket: usize| self.forgiven_ns[bucket].is_some_and(|at_ns| at_ns + SERVES_NS > now_ns);
        if rest.iter().any(|(bucket, _)| is_forgiven_lately(*bucket)) {
            return;
        }
        let fits = rest.iter().all(|(bucket, hits)| {
            self.accounts[*bucket].clone().fits(&self.plan.take(*bucket, edition, *hits).demand, now_us)
        });
        if fits {
            let detail = format!("request {request} for {rest:?}, {:?}", self.accounts[rest[0].0]);
            self.breaks("memory denies nothing that fits", detail);
        }
    }

    /// After the run.
    pub(super) fn audit(&mut self) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let is_open = |request: &super::world::Request| {
            request.answered_ns.is_none() && request.life == self.runtimes[request.runtime].life
        };
        if let Some(request) = self.requests.iter().position(is_open) {
            return Err(format!("each request gets one answer: request {request} got none"));
        }
        for (bucket, admitted) in self.plan.buckets.iter().zip(&mut self.admitted) {
            let excess = excess(bucket, admitted);
            if excess > 0 {
                return Err(format!(
                    "over every interval the limit holds: {excess} parts too many of {bucket:?}"
                ));
            }
        }
        Ok(())
    }

    /// What `tollgate prove` finds in the answers: denials that this limit does not explain. For runs with one bucket, one
    /// hit for each request, and no loss.
    pub(super) fn denials(&self, limit: &Limit) -> Denials {
        let span = |request: &super::world::Request| Span {
            start_us: request.asked_ns / 1_000,
            end_us: request.answered_ns.unwrap_or(u64::MAX).div_ceil(1_000),
        };
        let told = |allowed| self.requests.iter().filter(move |request| request.allowed == Some(allowed));
        let (charged, denied): (Vec<Span>, Vec<Span>) =
            (told(true).map(span).collect(), told(false).map(span).collect());
        let bound = Bound::for_limit(limit, Remoteness::OtherClock, Clocks { began_us: 0, stepped_us: 0 });
        bound.too_little(&charged, &denied, &HeldBack::new(limit, charged.iter().chain(&denied)))
    }
}
