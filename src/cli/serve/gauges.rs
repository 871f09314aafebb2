//! Metrics whose values other parts of the service keep: they are looked up when the page is scraped.

use std::sync::Arc;

use super::tls;
use crate::{
    fallback::Fallback,
    metrics::Metrics,
    server::Tls,
    store::{Backend, health::StoreHealth, redis::leases::LeasedHits},
    tasks,
};

/// Adds them to the page of `metrics`.
pub(super) fn add(metrics: &Metrics, backend: &Backend, fallback: &Fallback, tls: Option<&Arc<Tls>>) {
    if let Some(tls) = tls {
        tls::show(metrics, tls);
    }
    let local = Arc::clone(&fallback.local);
    let replicas = move || local.replicas().map_or(0, |replicas| replicas.get().into());
    let health = backend.health();
    metrics.show_counts(
        "tollgate_store_refusals_total",
        "Calls that Redis refused, by its error code. The log and /ready say what would help.",
        "code",
        move || health.refusals().collect(),
    );
    metrics.show_counts(
        "tollgate_panics_total",
        "Panics by task. The task was restarted, or the client's connection closed. Each is a bug: please report \
         its log line.",
        "task",
        || tasks::panics().collect(),
    );
    metrics.show(
        "tollgate_replicas",
        "Replicas that share the store; 0 with the memory store. If it stays 0 with Redis, the number is not known and \
         `local` answers as `error`: see the log, or set --replicas.",
        replicas,
    );
    if let Some(hits) = backend.leased_hits() {
        of_leases(metrics, &hits);
    }
    if let Some(masters) = backend.masters() {
        metrics.show(
            "tollgate_store_masters",
            "Masters to which the addresses of the store's name lead; 0 if it has a single address. With more than one, \
             replicas may end at different ones and admit a multiple of each limit.",
            move || masters.found().into(),
        );
    }
    if backend.is_cluster() {
        of_cluster(metrics, &backend.health());
    }
    let (backend, local) = (backend.clone(), Arc::clone(&fallback.local));
    let buckets = move || {
        let kept = local.len() + backend.memory_buckets();
        i64::try_from(kept).unwrap_or(i64::MAX)
    };
    metrics.show(
        "tollgate_memory_buckets",
        "Buckets that this process keeps in memory, for the memory store and for local answers. If it nears \
         --memory-buckets, raise that, or look for a descriptor whose values never repeat.",
        buckets,
    );
}

fn of_leases(metrics: &Metrics, hits: &Arc<LeasedHits>) {
    let (hits, calls) = (Arc::clone(hits), Arc::clone(hits));
    metrics.show_counts(
        "tollgate_lease_calls_total",
        "Calls to Redis about leases: answered; or lost, and what was to be reported then counts as spent. If lost rises, \
         Redis is slow or away.",
        "result",
        move || calls.calls().to_vec(),
    );
    metrics.show_counts(
        "tollgate_lease_hits_total",
        "Hits of leases: reserved in Redis; spent from them without a call; lapsed, which nobody has reported in time, \
         so Redis counts them as spent. If lapsed rises steadily, calls to Redis are lost.",
        "state",
        move || hits.hits().to_vec(),
    );
}

fn of_cluster(metrics: &Metrics, health: &Arc<StoreHealth>) {
    let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (known, connected, unserved) = (Arc::clone(health), Arc::clone(health), Arc::clone(health));
    metrics.show(
        "tollgate_store_cluster_masters",
        "Masters of the Redis Cluster that Tollgate sends requests to.",
        move || shown(known.servers().0),
    );
    metrics.show(
        "tollgate_store_cluster_masters_connected",
        "Those of them to which every runtime has a connection. If it is lower than the number of masters, /ready names the \
         others; their slots get fallback answers.",
        move || shown(connected.servers().1),
    );
    metrics.show(
        "tollgate_store_cluster_slots_unserved",
        "Slots of the Redis Cluster that no master serves, of 16384. Their buckets get fallback answers: repair the Cluster \
         with redis-cli --cluster fix.",
        move || shown(unserved.unserved()),
    );
}
