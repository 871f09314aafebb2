//! Reads `rate_limits` in Envoy's vocabulary: lists of actions, each of which makes at most one descriptor.

mod matchers;

pub(super) use matchers::{header_match, query_match};

use super::{
    error::Position,
    fields::Fields,
    report::{Reported, shorten},
};
use tollgate_core::actions::{
    Action, ActionError, ActionSpec, AmountSpec, HitsAddend, HitsSpec, KINDS, MetadataSource, OwnSpec,
    RateLimit,
};

/// Actions that Envoy has, and this does not.
const ONLY_ENVOY: [&str; 5] =
    ["source_cluster", "destination_cluster", "dynamic_metadata", "remote_address_match", "extension"];

/// One list, and its position.
pub(super) struct RawList {
    pub(super) at: Position,
    pub(super) list: RateLimit,
}

/// The lists under `rate_limits`; none if the key is absent.
pub(super) fn rate_limits(fields: &mut Fields<'_>) -> Result<Vec<RawList>, Reported> {
    fields.list("rate_limits", |fields| Ok(RawList { at: fields.at(), list: rate_limit(fields)? }))
}

fn rate_limit(fields: &mut Fields<'_>) -> Result<RateLimit, Reported> {
    forbid(fields);
    list(fields)
}

/// One list without the keys around it.
pub(super) fn list(fields: &mut Fields<'_>) -> Result<RateLimit, Reported> {
    let count = fields.items("actions");
    let actions = fields.list("actions", action);
    let hits_addend = fields.map("hits_addend", hits_addend);
    let (actions, hits_addend) = (actions?, hits_addend?);
    if actions.len() < count {
        // Those that are missing are reported.
        return Err(Reported);
    }
    let list = RateLimit::new(actions, hits_addend).map_err(|error| refuse(fields, &error))?;
    if let Some(header) = list.contradiction() {
        let (at, header) = (fields.at_value("actions"), shorten(header));
        fields.warn(
            at,
            format_args!("never makes a descriptor: nothing that `{header}` can be satisfies all actions"),
        );
    }
    Ok(list)
}

/// Keys of Envoy's lists that an ext_authz service cannot honour.
fn forbid(fields: &mut Fields<'_>) {
    fields.forbid(
        "apply_on_stream_done",
        "ext_authz asks once, before the response, so nothing can be charged when the stream is done; use the ratelimit \
         filter for that",
    );
    fields.forbid(
        "limit",
        "a limit cannot be overridden here; give the rule in `descriptors` its own, or use the ratelimit filter",
    );
    fields.forbid("stage", "ext_authz asks once, so there are no stages; list all descriptors together");
    fields.forbid("disable_key", "there is no runtime here that could set it; remove the list instead");
}

fn hits_addend(fields: &mut Fields<'_>) -> Result<HitsAddend, Reported> {
    let (number, format) = (fields.number("number"), fields.text("format"));
    let is_negative_hits = fields.flag("is_negative_hits");
    let amount = match (number?, format?.filter(|format| !format.is_empty())) {
        (Some(_), Some(_)) => {
            let at = fields.at_value("format");
            return Err(fields.refuse(at, format_args!("number and format exclude each other")));
        }
        (number, None) => AmountSpec::Number(number.map_or(1, u64::from)),
        (None, Some(format)) => AmountSpec::Format(format),
    };
    HitsAddend::new(HitsSpec { amount, is_negative_hits: is_negative_hits? })
        .map_err(|error| refuse(fields, &error.without("hits_addend")))
}

// === actions ===

fn action(fields: &mut Fields<'_>) -> Result<Action, Reported> {
    for name in ONLY_ENVOY {
        fields.forbid(name, ActionError::unknown_action(name).problem);
    }
    let mut given = KINDS.into_iter().filter(|kind| fields.has_key(kind));
    let (kind, second) = (given.next(), given.next());
    let Some(kind) = kind else {
        // Unknown keys are told with the closest of these.
        KINDS.into_iter().for_each(|kind| fields.forget(kind));
        if !fields.is_empty() {
            return Err(Reported);
        }
        let (at, all) = (fields.at(), KINDS.join(", "));
        return Err(fields.refuse(at, format_args!("an action must have one of these keys: {all}")));
    };
    if let Some(second) = second {
        let at = fields.at_key(second);
        fields.forget(second);
        return Err(fields.refuse(
            at,
            format_args!("`{second}` cannot be combined with `{kind}`; make it an action of its own"),
        ));
    }
    let action = fields.map(kind, |fields| {
        let spec = spec(kind, fields)?;
        Action::new(spec).map_err(|error| refuse(fields, &error))
    })?;
    action.ok_or_else(|| {
        let at = fields.at_key(kind);
        fields.refuse(at, format_args!("`{kind}` has no value; write `{kind}: {{}}`, or its fields"))
    })
}

/// Reports a mistake at the field that it is in.
fn refuse(fields: &mut Fields<'_>, error: &ActionError) -> Reported {
    let field = error.field.split(['.', '[']).next().unwrap_or_default();
    let at = fields.at_value(field);
    fields.refuse(at, format_args!("{error}"))
}

