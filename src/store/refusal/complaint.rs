//! A refusal, in words for operators.

use std::{borrow::Borrow, fmt};

use super::Refusal;

/// A refusal, and what an operator can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What was refused.
    pub refusal: Refusal,
    help: String,
}

// === impl Complaint ===

impl Complaint {
    /// This refusal, with its general advice.
    pub fn new(refusal: Refusal) -> Complaint {
        Complaint { refusal, help: refusal.help().to_owned() }
    }

    /// The complaint about an error with this code and text. From the text only the name of a command is used.
    pub fn of_error(code: &str, text: &str) -> Complaint {
        let refusal = Refusal::from_error(code, text);
        if refusal == Refusal::Err && text.contains("non local key") {
            return Complaint::poisoned();
        }
        if refusal != Refusal::NoPerm {
            return Complaint::new(refusal);
        }
        if text.contains("key") {
            return Complaint::keys();
        }
        match text.split('\'').nth(1).filter(|name| is_command(name)) {
            Some(name) => Complaint::rights(&[name]),
            None => Complaint::new(refusal),
        }
    }

    /// The complaint about an error as it is written in a reply, such as `OOM command not allowed`.
    pub fn of_text(text: &str) -> Complaint {
        let text = text.trim_start_matches('-');
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if is_code { Complaint::of_error(code, rest) } else { Complaint::of_error("ERR", text) }
    }

    /// Fewer than this number of replicas acknowledged a batch.
    pub fn unacknowledged(acks: u32) -> Complaint {
        let help = format!(
            "fewer than {acks} of its replicas acknowledged a batch in time (--store-acks {acks}): repair its replicas, \
             or lower that number"
        );
        Complaint { refusal: Refusal::NoReplicas, help }
    }

    /// A node of a Redis Cluster that was not given as one refused in this way.
    pub fn of_a_cluster(refusal: Refusal) -> Complaint {
        Complaint { refusal, help: Refusal::Cluster.help().to_owned() }
    }

    /// A Redis that is no node of a Redis Cluster was given as one.
    pub fn no_cluster() -> Complaint {
        let help = "this is no node of a Redis Cluster: write redis:// in place of redis+cluster:// (rediss:// for TLS)";
        Complaint { refusal: Refusal::Err, help: help.to_owned() }
    }

    /// A Valkey on which another client has run a script over several slots.
    fn poisoned() -> Complaint {
        let help = "it refuses every script since some client ran one whose keys lie in several slots, which is an error of \
                    Valkey 9.1: restart this node, and find that client";
        Complaint { refusal: Refusal::Err, help: help.to_owned() }
    }

    /// The user may not use Tollgate's keys.
    pub fn keys() -> Complaint {
        let help = "its user may not use the keys of Tollgate: add ~tg:* to the user's ACL rule";
        Complaint { refusal: Refusal::NoPerm, help: help.to_owned() }
    }

    /// The user may not run these commands, given in the spelling of ACL rules.
    pub fn rights<S: Borrow<str>>(commands: &[S]) -> Complaint {
        let (names, rule) = (commands.join(", "), commands.join(" +"));
        let help = format!("its user may not run {names}: add +{rule} to the user's ACL rule");
        Complaint { refusal: Refusal::NoPerm, help }
    }

    /// This Redis does not know these commands.
    pub fn commands<S: Borrow<str>>(commands: &[S]) -> Complaint {
        let names = commands.join(", ");
        let help = format!(
            "it does not know {names}, which Tollgate needs; rename-command, or the service that hosts it, may have \
             disabled it"
        );
        Complaint { refusal: Refusal::UnknownCommand, help }
    }

    /// What an operator can do about it.
    pub fn help(&self) -> &str {
        &self.help
    }
}

fn is_command(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'|' || byte == b'_';
    (1..40).contains(&name.len()) && name.bytes().all(is_letter)
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.refusal.code(), self.help)
    }
}
