//! What was typed, parsed into what cannot be wrong: targets, headers, the limit, how to load it.

use std::{fmt, str::FromStr, time::Duration};

use clap::ValueEnum;
use http::{HeaderName, HeaderValue, Uri, uri::Authority};
use thiserror::Error;

use tollgate_core::{
    duration,
    limit::{Algorithm, DefaultAlgorithm, Limit, LimitError, LimitSpec, Unit, Windows, lease_us},
};

/// Hammer an endpoint behind a rate limiter and say whether its limit holds, over every interval
///
/// Sends HTTP GET requests to all targets at once, then looks at every interval of the run: were ever more
/// requests admitted than the burst plus what was refilled (too much), or was one denied that would have fitted (too
/// little)? A limit per day or longer is taken for a quota that resets at midnight UTC (see --algorithm), and is
/// looked at in every window instead. Each 429 is checked for what a client needs to come back in time.
///
/// The bucket of the key is taken to be full at the first request, and a window to be unused, so use a key that
/// nothing else uses. A reset of the key adds one burst to what may be admitted, and a grant of N adds N: do neither
/// meanwhile.
///
/// Exit status: 0 the limit holds; 1 too much or too little was admitted, or a 429 breaks its contract;
/// 2 wrong usage; 3 nothing was proven (nothing was denied, errors, or answers that the limiter did not make).
/// The report names the rules that denied, if the answers name them: check that they are the ones you mean.
#[derive(Debug, Clone, clap::Args)]
pub struct ProveArgs {
    /// Where to send requests; repeat it to load several nodes that should share one limit
    ///
    /// For example http://127.0.0.1:10000/api. Requests go to all targets in turn. Plain http only.
    #[arg(long = "target", value_name = "URL", required = true)]
    pub(super) targets: Vec<Target>,

    /// A header to send with each request, such as the key that is limited: 'x-api-key: k1'
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<Header>,

    /// The limit that should hold, as requests per second, minute, hour or day: 10/s, 600/m, 1000/h, 5000/d
    ///
    /// 90000/month is 30 days from the epoch on; 90000/calendar-month is the month of the calendar, in UTC.
    #[arg(long, value_name = "N/UNIT")]
    pub(super) limit: Rate,

    /// How many requests the limit allows at once [default: the number in --limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) burst: Option<u32>,

    /// How the limiter counts: token_bucket, fixed_window (aligned to the epoch, in UTC), or by_period
    ///
    /// by_period is a token bucket where the limit has a --burst or is per second, minute or hour, and else a fixed
    /// window.
    #[arg(long, value_name = "ALGORITHM", default_value = "by_period")]
    pub(super) algorithm: DefaultAlgorithm,

    /// The lease of the limit, or off: what its limits file says as `lease`, or --lease of the service
    ///
    /// With leases the bound stays; a request that fits may be denied while runtimes hold hits that they have reserved and
    /// not spent. How many they may hold follows from the lease and from what was asked for; a denial that this explains is
    /// justified.
    #[arg(long, value_name = "TIME", default_value = "off", value_parser = lease_us)]
    pub(super) lease: u32,

    /// How long to send as fast as possible (or at --rate), apart from the bursts and pauses around it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub(super) duration: Duration,

    /// How many requests may be on their way at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) concurrency: u16,

    /// Send this many requests per second instead of as many as possible, however slow the answers are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rate: Option<u32>,

    /// Speak HTTP/2 (without TLS) instead of HTTP/1.1
    #[arg(long)]
    pub(super) http2: bool,

    /// Where Tollgate's own metrics are; repeat it for each replica
    ///
    /// Read before and after. If Tollgate answered without its store meanwhile, those answers were fallback answers,
    /// and nothing is proven by them. For example http://127.0.0.1:8080/metrics.
    #[arg(long = "metrics", value_name = "URL")]
    pub(super) metrics: Vec<Target>,

    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned text for a terminal
    Text,
    /// The same facts as one JSON object
    Json,
}

