//! A mesh of one proxy: istiod, an Envoy that it configures from the files in `deploy/istio/`, Tollgate on a Redis, and
//! an application.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use lab::{
    binaries::{Part, checkout},
    envoy::{Config, Envoy},
    ports,
    redis::Redis,
    tollgate::{Serve, Tollgate},
};

use crate::{
    istiod::{self, Istiod},
    proxy::{Proxy, Role},
    support,
};

/// Three requests for each key, two for each address without a key. What comes back within a test is less than one.
const LIMITS: &str = "domain: edge
authz:
- rate_limits:
  - actions:
    - generic_key: { descriptor_key: route, descriptor_value: default }
    - generic_key: { descriptor_key: api_key, descriptor_value: '%REQ(x-api-key)%' }
  - actions:
    - header_value_match:
        descriptor_key: route
        descriptor_value: default
        headers: [{ name: x-api-key, string_match: { exact: '' }, treat_missing_header_as_empty: true }]
    - remote_address: {}
descriptors:
- key: route
  descriptors:
  - { key: api_key, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 3 } }
  - { key: remote_address, rate_limit: { unit: day, algorithm: token_bucket, requests_per_unit: 2 } }
";

/// Without Istio's certificates, and without the filters of its own proxy build.
const MESH: &str = "enableAutoMtls: false\ndefaultProviders: {}\n";

pub(crate) struct Mesh {
    pub(crate) istiod: Istiod,
    pub(crate) proxy: Proxy,
    pub(crate) tollgate: Tollgate,
    _redis: Redis,
    _application: Envoy,
}

/// What a mesh is made of.
pub(crate) struct Plan {
    name: &'static str,
    role: Role,
    listen: SocketAddr,
    recipes: Vec<String>,
    mesh: String,
    egress: &'static str,
}

/// The text of a file in `deploy/istio/`.
pub(crate) fn recipe(name: &str) -> String {
    fs::read_to_string(checkout().join("deploy/istio").join(name)).expect("the recipe can be read")
}

// === impl Plan ===

impl Plan {
    pub(crate) fn new(name: &'static str, role: Role) -> Plan {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().expect("a free port")));
        Plan { name, role, listen, recipes: Vec::new(), mesh: MESH.to_owned(), egress: "tollgate/*" }
    }

    pub(crate) fn recipe(mut self, text: String) -> Plan {
        self.recipes.push(text);
        self
    }

    /// The patch of virtual hosts applies only to this one.
    pub(crate) fn virtual_host(mut self, name: &str) -> Plan {
        let context = if self.role == Role::Gateway { "GATEWAY" } else { "SIDECAR_INBOUND" };
        let before = format!("      context: {context}\n    patch:\n      operation: MERGE\n");
        let name = name.replace("PORT", &self.listen.port().to_string());
        let after = before.replace(
            "    patch:",
            &format!("      routeConfiguration: {{ vhost: {{ name: \"{name}\" }} }}\n    patch:"),
        );
        let recipe = self.recipes.pop().expect("a recipe");
        assert_eq!(recipe.matches(&before).count(), 1, "the patch of virtual hosts");
        self.recipes.push(recipe.replace(&before, &after));
        self
    }

    /// The sidecar knows only Services of these hosts.
    pub(crate) const fn egress(mut self, hosts: &'static str) -> Plan {
        self.egress = hosts;
        self
    }

    /// `istiod/values.yaml`, with these edits. As values of the chart, its `meshConfig` is one level deeper than in a file
    /// for istiod.
    pub(crate) fn provider(mut self, edits: &[(&str, &str)]) -> Plan {
        let mut text = recipe("istiod/values.yaml");
        for (from, to) in edits {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        }
        let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
        self.mesh.extend(lines.flat_map(|line| [line, "\n"]));
        self
    }

    /// Lets Envoy wait for an answer longer than a starved machine takes, for tests that count exactly: a request that is not
    /// answered in time passes, and one that Envoy asks about again may be charged twice.
    pub(crate) fn patient(mut self) -> Plan {
        let mut found = 0;
        for text in self.recipes.iter_mut().chain([&mut self.mesh]) {
            for (from, to) in
                [(" timeout: 0.2s\n", " timeout: 20s\n"), ("max_interval: 0.1s", "max_interval: 20s")]
            {
                found += text.matches(from).count();
                *text = text.replace(from, to);
            }
        }
        assert!(found > 0, "{}: no timeout", self.name);
        self
    }

