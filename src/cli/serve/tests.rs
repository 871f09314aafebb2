use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::{
    cli::{Cli, Command},
    response::{Group, Jitter},
    rules::OnStoreFailure,
};

fn parse(flags: &[&str]) -> Result<Box<Serve>, clap::Error> {
    let command_line = ["tollgate", "serve", "--config", "limits.yaml"].iter().chain(flags);
    Cli::try_parse_from(command_line).map(|cli| match cli.command {
        Command::Serve(serve) => serve,
        _ => unreachable!("the command line says serve"),
    })
}

#[test]
fn the_flags_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let serve = parse(&[]).unwrap();
    assert_eq!(serve.process.grpc_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(serve.process.admin_listen.to_string(), "127.0.0.1:8080");
    assert_eq!(serve.process.drain_wait, Duration::from_secs(5));
    assert_eq!(serve.process.drain_timeout, Duration::from_secs(10));
    assert_eq!(serve.when_store_fails.store_deadline, Duration::from_millis(10));
    assert_eq!(serve.when_store_fails.on_store_failure, OnStoreFailure::Local);
    assert_eq!(serve.logs.log_format, logging::Format::Text);
    assert!(serve.store.is_none());
    let contract = serve.answers.contract().unwrap();
    assert_eq!(contract.groups(), Group::DEFAULT);
    assert_eq!(contract.jitter(), Jitter::default());
}

#[test]
fn files_may_be_repeated_or_listed_with_commas() {
    let serve = parse(&["--config", "a.yaml,b.yaml"]).unwrap();
    assert_eq!(serve.config, ["limits.yaml", "a.yaml", "b.yaml"].map(PathBuf::from));
}

#[test]
fn header_groups_are_sent_as_listed_none_of_them_twice_and_none_alone() {
    let groups = |list| {
        parse(&["--headers", list]).unwrap().answers.contract().map(|contract| contract.groups().to_vec())
    };
    assert_eq!(groups("ratelimit-structured,retry-after").unwrap(), [Group::Structured, Group::RetryAfter]);
    assert_eq!(groups("none").unwrap(), []);
    for (list, said) in [
        ("none,ratelimit", "--headers none goes with no other group"),
        ("ratelimit,retry-after,ratelimit", "--headers names ratelimit twice"),
        ("none,none", "--headers names none twice"),
    ] {
        let refused = groups(list).unwrap_err();
        assert!(refused.is_misuse());
        assert_eq!(refused.to_string(), said);
    }
}

#[test]
fn a_value_that_makes_no_sense_is_refused() {
    for flags in [
        ["--jitter", "1.1"],
        ["--jitter", "-0.1"],
        ["--jitter", "NaN"],
        ["--runtimes", "0"],
        ["--runtimes", "1025"],
        ["--runtimes", "100000"],
        ["--store-deadline", "0ms"],
        ["--store-deadline", "10"],
        ["--on-store-failure", "shrug"],
        ["--headers", "x-ratelimit"],
        ["--grpc-listen", "8081"],
    ] {
        assert!(parse(&flags).is_err(), "{flags:?}");
    }
}

#[test]
fn the_password_of_the_store_shows_in_no_debug_output_and_no_error() {
    let serve = parse(&["--store", "redis://user:s3cret@10.0.0.7"]).unwrap();
    assert!(!format!("{serve:?}").contains("s3cret"));

    let serve = parse(&["--store", "radish://user:s3cret@10.0.0.7"]).unwrap();
    let error = serve.backend().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}

#[test]
fn the_variables_of_the_reference_are_read_as_go_reads_booleans() {
    let read = |value: &str| flags::read_boolean("SHADOW_MODE", value.to_owned());
    for (value, expected) in
        [("1", true), ("t", true), ("TRUE", true), ("", false), ("0", false), ("F", false)]
    {
        assert_eq!(read(value).unwrap(), expected, "{value:?}");
    }
    let error = read("yes").unwrap_err();
    assert!(error.is_misuse());
    let expected = "the variable SHADOW_MODE is \"yes\", which is no boolean: true, false, 1, 0, t or f";
    assert_eq!(error.to_string(), expected);
}
