//! The herd: many clients that exhaust their limits at the same moment and obey the headers.
//!
//! Each client has its own key. It sends until it is denied, waits as long as one header says, and sends again until
//! it is denied. Half of the clients obey `retry-after`, which has jitter; half obey `ratelimit-reset`, which is the
//! exact wait. So one run shows the arrivals with and without jitter. The arrivals with a fixed window come from a
//! model, [`fixed_window`], and are shown as such.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    demo::DemoError,
    http::{Connection, HttpError},
};

/// By then all clients have exhausted their limits, and none is back yet: the shortest wait is nearly ten seconds.
const EMPTIED_WITHIN_S: usize = 5;

/// The header that a client obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obeys {
    RetryAfter,
    RatelimitReset,
}

#[derive(Debug, Clone)]
pub struct Herd {
    pub target: SocketAddr,
    /// A path whose limit is `per_minute` for each key.
    pub path: &'static str,
    /// The number of clients in each half.
    pub clients: u32,
    pub per_minute: u32,
    pub lasts: Duration,
}

/// Arrivals in each second since the clients exhausted their limits, including the first second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrivals {
    pub per_second: Vec<u64>,
    pub admitted: u64,
}

impl Arrivals {
    /// The busiest second after all clients had exhausted their limits.
    pub fn peak(&self) -> u64 {
        self.per_second.iter().skip(EMPTIED_WITHIN_S).copied().max().unwrap_or(0)
    }
}

// === Herd ===

impl Herd {
    /// Both halves at once; the first one obeys `retry-after`.
    pub async fn run(&self) -> Result<[Arrivals; 2], DemoError> {
        let start = Instant::now() + Duration::from_millis(500);
        let half = |obeys| (0..self.clients).map(move |number| self.client(number, obeys, start));
        let clients = half(Obeys::RetryAfter).chain(half(Obeys::RatelimitReset));
        let running: Vec<_> = clients.map(tokio::spawn).collect();
        let mut logs = Vec::with_capacity(running.len());
        for client in running {
            logs.push(client.await.map_err(DemoError::Task)??);
        }
        let without = logs.split_off(logs.len() / 2);
        Ok([self.arrivals(&logs), self.arrivals(&without)])
    }

    /// When each request of one client was sent, and whether it was admitted.
    fn client(
        &self,
        number: u32,
        obeys: Obeys,
        start: Instant,
    ) -> impl Future<Output = Result<Vec<(Duration, bool)>, HttpError>> + Send + 'static {
        let (target, path, lasts) = (self.target, self.path, self.lasts);
        async move {
            let key = format!("herd-{obeys:?}-{number}");
            let mut connection = Connection::open(target).await?;
            let mut log = Vec::new();
            tokio::time::sleep_until(start.into()).await;
            while start.elapsed() < lasts {
                let sent = start.elapsed();
                let answer = connection.get(path, &[("x-api-key", &key)]).await?;
                let admitted = answer.status.is_success();
                log.push((sent, admitted));
                if !admitted {
                    let header = match obeys {
                        Obeys::RetryAfter => "retry-after",
                        Obeys::RatelimitReset => "ratelimit-reset",
                    };
                    let wait_s = answer.header(header).and_then(|text| text.parse().ok()).unwrap_or(1);
                    tokio::time::sleep(Duration::from_secs(wait_s)).await;
                }
            }
            Ok(log)
        }
    }

    fn arrivals(&self, logs: &[Vec<(Duration, bool)>]) -> Arrivals {
        let mut per_second = vec![0; seconds(self.lasts)];
        let mut admitted = 0;
        for &(sent, passed) in logs.iter().flatten() {
            if let Some(count) = per_second.get_mut(seconds(sent)) {
                *count += 1;
            }
            admitted += u64::from(passed);
        }
        Arrivals { per_second, admitted }
    }
}

/// The same clients with a fixed window of a minute that ends `edge_s` after they exhausted it: all are told the same
/// instant, and each has its whole limit again then.
pub fn fixed_window(herd: &Herd, edge_s: usize) -> Arrivals {
    let each = u64::from(herd.per_minute) + 1;
    let all = each * u64::from(herd.clients);
    let mut per_second = vec![0; seconds(herd.lasts)];
    let mut admitted = 0;
    for second in (0..per_second.len()).filter(|second| *second == 0 || second % 60 == edge_s) {
        per_second[second] = all;
        admitted += u64::from(herd.per_minute) * u64::from(herd.clients);
    }
    Arrivals { per_second, admitted }
}

fn seconds(duration: Duration) -> usize {
    usize::try_from(duration.as_secs()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_fixed_window_everybody_returns_in_one_second() {
        let herd = Herd {
            target: ([127, 0, 0, 1], 1).into(),
            path: "/",
            clients: 150,
            per_minute: 6,
            lasts: Duration::from_secs(40),
        };
        let arrivals = fixed_window(&herd, 15);
        assert_eq!(arrivals.per_second.len(), 40);
        assert_eq!((arrivals.per_second[0], arrivals.per_second[15], arrivals.peak()), (1_050, 1_050, 1_050));
        assert_eq!(arrivals.per_second.iter().sum::<u64>(), 2_100);
    }
}
