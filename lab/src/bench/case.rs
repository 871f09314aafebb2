//! What is compared: a load, and the contenders that bear it.

use std::fmt;

use super::{
    figures::labels,
    keys::{Keys, Mix},
    peers::Program,
};

/// One load, borne by several contenders in turn.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub load: Load,
    pub contenders: Vec<Contender>,
    /// Each key is asked for once before the first round, of every contender that decides.
    pub fill: Option<u32>,
    /// Runs are longer by this factor, because rare events need time to be counted.
    pub stretch: u32,
    /// The rounds that it needs, unless it is told.
    pub rounds: usize,
}

/// A tail needs more rounds than a mean.
pub const ROUNDS: usize = 5;

#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub keys: Keys,
    pub mix: Mix,
    pub concurrency: usize,
    pub descriptors: usize,
    pub pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as answers come.
    ClosedLoop,
    /// At half the rate that Tollgate with Redis reaches in a closed loop; where it does not take part, the last contender.
    HalfPeak,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    pub label: String,
    pub subject: Subject,
    pub via: Via,
    pub descriptors: usize,
}

/// The processes behind a contender. Contenders of one case share equal processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub service: Service,
    pub runtimes: usize,
    /// Tollgate as `--profiled` names it.
    pub is_profiled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Floor,
    Memory,
    /// The memory store, with TLS on the gRPC port.
    MemoryTls,
    Redis,
    /// Redis, without the denial cache.
    RedisCacheOff,
    /// Redis, with a lease on each limit.
    RedisLeased,
    /// The same, with longer leases.
    RedisLeasedLong,
    /// A Redis that is two milliseconds away.
    FarRedis,
    /// The same, with a lease on each limit.
    FarRedisLeased,
    /// Redis Cluster of three masters.
    Cluster,
    /// The same, with limits that the script's first lines do not decide.
    ClusterLongWay,
    /// Redis with a replica, behind three Sentinels.
    Sentinel,
    /// A Redis without a service in front of it.
    BareRedis,
    /// A service named on the command line, by its index, which runs already.
    Peer(usize),
    /// A service whose binary is named on the command line.
    Started(Program),
}

/// How the load reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Rls,
    RlsOverTls,
    /// ext_authz, with one header.
    Check,
    /// ext_authz, with the headers of a browser.
    CheckForBrowser,
    /// A connection for each request in flight.
    Incrby,
    IncrbyOneConnection,
    Evalsha,
}

// === impl Case ===

impl Case {
    pub fn new(name: impl Into<String>, load: Load, contenders: Vec<Contender>) -> Case {
        let contenders = contenders
            .into_iter()
            .map(|contender| Contender {
                descriptors: contender.descriptors.min(load.descriptors),
                ..contender
            })
            .collect();
        Case { name: name.into(), load, contenders, fill: None, stretch: 1, rounds: ROUNDS }
    }

    #[must_use]
    pub fn in_rounds(mut self, rounds: usize) -> Case {
        self.rounds = rounds;
        self
    }

    #[must_use]
    pub fn filled(mut self, keys: u32) -> Case {
        self.fill = Some(keys);
        self
    }

    #[must_use]
    pub fn stretched(mut self, times: u32) -> Case {
        self.stretch = times;
        self
    }

    /// The largest number of runtimes of any contender. Each contender gets processors for that number.
    pub fn runtimes(&self) -> usize {
        self.contenders.iter().map(|contender| contender.subject.runtimes).max().unwrap_or(1)
    }
}

// === impl Load ===

impl Load {
    pub const fn closed(keys: Keys, mix: Mix, concurrency: usize) -> Load {
        Load { keys, mix, concurrency, descriptors: 1, pace: Pace::ClosedLoop }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keys {
            Keys::One => write!(f, "one key")?,
            Keys::Uniform(count) => write!(f, "{} keys", thousands(count))?,
            Keys::Zipf(count) => write!(f, "{} keys under Zipf", thousands(count))?,
            Keys::Each(count) => write!(f, "{} keys in turn", thousands(count))?,
        }
        match self.pace {
            Pace::ClosedLoop => write!(f, ", {} in flight", self.concurrency)?,
            Pace::HalfPeak => write!(f, ", at half the peak rate with {}", self.concurrency)?,
        }
        if self.descriptors > 1 {
            write!(f, ", {} descriptors", self.descriptors)?;
        }
        f.write_str(match self.mix {
            Mix::Allowed => ", all allowed",
            Mix::Half => ", half denied",
            Mix::Denied => ", denied but for 10 a second",
            Mix::Once => ", each allowed once and denied from then on",
            Mix::Pairs => " of two different keys, ten keys at their limit",
        })
    }
}

