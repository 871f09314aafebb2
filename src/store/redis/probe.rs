//! Tests whether this Redis can be used: when a connection is opened, before a request has to find out, and again while
//! Redis refuses calls.

use std::{collections::HashMap, sync::Arc};

use redis::{FromRedisValue as _, RedisError, Value, aio::MultiplexedConnection, cmd};

use super::{
    connection::NoConnection,
    discovery::{Discovery, Expected},
    script::{self, Now},
};
use crate::store::refusal::{Complaint, Refusal};

const SCRIPT: &str = include_str!("../../../lua/probe.lua");
/// Commands in the spelling of ACL rules.
const LOAD: &str = "script|load";
const EVAL: &str = "eval";
const EVALSHA: &str = "evalsha";

/// The result of a probe.
#[derive(Debug)]
pub(super) struct Probed {
    /// The digest of the script, which is now loaded; none if that was refused.
    pub(super) digest: Option<Arc<str>>,
    pub(super) complaint: Option<Complaint>,
}

/// What was refused so far.
#[derive(Debug, Default)]
struct Refused {
    /// Commands in the spelling of ACL rules.
    without_right: Vec<String>,
    unknown: Vec<String>,
    others: Vec<Complaint>,
    expected: Option<Expected>,
}

/// Asks what kind of server this is. None if it can be used, or does not say.
pub(super) async fn kind(
    connection: &mut MultiplexedConnection,
    expected: Expected,
) -> Result<Option<Complaint>, NoConnection> {
    let hello = match cmd("HELLO").query_async::<Value>(connection).await {
        Ok(hello) => hello,
        Err(error) => {
            let Some(code) = error.code() else { return Err(error.into()) };
            let complaint = Complaint::of_error(code, error.detail().unwrap_or_default());
            // A server or a proxy need not know HELLO: its answer to the probe says enough.
            let is_unknown = matches!(
                complaint.refusal,
                Refusal::UnknownCommand | Refusal::NoPerm | Refusal::Err | Refusal::Other
            );
            return Ok((!is_unknown).then_some(complaint));
        }
    };
    // A Sentinel has no role.
    let fields: HashMap<String, Value> = HashMap::from_redis_value(hello).unwrap_or_default();
    let field = |name| match fields.get(name) {
        Some(Value::BulkString(text)) => std::str::from_utf8(text).unwrap_or_default(),
        Some(Value::SimpleString(text)) => text,
        _ => "",
    };
    let refusal = match (expected, field("mode"), field("role")) {
        (_, "sentinel", _) => Refusal::Sentinel,
        (Expected::NodeOfACluster, "standalone", _) => return Ok(Some(Complaint::no_cluster())),
        (Expected::Alone, "cluster", _) => Refusal::Cluster,
        // It was a master before, and the Cluster knows who is now.
        (Expected::NodeOfACluster, _, "replica" | "slave") => {
            return Err(NoConnection::Away("it is a replica at the moment".to_owned()));
        }
        (_, _, "replica" | "slave") => Refusal::Replica,
        _ => return Ok(None),
    };
    Ok(Some(Complaint::new(refusal)))
}

/// Loads the script, and makes once each call that requests and the replica count will need. Fails if the connection
/// does.
pub(super) async fn probe(
    connection: &mut MultiplexedConnection,
    discovery: &Discovery,
) -> Result<Probed, RedisError> {
    let mut refused = Refused { expected: Some(discovery.expected()), ..Refused::default() };
    let keys = discovery.probe_keys();
    let load =
        cmd("SCRIPT").arg("LOAD").arg(script::text(Now::Server)).query_async::<String>(connection).await;
    let digest: Option<Arc<str>> = refused.or_note(LOAD, load)?.map(Arc::from);
    let tried =
        cmd("EVAL").arg(SCRIPT).arg(keys.len()).arg(&keys).query_async::<Vec<String>>(connection).await;
    for pair in refused.or_note(EVAL, tried)?.unwrap_or_default().chunks_exact(2) {
        refused.note(&pair[0].to_ascii_lowercase(), Complaint::of_text(&pair[1]));
    }
    if let Some(digest) = &digest {
        // A call without requests reads the keys and the time.
        let mut empty = cmd("EVALSHA");
        empty.arg(&**digest).arg(keys.len()).arg(&keys).arg("");
        match empty.query_async::<Value>(connection).await {
            // The script met an error that was noted already.
            Err(error) if error.code() == Some("ERR") && !refused.is_empty() => {}
            answered => drop(refused.or_note(EVALSHA, answered)?),
        }
    }
    Ok(Probed { digest, complaint: refused.complaint() })
}

// === impl Refused ===

impl Refused {
    /// None if the command was refused. Fails if the connection does.
    fn or_note<T>(&mut self, command: &str, reply: Result<T, RedisError>) -> Result<Option<T>, RedisError> {
        let error = match reply {
            Ok(reply) => return Ok(Some(reply)),
            Err(error) => error,
        };
        let Some(code) = error.code() else { return Err(error) };
        self.note(command, Complaint::of_error(code, error.detail().unwrap_or_default()));
        Ok(None)
    }

    fn is_empty(&self) -> bool {
        self.without_right.is_empty() && self.unknown.is_empty() && self.others.is_empty()
    }

    fn note(&mut self, command: &str, complaint: Complaint) {
        let is_redirect = matches!(complaint.refusal, Refusal::Moved | Refusal::Ask | Refusal::TryAgain);
        if is_redirect && self.expected == Some(Expected::NodeOfACluster) {
            // The slot of the keys moves just now, which says nothing about the others.
            return;
        }
        let commands = match complaint.refusal {
            Refusal::ClusterDown if self.expected == Some(Expected::Alone) => {
                return self.others.push(Complaint::of_a_cluster(complaint.refusal));
            }
            Refusal::NoPerm if complaint != Complaint::keys() => &mut self.without_right,
            Refusal::UnknownCommand => &mut self.unknown,
            _ => return self.others.push(complaint),
        };
        if !commands.iter().any(|noted| noted == command) {
            commands.push(command.to_owned());
        }
    }

    /// The worst refusal: one that lasts comes before one that may pass.
    fn complaint(mut self) -> Option<Complaint> {
        self.others.sort_by_key(|complaint| complaint.refusal.will_pass());
        let lasting = self.others.first().filter(|complaint| !complaint.refusal.will_pass());
        match lasting {
            Some(complaint) => Some(complaint.clone()),
            None if !self.without_right.is_empty() => Some(Complaint::rights(&self.without_right)),
            None if !self.unknown.is_empty() => Some(Complaint::commands(&self.unknown)),
            None => self.others.into_iter().next(),
        }
    }
}
