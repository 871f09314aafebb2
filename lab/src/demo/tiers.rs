//! Free and paid keys under the same load, and a key that its daily quota denies while its rate would let it pass.

use std::time::Duration;

use super::{
    DemoError, Stack,
    at_once::{self, AtOnce},
    figures::{Claim, Verdict},
};
use crate::midnight;

const REQUESTS: usize = 400;
/// The scenario of the quota takes a second or two, and must not run across midnight.
const BEFORE_MIDNIGHT: Duration = Duration::from_secs(30);

/// A key of `examples/demo.yaml`, and the rate of its tier.
struct Key {
    name: &'static str,
    subject: &'static str,
    burst: u32,
    per_minute: u32,
    claim: &'static str,
}

const FREE: Key = Key {
    name: "free",
    subject: "a free key: 60/min, burst 10",
    burst: 10,
    per_minute: 60,
    claim: "A free key is held to the burst and the rate of its tier.",
};
const PAID: Key = Key {
    name: "paid",
    subject: "a paid key: 600/min, burst 200",
    burst: 200,
    per_minute: 600,
    claim: "A paid key gets the larger burst and rate of its own, under the same load.",
};
/// A key of the paid tier, with a quota for each UTC day.
const WITH_QUOTA: &str = "paid-with-quota";
const QUOTA: u64 = 120;

pub async fn measure(stack: &Stack) -> Result<[Claim; 3], DemoError> {
    let free = tier(stack, &FREE).await?;
    let paid = tier(stack, &PAID).await?;
    Ok([free, paid, quota(stack).await?])
}

async fn tier(stack: &Stack, key: &Key) -> Result<Claim, DemoError> {
    let answers = at_once::send(stack.global.addr(), key.name, REQUESTS).await?;
    let allowed = answers.allowed(key.burst, key.per_minute);
    #[allow(clippy::cast_precision_loss, reason = "counts of a demo")]
    let admitted = answers.admitted as f64;
    let holds = answers.admitted >= u64::from(key.burst) && admitted <= allowed + 1.0;
    let reason = format!(
        "its burst of {}, and what {:.1} s brought back: {} passed, {} were denied",
        key.burst,
        answers.took.as_secs_f64(),
        answers.admitted,
        answers.denied
    );
    Ok(Claim {
        allowed,
        subject: key.subject.to_owned(),
        ..base_claim(stack, key.name, &answers, holds, key.claim, reason)
    })
}

async fn quota(stack: &Stack) -> Result<Claim, DemoError> {
    midnight::not_within(BEFORE_MIDNIGHT).await;
    let answers = at_once::send(stack.global.addr(), WITH_QUOTA, REQUESTS).await?;
    let holds = answers.admitted == QUOTA;
    let reason = format!(
        "{} passed and {} were denied: the day's quota, where the rate alone would have let 200 pass at once",
        answers.admitted, answers.denied
    );
    let claim = "A daily quota holds a key whose rate would still let it pass.";
    #[allow(clippy::cast_precision_loss, reason = "a hundred and twenty")]
    let allowed = QUOTA as f64;
    let subject = format!("a paid key with {QUOTA} a day");
    Ok(Claim { allowed, subject, ..base_claim(stack, WITH_QUOTA, &answers, holds, claim, reason) })
}

fn base_claim(stack: &Stack, key: &str, answers: &AtOnce, holds: bool, claim: &str, reason: String) -> Claim {
    let unanswered = answers.without_verdict();
    let (verdict, reason) = match (unanswered, holds) {
        (1.., _) => (Verdict::NotProven, format!("{unanswered} of {REQUESTS} requests got no verdict")),
        (0, true) => (Verdict::Shown, reason),
        (0, false) => (Verdict::Refuted, reason),
    };
    let target = stack.global.addr();
    Claim {
        claim: claim.to_owned(),
        load: format!("{REQUESTS} requests at once for each key, 3 nodes"),
        subject: String::new(),
        measured: answers.admitted,
        allowed: 0.0,
        verdict,
        reason,
        command: format!("oha -n {REQUESTS} -c {REQUESTS} --no-tui -H 'x-api-key: {key}' http://{target}/"),
    }
}