pub fn thousands(count: u32) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

// === impl Contender ===

impl Contender {
    const MOST_DESCRIPTORS: usize = 4;

    fn new(label: &str, service: Service, via: Via) -> Contender {
        let subject = Subject { service, runtimes: 1, is_profiled: false };
        Contender { label: label.to_owned(), subject, via, descriptors: Contender::MOST_DESCRIPTORS }
    }

    pub fn floor() -> Contender {
        Contender::new(labels::FLOOR, Service::Floor, Via::Rls)
    }

    pub fn memory() -> Contender {
        Contender::new(labels::MEMORY, Service::Memory, Via::Rls)
    }

    pub fn memory_tls() -> Contender {
        Contender::new(labels::MEMORY_TLS, Service::MemoryTls, Via::RlsOverTls)
    }

    pub fn redis() -> Contender {
        Contender::new(labels::REDIS, Service::Redis, Via::Rls)
    }

    pub fn leased() -> Contender {
        Contender::new(labels::LEASED, Service::RedisLeased, Via::Rls)
    }

    pub fn leased_long() -> Contender {
        Contender::new(labels::LEASED_LONG, Service::RedisLeasedLong, Via::Rls)
    }

    pub fn far() -> Contender {
        Contender::new(labels::FAR, Service::FarRedis, Via::Rls)
    }

    pub fn far_leased() -> Contender {
        Contender::new(labels::FAR_LEASED, Service::FarRedisLeased, Via::Rls)
    }

    pub fn cluster() -> Contender {
        Contender::new(labels::CLUSTER, Service::Cluster, Via::Rls)
    }

    pub fn cluster_long_way() -> Contender {
        Contender::new(labels::CLUSTER_LONG_WAY, Service::ClusterLongWay, Via::Rls)
    }

    pub fn sentinel() -> Contender {
        Contender::new(labels::SENTINEL, Service::Sentinel, Via::Rls)
    }

    /// The same service, asked by ext_authz.
    #[must_use]
    pub fn checked(mut self, label: &str, via: Via) -> Contender {
        label.clone_into(&mut self.label);
        self.via = via;
        self
    }

    pub fn cache_off() -> Contender {
        Contender::new(labels::CACHE_OFF, Service::RedisCacheOff, Via::Rls)
    }

    pub fn incrby() -> Contender {
        Contender::new(labels::INCRBY, Service::BareRedis, Via::Incrby)
    }

    pub fn incrby_one_connection() -> Contender {
        Contender::new(labels::INCRBY_ONE, Service::BareRedis, Via::IncrbyOneConnection)
    }

    pub fn evalsha() -> Contender {
        Contender::new(labels::EVALSHA, Service::BareRedis, Via::Evalsha)
    }

    pub fn peer(name: &str, index: usize) -> Contender {
        Contender::new(name, Service::Peer(index), Via::Rls)
    }

    pub fn started(program: Program) -> Contender {
        Contender::new(program.label(), Service::Started(program), Via::Rls)
    }

    /// The program that is named for it, under a label of its own.
    #[must_use]
    pub fn profiled(mut self, label: &str) -> Contender {
        label.clone_into(&mut self.label);
        self.subject.is_profiled = true;
        self
    }

    /// Under a label of its own.
    #[must_use]
    pub fn with_runtimes(mut self, label: &str, runtimes: usize) -> Contender {
        label.clone_into(&mut self.label);
        self.subject.runtimes = runtimes;
        self
    }

    /// Under a label of its own.
    #[must_use]
    pub fn with_descriptors(mut self, label: &str, descriptors: usize) -> Contender {
        label.clone_into(&mut self.label);
        self.descriptors = descriptors;
        self
    }

    /// Whether it is another service than Tollgate.
    pub const fn is_peer(&self) -> bool {
        matches!(self.subject.service, Service::Peer(_) | Service::Started(_))
    }

    /// Whether what it answers depends on limits.
    pub fn decides(&self) -> bool {
        self.subject.service != Service::Floor && self.via != Via::Evalsha
    }
}