/// Misuse that no single argument shows.
#[derive(Debug, Error)]
pub enum Misuse {
    #[error("--limit with --burst: invalid limit")]
    Limit(#[source] LimitError),
    #[error("--burst goes with a token_bucket: a fixed_window admits the number in --limit")]
    BurstInWindow,
    #[error("a calendar-month is a fixed_window: leave out --algorithm, or write {0}/month")]
    CalendarAlgorithm(u32),
    #[error("--burst goes with a token_bucket: leave it out, or write --limit {0}/month")]
    CalendarBurst(u32),
    #[error("--duration must be between 1ms and 24h")]
    Duration,
    #[error("at most 1000 targets")]
    TooManyTargets,
}

impl ProveArgs {
    /// Fails where the arguments make no sense together.
    pub(super) fn checked_limit(&self) -> Result<Limit, Misuse> {
        if self.duration < Duration::from_millis(1) || self.duration > Duration::from_secs(86_400) {
            return Err(Misuse::Duration);
        }
        if self.targets.len() > 1000 {
            return Err(Misuse::TooManyTargets);
        }
        let (period, burst) = (self.limit.unit.into(), self.burst);
        if self.algorithm == DefaultAlgorithm::FixedWindow && burst.is_some() {
            return Err(Misuse::BurstInWindow);
        }
        let (requests, windows) = (self.limit.requests, self.limit.windows);
        let algorithm = self.algorithm.algorithm_for(period, burst);
        match (windows, algorithm) {
            (Windows::CalendarMonth, _) if burst.is_some() => return Err(Misuse::CalendarBurst(requests)),
            (Windows::CalendarMonth, Algorithm::TokenBucket | Algorithm::SlidingWindowLog) => {
                return Err(Misuse::CalendarAlgorithm(requests));
            }
            _ => {}
        }
        let lease_us = self.lease;
        LimitSpec { algorithm, windows, burst, lease_us, ..LimitSpec::new(requests, period) }
            .check()
            .map_err(Misuse::Limit)
    }
}

// === Target ===

/// An http URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) authority: Authority,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

#[derive(Debug, Error)]
pub enum TargetError {
    #[error("not a URL")]
    Url(#[source] http::uri::InvalidUri),
    #[error("a URL starts with http://, as in http://127.0.0.1:8080/")]
    NoScheme,
    #[error("https is not supported; give the plain http port behind it")]
    Https,
    #[error("{0} is not supported, only http")]
    Scheme(String),
    #[error("user and password in a URL are not sent; use --header 'authorization: …'")]
    Credentials,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let uri: Uri = text.parse().map_err(TargetError::Url)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(TargetError::Https),
            Some(other) => return Err(TargetError::Scheme(other.to_owned())),
            None => return Err(TargetError::NoScheme),
        }
        let authority = uri.authority().ok_or(TargetError::NoScheme)?.clone();
        if authority.as_str().contains('@') {
            return Err(TargetError::Credentials);
        }
        // An IPv6 address stands in brackets in a URL and without them where addresses are looked up.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(80);
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Target { authority, host, port, path })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

// === Header ===

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

#[derive(Debug, Error)]
pub enum HeaderError {
    #[error("expected 'name: value'")]
    Shape,
    #[error("not a header name")]
    Name(#[source] http::header::InvalidHeaderName),
    #[error("not a header value")]
    Value(#[source] http::header::InvalidHeaderValue),
}

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Header, HeaderError> {
        let (name, value) = text.split_once(':').ok_or(HeaderError::Shape)?;
        let name = name.trim().parse().map_err(HeaderError::Name)?;
        let value = HeaderValue::from_str(value.trim()).map_err(HeaderError::Value)?;
        Ok(Header { name, value })
    }
}

// === Rate ===

const CALENDAR_MONTH: &str = "calendar-month";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    unit: Unit,
    windows: Windows,
}

#[derive(Debug, Error)]
pub enum RateError {
    #[error("expected a number and a unit, such as 10/s, 600/m, 1000/h or 5000/d")]
    Shape,
    #[error("not a number of requests")]
    Requests(#[source] std::num::ParseIntError),
    #[error("a limit of 0 admits nothing, so there is nothing to prove")]
    Zero,
    #[error("unknown unit {0:?}; known are s, m, h and d")]
    Unit(String),
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Rate, RateError> {
        let (requests, unit) = text.split_once('/').ok_or(RateError::Shape)?;
        let windows = if unit == CALENDAR_MONTH { Windows::CalendarMonth } else { Windows::Aligned };
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            "d" => Unit::Day,
            CALENDAR_MONTH => Unit::Month,
            name => Unit::from_name(name).ok_or_else(|| RateError::Unit(name.to_owned()))?,
        };
        match requests.parse().map_err(RateError::Requests)? {
            0 => Err(RateError::Zero),
            requests => Ok(Rate { requests, unit, windows }),
        }
    }
}

#[cfg(test)]
mod tests;
