//! compose.yaml runs the files under envoy/ through containers.sed. What it does in an engine, `make compose-test` shows;
//! here, that it knows every address and setting that it is to exchange.
#![cfg(target_os = "linux")] // It is written for the sed of Envoy's image, which is GNU's.

use std::{fs, path::Path, process::Command};

const FILES: [&str; 4] = ["lb.yaml", "upstream.yaml", "global/node.yaml", "naive/node.yaml"];

/// Exit status and output of `sed -f containers.sed` on that file.
fn in_containers(file: &Path) -> (Option<i32>, String) {
    let envoy = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    let mut sed = Command::new("sed");
    let output =
        sed.arg("-f").arg(envoy.join("containers.sed")).arg(envoy.join(file)).output().expect("sed runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn only_the_admin_page_stays_on_loopback_in_containers() {
    for file in FILES {
        let (status, text) = in_containers(Path::new(file));
        assert_eq!(status, Some(0), "{file}");
        let on_loopback: Vec<_> = text.lines().filter(|line| line.contains("address: 127.")).collect();
        let admin = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 9901 } } }";
        assert_eq!(on_loopback, [admin], "{file}");
        let everywhere = text.lines().filter(|line| line.contains("address: 0.0.0.0,")).count();
        assert_eq!(everywhere, 1, "{file} has one listener");
    }
}

#[test]
fn an_address_without_a_name_is_refused() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nameless.yaml");
    fs::write(&file, "static_resources:\n  clusters:\n  - { address: 127.0.0.1, port_value: 7777 }\n")
        .unwrap();
    assert_eq!(in_containers(&file).0, Some(1));
}

#[test]
fn a_node_is_more_patient_in_containers() {
    let (_, node) = in_containers(Path::new("global/node.yaml"));
    for setting in [" timeout: 3s\n", "max_interval: 1s ", "connect_timeout: 0.25s\n"] {
        assert_eq!(node.matches(setting).count(), 1, "{setting:?}");
    }
}
