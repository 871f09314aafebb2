//! The variables of OpenTelemetry. As its specification asks, a value that is not known is warned about and counts as not
//! set; only an address that cannot be used ends the start, since then there is nothing to do.

mod text;

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{TraceFlags, WrongTraces, protocol};
use crate::{
    certificates::{ClientTls, OwnFiles},
    replica,
    traces::{Endpoint, Propagators, Protocol, Ratio, Sampler, Settings},
};
use text::{pairs, parse_endpoint};

/// What every SDK has by default.
const SCHEDULE_DELAY_MS: u64 = 5_000;
const EXPORT_TIMEOUT_MS: u64 = 30_000;
const TIMEOUT_MS: u64 = 10_000;
const MAX_QUEUE: usize = 2_048;
const MAX_BATCH: usize = 512;
/// The most spans that may wait; each takes some 500 bytes.
const MOST_QUEUE: usize = 1 << 17;

/// Reads variables.
pub(super) struct Otel<G> {
    get: G,
    warnings: Vec<String>,
}

impl<G: Fn(&str) -> Option<String>> Otel<G> {
    /// `get` returns the value of a variable. None: it is not set, or empty.
    pub(super) fn new(get: G) -> Otel<G> {
        Otel { get, warnings: Vec::new() }
    }

    /// What to tell once it is clear that there will be traces.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the variables alone turn traces on.
    pub(super) fn asks_for_traces(&mut self) -> bool {
        if let Some(exporters) = self.get("OTEL_TRACES_EXPORTER") {
            return exporters.split(',').any(|exporter| exporter.trim() == "otlp");
        }
        self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some()
            || self.get("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Everything, of flags and variables. Fails if the address, or the files of TLS, leave nothing to do.
    pub(super) fn settings(&mut self, flags: &TraceFlags) -> Result<Settings, WrongTraces> {
        let protocol = flags.traces_protocol.unwrap_or_else(|| self.protocol());
        let endpoint = self.endpoint(protocol)?;
        if let Some((name, value)) = self.either("COMPRESSION").filter(|(_, value)| value != "none") {
            self.warn(&name, &value, "spans are sent without compression");
        }
        let max_queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE).clamp(1, MOST_QUEUE);
        let max_batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", MAX_BATCH).clamp(1, max_queue);
        let timeout_ms = match self.either("TIMEOUT") {
            Some((name, _)) => self.number(&name, TIMEOUT_MS),
            None => TIMEOUT_MS,
        };
        Ok(Settings {
            protocol,
            endpoint,
            headers: self.headers()?,
            timeout: Duration::from_millis(timeout_ms),
            export_timeout: self.time("OTEL_BSP_EXPORT_TIMEOUT", EXPORT_TIMEOUT_MS),
            schedule_delay: self.time("OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS),
            max_queue,
            max_batch,
            sampler: self.sampler(flags.traces_ratio),
            propagators: self.propagators(),
            resource: self.resource(flags.traces_resource.as_deref())?,
        })
    }

    // === where ===

    fn protocol(&mut self) -> Protocol {
        let Some((name, value)) = self.either("PROTOCOL") else { return Protocol::Http };
        protocol(&value).unwrap_or_else(|instead| {
            self.warn(&name, &value, instead);
            Protocol::Http
        })
    }

    fn endpoint(&self, protocol: Protocol) -> Result<Endpoint, WrongTraces> {
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "");
        let common = ("OTEL_EXPORTER_OTLP_ENDPOINT", "/v1/traces");
        let set = [own, common].into_iter().find_map(|(name, path)| Some((name, path, self.get(name)?)));
        let (port, default) = match protocol {
            Protocol::Http => (4_318, "http://localhost:4318"),
            Protocol::Grpc => (4_317, "http://localhost:4317"),
        };
        let (name, path, url) = set.unwrap_or((common.0, common.1, default.to_owned()));
        let wrong = |instead: &'static str| {
            // It may hold a password.
            let value = (!url.contains('@')).then(|| url.clone());
            WrongTraces { variable: name.to_owned(), value, instead: instead.to_owned() }
        };
        let (is_tls, mut endpoint) = parse_endpoint(&url, port).map_err(wrong)?;
        // The address of all signals has none of their paths yet.
        endpoint.path = format!("{}{path}", endpoint.path.trim_end_matches('/'));
        if endpoint.path.is_empty() {
            endpoint.path.push('/');
        }
        endpoint.tls = is_tls.then(|| self.tls()).transpose()?;
        Ok(endpoint)
    }

    fn tls(&self) -> Result<ClientTls, WrongTraces> {
        let ca = self.either("CERTIFICATE").map(|(_, file)| file.into());
        let own = match (self.either("CLIENT_CERTIFICATE"), self.either("CLIENT_KEY")) {
            (Some((_, certificate)), Some((_, key))) => {
                Some(OwnFiles { certificate: certificate.into(), key: key.into() })
            }
            (None, None) => None,
            (Some((variable, value)), None) | (None, Some((variable, value))) => {
                let instead = "the certificate and the key of a client are needed together".to_owned();
                return Err(WrongTraces { variable, value: Some(value), instead });
            }
        };
        Ok(ClientTls { ca, own, ..ClientTls::default() })
    }

