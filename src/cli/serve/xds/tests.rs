use std::{path::PathBuf, time::Duration};

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

fn options(flags: &[&str]) -> Result<xds::Options, clap::Error> {
    let command_line = ["tollgate", "serve", "--xds-server", "envoy-gateway:18001"].iter().chain(flags);
    Cli::try_parse_from(command_line).map(|cli| match cli.command {
        Command::Serve(serve) => serve.xds.options(Defaults::default()).unwrap(),
        _ => unreachable!("the command line says serve"),
    })
}

fn refused(line: &[&str]) -> String {
    let line = ["tollgate", "serve"].iter().chain(line);
    Cli::try_parse_from(line).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_rules_come_from_files_or_from_a_server_and_never_from_both_or_neither() {
    assert!(options(&[]).is_ok());
    assert!(refused(&[]).contains("--config <PATH>"));
    let both = refused(&["--config", "a.yaml", "--xds-server", "h:1"]);
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn the_defaults_fit_a_server_without_tls() {
    let options = options(&[]).unwrap();
    assert_eq!((options.server.as_str(), options.node_id.as_str()), ("envoy-gateway:18001", "tollgate"));
    assert_eq!((options.max_message, options.settle), (64 << 20, Duration::from_secs(5)));
    assert!(options.tls.is_none() && options.headers.is_empty() && options.node_metadata.is_empty());
}

#[test]
fn a_ca_alone_verifies_no_name_and_a_name_is_verified_where_one_is_given() {
    let tls = |flags: &[&str]| options(flags).unwrap().tls;
    let ca = Some(PathBuf::from("ca.crt"));
    assert_eq!(
        tls(&["--xds-ca", "ca.crt", "--xds-cert", "c", "--xds-key", "k"]).unwrap(),
        ClientTls {
            ca: ca.clone(),
            own: Some(OwnFiles { certificate: "c".into(), key: "k".into() }),
            verify: Verify::Ca
        }
    );
    let named = ["--xds-ca", "ca.crt", "--xds-server-name", "envoy-gateway"];
    assert_eq!(tls(&named).unwrap(), ClientTls { ca, own: None, verify: Verify::Full });
    assert_eq!(options(&named).unwrap().server_name.as_deref(), Some("envoy-gateway"));
    assert_eq!(tls(&["--xds-tls", "on"]).unwrap(), ClientTls { ca: None, own: None, verify: Verify::Full });
    assert_eq!(tls(&["--xds-tls=off", "--xds-ca", "ca.crt"]), None);
    assert!(options(&["--xds-cert", "c"]).is_err(), "a certificate is of no use without its key");
}

#[test]
fn headers_and_metadata_are_pairs_and_no_message_shows_a_headers_value() {
    let options = options(&[
        "--xds-header",
        "Authorization=Bearer s3=cret, x-a=b",
        "--xds-node-metadata",
        "zone=eu,rack=7",
    ]);
    let options = options.unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(options.headers, [pair("authorization", "Bearer s3=cret"), pair("x-a", "b")]);
    assert_eq!(options.node_metadata, [pair("zone", "eu"), pair("rack", "7")]);
    for shown in ["--xds-header", "a b=c", "--xds-node-metadata", "no-value"].chunks(2) {
        assert!(refused(&["--xds-server", "h:1", shown[0], shown[1]]).contains(shown[0]));
    }
    for malformed in ["Bearer s3cret", "a b=s3cret", "a=s3cret\u{7f}", "a=b,s3cret", "=s3cret"] {
        let said = refused(&["--xds-server", "h:1", "--xds-header", malformed]);
        assert!(said.contains("--xds-header") && !said.contains("s3cret"), "{said}");
    }
    let line = ["tollgate", "serve", "--xds-server", "h:1", "--xds-header", "authorization=s3cret"];
    assert!(!format!("{:?}", Cli::try_parse_from(line).unwrap()).contains("s3cret"));
}

#[test]
fn the_address_is_a_host_and_a_port() {
    for good in ["envoy-gateway.envoy-gateway-system.svc:18001", "10.0.0.7:1", "[::1]:18001", " h:1 "] {
        assert_eq!(server(good).unwrap(), good.trim());
    }
    for (bad, said) in [
        ("http://h:1", "without http://"),
        ("h", "the port is missing"),
        (":1", "write host:port"),
        ("::1:18001", "[::1]:18001"),
        ("h:0", "a port is a number"),
        ("h:many", "a port is a number"),
    ] {
        assert!(server(bad).unwrap_err().contains(said), "{bad}");
    }
}
