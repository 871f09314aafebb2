//! Which limits a log calls for: for each kind of descriptor, the smallest limit that would never have denied a given
//! share of the clients.
//!
//! For one client and a ladder of limits, the smallest is found that never denies: the others would have. Buckets are
//! exact, and only those of the ladder are kept that were not full before the client's last request, so a client costs
//! few bytes unless it is busy.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{log::shown, packed::Unpacked};
use tollgate_core::{
    descriptor::{Entry, Hits},
    limit::{Exact, Limit, LimitError, Unit},
};

/// The steps of a decade of the ladder.
const STEPS: [u32; 14] = [10, 12, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90];
const SMALL: [u32; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const DECADES: [u32; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
/// The kinds of descriptors that are told apart.
const MOST_GROUPS: usize = 1_000;
/// The clients that are told apart, in all groups.
const MOST_CLIENTS: usize = 2_000_000;

/// Limits of one unit, the smallest first.
#[derive(Debug)]
pub(super) struct Ladder {
    limits: Vec<Limit>,
}

#[derive(Debug)]
pub(super) struct Suggesting {
    ladder: Ladder,
    groups: Vec<Group>,
    by_shape: HashMap<Vec<u8>, usize, RandomState>,
    clients: usize,
    shape: Vec<u8>,
    /// Requests of groups or clients beyond the bounds.
    pub(super) others: u64,
}

/// Descriptors of the same keys and constant values.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) domain: String,
    /// Key, and value if it is constant.
    pub(super) entries: Vec<(String, Option<String>)>,
    pub(super) requests: u64,
    clients: HashMap<[u8; 16], Client, RandomState>,
}

#[derive(Debug, Default)]
struct Client {
    /// The index of the smallest limit that has not denied it.
    needs: usize,
    last_us: u64,
    last_hits: u64,
    /// When the bucket of each limit from there on would be full again. Those of the limits beyond were full at the last
    /// request.
    full_at: SmallVec<[Exact; 1]>,
}

/// One limit for one group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proposal {
    /// None: no limit of the ladder is large enough.
    pub(super) limit: Option<Limit>,
    /// The clients that it would have denied at least once.
    pub(super) touched: u64,
}

// === impl Ladder ===

impl Ladder {
    /// Limits of 1 to 9,000,000 for each unit, without those that cannot have the burst. Fails if none can.
    pub(super) fn new(unit: Unit, burst: Option<u32>) -> Result<Ladder, LimitError> {
        let steps = DECADES.iter().flat_map(|decade| STEPS.iter().map(move |step| step * decade));
        let limits = SMALL.into_iter().chain(steps).map(|requests| Limit::new(requests, unit, burst));
        let (mut sound, mut unsound) = (Vec::new(), None);
        for limit in limits {
            match limit {
                Ok(limit) => sound.push(limit),
                Err(error) => unsound = Some(error),
            }
        }
        match unsound {
            Some(error) if sound.is_empty() => Err(error),
            _ => Ok(Ladder { limits: sound }),
        }
    }
}

// === impl Suggesting ===

impl Suggesting {
    pub(super) fn new(ladder: Ladder) -> Suggesting {
        Suggesting {
            ladder,
            groups: Vec::new(),
            by_shape: HashMap::default(),
            clients: 0,
            shape: Vec::new(),
            others: 0,
        }
    }

    pub(super) fn add(&mut self, now_us: u64, unpacked: &Unpacked<'_>) {
        let request = &unpacked.request;
        for (descriptor, constant) in request.descriptors.iter().zip(&unpacked.constant) {
            let hits = match descriptor.hits {
                Hits::One => 1,
                Hits::Take(hits) => hits,
                Hits::Peek | Hits::GiveBack(_) => continue,
            };
            if descriptor.entries.is_empty() {
                continue;
            }
            let Some(group) = self.group(request.domain, &descriptor.entries, constant) else {
                self.others += 1;
                continue;
            };
            let group = &mut self.groups[group];
            let mut client = blake3::Hasher::new();
            for (entry, _) in
                descriptor.entries.iter().zip(constant).filter(|(_, is_constant)| !**is_constant)
            {
                client.update(&u64::try_from(entry.value.len()).unwrap_or(u64::MAX).to_le_bytes());
                client.update(entry.value);
            }
            let client = *client.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes");
            if self.clients >= MOST_CLIENTS && !group.clients.contains_key(&client) {
                self.others += 1;
                continue;
            }
            group.requests += 1;
            let client = group.clients.entry(client).or_insert_with(|| {
                self.clients += 1;
                Client::default()
            });
            client.take(now_us, hits, &self.ladder.limits);
        }
    }

