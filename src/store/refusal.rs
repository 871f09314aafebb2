//! Errors that Redis returns in place of an answer, as codes of a closed list, and what an operator can do about each.
//!
//! Before version 7, Redis hides the code of an error that occurred within a script, and some versions say ERR if a
//! right is missing; so the text is searched as well. The text itself is never shown, because it may repeat what was
//! sent.

use std::{borrow::Borrow, fmt};

/// The kind of a refusal; [`Refusal::code`] is the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The user lacks a right.
    NoPerm,
    /// A password is needed.
    NoAuth,
    /// The user or the password is wrong.
    WrongPass,
    /// A command that this Redis does not know, or that was renamed or disabled.
    UnknownCommand,
    /// Redis' memory is full.
    Oom,
    /// Redis cannot save its data.
    MisConf,
    /// Too few replicas follow this master.
    NoReplicas,
    /// Redis still reads its data.
    Loading,
    /// A script runs for too long.
    Busy,
    /// This is a replica.
    ReadOnly,
    /// This is a replica that has lost its master.
    MasterDown,
    /// The keys lie in different slots of a Redis Cluster.
    CrossSlot,
    /// The slot belongs to another node.
    Moved,
    /// The slot is being moved to another node.
    Ask,
    /// The keys are being moved to another node.
    TryAgain,
    /// The Redis Cluster does not work.
    ClusterDown,
    /// Redis does not know the script.
    NoScript,
    /// A transaction was refused.
    ExecAbort,
    /// Nothing was refused yet: the server says that it is a Sentinel.
    Sentinel,
    /// Nothing was refused yet: the server says that it is a node of a Redis Cluster.
    Cluster,
    /// Nothing was refused yet: the server says that it is a replica.
    Replica,
    /// An error without a code of its own.
    Err,
    /// An unknown code.
    Other,
}

/// A refusal, and what an operator can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What was refused.
    pub refusal: Refusal,
    help: String,
}

// === impl Refusal ===

