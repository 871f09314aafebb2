//! The processes behind a contender: started for a case, pinned, and ended with it.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use super::{
    BenchError,
    args::Peer,
    case::{Service, Subject},
    far::Far,
    limits::{AUTHZ_EXTENSION, SHADOWED_EXTENSION},
    peers::{self, Program, Started},
    placement::{Placement, pin},
    resp,
    rounds::Setting,
};
use crate::{
    binaries,
    handshakes::{Kind, certificate},
    process::Process,
    redis::{Cluster, Redis, Watched},
    tollgate::{Serve, Tollgate},
};

/// Long, because a run is about speed: the delays of a starved machine should appear as latencies, not as errors.
const STORE_DEADLINE: &str = "1s";
/// A runtime connects to Redis when it starts; until then it answers UNAVAILABLE.
pub const TO_CONNECT: Duration = Duration::from_millis(200);
const CLUSTER_MASTERS: usize = 3;
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// Both ways are the two milliseconds of [`Service::FarRedis`].
const EACH_WAY: Duration = Duration::from_millis(1);
const LEASE: &str = "100ms";
const LONG_LEASE: &str = "1s";

/// The processes of one subject.
#[derive(Debug)]
pub struct Running {
    pub subject: Subject,
    /// The address that gets the load.
    pub addr: SocketAddr,
    /// The process id of the service, if there is one and it is known.
    pub service_pid: Option<u32>,
    /// Those that decide.
    pub redis: Vec<RedisSeen>,
    owned: Owned,
}

#[derive(Debug, Clone, Copy)]
pub struct RedisSeen {
    pub addr: SocketAddr,
    pub pid: u32,
}

/// Ends with its owner. The order of the fields ends a service before its Redis.
#[derive(Debug, Default)]
struct Owned {
    _floor: Option<Process>,
    tollgate: Option<Tollgate>,
    _peer: Option<Started>,
    _store: Option<Store>,
}

/// What a service keeps its buckets in.
#[derive(Debug)]
enum Store {
    Redis(Redis),
    Far(Far, Redis),
    Cluster(Cluster),
    Sentinel(Box<Watched>),
}

// === impl Store ===

impl Store {
    /// None for a service that needs none.
    async fn start(service: Service, placement: &Placement) -> Result<Option<Store>, BenchError> {
        let store = match service {
            Service::Redis
            | Service::RedisCacheOff
            | Service::RedisLeased
            | Service::RedisLeasedLong
            | Service::BareRedis
            | Service::Started(_) => Store::Redis(Redis::start().await?),
            Service::FarRedis | Service::FarRedisLeased => {
                let redis = Redis::start().await?;
                Store::Far(Far::start(redis.addr(), EACH_WAY).map_err(BenchError::Far)?, redis)
            }
            Service::Cluster | Service::ClusterLongWay => {
                Store::Cluster(Cluster::start(CLUSTER_MASTERS, 0).await?)
            }
            Service::Sentinel => Store::Sentinel(Box::new(Watched::start().await?)),
            Service::Floor | Service::Memory | Service::MemoryTls | Service::Peer(_) => return Ok(None),
        };
        store.masters().iter().for_each(|redis| pin(redis.pid(), &placement.redis));
        if let Store::Sentinel(watched) = &store {
            pin(watched.replica.pid(), &placement.redis);
        }
        Ok(Some(store))
    }

    fn masters(&self) -> &[Redis] {
        match self {
            Store::Redis(redis) | Store::Far(_, redis) => std::slice::from_ref(redis),
            Store::Cluster(cluster) => &cluster.nodes,
            Store::Sentinel(watched) => std::slice::from_ref(&watched.master),
        }
    }

    fn seen(&self) -> Vec<RedisSeen> {
        self.masters().iter().map(|redis| RedisSeen { addr: redis.addr(), pid: redis.pid() }).collect()
    }

    fn url(&self) -> String {
        match self {
            Store::Redis(redis) => redis.url(),
            Store::Far(far, _) => far.url(),
            Store::Cluster(cluster) => cluster.url(),
            Store::Sentinel(watched) => watched.url(),
        }
    }
}

// === impl Running ===

impl Running {
    pub async fn start(
        subject: Subject,
        setting: &Setting<'_>,
        placement: &Placement,
    ) -> Result<Running, BenchError> {
        match subject.service {
            Service::Floor => Running::floor(subject, placement).await,
            Service::BareRedis => {
                let store = Store::start(subject.service, placement).await?;
                let redis = store.as_ref().map_or(Vec::new(), Store::seen);
                let owned = Owned { _store: store, ..Owned::default() };
                Ok(Running { subject, addr: redis[0].addr, service_pid: None, redis, owned })
            }
            Service::Peer(index) => Running::peer(subject, &setting.peers[index]),
            Service::Started(program) => Running::started(subject, program, setting, placement).await,
            _ => {
                let store = Store::start(subject.service, placement).await?;
                Running::tollgate(subject, setting, store, placement).await
            }
        }
    }