    /// Headers may hold tokens, so no message repeats them.
    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, WrongTraces> {
        let Some((variable, list)) = self.either("HEADERS") else { return Ok(Vec::new()) };
        let read = |(name, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.to_ascii_lowercase()).ok()?, value))
        };
        let headers = pairs(&list).and_then(|pairs| pairs.into_iter().map(read).collect());
        headers.ok_or_else(|| WrongTraces {
            variable,
            value: None,
            instead: "write name=value,name2=value2, with %2C for a comma in a value".to_owned(),
        })
    }

    // === what ===

    fn sampler(&mut self, ratio: Option<Ratio>) -> Sampler {
        if let Some(ratio) = ratio {
            return Sampler { ratio, is_parent_based: true };
        }
        let default = Sampler { ratio: Ratio::ALL, is_parent_based: true };
        let Some(name) = self.get("OTEL_TRACES_SAMPLER") else { return default };
        let (is_parent_based, own) = match name.strip_prefix("parentbased_") {
            Some(own) => (true, own),
            None => (false, &name[..]),
        };
        let ratio = match own {
            "always_on" => Ratio::ALL,
            "always_off" => Ratio::NONE,
            "traceidratio" => self.sampler_arg(),
            _ => {
                let known = "write always_on, always_off or traceidratio, alone or after parentbased_";
                self.warn("OTEL_TRACES_SAMPLER", &name, known);
                return default;
            }
        };
        Sampler { ratio, is_parent_based }
    }

    fn sampler_arg(&mut self) -> Ratio {
        let Some(text) = self.get("OTEL_TRACES_SAMPLER_ARG") else { return Ratio::ALL };
        Ratio::parse(&text).unwrap_or_else(|| {
            self.warn("OTEL_TRACES_SAMPLER_ARG", &text, "write a number from 0 to 1");
            Ratio::ALL
        })
    }

    fn propagators(&mut self) -> Propagators {
        let Some(list) = self.get("OTEL_PROPAGATORS") else { return Propagators::default() };
        let mut propagators = Propagators { w3c: false, b3: false, b3_multi: false };
        for name in list.split(',').map(str::trim) {
            match name {
                "tracecontext" => propagators.w3c = true,
                "b3" => propagators.b3 = true,
                "b3multi" => propagators.b3_multi = true,
                // Nothing is sent on, so baggage has nowhere to go.
                "none" | "baggage" => {}
                _ => self.warn("OTEL_PROPAGATORS", name, "Tollgate reads tracecontext, b3 and b3multi"),
            }
        }
        propagators
    }

    /// Later ones replace earlier ones of the same name.
    fn resource(&mut self, flag: Option<&str>) -> Result<Vec<(String, String)>, WrongTraces> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut resource = vec![
            own("service.name", "tollgate"),
            own("service.version", env!("CARGO_PKG_VERSION")),
            own("service.instance.id", replica::name()),
        ];
        let mut put = |(name, value): (String, String)| {
            resource.retain(|(known, _)| *known != name);
            resource.push((name, value));
        };
        if let Some(list) = self.get("OTEL_RESOURCE_ATTRIBUTES") {
            match pairs(&list) {
                Some(pairs) => pairs.into_iter().for_each(&mut put),
                None => self.warn("OTEL_RESOURCE_ATTRIBUTES", &list, "write name=value,name2=value2"),
            }
        }
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            put(("service.name".to_owned(), name));
        }
        if let Some(list) = flag {
            let pairs = pairs(list).ok_or_else(|| WrongTraces {
                variable: "--traces-resource".to_owned(),
                value: Some(list.to_owned()),
                instead: "write name=value,name2=value2".to_owned(),
            })?;
            pairs.into_iter().for_each(&mut put);
        }
        for (name, value) in
            [("telemetry.sdk.name", env!("CARGO_PKG_NAME")), ("telemetry.sdk.language", "rust")]
        {
            put(own(name, value));
        }
        put(own("telemetry.sdk.version", env!("CARGO_PKG_VERSION")));
        Ok(resource)
    }

    // === variables ===

    fn get(&self, name: &str) -> Option<String> {
        (self.get)(name)
    }

    /// The variable for traces, or else that for all signals, with its name.
    fn either(&self, setting: &str) -> Option<(String, String)> {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{setting}"), format!("OTEL_EXPORTER_OTLP_{setting}")];
        names.into_iter().find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    fn time(&mut self, name: &str, default_ms: u64) -> Duration {
        Duration::from_millis(self.number(name, default_ms))
    }

    /// A number above 0.
    fn number<N: Copy + std::str::FromStr + PartialOrd + From<u8>>(&mut self, name: &str, default: N) -> N {
        let Some(text) = self.get(name) else { return default };
        match text.parse() {
            Ok(number) if number > N::from(0) => number,
            _ => {
                self.warn(name, &text, "write a whole number above 0");
                default
            }
        }
    }

    fn warn(&mut self, name: &str, value: &str, instead: &str) {
        self.warnings.push(format!("{name} is {value:?}, which counts as not set: {instead}"));
    }
}

#[cfg(test)]
mod tests;