impl Refusal {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Refusal; 23] = [
        Refusal::NoPerm,
        Refusal::NoAuth,
        Refusal::WrongPass,
        Refusal::UnknownCommand,
        Refusal::Oom,
        Refusal::MisConf,
        Refusal::NoReplicas,
        Refusal::Loading,
        Refusal::Busy,
        Refusal::ReadOnly,
        Refusal::MasterDown,
        Refusal::CrossSlot,
        Refusal::Moved,
        Refusal::Ask,
        Refusal::TryAgain,
        Refusal::ClusterDown,
        Refusal::NoScript,
        Refusal::ExecAbort,
        Refusal::Sentinel,
        Refusal::Cluster,
        Refusal::Replica,
        Refusal::Err,
        Refusal::Other,
    ];

    /// The code as Redis spells it, or a word of Tollgate's where Redis has none.
    pub const fn code(self) -> &'static str {
        match self {
            Refusal::NoPerm => "NOPERM",
            Refusal::NoAuth => "NOAUTH",
            Refusal::WrongPass => "WRONGPASS",
            Refusal::UnknownCommand => "unknown_command",
            Refusal::Oom => "OOM",
            Refusal::MisConf => "MISCONF",
            Refusal::NoReplicas => "NOREPLICAS",
            Refusal::Loading => "LOADING",
            Refusal::Busy => "BUSY",
            Refusal::ReadOnly => "READONLY",
            Refusal::MasterDown => "MASTERDOWN",
            Refusal::CrossSlot => "CROSSSLOT",
            Refusal::Moved => "MOVED",
            Refusal::Ask => "ASK",
            Refusal::TryAgain => "TRYAGAIN",
            Refusal::ClusterDown => "CLUSTERDOWN",
            Refusal::NoScript => "NOSCRIPT",
            Refusal::ExecAbort => "EXECABORT",
            Refusal::Sentinel => "sentinel",
            Refusal::Cluster => "cluster",
            Refusal::Replica => "replica",
            Refusal::Err => "ERR",
            Refusal::Other => "other",
        }
    }

    /// The refusal that an error's code and text mean.
    pub fn from_error(code: &str, text: &str) -> Refusal {
        match Refusal::ALL.into_iter().find(|refusal| refusal.code() == code) {
            // An error within a script proves nothing about the call, NOSCRIPT least of all.
            Some(Refusal::Err) => within(text).unwrap_or(Refusal::Err),
            Some(refusal) => refusal,
            None => Refusal::Other,
        }
    }

    /// Whether Redis may accept the next call: it is short of something, and otherwise in order.
    pub const fn will_pass(self) -> bool {
        matches!(self, Refusal::Oom | Refusal::MisConf | Refusal::NoReplicas)
    }

    const fn help(self) -> &'static str {
        match self {
            Refusal::NoPerm => "its user lacks a right; docs/redis.md has the ACL rule that Tollgate needs",
            Refusal::NoAuth => {
                "it needs a password: write it into the URL, or name a file that holds it by --store-password-file"
            }
            Refusal::WrongPass => "authentication failed: it does not know this user with this password",
            Refusal::UnknownCommand => {
                "it does not know a command that Tollgate needs; rename-command, or the service that hosts it, may have \
                 disabled it"
            }
            Refusal::Oom => {
                "its memory is full: raise maxmemory, and keep maxmemory-policy noeviction, since an evicted bucket \
                 starts full"
            }
            Refusal::MisConf => {
                "it cannot save its data and therefore accepts no writes: its own log says why; set \
                 stop-writes-on-bgsave-error no to let it continue"
            }
            Refusal::NoReplicas => {
                "it has fewer replicas than min-replicas-to-write requires: repair its replicas, or lower that number"
            }
            Refusal::Loading => "it is still reading its data from disk: wait until it has finished",
            Refusal::Busy => "a script has been running for too long: end it with SCRIPT KILL",
            Refusal::ReadOnly | Refusal::MasterDown | Refusal::Replica => {
                "this is a replica, which accepts no writes: give Tollgate the address of the master"
            }
            Refusal::CrossSlot | Refusal::Moved | Refusal::Ask | Refusal::TryAgain | Refusal::Cluster => {
                "this is a node of a Redis Cluster: write redis+cluster://host:6379,host:6379 with the addresses of some of \
                 its nodes in place of redis:// (rediss+cluster:// for TLS)"
            }
            Refusal::ClusterDown => {
                "the Redis Cluster lacks masters: repair it, and set cluster-require-full-coverage no, with which the \
                 masters that are there go on deciding"
            }
            Refusal::Sentinel => {
                "this is a Sentinel, which keeps no data: write redis+sentinel://host:26379/MASTER, or the address of the Redis that it monitors"
            }
            Refusal::NoScript => "it does not know the script, so Tollgate sends the script again",
            Refusal::ExecAbort | Refusal::Err | Refusal::Other => {
                "it returned an error that Tollgate does not expect; check that it is Redis 6.2 or later, or Valkey"
            }
        }
    }
}

/// The code in the text of an error that has none of its own.
fn within(text: &str) -> Option<Refusal> {
    let holds = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    if holds(&[
        "ACL failure",
        "no permission",
        "can't run this command",
        "can't access at least one of the keys",
    ]) {
        return Some(Refusal::NoPerm);
    }
    if holds(&["nknown command", "nknown Redis command", "nknown subcommand"]) {
        return Some(Refusal::UnknownCommand);
    }
    // `@user_script: 4: -OOM command not allowed …`
    let codes = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix('-'));
    let mut known = codes.filter_map(|code| Refusal::ALL.into_iter().find(|refusal| refusal.code() == code));
    known.find(|refusal| !matches!(refusal, Refusal::NoScript | Refusal::Err))
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

#[cfg(test)]
mod tests;
