//! What `overdraft: auto` means for each demand, and what each demand shows about its rule.

use super::{Applied, AppliedLimit, QuotaMode, is_quota};
use crate::{
    billing::Sign,
    descriptor::Hits,
    limit::Overdraft,
    matcher::{Applies, RuleLimit},
};

impl Applied<'_> {
    /// Remembers how each rule with `overdraft: auto` was asked. It is not part of applying the limits, so that
    /// explaining a request changes nothing.
    pub fn note_billing(&self, quota_mode: QuotaMode) {
        for limits in self.limits.chunk_by(|one, next| one.descriptor == next.descriptor) {
            let billed = limits.iter().find_map(|applied| Some((applied, applied.limit.billing.as_ref()?)));
            let Some((applied, billing)) = billed else { continue };
            let sign = match applied.hits {
                Hits::Peek => Some(Sign::Peek),
                Hits::Take(_) => Some(Sign::Charge),
                // Envoy AI Gateway asks its quotas without hits before the response, and states them afterwards.
                Hits::One if is_quota(applied.limit.options, quota_mode) => Some(Sign::Peek),
                Hits::One | Hits::GiveBack(_) => None,
            };
            if let Some(sign) = sign {
                billing.note(sign);
            }
        }
    }
}

impl AppliedLimit<'_> {
    /// Whether the hits are what a response came to, which is charged whether or not it fits: stated hits under a
    /// limit that may owe.
    pub fn settles(&self) -> bool {
        self.overdraft == Overdraft::Charge && matches!(self.hits, Hits::Take(_))
    }
}

/// The limit's overdraft, in which `auto` is decided for these hits.
pub(super) fn decided(limit: &RuleLimit, hits: Hits) -> Overdraft {
    match (limit.limit.overdraft(), &limit.billing, hits) {
        (Overdraft::Auto, Some(billing), Hits::Take(_)) if billing.is_post_paid() => Overdraft::Charge,
        (Overdraft::Auto, ..) => Overdraft::Never,
        (as_configured, ..) => as_configured,
    }
}

/// `limit`, which a request brings along, with the overdraft of the limits whose place it takes: it has their bucket,
/// and is charged as they are.
pub(super) fn inherited(limit: RuleLimit, from: &Applies) -> RuleLimit {
    let Applies::All(limits) = from else { return limit };
    let Some(owing) = limits.iter().find(|limit| limit.limit.overdraft().may_owe()) else { return limit };
    let billing = owing.billing.clone();
    RuleLimit { limit: limit.limit.with_overdraft(owing.limit.overdraft()), billing, ..limit }
}
