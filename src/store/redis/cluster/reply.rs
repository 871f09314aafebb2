//! What the reply to one request of a pipeline means.

use redis::{ServerError, Value};

use crate::store::{
    StoreError,
    redis::{address::Place, script, slots::place},
    refusal::{Complaint, Refusal},
};
use tollgate_core::decision::{Answer, Granted, LeaseCall, Take};

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Judged {
    /// To the request, if there was one, and about each lease.
    Answered {
        answer: Option<Answer>,
        granted: Vec<Granted>,
    },
    /// Nothing ran, and the request may be sent again.
    Again(Again),
    /// Nothing ran, or it is not known what did.
    Failed(StoreError),
    Refused(Complaint),
}

/// How a request is sent again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Its slot belongs to this node.
    Moved { slot: u16, to: Place },
    /// Its slot is being moved to this node, which has it or would have it.
    Ask(Place),
    /// Its slot is being moved, and some of its keys are here and some are there.
    Later,
    /// With the script.
    WithScript,
}

/// The answer, if there is one.
pub(super) fn answer(reply: Value, takes: &[Take], asked: &Place) -> Option<Answer> {
    match judge(reply, Some(takes), &[], asked) {
        Judged::Answered { answer, .. } => answer,
        Judged::Again(_) | Judged::Failed(_) | Judged::Refused(_) => None,
    }
}

/// Judges the reply of the node at this place to a request, or none, and to calls about leases.
pub(super) fn judge(reply: Value, takes: Option<&[Take]>, leases: &[LeaseCall], asked: &Place) -> Judged {
    match reply {
        Value::BulkString(bytes) => match answered(&bytes, takes, leases) {
            Ok((answer, granted)) => Judged::Answered { answer, granted },
            Err(error) => Judged::Failed(error),
        },
        Value::ServerError(error) => refused(&error, asked),
        _ => Judged::Failed(NO_ANSWER),
    }
}

fn answered(
    reply: &[u8],
    takes: Option<&[Take]>,
    leases: &[LeaseCall],
) -> Result<(Option<Answer>, Vec<Granted>), StoreError> {
    let (mut answers, granted) = script::replies(reply, takes.into_iter(), leases)?;
    Ok((answers.pop(), granted))
}

const NO_ANSWER: StoreError = StoreError::Reply("it is not a string");

fn refused(error: &ServerError, asked: &Place) -> Judged {
    let text = error.details().unwrap_or_default();
    let again = match error.code() {
        "MOVED" => target(text, asked).map(|(slot, to)| Again::Moved { slot, to }),
        "ASK" => target(text, asked).map(|(_, to)| Again::Ask(to)),
        "TRYAGAIN" => Some(Again::Later),
        "NOSCRIPT" => Some(Again::WithScript),
        _ => None,
    };
    again.map_or_else(|| Judged::Refused(Complaint::of_error(error.code(), text)), Judged::Again)
}

/// Reads `3999 10.0.0.7:6379`, in which an IPv6 address has no brackets.
fn target(text: &str, asked: &Place) -> Option<(u16, Place)> {
    let (slot, address) = text.split_once(' ')?;
    let (host, port) = address.trim_end().rsplit_once(':')?;
    Some((slot.parse().ok()?, place(host, port.parse().ok()?, asked)?))
}

impl Again {
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Again::Moved { .. } => Refusal::Moved,
            Again::Ask(_) => Refusal::Ask,
            Again::Later => Refusal::TryAgain,
            Again::WithScript => Refusal::NoScript,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Place {
        Place::Host { name: name.to_owned(), port }
    }

    #[test]
    fn a_redirect_names_a_slot_and_a_node() {
        let asked = host("asked", 1);
        assert_eq!(target("3999 10.0.0.7:6379", &asked), Some((3_999, host("10.0.0.7", 6_379))));
        assert_eq!(target("0 ::1:7001", &asked), Some((0, host("::1", 7_001))));
        assert_eq!(target("7 :7001", &asked), Some((7, host("asked", 7_001))));
        assert_eq!(target("7 ?:7001", &asked), Some((7, host("asked", 7_001))));
        for text in ["", "7", "7 host", "x host:1", "70000 host:1", "7 host:0", "7 host:70000", "7 host:x"] {
            assert_eq!(target(text, &asked), None, "{text}");
        }
    }
}
