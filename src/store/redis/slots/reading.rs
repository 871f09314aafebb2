//! What a node of a Redis Cluster says about all slots.

use std::ops::RangeInclusive;

use redis::{Value, cmd};

use crate::store::{
    redis::{
        address::{Place, Server},
        connection::{Dialled, NoConnection, connect},
        keys::SLOTS,
    },
    refusal::{Complaint, Refusal},
};

/// The masters and their slots, as one node knows them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// They do not overlap.
    pub(super) ranges: Vec<(RangeInclusive<u16>, Place)>,
}

impl Reading {
    /// The number of slots that a master serves.
    pub(super) fn served(&self) -> usize {
        self.ranges.iter().map(|(range, _)| range.len()).sum()
    }

    /// Reads the reply to CLUSTER SLOTS. A node may leave out its host, which is then that of the place that was asked.
    /// Ranges that make no sense are left out.
    fn of(reply: &Value, asked: &Place) -> Reading {
        let mut ranges: Vec<(RangeInclusive<u16>, Place)> = Vec::new();
        for range in items(reply) {
            let [Value::Int(first), Value::Int(last), master, ..] = items(range) else { continue };
            let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else { continue };
            let [host, Value::Int(port), ..] = items(master) else { continue };
            let (Some(place), true) = (place(text(host), *port, asked), first <= last && last < SLOTS) else {
                continue;
            };
            let overlaps =
                |(other, _): &(RangeInclusive<u16>, _)| *other.start() <= last && first <= *other.end();
            if !ranges.iter().any(overlaps) {
                ranges.push((first..=last, place));
            }
        }
        Reading { ranges }
    }
}

/// The place of a node that another one names. `asked` is the place of the latter.
pub(in crate::store::redis) fn place(host: &str, port: i64, asked: &Place) -> Option<Place> {
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    match (host, asked) {
        ("" | "?", Place::Host { name, .. }) => Some(Place::Host { name: name.clone(), port }),
        ("" | "?", Place::Socket(_)) => None,
        (host, _) => Some(Place::Host { name: host.to_owned(), port }),
    }
}

/// Asks a node, over the connection of an earlier time if there is one.
pub(super) async fn ask(server: Server, kept: Option<Dialled>) -> Result<(Reading, Dialled), NoConnection> {
    if let Some(mut dialled) = kept {
        match slots(&server, &mut dialled).await {
            Err(NoConnection::Away(_)) => {}
            other => return other.map(|reading| (reading, dialled)),
        }
    }
    let mut dialled = connect(&server).await?;
    let reading = slots(&server, &mut dialled).await?;
    Ok((reading, dialled))
}

async fn slots(server: &Server, dialled: &mut Dialled) -> Result<Reading, NoConnection> {
    let reply = cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut dialled.inner).await;
    let reply = reply.map_err(|error| {
        let Some(code) = error.code() else { return NoConnection::from(error) };
        let text = error.detail().unwrap_or_default();
        let complaint = Complaint::of_error(code, text);
        NoConnection::Denied(match complaint.refusal {
            _ if text.contains("cluster support disabled") => Complaint::no_cluster(),
            Refusal::NoPerm => Complaint::rights(&["cluster|slots"]),
            _ => complaint,
        })
    })?;
    let reading = Reading::of(&reply, server.place());
    if reading.ranges.is_empty() {
        return Err(NoConnection::Away(format!("{}: it knows no master that serves a slot", server.place())));
    }
    Ok(reading)
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::BulkString(bytes) => str::from_utf8(bytes).unwrap_or_default(),
        Value::SimpleString(text) => text,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Place {
        Place::Host { name: name.to_owned(), port }
    }

    fn node(name: Value, port: i64) -> Value {
        Value::Array(vec![
            name,
            Value::Int(port),
            Value::BulkString(b"id".to_vec()),
            Value::Array(Vec::new()),
        ])
    }

    fn named(name: &str) -> Value {
        Value::BulkString(name.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, nodes: &[Value]) -> Value {
        Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(nodes.iter().cloned()).collect())
    }

    #[test]
    fn a_host_that_a_node_does_not_know_is_the_one_that_was_asked() {
        let reply = Value::Array(vec![
            range(0, 99, &[node(named(""), 7000), node(named("10.0.0.9"), 7003)]),
            range(100, 100, &[node(named("?"), 7001)]),
            range(101, 200, &[node(Value::Nil, 7002)]),
            range(201, 16_383, &[node(named("10.0.0.2"), 6379)]),
        ]);
        let reading = Reading::of(&reply, &host("seed", 1));
        let expected = [
            (0..=99, host("seed", 7000)),
            (100..=100, host("seed", 7001)),
            (101..=200, host("seed", 7002)),
            (201..=16_383, host("10.0.0.2", 6379)),
        ];
        assert_eq!(reading.ranges, expected);
        assert_eq!(reading.served(), 16_384);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let there = || node(named("a"), 1);
        let reply = Value::Array(vec![
            range(-1, 5, &[there()]),
            range(7, 6, &[there()]),
            range(16_000, 16_384, &[there()]),
            range(0, 5, &[]),
            range(0, 5, &[node(named("a"), 0)]),
            range(0, 5, &[node(named("a"), 70_000)]),
            Value::Nil,
            range(3, 4, &[there()]),
            range(4, 9, &[there()]),
        ]);
        assert_eq!(Reading::of(&reply, &host("a", 1)).ranges, [(3..=4, host("a", 1))]);
        assert_eq!(Reading::of(&Value::Nil, &host("a", 1)).served(), 0);
    }
}
