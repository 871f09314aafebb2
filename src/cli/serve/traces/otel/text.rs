//! The forms of the variables' values.

use crate::traces::Endpoint;

/// The pairs of `name=value,name2=value2`, whose values may have `%2C` for a comma. None if one is not such a pair.
pub(super) fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let (name, value) = item.split_once('=')?;
            let (name, value) = (name.trim(), unescaped(value.trim())?);
            (!name.is_empty()).then(|| (name.to_owned(), value))
        })
        .collect()
}

/// None if a percent sign is not followed by two digits, or if the whole is not UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Whether it asks for TLS, and the rest of `http://host:port/path`. Fails with what to write.
pub(super) fn parse_endpoint(url: &str, default_port: u16) -> Result<(bool, Endpoint), &'static str> {
    const FORM: &str = "write http://host:port or https://host:port, for example http://localhost:4318";
    let (scheme, rest) = url.split_once("://").ok_or(FORM)?;
    let is_tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(FORM),
    };
    let uri: http::Uri = url.parse().map_err(|_not_a_uri| FORM)?;
    if rest.contains('@') {
        return Err("give credentials in OTEL_EXPORTER_OTLP_HEADERS, not in the address");
    }
    if uri.query().is_some() || rest.contains('#') {
        return Err("the address of a collector has neither ? nor #");
    }
    let authority = uri.authority().ok_or(FORM)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let has_port = authority.as_str().len() > authority.host().len();
    if host.is_empty() || (has_port && authority.port_u16().is_none()) {
        return Err(FORM);
    }
    let port = authority.port_u16().unwrap_or(match (is_tls, default_port) {
        (true, _) => 443,
        (false, port) => port,
    });
    let endpoint = Endpoint { host: host.to_owned(), port, path: uri.path().to_owned(), tls: None };
    Ok((is_tls, endpoint))
}
