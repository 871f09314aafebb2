//! Errors that Redis returns in place of an answer, as codes of a closed list, and what an operator can do about each.
//!
//! Before version 7, Redis hides the code of an error that occurred within a script, and some versions say ERR if a
//! right is missing; so the text is searched as well. The text itself is never shown, because it may repeat what was
//! sent.

mod complaint;

pub use complaint::Complaint;

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

#[cfg(test)]
mod tests;
