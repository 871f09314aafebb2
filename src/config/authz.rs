//! Reads `authz`: which requests that come by ext_authz make which descriptors.

use super::{
    actions::{self, RawList},
    error::Position,
    fields::Fields,
    report::{Reported, shorten},
};
use tollgate_core::authz::{AuthzEntry, HostPattern, RequestMatch, WithoutDescriptor};

/// The `authz` of one file.
pub(super) struct RawAuthz {
    pub(super) at: Position,
    pub(super) entries: Vec<RawEntry>,
}

/// One entry without its lists, and these.
pub(super) struct RawEntry {
    /// The position in `authz`.
    pub(super) index: usize,
    pub(super) entry: AuthzEntry,
    pub(super) lists: Vec<RawList>,
}

impl RawEntry {
    pub(super) fn into_entry(self) -> AuthzEntry {
        AuthzEntry { rate_limits: self.lists.into_iter().map(|raw| raw.list).collect(), ..self.entry }
    }
}

/// None if the file has no `authz`.
pub(super) fn authz(fields: &mut Fields<'_>) -> Result<Option<RawAuthz>, Reported> {
    if !fields.has_key("authz") {
        return Ok(None);
    }
    let (at, count) = (fields.at_key("authz"), fields.items("authz"));
    let mut earlier: Vec<(usize, RequestMatch)> = Vec::new();
    let mut index = 0;
    let entries = fields.list("authz", |fields| {
        index += 1;
        let (entry, lists) = entry(fields)?;
        let at = fields.at();
        if let Some((line, _)) = earlier.iter().find(|(_, requests)| requests.covers(&entry.requests)) {
            fields.warn(
                at,
                format_args!("never counts: each of its requests matches the entry at line {line} too, and the first counts"),
            );
        }
        earlier.push((at.line, entry.requests.clone()));
        Ok(RawEntry { index: index - 1, entry, lists })
    })?;
    if count == 0 {
        return Err(fields.refuse(at, format_args!("authz must have at least one entry")));
    }
    Ok(Some(RawAuthz { at, entries }))
}

fn entry(fields: &mut Fields<'_>) -> Result<(AuthzEntry, Vec<RawList>), Reported> {
    let requests = fields.map("match", request_match);
    let rate_limits = actions::rate_limits(fields);
    let without_descriptor =
        fields.word("without_descriptor", &WithoutDescriptor::ALL, WithoutDescriptor::name);
    let (requests, lists) = (requests?.unwrap_or_default(), rate_limits?);
    let entry = AuthzEntry { requests, without_descriptor: without_descriptor?, ..AuthzEntry::default() };
    Ok((entry, lists))
}

fn request_match(fields: &mut Fields<'_>) -> Result<RequestMatch, Reported> {
    let (hosts, methods) = (fields.texts("hosts"), fields.texts("methods"));
    let (path_at, path_prefix) = (fields.at_value("path_prefix"), fields.text("path_prefix"));
    let (hosts, path_prefix) = (hosts?, path_prefix?.unwrap_or_default());
    let mut patterns = Vec::with_capacity(hosts.len());
    for (host, at) in hosts {
        match HostPattern::new(&host) {
            Some(pattern) => patterns.push(pattern),
            None => {
                let host = shorten(&host);
                fields.refuse(
                    at,
                    format_args!("`{host}` cannot be a host; write it without scheme and port, and a `*` only first or last"),
                );
            }
        }
    }
    let methods: Vec<String> = methods?
        .into_iter()
        .map(|(method, at)| {
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
                let method = shorten(&method);
                fields.refuse(
                    at,
                    format_args!("`{method}` cannot be a method; write it in capitals, such as POST"),
                );
            }
            method
        })
        .collect();
    if !path_prefix.is_empty() && !path_prefix.starts_with('/') {
        fields.refuse(path_at, format_args!("path_prefix must begin with `/`"));
    }
    if path_prefix.contains('?') {
        fields.refuse(
            path_at,
            format_args!("path_prefix is compared without the query, so it cannot have a `?`"),
        );
    }
    Ok(RequestMatch { hosts: patterns, path_prefix, methods })
}
