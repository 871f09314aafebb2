//! The addresses to listen on, as Go's `net.Listen` takes them: a name, an address or nothing, and a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use super::reader::Reader;

const NO_ADDRESS: &str =
    "write an IP address of this machine, such as 0.0.0.0 or ::, or a name that it can look up";

/// Sets the flags of all ports.
pub(super) fn translate(reader: &mut Reader<'_>) {
    listen(reader, "admin-listen", &["HOST", "PORT"], 8080);
    listen(reader, "grpc-listen", &["GRPC_HOST", "GRPC_PORT"], 8081);
    listen(reader, "debug-listen", &["DEBUG_HOST", "DEBUG_PORT"], 6070);
    metrics(reader);
    if reader.text("GRPC_UDS").is_some() {
        reader.refuse(
            "GRPC_UDS",
            "Tollgate does not listen on unix sockets: leave it empty, and let Envoy connect to GRPC_PORT",
        );
    }
}

/// `names` are the variables of the host and of the port.
fn listen(reader: &mut Reader<'_>, flag: &'static str, names: &'static [&'static str; 2], default: u16) {
    let [host, port] = *names;
    let on_port = reader.port(port).unwrap_or(default);
    match address(reader.text_or_empty(host).unwrap_or("0.0.0.0"), on_port) {
        Some(address) => reader.put(flag, address.to_string(), names),
        None if reader.tollgate(flag).is_some() => reader.put(flag, "", names),
        None => reader.refuse(host, NO_ADDRESS),
    }
}

fn metrics(reader: &mut Reader<'_>) {
    if !reader.is_on("USE_PROMETHEUS") {
        return;
    }
    let names = &["USE_PROMETHEUS", "PROMETHEUS_ADDR"];
    let text = reader.text("PROMETHEUS_ADDR").unwrap_or(":9090");
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    match port.parse().ok().and_then(|port| address(host, port)) {
        Some(address) => reader.put("metrics-listen", address.to_string(), names),
        None if reader.tollgate("metrics-listen").is_some() => reader.put("metrics-listen", "", names),
        None => {
            reader.refuse("PROMETHEUS_ADDR", "write an address and a port, such as :19001 or 0.0.0.0:19001")
        }
    }
    if let Some(path) = reader.text("PROMETHEUS_PATH").filter(|path| *path != "/metrics") {
        reader.warnings.push(format!(
            "PROMETHEUS_PATH is {path:?}, but metrics are at /metrics: change the path in the scrape configuration"
        ));
    }
}

/// None if the host is neither an address nor a name that can be looked up.
fn address(host: &str, port: u16) -> Option<SocketAddr> {
    match host.trim_matches(['[', ']']) {
        "" | "::" => Some(SocketAddr::new(everywhere(), port)),
        host => match host.parse::<IpAddr>() {
            Ok(ip) => Some(SocketAddr::new(ip, port)),
            Err(_name) => {
                let found: Vec<SocketAddr> = (host, port).to_socket_addrs().ok()?.collect();
                // Go prefers IPv4 for listening, too.
                found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
            }
        },
    }
}

/// All of IPv6, which includes IPv4; or all of IPv4, on a machine without IPv6.
fn everywhere() -> IpAddr {
    let all: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    if TcpListener::bind((all, 0)).is_ok() { all } else { Ipv4Addr::UNSPECIFIED.into() }
}