    /// Nothing, with a message, if there is no istiod here.
    pub(crate) async fn start(self) -> Option<Mesh> {
        let program = istiod::program("pilot-discovery", "TOLLGATE_ISTIOD")?;
        if !lab::real::available(&[Part::Envoy, Part::Redis]) {
            return None;
        }
        let application = Envoy::start(&Config::upstream().expect("the file")).await.expect("Envoy starts");
        let limits = support::file(&format!("istio-{}.yaml", self.name), LIMITS);
        let redis = Redis::start().await.expect("Redis starts");
        // A starved machine must not turn decisions into fallback answers.
        let serve = Serve::new(limits).store(redis.url()).args(&["--store-deadline", "5s"]);
        let tollgate = Tollgate::start(&serve).await.expect("Tollgate starts");
        let mut resources = self.recipes;
        resources.push(entries(application.listen(), tollgate.grpc()));
        resources.push(match self.role {
            Role::Gateway => gateway(self.listen),
            Role::Sidecar => sidecar(self.listen, application.listen(), self.egress),
        });
        resources.push(WITHOUT_ISTIOS_OWN_FILTER.to_owned());
        let istiod = Istiod::start(&program, self.name, &self.mesh, &resources).await;
        let proxy = Proxy::start(self.role, istiod.xds(), self.listen).await;
        Some(Mesh { istiod, proxy, tollgate, _redis: redis, _application: application })
    }
}

// === what a cluster would hold ===

/// The two Services. Kubernetes would have made them of pods.
fn entries(application: SocketAddr, tollgate: SocketAddr) -> String {
    let entry = |name: &str, namespace: &str, port: u16, protocol: &str, at: SocketAddr| {
        let lower = protocol.to_lowercase();
        format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  hosts: [ {name}.{namespace}.svc.cluster.local ]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [ {{ number: {port}, name: {lower}, protocol: {protocol} }} ]
  endpoints: [ {{ address: 127.0.0.1, ports: {{ {lower}: {} }} }} ]
",
            at.port()
        )
    };
    let application = entry("app", "default", 80, "HTTP", application);
    let tollgate = entry("tollgate", "tollgate", 8081, "GRPC", tollgate);
    format!("{application}---\n{tollgate}")
}

fn gateway(listen: SocketAddr) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: gw, namespace: istio-system }}
spec:
  selector: {{ istio: ingressgateway }}
  servers:
  - {{ port: {{ number: {}, name: http, protocol: HTTP }}, bind: 127.0.0.1, hosts: ['*'] }}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: app, namespace: istio-system }}
spec:
  hosts: ['*']
  gateways: [ gw ]
  http: [ {{ route: [ {{ destination: {{ host: app.default.svc.cluster.local, port: {{ number: 80 }} }} }} ] }} ]
",
        listen.port()
    )
}

fn sidecar(listen: SocketAddr, application: SocketAddr, egress: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{ name: app, namespace: default }}
spec:
  workloadSelector: {{ labels: {{ app: app }} }}
  ingress:
  - port: {{ number: {}, name: http, protocol: HTTP }}
    bind: 127.0.0.1
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:{}
  # The socket is in Linux' abstract namespace, and nothing uses it. A port would be the Service's, and may be taken.
  egress:
  - {{ hosts: ['{egress}'], captureMode: NONE, bind: 'unix://@egress-{}', port: {{ number: 0, name: grpc, protocol: GRPC }} }}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{ name: plain, namespace: default }}
spec: {{ mtls: {{ mode: DISABLE }} }}
",
        listen.port(),
        application.port(),
        listen.port(),
    )
}

/// A plain Envoy has no istio.alpn, and refuses the listener.
const WITHOUT_ISTIOS_OWN_FILTER: &str = "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: plain-envoy, namespace: istio-system }
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: ANY
      listener:
        filterChain:
          filter: { name: envoy.filters.network.http_connection_manager, subFilter: { name: istio.alpn } }
    patch: { operation: REMOVE }
";
