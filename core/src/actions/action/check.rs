//! Checks an action as written, and makes an [`Action`] that cannot be wrong.

use super::{
    Absent, Action, ActionError, ActionSpec, Format, HeaderMatch, HeaderMatchSpec, Mask, OwnSpec, Problem,
    QueryMatch, QueryMatchSpec, Source, Text, header_name,
};

impl Action {
    /// Fails if Envoy would refuse the action, and on commands that are not known here.
    pub fn new(spec: ActionSpec) -> Result<Action, ActionError> {
        match spec {
            ActionSpec::GenericKey { descriptor_key, descriptor_value, default_value } => {
                let text = Text::new(&descriptor_value, default_value)?;
                Action::plain(descriptor_key, "generic_key", Source::Key(text))
            }
            ActionSpec::RequestHeaders { header_name: name, descriptor_key, skip_if_absent } => {
                let source = Source::Header(header_name("header_name", &name)?);
                Ok(Action::keyed(descriptor_key, source)?.skipping(skip_if_absent))
            }
            ActionSpec::RemoteAddress => Action::plain(None, "remote_address", Source::Address),
            ActionSpec::MaskedRemoteAddress { v4_prefix_mask_len: v4, v6_prefix_mask_len: v6 } => {
                let v4 = prefix_length("v4_prefix_mask_len", v4, Mask::V4_MOST)?;
                let v6 = prefix_length("v6_prefix_mask_len", v6, Mask::V6_MOST)?;
                Action::plain(None, "masked_remote_address", Source::Network(Mask { v4, v6 }))
            }
            ActionSpec::HeaderValueMatch {
                descriptor_key,
                descriptor_value,
                default_value,
                expect_match,
                headers,
            } => {
                let text = Text::new(&descriptor_value, default_value)?;
                let headers = header_matches(&headers)?;
                let source = Source::HeaderMatch { headers, expected: expect_match, text };
                Action::plain(descriptor_key, "header_match", source)
            }
            ActionSpec::QueryParameterValueMatch {
                descriptor_key,
                descriptor_value,
                default_value,
                expect_match,
                query_parameters,
            } => {
                let text = Text::new(&descriptor_value, default_value)?;
                let parameters = query_matches(&query_parameters)?;
                let source = Source::QueryMatch { parameters, expected: expect_match, text };
                Action::plain(descriptor_key, "query_match", source)
            }
            ActionSpec::QueryParameters { query_parameter_name: name, descriptor_key, skip_if_absent } => {
                let source = Source::QueryParameter(filled("query_parameter_name", name)?);
                Ok(Action::keyed(descriptor_key, source)?.skipping(skip_if_absent))
            }
            ActionSpec::Metadata {
                descriptor_key,
                namespace,
                path,
                default_value: default,
                source,
                skip_if_absent,
            } => {
                let namespace = filled("metadata_key.key", namespace)?;
                if path.is_empty() {
                    return Err(ActionError::new("metadata_key.path", Problem::Empty));
                }
                let source = Source::Metadata { source, namespace, path, default };
                Ok(Action::keyed(descriptor_key, source)?.skipping(skip_if_absent))
            }
            ActionSpec::Own(spec) => Action::own(spec),
        }
    }

    fn own(spec: OwnSpec) -> Result<Action, ActionError> {
        match spec {
            OwnSpec::Method { descriptor_key } => Action::plain(descriptor_key, "method", Source::Method),
            OwnSpec::Host { descriptor_key } => Action::plain(descriptor_key, "host", Source::Host),
            OwnSpec::Principal { descriptor_key, skip_if_absent } => {
                let action = Action::plain(descriptor_key, "principal", Source::Principal)?;
                Ok(action.skipping(skip_if_absent))
            }
            OwnSpec::ContextExtension { key, descriptor_key, skip_if_absent } => {
                let source = Source::ContextExtension(filled("key", key)?);
                let action = Action::plain(descriptor_key, "context_extension", source)?;
                Ok(action.skipping(skip_if_absent))
            }
            OwnSpec::Path { descriptor_key } => Action::plain(descriptor_key, "path", Source::Path),
        }
    }

    /// An action with that descriptor key, or with the usual one if none is given.
    fn plain(key: Option<String>, usual: &str, source: Source) -> Result<Action, ActionError> {
        let key = key.filter(|key| !key.is_empty());
        Action::keyed(key.unwrap_or_else(|| usual.to_owned()), source)
    }

    fn keyed(key: String, source: Source) -> Result<Action, ActionError> {
        Ok(Action { descriptor_key: filled("descriptor_key", key)?, source, if_absent: Absent::Drops })
    }

    fn skipping(self, skip_if_absent: bool) -> Action {
        Action { if_absent: if skip_if_absent { Absent::Skips } else { Absent::Drops }, ..self }
    }
}

impl Text {
    fn new(text: &str, default: String) -> Result<Text, ActionError> {
        const FIELD: &str = "descriptor_value";
        if text.is_empty() {
            return Err(ActionError::new(FIELD, Problem::Empty));
        }
        let format = Format::new(text).map_err(|error| ActionError::new(FIELD, error))?;
        Ok(Text { format, default })
    }
}

fn header_matches(specs: &[HeaderMatchSpec]) -> Result<Vec<HeaderMatch>, ActionError> {
    each("headers", specs, HeaderMatch::new)
}

fn query_matches(specs: &[QueryMatchSpec]) -> Result<Vec<QueryMatch>, ActionError> {
    each("query_parameters", specs, QueryMatch::new)
}

/// Checks all matchers of a list. An error says which one is wrong. Envoy refuses an empty list too.
fn each<S, M>(
    field: &str,
    specs: &[S],
    check: impl Fn(&S) -> Result<M, ActionError>,
) -> Result<Vec<M>, ActionError> {
    if specs.is_empty() {
        return Err(ActionError::new(field, Problem::Empty));
    }
    let numbered = specs.iter().enumerate();
    numbered
        .map(|(index, spec)| check(spec).map_err(|error| error.below(&format!("{field}[{index}]"))))
        .collect()
}

fn filled(field: &str, text: String) -> Result<String, ActionError> {
    if text.is_empty() { Err(ActionError::new(field, Problem::Empty)) } else { Ok(text) }
}

/// The whole address if no length is given.
fn prefix_length(field: &str, given: Option<u32>, most: u8) -> Result<u8, ActionError> {
    let Some(length) = given else { return Ok(most) };
    let checked = u8::try_from(length).ok().filter(|&length| length <= most);
    checked.ok_or_else(|| ActionError::new(field, Problem::PrefixLength { length, most }))
}