    /// The index of the group of such descriptors; none if there are too many.
    fn group(&mut self, domain: &[u8], entries: &[Entry<'_>], constant: &[bool]) -> Option<usize> {
        self.shape.clear();
        let mut put = |part: &[u8]| {
            self.shape.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            self.shape.extend_from_slice(part);
        };
        put(domain);
        for (entry, is_constant) in entries.iter().zip(constant) {
            put(entry.key);
            put(if *is_constant { b"=" } else { b"" });
            put(if *is_constant { entry.value } else { b"" });
        }
        if let Some(known) = self.by_shape.get(&self.shape) {
            return Some(*known);
        }
        if self.groups.len() >= MOST_GROUPS {
            return None;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = entries.iter().zip(constant);
        let entries = entries.map(|(entry, is)| (text(entry.key), is.then(|| text(entry.value))));
        self.groups.push(Group {
            domain: text(domain),
            entries: entries.collect(),
            requests: 0,
            clients: HashMap::default(),
        });
        self.by_shape.insert(self.shape.clone(), self.groups.len() - 1);
        Some(self.groups.len() - 1)
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The limit that leaves this percentage of the group's clients untouched.
    pub(super) fn proposal(&self, group: &Group, percentile: f64) -> Proposal {
        let limits = &self.ladder.limits;
        let mut needs = vec![0_u64; limits.len() + 1];
        for client in group.clients.values() {
            needs[client.needs] += 1;
        }
        let clients = group.clients();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "at most the number of clients"
        )]
        let untouched = ((percentile / 100.0 * clients as f64).ceil() as u64).min(clients);
        let mut sum = 0;
        for (count, limit) in needs.iter().zip(limits) {
            sum += count;
            if sum >= untouched {
                return Proposal { limit: Some(limit.clone()), touched: clients - sum };
            }
        }
        Proposal { limit: None, touched: clients - sum }
    }
}

impl Group {
    pub(super) fn clients(&self) -> u64 {
        u64::try_from(self.clients.len()).unwrap_or(u64::MAX)
    }

    /// Its keys, and its constant values, in a few words.
    pub(super) fn label(&self) -> String {
        let entry = |(key, value): &(String, Option<String>)| match value {
            Some(value) => format!("{}={}", shown(key.as_bytes()), shown(value.as_bytes())),
            None => shown(key.as_bytes()),
        };
        self.entries.iter().map(entry).collect::<Vec<_>>().join(", ")
    }
}

// === impl Client ===

impl Client {
    /// Asks each limit of the ladder that has not denied this client yet.
    fn take(&mut self, now_us: u64, hits: u64, ladder: &[Limit]) {
        let now = Exact::at_us(now_us);
        let (first, mut kept) = (self.needs, SmallVec::new());
        for (index, limit) in ladder.iter().enumerate().skip(first) {
            let per_us = limit.per_us();
            let before = match self.full_at.get(index - first) {
                Some(full_at) => *full_at,
                None if self.last_us == 0 => Exact::default(),
                None => Exact::at_us(self.last_us).plus(limit.cost(self.last_hits), per_us),
            };
            let after = before.max(now).plus(limit.cost(hits), per_us);
            let fits = after <= now.plus(limit.worth_of_burst(), per_us);
            if !fits && kept.is_empty() {
                self.needs = index + 1;
                continue;
            }
            if before <= now {
                // So were those of all larger limits, since they refill faster.
                break;
            }
            kept.push(after);
        }
        (self.full_at, self.last_us, self.last_hits) = (kept, now_us, hits);
    }
}
