//! Requests as clients of the gateway send them, each on a connection of its own, and what they get.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ::http::Method;
use lab::http::{Answer, Connection, HttpError};
use tokio::net::TcpSocket;

/// How far a reset may have moved on during a test.
const MOVED_S: u64 = 60;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    from: IpAddr,
    port: u16,
}

/// `X-RateLimit-*` of an answer, in full: with two filters, there may be two lines of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) limit: Vec<String>,
    pub(crate) remaining: Vec<String>,
    pub(crate) reset: Vec<String>,
}

// === impl Request ===

impl Request {
    pub(crate) fn get(path: &str) -> Request {
        Request {
            method: Method::GET,
            path: path.to_owned(),
            headers: Vec::new(),
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: crate::rig::PORT,
        }
    }

    pub(crate) fn method(mut self, method: Method) -> Request {
        self.method = method;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Any address of 127.0.0.0/8 can be a client's.
    pub(crate) fn from(mut self, address: [u8; 4]) -> Request {
        self.from = IpAddr::from(address);
        self
    }

    pub(crate) fn port(mut self, port: u16) -> Request {
        self.port = port;
        self
    }

    pub(crate) async fn send(&self) -> Result<Answer, HttpError> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let failed = |source| HttpError::Connect { addr, source };
        let socket = TcpSocket::new_v4().map_err(failed)?;
        socket.bind(SocketAddr::from((self.from, 0))).map_err(failed)?;
        let stream = socket.connect(addr).await.map_err(failed)?;
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Connection::over(stream, addr).await?.send(self.method.clone(), &self.path, &headers).await
    }

    /// The status and figures of one request that must be answered.
    pub(crate) async fn ask(&self) -> (u16, Figures) {
        let answer = self.send().await.unwrap_or_else(|error| panic!("{self:?}: {error:?}"));
        (answer.status.as_u16(), Figures::of(&answer))
    }

    /// Exactly `count` pass, and then one is denied, under a limit of `count` an hour; and all figures say so.
    pub(crate) async fn is_limited_to(&self, count: u32) {
        for remaining in (0..count).rev() {
            self.passes_with(count, remaining).await;
        }
        self.is_denied_by(count).await;
    }

    /// Passes under a limit of `count` an hour and leaves that much.
    pub(crate) async fn passes_with(&self, count: u32, remaining: u32) {
        let (status, figures) = self.ask().await;
        assert_eq!((status, figures.limit_and_remaining()), (200, hourly(count, remaining)), "{self:?}");
        figures.resets_within(if remaining == count { 0 } else { 3600_u64.div_ceil(u64::from(count)) });
    }

    pub(crate) async fn is_denied_by(&self, count: u32) {
        let answer = self.send().await.expect("an answer");
        let figures = Figures::of(&answer);
        assert_eq!(
            (answer.status.as_u16(), figures.limit_and_remaining()),
            (429, hourly(count, 0)),
            "{self:?}"
        );
        let per_token = 3600_u64.div_ceil(u64::from(count));
        figures.resets_within(per_token);
        let wait: u64 = answer.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
        assert!((per_token - MOVED_S..=per_token + per_token / 2).contains(&wait), "{wait} of {per_token} s");
    }

    /// No limit applies: more than enough pass, without any figures.
    pub(crate) async fn is_not_limited(&self) {
        for _ in 0..5 {
            let (status, figures) = self.ask().await;
            assert_eq!((status, figures), (200, Figures::none()), "{self:?}");
        }
    }
}

fn hourly(count: u32, remaining: u32) -> (String, String) {
    (format!("{count}, {count};w=3600"), remaining.to_string())
}

// === impl Figures ===

impl Figures {
    pub(crate) fn none() -> Figures {
        Figures { limit: Vec::new(), remaining: Vec::new(), reset: Vec::new() }
    }

    pub(crate) fn of(answer: &Answer) -> Figures {
        let all = |name: &str| {
            let values = answer.headers.get_all(name).iter();
            values.map(|value| value.to_str().expect("text").to_owned()).collect()
        };
        Figures {
            limit: all("x-ratelimit-limit"),
            remaining: all("x-ratelimit-remaining"),
            reset: all("x-ratelimit-reset"),
        }
    }

    fn limit_and_remaining(&self) -> (String, String) {
        (self.limit.join(" | "), self.remaining.join(" | "))
    }

    /// One token becomes free in at most `seconds`, and not long before.
    fn resets_within(&self, seconds: u64) {
        let reset: Vec<u64> = self.reset.iter().filter_map(|value| value.parse().ok()).collect();
        let [reset] = reset[..] else { panic!("one reset: {self:?}") };
        assert!((seconds.saturating_sub(MOVED_S)..=seconds).contains(&reset), "{reset} of {seconds} s");
    }
}
