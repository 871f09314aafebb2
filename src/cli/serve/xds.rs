//! The flags for rules from an xDS server.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use clap::{
    Arg, Args, Command,
    builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser},
    value_parser,
};

use crate::{
    certificates::{ClientTls, OwnFiles, Verify},
    cli::values::{self, Item},
    xds,
};
use tollgate_core::{
    duration,
    limit::{Defaults, Overdraft},
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Rules by xDS")]
pub(super) struct XdsFlags {
    /// Address of an xDS server that sends the rules, instead of --config: Envoy Gateway, Envoy AI Gateway, or any that
    /// speaks ADS (state of the world) with RateLimitConfig resources.
    #[arg(long, env = "TOLLGATE_XDS_SERVER", value_name = "HOST:PORT", value_parser = server,
        conflicts_with = "config")]
    xds_server: Option<String>,

    /// Id by which the server knows which rules to send. Envoy Gateway answers `envoy-ratelimit` alone.
    #[arg(long, env = "TOLLGATE_XDS_NODE_ID", value_name = "ID", default_value = "tollgate")]
    xds_node_id: String,

    /// Metadata of the node, which some servers choose rules by.
    #[arg(long, env = "TOLLGATE_XDS_NODE_METADATA", value_name = "KEY=VALUE", value_delimiter = ',',
        value_parser = Item(NonEmptyStringValueParser::new().try_map(|text| pair(&text))))]
    xds_node_metadata: Vec<(String, String)>,

    /// Header of the call to the server, such as authorization=….
    #[arg(long, env = "TOLLGATE_XDS_HEADER", value_name = "NAME=VALUE", value_delimiter = ',',
        hide_env_values = true, value_parser = HeaderParser)]
    xds_header: Vec<Header>,

    /// Whether the connection uses TLS: on or off [default: on with --xds-ca, --xds-cert or --xds-server-name].
    ///
    /// The files of TLS are read again for each connection.
    #[arg(long, env = "TOLLGATE_XDS_TLS", value_name = "SWITCH", value_parser = values::switch)]
    xds_tls: Option<bool>,

    /// Certificates of those who sign the server's, as PEM [default: those of the system].
    #[arg(long, env = "TOLLGATE_XDS_CA", value_name = "FILE")]
    xds_ca: Option<PathBuf>,

    /// Certificate that Tollgate shows to the server, as PEM [default: none].
    #[arg(long, env = "TOLLGATE_XDS_CERT", value_name = "FILE", requires = "xds_key")]
    xds_cert: Option<PathBuf>,

    /// Private key of that certificate, as PEM: PKCS#8, PKCS#1 or SEC1.
    #[arg(long, env = "TOLLGATE_XDS_KEY", value_name = "FILE", requires = "xds_cert")]
    xds_key: Option<PathBuf>,

    /// Name that the server's certificate must have [default: any, if --xds-ca is given; else the host of --xds-server].
    #[arg(long, env = "TOLLGATE_XDS_SERVER_NAME", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    xds_server_name: Option<String>,

    /// Longest answer of the server, in bytes.
    #[arg(long, env = "TOLLGATE_XDS_MAX_MESSAGE", value_name = "BYTES", default_value = "67108864",
        value_parser = value_parser!(u32).range(1024..=1 << 30))]
    xds_max_message: u32,

    /// How long a domain keeps its limits when an answer no longer has it: until no answer has come for this time, or
    /// for three times as long after a reconnect, and at most twelve times as long.
    ///
    /// A server that has just started may send some of its domains first, and the others a moment later.
    #[arg(long, env = "TOLLGATE_XDS_SETTLE", value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    xds_settle: Duration,

    /// Whether a charge that does not fit is denied and charged all the same: auto, never or charge.
    ///
    /// The messages do not say which limits are charged after the response. auto finds out by how they are asked.
    #[arg(long, env = "TOLLGATE_XDS_OVERDRAFT", value_name = "OVERDRAFT", default_value = "auto",
        hide_possible_values = true, ignore_case = true, value_parser = overdraft())]
    xds_overdraft: Overdraft,

    /// Whether requests are answered only once the server has sent rules: on or off.
    ///
    /// While it is off, requests pass until the first rules come.
    #[arg(long, env = "TOLLGATE_XDS_WAIT_FOR_RULES", value_name = "SWITCH", default_value = "off",
        action = clap::ArgAction::Set, value_parser = values::switch)]
    xds_wait_for_rules: bool,
}

