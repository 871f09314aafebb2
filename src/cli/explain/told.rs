//! What a client is told, by the contract that serves and as `tollgate serve` was started.

use http::StatusCode;

use crate::{
    limiter::Outcome,
    response::{
        Contract, Group, Jitter,
        check::{Answer, Client},
    },
};
use tollgate_core::{applied::QuotaMode, authz::WithoutDescriptor, decision::Verdict, matcher::Matcher};

/// What `tollgate serve` was told about all limits.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) groups: Vec<Group>,
    pub(super) is_shadow: bool,
    pub(super) quota_mode: QuotaMode,
}

/// What a client is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) verdict: Verdict,
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

// === impl Serving ===

impl Serving {
    pub(super) fn told(&self, matcher: &Matcher, outcome: &Outcome<'_>) -> Option<Told> {
        let verdict = outcome.verdict?;
        let verdict = if self.is_shadow { Verdict::Allow } else { verdict };
        let contract = self.contract().for_limits(matcher.limits());
        Some(Told::new(&contract, &Answer::Decided(outcome, verdict), verdict))
    }

    /// For a request without a descriptor; none if it passes.
    pub(super) fn forbidden(&self, without: WithoutDescriptor) -> Option<Told> {
        let is_forbidden = without == WithoutDescriptor::Deny && !self.is_shadow;
        is_forbidden.then(|| Told::new(&self.contract(), &Answer::WithoutDescriptor(without), Verdict::Deny))
    }

    /// Without a random part, so that an explanation is the same each time.
    fn contract(&self) -> Contract {
        Contract::new(self.groups.clone(), Jitter::NONE)
    }
}

// === impl Told ===

impl Told {
    fn new(contract: &Contract, answer: &Answer<'_, '_>, verdict: Verdict) -> Told {
        let response = contract.http_response(answer, Client::Http, StatusCode::TOO_MANY_REQUESTS);
        let (parts, body) = response.into_parts();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
        Told { verdict, status: parts.status, headers, body: text(&body) }
    }
}