    async fn started(
        subject: Subject,
        program: Program,
        setting: &Setting<'_>,
        placement: &Placement,
    ) -> Result<Running, BenchError> {
        let binary = peers::binary(setting.binaries, program).expect("only what was named takes part");
        let folder = setting.limits.parent().unwrap_or(Path::new("."));
        let redis = Redis::start().await?;
        pin(redis.pid(), &placement.redis);
        let peer = Started::start(program, binary, &redis, subject.runtimes, folder).await?;
        pin(peer.pid(), &placement.service);
        let store = Store::Redis(redis);
        Ok(Running {
            subject,
            addr: peer.addr,
            service_pid: Some(peer.pid()),
            redis: store.seen(),
            owned: Owned { _peer: Some(peer), _store: Some(store), ..Owned::default() },
        })
    }

    async fn floor(subject: Subject, placement: &Placement) -> Result<Running, BenchError> {
        let mut command = Command::new(this_program()?);
        command.args(["floor", "--runtimes", &subject.runtimes.to_string()]);
        let mut process = Process::spawn("floor", &command)?;
        let addr = process
            .ready(async |log| log.lines().find_map(|line| line.strip_prefix("floor grpc=")?.parse().ok()))
            .await?;
        let pid = process.pid();
        pin(pid, &placement.service);
        let owned = Owned { _floor: Some(process), ..Owned::default() };
        Ok(Running { subject, addr, service_pid: Some(pid), redis: Vec::new(), owned })
    }

    async fn tollgate(
        subject: Subject,
        setting: &Setting<'_>,
        store: Option<Store>,
        placement: &Placement,
    ) -> Result<Running, BenchError> {
        let mut serve = serve(subject, setting.limits);
        if subject.is_profiled {
            serve.program = setting.profiled.map(Path::to_path_buf);
        }
        if let Some(store) = &store {
            serve = serve.store(store.url());
        }
        let tollgate = Tollgate::start(&serve).await?;
        pin(tollgate.pid(), &placement.service);
        if let Some(store) = &store {
            // A Cluster and Sentinels are asked first who decides.
            let steps = if matches!(store, Store::Redis(_) | Store::Far(..)) { 1 } else { 5 };
            tokio::time::sleep(TO_CONNECT * steps).await;
        }
        Ok(Running {
            subject,
            addr: tollgate.grpc(),
            service_pid: Some(tollgate.pid()),
            redis: store.as_ref().map_or(Vec::new(), Store::seen),
            owned: Owned { tollgate: Some(tollgate), _store: store, ..Owned::default() },
        })
    }

    /// Tollgate exits by itself: a profile is written at exit, and the training of `make release-pgo` wants one.
    pub async fn end(mut self) -> Result<(), BenchError> {
        if let Some(tollgate) = &mut self.owned.tollgate {
            tollgate.terminate(ENDS_WITHIN).await?;
        }
        Ok(())
    }

    /// It is not pinned: it belongs to somebody else.
    fn peer(subject: Subject, peer: &Peer) -> Result<Running, BenchError> {
        let seen = |addr| Ok::<_, BenchError>(RedisSeen { addr, pid: resp::process_id(addr)? });
        Ok(Running {
            subject,
            addr: peer.addr,
            service_pid: peer.pid,
            redis: peer.redis.map(seen).transpose()?.into_iter().collect(),
            owned: Owned::default(),
        })
    }
}

/// As each Tollgate of a subject is started, but for its store.
pub fn serve(subject: Subject, limits: &Path) -> Serve {
    let (runtimes, authz) =
        (subject.runtimes.to_string(), limits.with_extension(AUTHZ_EXTENSION).display().to_string());
    let shadowed = limits.with_extension(SHADOWED_EXTENSION);
    let limits = if subject.service == Service::ClusterLongWay { &shadowed } else { limits };
    // The file names no algorithm, because a peer would not know it, but token buckets are to be measured. A variable says
    // so, because an older Tollgate does not know the flag.
    let serve = Serve::new(limits)
        .args(&["--runtimes", &runtimes, "--store-deadline", STORE_DEADLINE, "--config", &authz])
        .variable("TOLLGATE_DEFAULT_ALGORITHM", "token_bucket")
        // Nobody is left to hear from the health checks that it stops.
        .variable("TOLLGATE_DRAIN_WAIT", "0s");
    match subject.service {
        Service::MemoryTls => {
            let [certificate, key] = certificate(Kind::P256).map(|path| path.display().to_string());
            serve.args(&["--grpc-tls-cert", &certificate, "--grpc-tls-key", &key])
        }
        Service::RedisCacheOff => serve.args(&["--denial-cache", "off"]),
        Service::RedisLeased | Service::FarRedisLeased => serve.args(&["--lease", LEASE]),
        Service::RedisLeasedLong => serve.args(&["--lease", LONG_LEASE]),
        _ => serve,
    }
}

pub fn this_program() -> Result<std::path::PathBuf, BenchError> {
    std::env::current_exe().map_err(BenchError::NoSelf)
}

/// Whether `tollgate serve` of the Tollgate at hand has this flag.
pub fn has_flag(flag: &str) -> Result<bool, BenchError> {
    let tollgate = binaries::tollgate()?;
    let help = Command::new(&tollgate).args(["serve", "--help"]).output();
    let help = help.map_err(|source| BenchError::Help { path: tollgate.display().to_string(), source })?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(flag))
}
