//! A real Envoy Gateway, the Envoys that it configures, and Tollgate as `/bin/ratelimit` with the environment of the
//! Deployment that Envoy Gateway makes: what its policies say is what clients get, to the request.
//!
//! `make gateway-test` runs these tests, in namespaces of their own, because Envoy Gateway's ports and paths are fixed.
//! They are ignored otherwise. One set of processes serves all of them; each brings resources of its own, as users
//! write them.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time")]

mod backend;
mod base64;
mod certificates;
mod changes;
mod client;
mod costs;
mod load;
mod policies;
mod resources;
mod rig;
mod selectors;

/// Where Envoy Gateway's files lie. /run is empty, and seen by these processes alone.
mod folders {
    pub(crate) const RESOURCES: &str = "/run/gateway/resources";
    pub(crate) const CONFIG: &str = "/run/gateway/config";
    pub(crate) const DATA: &str = "/run/gateway/data";
    pub(crate) const STATE: &str = "/run/gateway/state";
    pub(crate) const RUNTIME: &str = "/run/gateway/runtime";
    /// What Envoy Gateway asked to run, a file for each Envoy.
    pub(crate) const ENVOYS: &str = "/run/gateway/envoys";
}
