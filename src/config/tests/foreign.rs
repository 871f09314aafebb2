//! Files that people give by mistake.

use std::{path::Path, slice};

use super::Folder;
use crate::config::check;
use tollgate_core::limit::DefaultAlgorithm;

fn told(text: &str) -> String {
    Folder::new().load(&[("a.yaml", text.as_bytes())]).map(|_| ()).unwrap_err()
}

fn told_of(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    check(slice::from_ref(&path), DefaultAlgorithm::default()).domains.unwrap_err().to_string()
}

#[test]
fn a_configuration_of_envoy_is_called_one() {
    for file in ["envoy/global/node.yaml", "envoy/lb.yaml", "envoy/upstream.yaml"] {
        let told = told_of(file);
        assert!(told.contains("this is an Envoy configuration, not a limits file"), "{file}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    for text in [
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n",
        "domain: edge\ntimeout: 0.1s\nrate_limit_service: { transport_api_version: V3 }\n",
        "http_filters:\n- name: envoy.filters.http.ratelimit\n",
        "- name: envoy.filters.http.ratelimit\n  typed_config: { domain: edge }\n",
        "- actions:\n  - remote_address: {}\n",
        "node: { id: a }\nadmin: {}\n",
        "{\"static_resources\": {}}",
    ] {
        let told = told(text);
        assert!(told.starts_with("a.yaml: this is an Envoy configuration"), "{text}: {told}");
    }
}

#[test]
fn a_members_file_is_called_one_and_shows_no_key() {
    let said = told_of("examples/members.yaml");
    assert!(
        said.contains("this is a members file, or a map of lists like one, not a limits file, and"),
        "{said}"
    );
    let told = told("paid: [canary-1]\nfree: []\n");
    assert!(told.starts_with("a.yaml: this is a members file"), "{told}");
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn a_manifest_of_kubernetes_is_called_one() {
    let manifest = "apiVersion: v1\nkind: ConfigMap\ndata:\n  limits.yaml: |\n    domain: edge\n";
    assert!(told(manifest).starts_with("a.yaml: this is a Kubernetes manifest"));
}

#[test]
fn a_limits_file_with_a_mistake_is_still_one() {
    for text in [
        "descriptors: []\n",
        "domian: edge\ndescriptors: [{ key: k }]\n",
        "tiers: {}\n",
        "domain: edge\nnode: x\n",
        "paid: canary\n",
        "a: {}\nb: []\n",
        "[]",
        "- domain: edge\n",
    ] {
        let told = told(text);
        assert!(!told.contains("this is a "), "{text}: {told}");
    }
}
