use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::{
    cli::{Cli, Command, variables},
    response::{Group, Jitter},
};
use tollgate_core::limit::DefaultAlgorithm;
use tollgate_core::rules::OnStoreFailure;

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
    assert!(serve.store.store.is_none());
    assert_eq!(serve.defaults().algorithm, DefaultAlgorithm::ByPeriod);
    let contract = serve.answers.contract(&Origins::default()).unwrap();
    assert_eq!(contract.groups(), Group::DEFAULT);
    assert_eq!(contract.jitter(), Jitter::default());
    assert_eq!(contract.jitter(), Jitter::default().at_most(Duration::from_secs(30)));
    let contract = parse(&["--jitter-most", "1m"]).unwrap();
    let contract = contract.answers.contract(&Origins::default()).unwrap();
    assert_eq!(contract.jitter(), Jitter::default().at_most(Duration::from_secs(60)));
}

#[test]
fn files_may_be_repeated_or_listed_with_commas() {
    let serve = parse(&["--config", "a.yaml,b.yaml"]).unwrap();
    assert_eq!(serve.config, ["limits.yaml", "a.yaml", "b.yaml"].map(PathBuf::from));
}

#[test]
fn header_groups_are_sent_as_listed_none_of_them_twice_and_none_alone() {
    let groups = |list| {
        parse(&["--headers", list])
            .unwrap()
            .answers
            .contract(&Origins::default())
            .map(|contract| contract.groups().to_vec())
    };
    assert_eq!(groups("ratelimit-structured,retry-after").unwrap(), [Group::Structured, Group::RetryAfter]);
    assert_eq!(groups("none").unwrap(), []);
    for (list, said) in [
        ("none,ratelimit", "--headers: none cannot be combined with other groups"),
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
fn each_flag_has_the_variable_of_its_name_and_no_switch_reads_its_variable_in_a_way_of_its_own() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    for arg in serve.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
        let named = arg.get_env().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(named, Some(variables::variable(arg.get_id().as_str())), "{arg}");
        assert!(
            arg.get_action().takes_values(),
            "{arg}: clap would read its variable as true or false only; give it values::switch"
        );
    }
}

#[test]
fn switches_may_be_flags_alone_or_say_on_or_off() {
    let switch = |flags: &[&str]| {
        let serve = parse(flags).unwrap();
        (serve.switches.modes().unwrap().shadow, serve.denial_cache)
    };
    assert_eq!(switch(&[]), (false, true));
    assert_eq!(switch(&["--shadow-mode"]), (true, true));
    assert_eq!(switch(&["--shadow-mode=TRUE", "--denial-cache", "0"]), (true, false));
    assert_eq!(switch(&["--shadow-mode=off", "--denial-cache=f"]), (false, false));
    assert!(parse(&["--shadow-mode=yes"]).is_err());
    for (flags, shown) in [(&[][..], false), (&["--show-values"], true), (&["--show-values=off"], false)] {
        assert_eq!(parse(flags).unwrap().logs.show_values, shown, "{flags:?}");
    }
}

#[test]
fn blanks_around_the_items_of_a_list_are_dropped_and_words_may_be_in_capitals() {
    let serve =
        parse(&["--config", " a.yaml ,\n  b.yaml\n", "--headers", "RateLimit , retry-after"]).unwrap();
    assert_eq!(serve.config, ["limits.yaml", "a.yaml", "b.yaml"].map(PathBuf::from));
    let contract = serve.answers.contract(&Origins::default()).unwrap();
    assert_eq!(contract.groups(), [Group::RateLimit, Group::RetryAfter]);
    let serve = parse(&["--log-format", "JSON", "--on-store-failure", "Deny"]).unwrap();
    assert_eq!(
        (serve.logs.log_format, serve.when_store_fails.on_store_failure),
        (logging::Format::Json, OnStoreFailure::Deny)
    );
}
