//! Requests of two descriptors whose buckets two masters of a Cluster hold: how far under the bound it stays, beside one
//! Redis that decides such a request as a whole.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tollgate::{clock::Clock, store::redis::keys::slot};
use tollgate_core::limit::{Limit, Unit};

use super::{
    FaultsError, Row,
    asker::{self, Answer, Asker},
    limits_file,
    nodes::{Visit, worst_share},
};
use crate::{
    redis::{Cluster, Redis},
    tollgate::{Serve, Tollgate},
};

const REPLICAS: usize = 2;
const CLIENTS: usize = 8;
const LASTS: Duration = Duration::from_secs(5);
const ROUNDS: usize = 2;
const EVERYONE: &str = "everyone";
const EACH: u64 = 10;

/// Which of the two limits is the scarce one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scarce {
    /// 16 addresses of 10 a second each, below 1,000 for everyone.
    Address,
    /// 48 addresses, above 200 for everyone.
    Everyone,
}

/// What one store admitted.
struct Admitted {
    count: usize,
    /// The largest ratio to burst + refill · length of any interval, of everyone and of one address.
    worst: f64,
}

pub(super) async fn row() -> Result<Row, FaultsError> {
    let (cluster, redis) = (Cluster::start(3, 0).await?, Redis::start().await?);
    let (mut words, mut is_kept) = (Vec::new(), true);
    for scarce in [Scarce::Address, Scarce::Everyone] {
        let addresses = scarce.addresses(&cluster);
        let (mut in_cluster, mut in_redis, mut worst) = (0, 0, 0.0_f64);
        for round in 0..ROUNDS {
            // Buckets of their own in each round, so that each begins full.
            let limits = limits_file(&format!("legs-{round}"), &scarce.limits())?;
            let mut both = [cluster.url(), redis.url()];
            if round % 2 == 1 {
                both.reverse();
            }
            for store in both {
                flush(&cluster, &redis)?;
                let admitted = scarce.admitted(&limits, &store, &addresses).await?;
                worst = worst.max(admitted.worst);
                *(if store == redis.url() { &mut in_redis } else { &mut in_cluster }) += admitted.count;
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
        let share = 100.0 * in_cluster as f64 / in_redis.max(1) as f64;
        is_kept &= worst <= 1.0 && share > 80.0;
        words.push(format!(
            "{}: {in_cluster} admitted, {in_redis} by one Redis ({share:.1} %), the worst interval has {worst:.2}",
            scarce.words()
        ));
    }
    Ok(Row::new("none; each request has two descriptors, whose buckets are on two masters; two replicas")
        .promised(
            "over every interval at most burst + refill · length, for either; at least 80 % of what one Redis admits",
        )
        .measured(words.join("; "))
        .kept_if(is_kept))
}

fn flush(cluster: &Cluster, redis: &Redis) -> Result<(), FaultsError> {
    cluster.tell_all(&["FLUSHALL"])?;
    crate::bench::resp::tell(redis.addr(), &["FLUSHALL"])?;
    Ok(())
}

// === impl Scarce ===

impl Scarce {
    const fn everyone(self) -> u64 {
        match self {
            Scarce::Address => 1_000,
            Scarce::Everyone => 200,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Scarce::Address => "the limit of each address is the scarce one",
            Scarce::Everyone => "the limit of everyone is the scarce one",
        }
    }

    fn limits(self) -> String {
        format!(
            "domain: edge\ndescriptors:\n\
             - {{ key: user, value: {EVERYONE}, rate_limit: {{ unit: second, algorithm: token_bucket, \
             requests_per_unit: {}, on_store_failure: deny }} }}\n\
             - {{ key: user, rate_limit: {{ unit: second, algorithm: token_bucket, requests_per_unit: {EACH}, \
             on_store_failure: deny }} }}\n",
            self.everyone()
        )
    }

    /// None is on the master that holds the bucket of everyone.
    fn addresses(self, cluster: &Cluster) -> Vec<&'static str> {
        let master = |value: &str, requests: u64| {
            let requests = u32::try_from(requests).expect("small");
            let limit = Limit::new(requests, Unit::Second, None).expect("sound");
            cluster.first_master_of(slot(&asker::tagged_bucket("user", value, &limit)))
        };
        let of_everyone = master(EVERYONE, self.everyone());
        let count = if self == Scarce::Address { 16 } else { 48 };
        let names = (0..).map(|number: u32| format!("192.0.2.{number}"));
        let elsewhere = names.filter(|name| master(name, EACH) != of_everyone);
        // A few hundred bytes, once.
        elsewhere.take(count).map(|name| &*name.leak()).collect()
    }

    async fn admitted(
        self,
        limits: &std::path::Path,
        store: &str,
        addresses: &[&'static str],
    ) -> Result<Admitted, FaultsError> {
        let serve = Serve::new(limits).store(store).args(&["--store-deadline", "500ms"]);
        let (mut tollgates, mut clients, clock) = (Vec::new(), JoinSet::new(), Clock::start());
        for _ in 0..REPLICAS {
            let tollgate = Tollgate::start(&serve).await?;
            let mut asker = Asker::connect(tollgate.grpc()).await?;
            for number in 0..64 {
                asker.until_store("user", &format!("warm-{number}")).await?;
            }
            tollgates.push(tollgate);
        }
        for client in 0..CLIENTS {
            let mut asker = Asker::connect(tollgates[client % REPLICAS].grpc()).await?;
            let mut turns = addresses.to_vec();
            turns.rotate_left(client * addresses.len() / CLIENTS);
            clients.spawn(async move {
                let (started, mut visits) = (Instant::now(), Vec::new());
                for key in turns.iter().cycle() {
                    if started.elapsed() > LASTS {
                        break;
                    }
                    let start_us = clock.now_us();
                    let answer = asker.ask_for("user", &[EVERYONE, key]).await;
                    let end_us = clock.now_us();
                    if let Answer::Admitted { .. } = answer {
                        visits.push(Visit { key, start_us, end_us, status: 200, retry_after_s: None });
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                visits
            });
        }
        let visits: Vec<Visit> = clients.join_all().await.into_iter().flatten().collect();
        let mut worst = worst_share(&visits, self.everyone(), self.everyone());
        for address in addresses {
            let own: Vec<Visit> = visits.iter().filter(|visit| visit.key == *address).copied().collect();
            worst = worst.max(worst_share(&own, EACH, EACH));
        }
        Ok(Admitted { count: visits.len(), worst })
    }
}
