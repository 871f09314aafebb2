use clap::Parser;

use super::ProveArgs;
use tollgate_core::limit::{Algorithm, Windows};

#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    args: ProveArgs,
}

fn typed(line: &str) -> Result<ProveArgs, clap::Error> {
    Typed::try_parse_from(line.split('|')).map(|typed| typed.args)
}

const LEAST: &str = "prove|--target|http://127.0.0.1:8080/api?x=1|--limit|10/s";

#[test]
fn a_target_and_a_limit_are_enough() {
    let args = typed(LEAST).unwrap();
    assert_eq!((args.targets[0].host.as_str(), args.targets[0].port), ("127.0.0.1", 8080));
    assert_eq!(args.targets[0].path, "/api?x=1");
    let limit = args.checked_limit().unwrap();
    assert_eq!((limit.burst(), limit.requests_per_unit()), (10, 10));
    assert_eq!((args.concurrency, args.rate, args.http2), (64, None, false));
}

#[test]
fn names_addresses_and_default_ports_are_taken_apart() {
    let args =
        typed("p|--target|http://[::1]:81|--target|http://node/|--limit|600/minute|--burst|7").unwrap();
    assert_eq!((args.targets[0].host.as_str(), args.targets[0].port), ("::1", 81));
    assert_eq!((args.targets[1].host.as_str(), args.targets[1].port), ("node", 80));
    assert_eq!(args.checked_limit().unwrap().burst(), 7);
}

#[test]
fn a_day_is_a_window_and_a_burst_a_bucket_unless_it_is_said() {
    let algorithm = |line: &str| {
        let typed = typed(&format!("p|--target|http://h/|--limit|{line}"));
        typed.unwrap().checked_limit().map(|limit| limit.algorithm())
    };
    for (line, expected) in [
        ("10/s", Algorithm::TokenBucket),
        ("10/h", Algorithm::TokenBucket),
        ("10/d", Algorithm::FixedWindow),
        ("10/week", Algorithm::FixedWindow),
        ("10/d|--burst|3", Algorithm::TokenBucket),
        ("10/d|--algorithm|by_period", Algorithm::FixedWindow),
        ("10/d|--algorithm|token_bucket", Algorithm::TokenBucket),
        ("10/s|--algorithm|fixed_window", Algorithm::FixedWindow),
        ("10/s|--algorithm|token_bucket|--burst|3", Algorithm::TokenBucket),
        ("10/month", Algorithm::FixedWindow),
        ("10/calendar-month", Algorithm::FixedWindow),
        ("10/calendar-month|--algorithm|fixed_window", Algorithm::FixedWindow),
    ] {
        assert_eq!(algorithm(line).unwrap(), expected, "{line}");
    }
    for (more, told) in [
        (
            "--algorithm|token_bucket",
            "a calendar-month is a fixed_window: leave out --algorithm, or write 10/month",
        ),
        ("--burst|3", "--burst goes with a token_bucket: leave it out, or write --limit 10/month"),
    ] {
        assert_eq!(algorithm(&format!("10/calendar-month|{more}")).unwrap_err().to_string(), told);
    }
    let both = algorithm("10/s|--algorithm|fixed_window|--burst|3").unwrap_err();
    assert!(both.to_string().starts_with("--burst goes with a token_bucket"), "{both}");
}

#[test]
fn a_calendar_month_is_none_of_30_days() {
    let windows = |line: &str| {
        let typed = typed(&format!("p|--target|http://h/|--limit|{line}")).unwrap();
        typed.checked_limit().unwrap().windows()
    };
    assert_eq!(windows("10/month"), Windows::Aligned);
    assert_eq!(windows("10/calendar-month"), Windows::CalendarMonth);
}

#[test]
fn misuse_exits_with_two_and_says_what_to_do() {
    for (more, said) in [
        ("|--target|https://127.0.0.1/", "https is not supported"),
        ("|--target|127.0.0.1:80", "http://"),
        ("|--target|http://u:p@h/", "authorization"),
        ("|--rate|0", "--rate"),
        ("|--concurrency|0", "--concurrency"),
        ("|--burst|0", "--burst"),
        ("|--duration|10", "unit"),
        ("|--header|x-api-key", "name: value"),
        ("|--format|yaml", "--format"),
        ("|--algorithm|sliding_window_log", "it must be by_period, token_bucket or fixed_window"),
    ] {
        let error = typed(&format!("{LEAST}{more}")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{more}");
        assert!(error.to_string().contains(said), "{more}: {error}");
    }
    for limit in ["10", "0/s", "10/fortnight", "-1/s", "99999999999/s"] {
        let error = typed(&format!("p|--target|http://h/|--limit|{limit}")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{limit}");
    }
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let slow = "p|--target|http://h/|--limit|1/d|--burst|4000000000";
    assert!(typed(slow).unwrap().checked_limit().unwrap_err().to_string().contains("invalid limit"));
    assert!(typed(&format!("{LEAST}|--duration|0s")).unwrap().checked_limit().is_err());
    assert!(typed(&format!("{LEAST}|--duration|25h")).unwrap().checked_limit().is_err());
}

#[test]
fn every_flag_is_explained() {
    use clap::CommandFactory;
    let command = Typed::command();
    for argument in command.get_arguments() {
        assert!(argument.get_help().is_some(), "{} has no help", argument.get_id());
    }
}
