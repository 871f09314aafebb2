//! What the log says once the service listens.

use std::num::NonZeroU32;

use tracing::{info, warn};

use super::{Serve, Source, reference};
use crate::{cli::StoreUrl, logging, protocol::Modes, server};
use tollgate_core::{applied::QuotaMode, matcher::Matcher};

impl Serve {
    /// Logs the start. Scripts read the first line, so its words and their order are an interface.
    pub(super) fn announce(&self, addresses: server::Addresses, matcher: &Matcher, source: &Source) {
        let (rules, domains) = (matcher.limits().len(), matcher.domains().count());
        let store = self.store.store.as_ref().map_or("memory".to_owned(), StoreUrl::to_string);
        let server::Addresses { grpc, authz_http, admin, debug, metrics } = addresses;
        info!(target: logging::START, %grpc, %admin, %store, rules, domains, "listening");
        if let Some(authz_http) = authz_http {
            info!(target: logging::START, %authz_http, "listening for ext_authz by HTTP");
        }
        let others = [("debug", debug), ("metrics", metrics)];
        for (port, address) in others.into_iter().filter_map(|(port, address)| Some((port, address?))) {
            info!(target: logging::START, %address, "listening for operators ({port})");
        }
        if self.store.trusts_anybody() {
            let by = self.origins.name("store-tls-verify");
            warn!(%by, "the store's certificate is not verified: anybody on the way can read and answer in its place");
        }
        if let Some(xds_server) = source.awaited() {
            info!(%xds_server, "there are no rules yet: every request passes until the xDS server has sent some");
        } else if rules == 0 {
            warn!("no limit was loaded: every request passes");
        }
        let replicas = self.when_store_fails.replicas.map_or(1, NonZeroU32::get);
        if store == "memory" && replicas > 1 {
            warn!(
                "each of {replicas} replicas keeps buckets in its own memory, so each admits the whole limit; \
                 give them one Redis by --store"
            );
        } else if self.store.store.is_none() {
            reference::announce_memory();
        }
    }

    /// Logs the modes that let requests pass which limits would deny, and which flag or variable turned them on.
    pub(super) fn announce_modes(&self, modes: Modes, quota_mode: QuotaMode) {
        if modes.shadow {
            let by = self.switches.shadow_origin(&self.origins);
            info!(%by, "shadow mode is on: every request is answered OK; limits are still charged and counted");
        }
        if quota_mode == QuotaMode::Everywhere {
            let by = self.switches.quota_origin(&self.origins);
            info!(%by, "quota mode is on: a request is denied only when all of its limits are used up");
        }
    }
}