fn spec(kind: &str, fields: &mut Fields<'_>) -> Result<ActionSpec, Reported> {
    match kind {
        "generic_key" => {
            let (key, value) = (fields.text("descriptor_key"), fields.text("descriptor_value"));
            let default = text(fields, "default_value");
            Ok(ActionSpec::GenericKey {
                descriptor_key: key?,
                descriptor_value: value?.unwrap_or_default(),
                default_value: default?,
            })
        }
        "request_headers" => {
            let (name, key) = (text(fields, "header_name"), text(fields, "descriptor_key"));
            let skip_if_absent = fields.flag("skip_if_absent");
            Ok(ActionSpec::RequestHeaders {
                header_name: name?,
                descriptor_key: key?,
                skip_if_absent: skip_if_absent?,
            })
        }
        "remote_address" => Ok(ActionSpec::RemoteAddress),
        "masked_remote_address" => {
            let (v4, v6) = (fields.number("v4_prefix_mask_len"), fields.number("v6_prefix_mask_len"));
            Ok(ActionSpec::MaskedRemoteAddress { v4_prefix_mask_len: v4?, v6_prefix_mask_len: v6? })
        }
        "header_value_match" => {
            let matched = value_match(fields);
            let headers = whole_list(fields, "headers", header_match);
            let (matched, headers) = (matched?, headers?);
            Ok(ActionSpec::HeaderValueMatch {
                descriptor_key: matched.descriptor_key,
                descriptor_value: matched.descriptor_value,
                default_value: matched.default_value,
                expect_match: matched.expect_match,
                headers,
            })
        }
        "query_parameter_value_match" => {
            let matched = value_match(fields);
            let query_parameters = whole_list(fields, "query_parameters", query_match);
            let (matched, query_parameters) = (matched?, query_parameters?);
            Ok(ActionSpec::QueryParameterValueMatch {
                descriptor_key: matched.descriptor_key,
                descriptor_value: matched.descriptor_value,
                default_value: matched.default_value,
                expect_match: matched.expect_match,
                query_parameters,
            })
        }
        "query_parameters" => {
            let (name, key) = (text(fields, "query_parameter_name"), text(fields, "descriptor_key"));
            let skip_if_absent = fields.flag("skip_if_absent");
            Ok(ActionSpec::QueryParameters {
                query_parameter_name: name?,
                descriptor_key: key?,
                skip_if_absent: skip_if_absent?,
            })
        }
        "metadata" => metadata(fields),
        _ => own(kind, fields).map(ActionSpec::Own),
    }
}

fn own(kind: &str, fields: &mut Fields<'_>) -> Result<OwnSpec, Reported> {
    let descriptor_key = fields.text("descriptor_key");
    match kind {
        "path" => Ok(OwnSpec::Path { descriptor_key: descriptor_key? }),
        "method" => Ok(OwnSpec::Method { descriptor_key: descriptor_key? }),
        "host" => Ok(OwnSpec::Host { descriptor_key: descriptor_key? }),
        "principal" => {
            let skip_if_absent = fields.flag("skip_if_absent");
            Ok(OwnSpec::Principal { descriptor_key: descriptor_key?, skip_if_absent: skip_if_absent? })
        }
        _ => {
            let (key, skip_if_absent) = (text(fields, "key"), fields.flag("skip_if_absent"));
            Ok(OwnSpec::ContextExtension {
                key: key?,
                descriptor_key: descriptor_key?,
                skip_if_absent: skip_if_absent?,
            })
        }
    }
}

/// The fields that both kinds of matches have.
struct ValueMatch {
    descriptor_key: Option<String>,
    descriptor_value: String,
    default_value: String,
    expect_match: bool,
}

fn value_match(fields: &mut Fields<'_>) -> Result<ValueMatch, Reported> {
    let (key, value) = (fields.text("descriptor_key"), text(fields, "descriptor_value"));
    let (default, expect_match) = (text(fields, "default_value"), fields.optional_flag("expect_match"));
    Ok(ValueMatch {
        descriptor_key: key?,
        descriptor_value: value?,
        default_value: default?,
        expect_match: expect_match?.unwrap_or(true),
    })
}

fn metadata(fields: &mut Fields<'_>) -> Result<ActionSpec, Reported> {
    const SOURCES: [MetadataSource; 2] = [MetadataSource::Dynamic, MetadataSource::Route];
    let (key, default) = (text(fields, "descriptor_key"), text(fields, "default_value"));
    let source = fields.word("source", &SOURCES, |source| match source {
        MetadataSource::Dynamic => "DYNAMIC",
        MetadataSource::Route => "ROUTE_ENTRY",
    });
    let skip_if_absent = fields.flag("skip_if_absent");
    let found = fields.map("metadata_key", |fields| {
        let (namespace, path) =
            (text(fields, "key"), whole_list(fields, "path", |fields| text(fields, "key")));
        Ok((namespace?, path?))
    });
    let (namespace, path) = found?.unwrap_or_default();
    Ok(ActionSpec::Metadata {
        descriptor_key: key?,
        namespace,
        path,
        default_value: default?,
        source: source?.unwrap_or_default(),
        skip_if_absent: skip_if_absent?,
    })
}

// === fields ===

/// A text, empty if it is absent: what must not be empty is checked with the action.
fn text(fields: &mut Fields<'_>, name: &'static str) -> Result<String, Reported> {
    Ok(fields.text(name)?.unwrap_or_default())
}

/// A list all of whose items are sound.
fn whole_list<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    check: impl FnMut(&mut Fields<'_>) -> Result<T, Reported>,
) -> Result<Vec<T>, Reported> {
    let count = fields.items(name);
    let items = fields.list(name, check)?;
    if items.len() < count { Err(Reported) } else { Ok(items) }
}

#[cfg(test)]
mod tests;
