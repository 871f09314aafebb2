//! Resources as users write them.

use crate::backend;

/// The namespace of all of them.
const NAMESPACE: &str = "shop";
/// The first one has two listeners.
pub(crate) const GATEWAYS: [&str; 2] = ["one", "two"];
/// In the text of a policy, what tells one version from the next.
const PROBE: &str = "PROBE";

/// What is there from the start.
pub(crate) fn base() -> String {
    let port = backend::PORT;
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: eg}}
spec:
  controllerName: gateway.envoyproxy.io/gatewayclass-controller
  parametersRef: {{group: gateway.envoyproxy.io, kind: EnvoyProxy, name: host, namespace: {NAMESPACE}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {{name: host, namespace: {NAMESPACE}}}
spec:
  provider: {{type: Host, host: {{envoyVersion: {version}}}}}
  telemetry: {{accessLog: {{disable: true}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: one, namespace: {NAMESPACE}}}
spec:
  gatewayClassName: eg
  listeners:
  - {{name: http, protocol: HTTP, port: {one}}}
  - {{name: other, protocol: HTTP, port: {other}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: two, namespace: {NAMESPACE}}}
spec:
  gatewayClassName: eg
  listeners:
  - {{name: http, protocol: HTTP, port: {two}}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: backend, namespace: {NAMESPACE}}}
spec: {{endpoints: [{{ip: {{address: 127.0.0.1, port: {port}}}}}]}}
",
        version = crate::rig::ENVOY_VERSION,
        one = crate::rig::PORT,
        other = crate::rig::OTHER_PORT,
        two = crate::rig::SECOND_PORT,
    )
}

/// A route of that name, for all paths that begin with it.
pub(crate) fn route(gateway: &str, name: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  parentRefs: [{{name: {gateway}}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /{name}}}}}]
    backendRefs: [{{group: gateway.envoyproxy.io, kind: Backend, name: backend}}]
"
    )
}

/// A policy for these targets, each of them `Kind/name`, with its rules in YAML.
///
/// It denies requests with the header `x-probe` and the number of its version as well, which shows that it is in
/// force. What is denied costs nothing.
pub(crate) fn policy(name: &str, targets: &[&str], rules: &[&str]) -> String {
    policy_with(name, targets, rules, "")
}

/// The same, and `more` in its spec.
pub(crate) fn policy_with(name: &str, targets: &[&str], rules: &[&str], more: &str) -> String {
    let rules: String = rules.iter().map(|rule| format!("      - {rule}\n")).collect();
    let probe = format!("headers: [{{name: x-probe, value: \"{PROBE}\"}}]");
    format!(
        "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{targets}]
  rateLimit:
    global:
      rules:
{rules}      - {{clientSelectors: [{{{probe}}}], limit: {{requests: 0, unit: Hour}}}}
{more}",
        targets = references(targets),
    )
}

/// Any other resource of Envoy Gateway for these targets.
pub(crate) fn attached(kind: &str, name: &str, targets: &[&str], spec: &str) -> String {
    format!(
        "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: {kind}
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{targets}]
{spec}",
        targets = references(targets),
    )
}

fn references(targets: &[&str]) -> String {
    let reference = |target: &&str| {
        let (kind, name) = target.split_once('/').expect("Kind/name");
        format!("{{group: gateway.networking.k8s.io, kind: {kind}, name: {name}}}")
    };
    targets.iter().map(reference).collect::<Vec<_>>().join(", ")
}

/// The text of one version.
pub(crate) fn numbered(text: &str, version: u32) -> String {
    text.replace(PROBE, &version.to_string())
}
