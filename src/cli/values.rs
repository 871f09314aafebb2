//! Values of flags and variables that clap does not read by itself.

use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use clap::{
    Arg, Command,
    builder::{PossibleValue, TypedValueParser},
};
use thiserror::Error;

/// Parses one item of a list, without the blanks around it.
#[derive(Debug, Clone)]
pub(super) struct Item<P>(pub(super) P);

impl<P: TypedValueParser> TypedValueParser for Item<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<P::Value, clap::Error> {
        let item = value.to_str().map_or(value, |text| OsStr::new(text.trim()));
        self.0.parse_ref(command, arg, item)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

// === switches ===

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a switch is on or off; true and false, t and f, 1 and 0 mean the same")]
pub struct NotASwitch;

/// On or off, also as Go spells booleans.
pub(super) fn switch(text: &str) -> Result<bool, NotASwitch> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "t" | "1" => Ok(true),
        "off" | "false" | "f" | "0" => Ok(false),
        _ => Err(NotASwitch),
    }
}

// === addresses ===

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AddressError {
    #[error(
        "the address is missing: write 127.0.0.1:{0} for this machine alone, 0.0.0.0:{0} for all of IPv4, or \
         [::]:{0} for IPv6 as well"
    )]
    PortOnly(u16),
    #[error("the port is missing: write {}", .0.map_or("an IPv6 address as [::1]:8081".to_owned(), |ip| format!("{ip}:8081, for example")))]
    NoPort(Option<Ipv4Addr>),
    #[error("write the address without {0}://")]
    Url(String),
    #[error("a port is a number up to 65535")]
    Port,
    #[error("host names are not looked up, except localhost: write an IP address, such as 10.0.0.7:{0}")]
    Name(u16),
    #[error("write an IP address and a port, such as 127.0.0.1:8081 or [::1]:8081")]
    Shape,
}

/// An address to listen on. Host names and ports alone are refused because they are ambiguous; `localhost` is not.
pub(super) fn address(text: &str) -> Result<SocketAddr, AddressError> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(AddressError::Url(scheme.to_owned()));
    }
    match text.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => return Err(AddressError::NoPort(Some(ip))),
        Ok(IpAddr::V6(_)) => return Err(AddressError::NoPort(None)),
        Err(_) => {}
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::Shape);
    }
    let Ok(port) = port.parse() else { return Err(AddressError::Port) };
    match host {
        "" | "*" => Err(AddressError::PortOnly(port)),
        _ if host.eq_ignore_ascii_case("localhost") => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => Err(AddressError::Name(port)),
    }
}

#[cfg(test)]
mod tests;