/// A header whose value may be a secret.
#[derive(Clone)]
struct Header(String, String);

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Header").field(&self.0).finish_non_exhaustive()
    }
}

/// Reads a header without repeating it in an error, as clap does.
#[derive(Clone)]
struct HeaderParser;

impl TypedValueParser for HeaderParser {
    type Value = Header;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Header, clap::Error> {
        let parsed = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(header);
        parsed.map_err(|reason| {
            let name = arg.map(Arg::to_string).unwrap_or_default();
            let said = format!("invalid value for '{name}', which is not shown: {reason}\n");
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, said).with_cmd(command)
        })
    }
}

// === impl XdsFlags ===

impl XdsFlags {
    /// None if the rules come from files.
    pub(super) fn options(&self, defaults: Defaults) -> Option<xds::Options> {
        let server = self.xds_server.clone()?;
        Some(xds::Options {
            server,
            node_id: self.xds_node_id.clone(),
            node_metadata: self.xds_node_metadata.clone(),
            headers: self
                .xds_header
                .iter()
                .map(|Header(name, value)| (name.clone(), value.clone()))
                .collect(),
            tls: self.tls(),
            server_name: self.xds_server_name.clone(),
            max_message: self.xds_max_message as usize,
            settle: self.xds_settle,
            overdraft: self.xds_overdraft,
            defaults,
        })
    }

    pub(super) fn waits_for_rules(&self) -> bool {
        self.xds_server.is_some() && self.xds_wait_for_rules
    }

    fn tls(&self) -> Option<ClientTls> {
        let seems_on = self.xds_ca.is_some() || self.xds_cert.is_some() || self.xds_server_name.is_some();
        if !self.xds_tls.unwrap_or(seems_on) {
            return None;
        }
        let own = self.xds_cert.clone().zip(self.xds_key.clone());
        let own = own.map(|(certificate, key)| OwnFiles { certificate, key });
        // The names in the certificates of control planes match no address that they are reached by.
        let by_issuer = self.xds_ca.is_some() && self.xds_server_name.is_none();
        let verify = if by_issuer { Verify::Ca } else { Verify::Full };
        Some(ClientTls { ca: self.xds_ca.clone(), own, verify })
    }
}

// === values ===

fn server(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(format!("write the address without {scheme}://, as {rest}; TLS is --xds-tls on"));
    }
    let (host, port) =
        text.rsplit_once(':').ok_or("the port is missing: write host:port, such as envoy-gateway:18001")?;
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err("write host:port, such as envoy-gateway:18001 or [::1]:18001".to_owned());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(text.to_owned()),
        _ => Err("a port is a number from 1 to 65535".to_owned()),
    }
}

fn overdraft() -> impl TypedValueParser<Value = Overdraft> {
    PossibleValuesParser::new(["auto", "never", "charge"]).map(|name| {
        let name = name.to_ascii_lowercase();
        Overdraft::ALL.into_iter().find(|overdraft| overdraft.name() == name).unwrap_or_default()
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write key=value".to_owned()),
    }
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = pair(text.trim()).map_err(|_no_pair| "write name=value".to_owned())?;
    let name = http::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_invalid| "write name=value, with the name of a header".to_owned())?;
    http::HeaderValue::from_str(&value)
        .map_err(|_invalid| "the value of a header has printable ASCII characters only".to_owned())?;
    Ok(Header(name.as_str().to_owned(), value))
}

#[cfg(test)]
mod tests;
