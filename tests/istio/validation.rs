//! What `istioctl validate` says about the files in `deploy/istio/`. It is all that holds the file for waypoints, which no
//! test can run.

use std::{fs, process::Command};

use lab::binaries::checkout;

use crate::{istiod, mesh::recipe, support};

/// Its output without what it says about every EnvoyFilter, or nothing if it is not here. An unknown field is only a warning,
/// with exit status 0.
fn complaints(name: &str, text: &str) -> Option<Vec<String>> {
    let program = istiod::program("istioctl", "TOLLGATE_ISTIOCTL")?;
    let file = support::file(&format!("validate-{name}"), text);
    let output = Command::new(program).args(["validate", "-f"]).arg(file).output().expect("istioctl runs");
    let said = [output.stdout, output.stderr].concat();
    let lines = String::from_utf8(said).expect("UTF-8");
    let standing = |line: &str| {
        line.is_empty()
            || line.contains("EnvoyFilter exposes internal implementation details")
            || line.ends_with(" is valid")
            || line.ends_with(" has warnings: ")
    };
    Some(lines.lines().filter(|line| !standing(line)).map(ToOwned::to_owned).collect())
}

#[test]
#[ignore = "needs istioctl: make istio-test"]
fn every_recipe_is_valid() {
    for entry in fs::read_dir(checkout().join("deploy/istio")).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        // Values of a chart are no resource.
        if !name.ends_with(".yaml") || !recipe(&name).contains("\nkind: ") {
            continue;
        }
        let Some(complaints) = complaints(&name, &recipe(&name)) else { return };
        assert_eq!(complaints, Vec::<String>::new(), "{name}");
    }
}

#[test]
#[ignore = "needs istioctl: make istio-test"]
fn a_mistake_of_each_kind_is_found() {
    for (file, from, to) in [
        ("gateway.yaml", "domain: edge", "domian: edge"),
        ("gateway.yaml", "INSERT_BEFORE", "INSERT_BEFOR"),
        ("sidecar.yaml", "applyTo: VIRTUAL_HOST", "applyTo: HTTP_ROUTE"),
        ("sidecar.yaml", "ratelimit.v3.RateLimit", "ratelimit.v3.RatLimit"),
        ("ext-authz-gateway.yaml", "action: CUSTOM", "action: CUSTUM"),
        ("ext-authz-sidecar.yaml", "matchLabels", "matchLabel"),
        ("ext-authz-waypoint.yaml", "targetRefs:", "targetRefz:"),
    ] {
        let text = recipe(file);
        assert!(text.contains(from), "{file}: {from}");
        let Some(complaints) = complaints(&format!("mistake-{file}"), &text.replace(from, to)) else {
            return;
        };
        println!("{to}: {complaints:?}");
        assert_ne!(complaints, Vec::<String>::new(), "{file}: {to}");
    }
}
