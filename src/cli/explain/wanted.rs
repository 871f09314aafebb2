//! The flags that name a request, as entries of descriptors or as an HTTP request, and the descriptors that it has.

use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;

use super::{
    descriptors::{Asked, NotDescriptors},
    making,
    request::{self, RequestFlags},
};
use crate::config::{
    ConfigErrors,
    envoy::{self, NoChoice},
};
use tollgate_core::{actions::HttpRequest, matcher::Matcher};

#[derive(Debug, Args)]
pub(in crate::cli) struct Wanted {
    /// Domain of the request [default: the only one in the limits files; for --request, the one with `authz`, or that of
    /// the filter in --envoy].
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,

    /// Entries of the descriptor, in their order; a lone + begins another descriptor of the same request.
    #[arg(required_unless_present = "request", conflicts_with_all = request::FLAGS, value_name = "KEY=VALUE")]
    entries: Vec<String>,

    #[command(flatten)]
    request: RequestFlags,
}

/// The flags name no request.
#[derive(Debug, Error)]
pub enum NotAsked {
    /// The Envoy configuration has errors.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The arguments are no descriptors.
    #[error(transparent)]
    Descriptors(#[from] NotDescriptors),
    /// The limits files have several domains, or none, and none was named.
    #[error("name the domain by --domain: {}", if .0.is_empty() { "the limits files have none".to_owned() } else { format!("the limits files have {}", .0.join(", ")) })]
    WhichDomain(Vec<String>),
    /// There are no lists of actions that could make descriptors of a request.
    #[error(
        "without --envoy, the descriptors of a request are made by `authz` in a limits file, and no domain has it, or \
         several have and --domain names none of these"
    )]
    NoAuthz,
    /// There is no limits file at all.
    #[error(
        "without --envoy, the descriptors of a request are made by `authz` in a limits file: name the file by --config"
    )]
    NoFile,
    /// The Envoy configuration does not say what becomes of the request.
    #[error("{}", .file.display())]
    Envoy {
        /// The path of the configuration.
        file: PathBuf,
        /// What it lacks.
        source: NoChoice,
    },
}

// === impl Wanted ===

impl Wanted {
    /// The request, whose descriptors each ask for these hits if they were typed. Without rules, the domain may be empty.
    pub(in crate::cli) fn asked(&self, matcher: Option<&Matcher>, hits: u64) -> Result<Asked, NotAsked> {
        match self.request.read(|request| self.made(matcher, request)) {
            Some(made) => made,
            None => Ok(Asked::from_arguments(self.domain(matcher)?, &self.entries, hits)?),
        }
    }

    /// The descriptors of a request, made as Envoy or a `Check` makes them.
    fn made(&self, matcher: Option<&Matcher>, request: &HttpRequest<'_>) -> Result<Asked, NotAsked> {
        match (&self.request.envoy, matcher) {
            (Some(file), _) => self.made_by_envoy(file, request),
            (None, Some(matcher)) => self.made_by_authz(matcher, request),
            (None, None) => Err(NotAsked::NoFile),
        }
    }

    fn made_by_envoy(&self, path: &Path, request: &HttpRequest<'_>) -> Result<Asked, NotAsked> {
        let file = envoy::load(path)?;
        let choice = file.choose(request, self.request.route.as_deref());
        let choice = choice.map_err(|source| NotAsked::Envoy { file: path.to_owned(), source })?;
        let (made, descriptors) = making::by_envoy(path, &choice, request);
        let domain = self.domain.clone().unwrap_or_else(|| choice.domain.to_owned());
        Ok(Asked { domain, descriptors, made: Some(made) })
    }

    fn made_by_authz(&self, matcher: &Matcher, request: &HttpRequest<'_>) -> Result<Asked, NotAsked> {
        let named = request.context_extensions.iter().find(|extension| extension.name == b"domain");
        let named = named.map(|extension| String::from_utf8_lossy(extension.value).into_owned());
        let only = || matcher.authz_domain().map(str::to_owned);
        let domain = self.domain.clone().or(named).or_else(only).ok_or(NotAsked::NoAuthz)?;
        let rules = matcher.domain(domain.as_bytes()).filter(|rules| !rules.authz.is_empty());
        let rules = rules.ok_or(NotAsked::NoAuthz)?;
        let (made, descriptors) = making::by_authz(rules, request);
        Ok(Asked { domain, descriptors, made: Some(made) })
    }

    fn domain(&self, matcher: Option<&Matcher>) -> Result<String, NotAsked> {
        match matcher {
            Some(matcher) => domain(self.domain.as_ref(), matcher),
            None => Ok(self.domain.clone().unwrap_or_default()),
        }
    }
}

/// The domain that is named, or else the only one.
pub(super) fn domain(named: Option<&String>, matcher: &Matcher) -> Result<String, NotAsked> {
    if let Some(domain) = named {
        return Ok(domain.clone());
    }
    let mut names: Vec<String> = matcher.domains().map(str::to_owned).collect();
    names.sort_unstable();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(NotAsked::WhichDomain(names)),
    }
}
