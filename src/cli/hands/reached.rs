//! A key whose buckets can be reached, in Redis or by way of a running Tollgate.

use super::{
    super::explain::Asked,
    error::ActError,
    remote::{self, AdminUrl},
    text::Told,
};
use crate::{
    hands::{self, HandsError, Order, Report, RulesInForce, json},
    store::{
        memory::MemoryStore,
        redis::{
            RedisBackend,
            look::{LookError, Looked},
        },
    },
};
use tollgate_core::{
    act::Act,
    applied::QuotaMode,
    decision::{Answer, Take, Takes},
    matcher::Matcher,
};

/// A key whose buckets can be reached.
pub(super) struct Reached {
    pub(super) asked: Asked,
    /// The one limit that is meant; none if all are.
    pub(super) limit: Option<String>,
    pub(super) way: Way,
}

/// How the buckets are reached.
pub(super) enum Way {
    Redis {
        matcher: Matcher,
        store: String,
        backend: Box<RedisBackend>,
    },
    /// The limits are known there.
    Admin {
        url: AdminUrl,
        token: String,
    },
}

// === impl Reached ===

impl Reached {
    /// Which running replicas know of an act at once.
    pub(super) fn told(&self) -> Told {
        match self.way {
            Way::Redis { .. } => Told::None,
            Way::Admin { .. } => Told::One,
        }
    }

    pub(super) fn act(&self, act: Act) -> Result<Report, ActError> {
        let order = Order { act, limit: self.limit.clone() };
        match &self.way {
            Way::Redis { matcher, store, backend } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| ActError::Runtime(error.into()))?;
                let done = runtime.block_on(self.act_in_redis(&order, matcher, backend));
                done.map_err(|source| ActError::Redis { store: store.clone(), source })
            }
            Way::Admin { url, token } => {
                let body = self.body(&order)?;
                let done = remote::post(url, token, act.name(), &body);
                done.map_err(|source| ActError::Admin { admin: url.to_string(), source })
            }
        }
    }

    async fn act_in_redis(
        &self,
        order: &Order,
        matcher: &Matcher,
        backend: &RedisBackend,
    ) -> Result<Report, HandsError<LookError>> {
        let request = self.asked.request();
        let ask = async |takes: Takes| match order.act {
            // A look needs no right to write.
            Act::Peek => Ok(looked(backend.look(&takes).await?, &takes)),
            Act::Reset | Act::Grant(_) => backend.take_once(&takes).await,
        };
        let rules = RulesInForce { matcher, quota_mode: QuotaMode::default(), key_form: backend.key_form() };
        hands::act(rules, &request, order, ask).await
    }

    /// The order as the admin port reads it.
    fn body(&self, order: &Order) -> Result<String, ActError> {
        let text = |bytes| str::from_utf8(bytes).map_err(|_not_text| ActError::NotText);
        let descriptors = self.asked.descriptors.iter().map(|descriptor| {
            let entries = descriptor.entries.iter().map(|(key, value)| Ok((text(key)?, text(value)?)));
            entries.collect::<Result<Vec<_>, ActError>>()
        });
        Ok(json::write_order(order, &self.asked.domain, &descriptors.collect::<Result<Vec<_>, _>>()?))
    }
}

/// The answer to takes that change nothing, from a copy of their buckets.
fn looked(looked: Looked, takes: &[Take]) -> Answer {
    let copy = MemoryStore::copy_of(looked.now_us, looked.epoch_us, looked.states);
    copy.take_at(takes, looked.now_us).expect("a look adds no bucket")
}
