//! Lists of actions in an Envoy file, and what a route, a virtual host or all routes say about one filter.

use std::path::PathBuf;

use thiserror::Error;

use super::tree::{flag, get, items, pairs, text, type_name};
use crate::{
    config::{
        actions,
        error::Position,
        fields::{Fields, Part, key_name},
        report::{Place, Report},
        yaml::Node,
    },
    error,
};
use tollgate_core::actions::{KINDS, RateLimit};

const PER_ROUTE: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute";
const WRAPPED: &str = "envoy.config.route.v3.FilterConfig";
/// The actions that only Tollgate has are the last of all.
const OWN: usize = 5;

/// A list of actions as an Envoy file has it.
#[derive(Debug)]
pub struct EnvoyList {
    /// Its position in the file.
    pub at: Position,
    /// It counts for the filters of this stage only.
    pub stage: u32,
    /// It is asked for when the response has ended, and not before.
    pub on_stream_done: bool,
    /// It brings a limit along, from metadata.
    pub has_override: bool,
    /// The list, or why it cannot be evaluated.
    pub list: Result<RateLimit, String>,
}

/// Why a list does not count for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LeftOut<'l> {
    /// It cannot be evaluated.
    #[error("{0}")]
    Unknown(&'l str),
    /// It is for filters of another stage.
    #[error("its stage is {of_list}, and that of the filter {of_filter}")]
    OtherStage {
        /// Its own stage.
        of_list: u32,
        /// That of the filter.
        of_filter: u32,
    },
    /// It is asked for when the response has ended.
    #[error("apply_on_stream_done: it is charged when the response has ended, by a call of its own")]
    OnStreamDone,
}

/// Where a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// In the filter, or in `typed_per_filter_config`.
    Typed,
    /// In `rate_limits` of a route or a virtual host, where Envoy ignores `hits_addend`.
    Plain,
}

/// What is said about one filter in `typed_per_filter_config`.
#[derive(Debug)]
pub(super) struct Specific {
    pub(super) filter: String,
    pub(super) is_disabled: bool,
    /// In place of that of the filter.
    pub(super) domain: Option<String>,
    pub(super) virtual_host: VirtualHostLists,
    pub(super) lists: Vec<EnvoyList>,
}

/// Whether the lists of the virtual host count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum VirtualHostLists {
    /// If the route has none.
    #[default]
    Override,
    Include,
    Ignore,
}

/// The lists under this key of the map.
pub(super) fn lists(node: &Node, name: &str, kind: ListKind) -> Vec<EnvoyList> {
    items(node, name).iter().map(|item| EnvoyList::read(item, kind)).collect()
}

// === impl EnvoyList ===

impl EnvoyList {
    /// The list, if a filter of this stage applies it to a request.
    pub fn for_stage(&self, stage: u32) -> Result<&RateLimit, LeftOut<'_>> {
        match &self.list {
            Err(problem) => Err(LeftOut::Unknown(problem)),
            Ok(_) if self.stage != stage => {
                Err(LeftOut::OtherStage { of_list: self.stage, of_filter: stage })
            }
            Ok(_) if self.on_stream_done => Err(LeftOut::OnStreamDone),
            Ok(list) => Ok(list),
        }
    }

    fn read(item: &Node, kind: ListKind) -> EnvoyList {
        let mut report = Report::new(PathBuf::new());
        let what = format_args!("an item of rate_limits");
        let list = Fields::read(&[Part::whole(item)], what, &Place::Root, &mut report, |fields| {
            for around in ["stage", "disable_key", "limit", "apply_on_stream_done", "x_ratelimit_option"] {
                fields.forget(around);
            }
            actions::list(fields)
        });
        let errors: Vec<String> = report.into_errors().iter().map(|one| error::chain(&one.problem)).collect();
        let list = match list {
            Ok(list) if errors.is_empty() => as_envoy_reads_it(list, kind),
            _ => Err(errors.join("; ")),
        };
        EnvoyList {
            at: item.at,
            stage: text(item, "stage").and_then(|stage| stage.parse().ok()).unwrap_or(0),
            on_stream_done: flag(item, "apply_on_stream_done"),
            has_override: get(item, "limit").is_some(),
            list,
        }
    }
}

fn as_envoy_reads_it(list: RateLimit, kind: ListKind) -> Result<RateLimit, String> {
    let own = &KINDS[KINDS.len() - OWN..];
    if let Some(action) = list.actions().iter().find(|action| own.contains(&action.kind())) {
        let kind = action.kind();
        return Err(format!("Envoy has no action `{kind}`; only `authz` of a limits file has it"));
    }
    match kind {
        ListKind::Typed => Ok(list),
        ListKind::Plain => RateLimit::new(list.actions().to_vec(), None).map_err(|error| error.to_string()),
    }
}

// === impl Specific ===

impl Specific {
    /// All that are about rate-limit filters in `typed_per_filter_config` of this map.
    pub(super) fn all(node: &Node) -> Vec<Specific> {
        let all = pairs(node, "typed_per_filter_config").iter();
        all.filter_map(|(filter, config)| Specific::read(key_name(filter)?, config)).collect()
    }

    fn read(filter: &str, config: &Node) -> Option<Specific> {
        let is_wrapped = type_name(config) == Some(WRAPPED);
        let is_disabled = is_wrapped && flag(config, "disabled");
        let inner = if is_wrapped { get(config, "config") } else { Some(config) };
        let inner = inner.filter(|inner| type_name(inner) == Some(PER_ROUTE));
        if inner.is_none() && !is_disabled {
            return None;
        }
        let option = inner.and_then(|inner| text(inner, "vh_rate_limits"));
        Some(Specific {
            filter: filter.to_owned(),
            is_disabled,
            domain: inner.and_then(|inner| text(inner, "domain")).map(str::to_owned),
            virtual_host: match option {
                Some("INCLUDE") => VirtualHostLists::Include,
                Some("IGNORE") => VirtualHostLists::Ignore,
                _ => VirtualHostLists::Override,
            },
            lists: inner.map(|inner| lists(inner, "rate_limits", ListKind::Typed)).unwrap_or_default(),
        })
    }
}
