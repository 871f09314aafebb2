//! An operator's acts on the store of a runtime.

use super::Limiter;
use crate::{
    hands::{self, HandsError, Order, Report, RulesInForce},
    store::StoreError,
};
use tollgate_core::{descriptor::Request, matcher::Matcher};

impl Limiter {
    /// Does what an operator ordered to the buckets of this request. Nothing is decided or counted, and no fallback answers.
    pub async fn act<'a>(
        &self,
        matcher: &'a Matcher,
        request: &Request<'a>,
        order: &Order,
    ) -> Result<Report, HandsError<StoreError>> {
        let rules = RulesInForce { matcher, quota_mode: self.quota_mode, key_form: self.key_form };
        hands::act(rules, request, order, |takes| self.store.take(takes)).await
    }
}
