//! A plain Envoy that fetches its configuration from istiod, as the proxy of a gateway or of a sidecar.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use lab::{
    binaries::Part,
    http::{self, Answer},
    process::Process,
};
use serde_json::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Gateway,
    Sidecar,
}

pub(crate) struct Proxy {
    process: Process,
    admin: SocketAddr,
    listen: SocketAddr,
}

impl Role {
    /// The kind, the name and the namespace in the node's id, and the label by which recipes select it.
    fn identity(self) -> (&'static str, &'static str, &'static str, (&'static str, &'static str)) {
        match self {
            Role::Gateway => ("router", "gw", "istio-system", ("istio", "ingressgateway")),
            Role::Sidecar => ("sidecar", "app", "default", ("app", "app")),
        }
    }
}

impl Proxy {
    /// Returns when it listens on `listen`, which the configuration has to say.
    pub(crate) async fn start(role: Role, xds: SocketAddr, listen: SocketAddr) -> Proxy {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let stem = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("istio-proxy-{number}"));
        let (file, admin_file) = (stem.with_extension("json"), stem.with_extension("admin"));
        let _ = fs::remove_file(&admin_file);
        fs::write(&file, bootstrap(role, xds)).expect("can be written");
        let mut command = Command::new(Part::Envoy.find().expect("was found before"));
        command
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c"])
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin_file);
        let mut process = Process::spawn("istio-proxy", &command).expect("Envoy starts");
        let wanted = listen.to_string();
        let admin = process
            .ready(async |_| {
                let admin: SocketAddr = fs::read_to_string(&admin_file).ok()?.trim().parse().ok()?;
                let ready = http::get(admin, "/ready", &[]).await.ok()?.status == 200;
                let listeners = http::get(admin, "/listeners", &[]).await.ok()?.text();
                (ready && listeners.contains(&wanted)).then_some(admin)
            })
            .await
            .expect("istiod configures it");
        Proxy { process, admin, listen }
    }

    pub(crate) async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        http::get(self.listen, "/", headers).await.expect("an answer")
    }

    pub(crate) const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// All that istiod has sent.
    pub(crate) async fn config_dump(&self) -> String {
        http::get(self.admin, "/config_dump", &[]).await.expect("an answer").text()
    }

    pub(crate) fn log_text(&self) -> String {
        self.process.log_text()
    }
}

fn bootstrap(role: Role, xds: SocketAddr) -> String {
    let (kind, name, namespace, (label, value)) = role.identity();
    // The address is nobody's: istiod would take the labels of an endpoint that has the same for the node's.
    let id = format!("{kind}~10.99.0.1~{name}.{namespace}~{namespace}.svc.cluster.local");
    let ads = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
    json!({
        "node": { "id": id, "cluster": name, "metadata": {
            "NAMESPACE": namespace, "LABELS": { label: value }, "INSTANCE_IPS": "10.99.0.1",
            "ISTIO_VERSION": "1.31.0", "CLUSTER_ID": "Kubernetes", "INTERCEPTION_MODE": "NONE",
        } },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "dynamic_resources": {
            "ads_config": { "api_type": "GRPC", "transport_api_version": "V3",
                "grpc_services": [ { "envoy_grpc": { "cluster_name": "istiod" } } ] },
            "cds_config": ads, "lds_config": ads,
        },
        "static_resources": { "clusters": [ {
            "name": "istiod", "type": "STATIC",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            } },
            "load_assignment": { "cluster_name": "istiod", "endpoints": [ { "lb_endpoints": [ { "endpoint": {
                "address": { "socket_address": { "address": xds.ip().to_string(), "port_value": xds.port() } },
            } } ] } ] },
        } ] },
    })
    .to_string()
}
