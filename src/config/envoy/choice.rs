//! Which lists of actions Envoy applies to a request.

use thiserror::Error;

use super::{
    EnvoyFile, EnvoyList, Filter, Manager,
    lists::{Specific, VirtualHostLists},
    routes::{Route, Taken, VirtualHost},
};
use tollgate_core::actions::HttpRequest;

/// The way of a request through the file.
#[derive(Debug, Default)]
pub struct Choice<'f> {
    /// The domain that Envoy sends.
    pub domain: &'f str,
    /// Listener, virtual host, route and the place of the lists, or why there are none; in words.
    pub way: Vec<String>,
    /// The lists that count, and those of other stages.
    pub lists: Vec<&'f EnvoyList>,
    /// The stage of the filter. Lists of others do not count.
    pub stage: u32,
    /// What could not be taken into account.
    pub notes: Vec<String>,
}

/// The file does not say what becomes of the request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoChoice {
    /// No connection manager has the filter.
    #[error(
        "no HTTP connection manager has the filter envoy.filters.http.ratelimit; if Envoy asks by ext_authz, leave out \
         --envoy, and the descriptors are made by `authz` of the limits file"
    )]
    NoFilter,
    /// The routes come from elsewhere.
    #[error("the file has no route_config for the listener {0}; its routes come from elsewhere, such as RDS")]
    NoRoutes(String),
    /// No route has that name.
    #[error("no route is called {name}; {}", names(.known))]
    NoSuchRoute {
        /// The name that was given.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

fn names(known: &[String]) -> String {
    if known.is_empty() { "none has a name".to_owned() } else { format!("there are {}", known.join(", ")) }
}

// === impl EnvoyFile ===

impl EnvoyFile {
    /// The lists for this request, on the route of that name or else on the one that matches it.
    pub fn choose(&self, request: &HttpRequest<'_>, route: Option<&str>) -> Result<Choice<'_>, NoChoice> {
        let has_route = |manager: &&Manager| {
            let routes = || manager.hosts.iter().flatten().flat_map(|host| &host.routes);
            route.is_none_or(|name| routes().any(|route| route.name == name))
        };
        let manager = self.managers.iter().find(has_route).or(self.managers.first());
        let manager = manager.ok_or(NoChoice::NoFilter)?;
        let mut choice = manager.choose(request, route)?;
        let others = self.managers.iter().filter(|other| !std::ptr::eq(*other, manager));
        choice.notes.extend(others.map(|other| {
            format!("the listener {} has a rate-limit filter too, which is not explained", other.listener)
        }));
        Ok(choice)
    }
}

// === impl Manager ===

impl Manager {
    fn choose(&self, request: &HttpRequest<'_>, name: Option<&str>) -> Result<Choice<'_>, NoChoice> {
        let hosts = self.hosts.as_ref().ok_or_else(|| NoChoice::NoRoutes(self.listener.clone()))?;
        let (filter, further) = self.filters.split_first().expect("it has a filter");
        let mut choice = Choice { domain: &filter.domain, stage: filter.stage, ..Choice::default() };
        choice.way.push(format!("listener {}, filter {}", self.listener, filter.name));
        choice.notes.extend(further.iter().map(|filter| {
            format!("a further rate-limit filter, {}, asks on its own, and is not explained", filter.name)
        }));
        let found = match name {
            Some(name) => Some(named(hosts, name)?),
            None => self.taken(hosts, request, &mut choice),
        };
        if let Some((host, route)) = found {
            choice.way.push(format!("virtual host {}, route {}", host.name, route.label()));
            self.collect(filter, host, route, &mut choice);
        }
        Ok(choice)
    }

    /// The route that the request takes.
    fn taken<'f>(
        &self,
        hosts: &'f [VirtualHost],
        request: &HttpRequest<'_>,
        choice: &mut Choice<'_>,
    ) -> Option<(&'f VirtualHost, &'f Route)> {
        let host = String::from_utf8_lossy(request.host).to_ascii_lowercase();
        let host = if self.ignores_port { without_port(&host) } else { &host };
        let best = hosts.iter().rev().max_by_key(|one| one.fit(host)).filter(|one| one.fit(host).is_some());
        let Some(virtual_host) = best else {
            let domains: Vec<&str> =
                hosts.iter().flat_map(|host| &host.domains).map(String::as_str).collect();
            choice.way.push(format!(
                "no virtual host is for the host {host:?}, so Envoy answers 404; there are {}. --header 'host: …' names another",
                domains.join(", ")
            ));
            return None;
        };
        if virtual_host.has_matcher {
            choice
                .notes
                .push(format!("`matcher` of the virtual host {} is not evaluated", virtual_host.name));
        }
        for route in &virtual_host.routes {
            match route.is_taken_by(request) {
                Taken::Yes => return Some((virtual_host, route)),
                Taken::No => {}
                Taken::Unknown(what) => choice.notes.push(format!(
                    "the route {} was passed over, because of its match this cannot be evaluated: {what}; if it is the \
                     right one, give it a name and use --route",
                    route.label()
                )),
            }
        }
        choice.way.push(format!(
            "no route of the virtual host {} matches, so Envoy answers 404",
            virtual_host.name
        ));
        None
    }

    /// Adds the lists for this route: those of the most specific `typed_per_filter_config`, else the filter's own, else
    /// the `rate_limits` of the route and the virtual host.
    fn collect<'f>(
        &'f self,
        filter: &'f Filter,
        host: &'f VirtualHost,
        route: &'f Route,
        choice: &mut Choice<'f>,
    ) {
        if let Some(answers_by) = route.answers_by {
            choice.way.push(format!(
                "the route has a {answers_by}, and Envoy limits only requests that it forwards"
            ));
            return;
        }
        let about = |all: &'f [Specific]| all.iter().find(|specific| specific.filter == filter.name);
        let specific = about(&route.specific)
            .map(|specific| (specific, "the route"))
            .or_else(|| about(&host.specific).map(|specific| (specific, "the virtual host")))
            .or_else(|| about(&self.specific).map(|specific| (specific, "route_config")));
        let is_enabled_here = specific.is_some_and(|(specific, _)| !specific.is_disabled);
        if specific.is_some_and(|(specific, _)| specific.is_disabled)
            || (filter.is_disabled && !is_enabled_here)
        {
            choice.way.push("the filter is disabled here".to_owned());
            return;
        }
        if let Some((Specific { domain: Some(domain), .. }, _)) = specific {
            choice.domain = domain;
        }
        if let Some((specific, place)) = specific.filter(|(specific, _)| !specific.lists.is_empty()) {
            choice.way.push(format!("rate_limits in typed_per_filter_config of {place}"));
            choice.lists = specific.lists.iter().collect();
        } else if !filter.lists.is_empty() {
            choice.way.push("rate_limits of the filter".to_owned());
            choice.lists = filter.lists.iter().collect();
        } else {
            let option = specific.map(|(specific, _)| specific.virtual_host).unwrap_or_default();
            plain(option, host, route, choice);
        }
    }
}

/// Adds the `rate_limits` of the route, of the virtual host, or of both.
fn plain<'f>(option: VirtualHostLists, host: &'f VirtualHost, route: &'f Route, choice: &mut Choice<'f>) {
    let includes_host = match option {
        _ if route.includes_virtual_host => true,
        VirtualHostLists::Include => true,
        VirtualHostLists::Override => route.lists.is_empty(),
        VirtualHostLists::Ignore => false,
    };
    choice.lists = route.lists.iter().collect();
    if includes_host {
        choice.lists.extend(&host.lists);
    }
    choice.way.push(match (route.lists.is_empty(), includes_host && !host.lists.is_empty()) {
        (true, true) => "rate_limits of the virtual host".to_owned(),
        (false, true) => "rate_limits of the route and of the virtual host".to_owned(),
        (false, false) => "rate_limits of the route".to_owned(),
        (true, false) => {
            "no rate_limits: neither the route nor its virtual host nor the filter has any, so Envoy does not ask".to_owned()
        }
    });
}

fn named<'f>(hosts: &'f [VirtualHost], name: &str) -> Result<(&'f VirtualHost, &'f Route), NoChoice> {
    let all = || hosts.iter().flat_map(|host| host.routes.iter().map(move |route| (host, route)));
    all().find(|(_, route)| route.name == name).ok_or_else(|| {
        let known = all().map(|(_, route)| route.name.clone()).filter(|name| !name.is_empty());
        NoChoice::NoSuchRoute { name: name.to_owned(), known: known.collect() }
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
