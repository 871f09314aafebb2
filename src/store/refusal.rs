//! What a store says in place of an answer, by codes of a closed list, and what would help.
//!
//! Redis before 7 hides the code of an error that a command within a script met, and some versions say ERR where a
//! right is missing; so the text is looked into. It is never shown as it is: it may repeat what was sent.

use std::{borrow::Borrow, fmt};

/// The code of a refusal; [`Refusal::code`] is the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NoPerm,
    NoAuth,
    WrongPass,
    /// A command that this Redis does not know, or that was taken away from it.
    UnknownCommand,
    Oom,
    MisConf,
    NoReplicas,
    Loading,
    Busy,
    ReadOnly,
    MasterDown,
    CrossSlot,
    Moved,
    Demand,
    TryAgain,
    ClusterDown,
    NoScript,
    ExecAbort,
    /// Nothing was refused yet: the server says of itself that it is a Sentinel.
    Sentinel,
    /// As well: a node of a Redis Cluster.
    Cluster,
    /// As well: a replica.
    Replica,
    /// An error without a code of its own.
    Err,
    Other,
}

/// A refusal, and what an operator can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    pub refusal: Refusal,
    help: String,
}

// === impl Refusal ===

impl Refusal {
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
        Refusal::Demand,
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

    /// As Redis spells it, or one of a few words of ours.
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
            Refusal::Demand => "ASK",
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

    /// By the code of an error and the text behind it.
    pub fn of(code: &str, text: &str) -> Refusal {
        match Refusal::ALL.into_iter().find(|refusal| refusal.code() == code) {
            // What a script met within itself proves nothing about the call, NOSCRIPT least of all.
            Some(Refusal::Err) => within(text).unwrap_or(Refusal::Err),
            Some(refusal) => refusal,
            None => Refusal::Other,
        }
    }

    /// Redis may well take the next one: it is short of something, and everything else about it is right.
    pub const fn will_pass(self) -> bool {
        matches!(self, Refusal::Oom | Refusal::MisConf | Refusal::NoReplicas)
    }

    const fn help(self) -> &'static str {
        match self {
            Refusal::NoPerm => "its user lacks a right; docs/operate.md has the ACL rule that Tollgate needs",
            Refusal::NoAuth => {
                "it wants a password: write it into the URL, or name its file by --store-password-file"
            }
            Refusal::WrongPass => "authentication failed: it does not know this user with this password",
            Refusal::UnknownCommand => {
                "it does not know a command that Tollgate needs; a rename-command, or the service, may have taken it away"
            }
            Refusal::Oom => {
                "it is full: raise its maxmemory, and leave maxmemory-policy at noeviction, since a bucket that is \
                 evicted starts full"
            }
            Refusal::MisConf => {
                "it cannot save its data and therefore takes no writes: its own log says why; \
                 stop-writes-on-bgsave-error no lets it go on"
            }
            Refusal::NoReplicas => {
                "it has fewer replicas than min-replicas-to-write asks for: mend its replicas, or lower that number"
            }
            Refusal::Loading => "it still reads its data from disk, and answers when it is done",
            Refusal::Busy => "somebody's script runs and does not end: SCRIPT KILL ends it",
            Refusal::ReadOnly | Refusal::MasterDown | Refusal::Replica => {
                "this is a replica, which takes no writes: give Tollgate the address of the master"
            }
            Refusal::CrossSlot
            | Refusal::Moved
            | Refusal::Demand
            | Refusal::TryAgain
            | Refusal::ClusterDown
            | Refusal::Cluster => {
                "this is a node of a Redis Cluster, which is not supported yet: give Tollgate a Redis without \
                 cluster-enabled"
            }
            Refusal::Sentinel => {
                "this is a Sentinel, which keeps no data: give Tollgate the address of the Redis that it watches"
            }
            Refusal::NoScript => "it forgot the script, which is sent again",
            Refusal::ExecAbort | Refusal::Err | Refusal::Other => {
                "it answers with an error that Tollgate does not expect; is it Redis 6.2 or later, or Valkey?"
            }
        }
    }
}

/// The code that an error without one of its own tells of in its text.
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
    pub fn of(refusal: Refusal) -> Complaint {
        Complaint { refusal, help: refusal.help().to_owned() }
    }

    /// Of an error with this code and this text behind it; of the text a command's name is used, if it is one.
    pub fn of_error(code: &str, text: &str) -> Complaint {
        let refusal = Refusal::of(code, text);
        if refusal != Refusal::NoPerm {
            return Complaint::of(refusal);
        }
        if text.contains("key") {
            return Complaint::keys();
        }
        match text.split('\'').nth(1).filter(|name| is_command(name)) {
            Some(name) => Complaint::rights(&[name]),
            None => Complaint::of(refusal),
        }
    }

    /// Of an error as it stands in a reply, such as `OOM command not allowed`.
    pub fn of_text(text: &str) -> Complaint {
        let text = text.trim_start_matches('-');
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if is_code { Complaint::of_error(code, rest) } else { Complaint::of_error("ERR", text) }
    }

    /// Tollgate's keys are none that its user may touch.
    pub fn keys() -> Complaint {
        let help = "its user may not use the keys of Tollgate: add ~tg:* to the user's ACL rule";
        Complaint { refusal: Refusal::NoPerm, help: help.to_owned() }
    }

    /// These commands, in the spelling of ACL rules, are forbidden to its user.
    pub fn rights<S: Borrow<str>>(commands: &[S]) -> Complaint {
        let (names, rule) = (commands.join(", "), commands.join(" +"));
        let help = format!("its user may not run {names}: add +{rule} to the user's ACL rule");
        Complaint { refusal: Refusal::NoPerm, help }
    }

    /// These commands are not there.
    pub fn commands<S: Borrow<str>>(commands: &[S]) -> Complaint {
        let names = commands.join(", ");
        let help = format!(
            "it does not know {names}, which Tollgate needs; a rename-command, or the service, may have taken it away"
        );
        Complaint { refusal: Refusal::UnknownCommand, help }
    }

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
