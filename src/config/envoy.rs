//! Reads an Envoy configuration, as far as `tollgate explain` needs it to follow a request: the connection managers that
//! have the rate-limit filter, their virtual hosts and routes, and the lists of actions of all of these.
//!
//! Everything else in the file is skipped. An action that cannot be read becomes a text in its list, and a condition of a
//! route that cannot be evaluated becomes a text in its route: this must not fail where Envoy would not.

mod choice;
mod lists;
mod routes;
mod tree;

use std::path::Path;

pub use choice::{Choice, NoChoice};
pub use lists::{EnvoyList, LeftOut, ListKind};
use lists::{Specific, lists};
use routes::VirtualHost;
use tree::{flag, get, items, text, type_name};

use super::{
    ConfigErrors, read,
    report::{Report, Reported},
    root,
    yaml::{Kind, Node},
};

/// The filter's type, without what is before its package.
const FILTER: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimit";
const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// The parts of an Envoy file that decide on rate limits.
#[derive(Debug)]
pub struct EnvoyFile {
    /// Those that have the rate-limit filter, in the order of the file.
    managers: Vec<Manager>,
}

/// An HTTP connection manager.
#[derive(Debug)]
struct Manager {
    /// The name of its listener.
    listener: String,
    /// Its rate-limit filters. There is at least one.
    filters: Vec<Filter>,
    /// None: they are not in the file.
    hosts: Option<Vec<VirtualHost>>,
    /// Whether virtual hosts are chosen by the host without its port.
    ignores_port: bool,
    /// What `route_config` itself says about filters.
    specific: Vec<Specific>,
}

/// A rate-limit filter.
#[derive(Debug)]
struct Filter {
    name: String,
    domain: String,
    stage: u32,
    is_disabled: bool,
    lists: Vec<EnvoyList>,
}

/// Reads a file. Fails if it cannot be read, or is not YAML.
pub fn load(path: &Path) -> Result<EnvoyFile, ConfigErrors> {
    let mut report = Report::new(path.to_owned());
    match parse(path, &mut report) {
        Ok(file) => Ok(file),
        Err(Reported) => Err(ConfigErrors(report.into_errors())),
    }
}

fn parse(path: &Path, report: &mut Report) -> Result<EnvoyFile, Reported> {
    let text = read(path, report)?;
    from_text(&text, report)
}

fn from_text(text: &str, report: &mut Report) -> Result<EnvoyFile, Reported> {
    let root = root(text, report)?;
    let mut managers = Vec::new();
    find(&root, "", &mut managers);
    Ok(EnvoyFile { managers })
}

/// Finds connection managers wherever they are. `listener` is the name of the closest map around that has one and
/// filter chains.
fn find(node: &Node, listener: &str, managers: &mut Vec<Manager>) {
    match node.kind() {
        Kind::Scalar(_) => {}
        Kind::List(all) => all.iter().for_each(|item| find(item, listener, managers)),
        Kind::Map(pairs) => {
            if type_name(node) == Some(MANAGER) {
                managers.extend(manager(node, listener));
                return;
            }
            let is_listener = get(node, "filter_chains").is_some();
            let listener = text(node, "name").filter(|_| is_listener).unwrap_or(listener);
            pairs.iter().for_each(|(_, value)| find(value, listener, managers));
        }
    }
}

/// None if it has no rate-limit filter.
fn manager(node: &Node, listener: &str) -> Option<Manager> {
    let filters: Vec<Filter> = items(node, "http_filters").iter().filter_map(filter).collect();
    if filters.is_empty() {
        return None;
    }
    let config = get(node, "route_config");
    let hosts = config.map(|config| items(config, "virtual_hosts").iter().map(VirtualHost::read).collect());
    let ignores_port = flag(node, "strip_any_host_port")
        || config.is_some_and(|config| flag(config, "ignore_port_in_host_matching"));
    let specific = config.map(Specific::all).unwrap_or_default();
    Some(Manager { listener: listener.to_owned(), filters, hosts, ignores_port, specific })
}

fn filter(node: &Node) -> Option<Filter> {
    let config = get(node, "typed_config").filter(|config| type_name(config) == Some(FILTER))?;
    let stage = text(config, "stage").and_then(|stage| stage.parse().ok()).unwrap_or(0);
    Some(Filter {
        name: text(node, "name").unwrap_or_default().to_owned(),
        domain: text(config, "domain").unwrap_or_default().to_owned(),
        stage,
        is_disabled: flag(node, "disabled"),
        lists: lists(config, "rate_limits", ListKind::Typed),
    })
}

#[cfg(test)]
mod tests;
