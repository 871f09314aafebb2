//! The commands as a shell sees them.

use std::process::{Command, Stdio};

use lab::binaries;
use redis::cmd;

use super::{TOKEN, act, levels, limits, replica, support, token_file, tollgate};

/// Everything that Redis holds.
fn all(connection: &mut redis::Connection) -> Vec<(String, Vec<u8>)> {
    let mut keys: Vec<String> = cmd("KEYS").arg("*").query(connection).expect("keys");
    keys.sort();
    keys.into_iter()
        .map(|key| (key.clone(), cmd("DUMP").arg(key).query(connection).expect("a value")))
        .collect()
}

#[tokio::test]
async fn peek_shows_the_level_and_the_wait_and_writes_nothing() {
    let Some(redis) = support::redis().await else { return };
    let (config, url) = (limits("peek").display().to_string(), redis.url());
    let place = ["--config", &config, "--store", &url];
    let peek = |key: &str| {
        let (status, told, error) = tollgate(&[&["peek", key], &place[..]].concat());
        assert_eq!((status, error.as_str()), (Some(0), ""), "{key}");
        told
    };
    let mut connection = support::connection(&redis);
    let full = peek("careful=ann");
    assert!(full.contains("level 0 of 5: the next hit passes in 4 h 48 min"), "{full}");
    assert_eq!(all(&mut connection), [], "not even the epoch");
    let full = peek("user=ann");
    for line in [
        "domain edge\n\ndescriptor 1: user=ann\n  limit user: 5 per day, burst 5, token_bucket\n    bucket tg:",
        "\n    level 5 of 5: 5 hits would pass now\n    full, so nothing is stored for it\n",
    ] {
        assert!(full.contains(line), "{line:?} is not in {full}");
    }
    // It owes nothing, and has no more than the reset gives.
    act(&[&["reset", "--yes", "user=ann"], &place[..]].concat());
    assert_eq!(all(&mut connection), []);
    let before = all(&mut connection);
    peek("team=ann");
    assert_eq!(all(&mut connection), before);
}

#[tokio::test]
async fn a_grant_says_how_much_it_gave_back_and_who_notices_when() {
    let replica = replica("told", "memory").await;
    let (admin, token) = (replica.admin().to_string(), token_file("told"));
    let by_admin = ["--admin", &admin, "--admin-token-file", &token, "user=ann"];
    let (status, told, _) = tollgate(&[&["grant", "--hits", "3"], &by_admin[..]].concat());
    assert_eq!(status, Some(0));
    assert!(
        told.contains("level 5 before, 5 of 5 now: 0 of 3 hits given back, since it is full then\n"),
        "{told}"
    );
    let noticed = "That replica admits at once. Others on the same Redis that deny this key from memory notice within a second.";
    assert!(told.ends_with(&format!("\n{noticed}\n")), "{told}");
    let (_, told, _) = tollgate(&[&["peek"], &by_admin[..]].concat());
    assert!(!told.contains("notice"), "{told}");
}

#[tokio::test]
async fn the_key_may_be_named_by_a_request_and_by_several_descriptors() {
    let Some(redis) = support::redis().await else { return };
    let root = binaries::checkout();
    let file = |name: &str| root.join(name).display().to_string();
    let (config, envoy, url) = (file("examples/limits.yaml"), file("examples/envoy.yaml"), redis.url());
    let request = ["--envoy", &envoy, "--request", "GET /", "--header", "x-api-key: abc"];
    let report = act(&[&["peek", "--config", &config, "--store", &url], &request[..]].concat());
    let typed = act(&["peek", "--config", &config, "--store", &url, "route=default", "api_key=abc"]);
    assert_eq!(report["buckets"], typed["buckets"]);

    let replica = replica("several", &redis.url()).await;
    let (admin, token) = (replica.admin().to_string(), token_file("several"));
    let report = act(&[
        "peek",
        "--admin",
        &admin,
        "--admin-token-file",
        &token,
        "user=a",
        "+",
        "team=b",
        "+",
        "user=a",
    ]);
    assert_eq!(levels(&report).len(), 4, "a bucket that is named twice is there once: {report}");
    let numbers: Vec<_> =
        report["buckets"].as_array().expect("a list").iter().map(|bucket| &bucket["descriptor"]).collect();
    assert_eq!(numbers, [&1, &2, &2, &2]);
    let (status, _, error) =
        tollgate(&[&["peek", "--admin", &admin, "--admin-token-file", &token], &request[2..]].concat());
    assert!(status == Some(2) && error.contains("name the file by --config"), "{error}");
}

#[test]
fn an_error_says_what_to_write_instead() {
    let config = limits("errors").display().to_string();
    let token = token_file("errors");
    let store = ["--store", "redis://127.0.0.1:1"];
    for (args, status, told) in [
        (&["peek", "user=a"][..], 2, "--store redis://HOST:6379, or --admin http://HOST:8080"),
        (&["peek", "user=a", "--store", "memory", "--config", &config], 2, "--admin http://HOST:8080"),
        (&["peek", "user=a", store[0], store[1]], 2, "--config must name the limits files"),
        (&["peek", store[0], store[1], "--config", &config], 2, "KEY=VALUE"),
        (&["peek", "user", store[0], store[1], "--config", &config], 2, "KEY=VALUE, not \"user\""),
        (&["peek", "usr=a", store[0], store[1], "--config", &config], 3, "no limit applies: "),
        (&["peek", "free=a", store[0], store[1], "--config", &config], 3, "unlimited"),
        (&["peek", "user=a", "--domain", "e", store[0], store[1], "--config", &config], 2, "there are edge"),
        (&["peek", "user=a", "--limit", "x", store[0], store[1], "--config", &config], 2, "write user (tg:"),
        (
            &["peek", "user=a", store[0], store[1], "--config", &config],
            2,
            "redis://127.0.0.1:1: the store: cannot connect",
        ),
        (&["grant", "user=a", store[0], store[1], "--config", &config], 2, "--hits <COUNT>"),
        (&["grant", "--hits", "0", "user=a"], 2, "--hits <COUNT>"),
        (&["reset", "user=a", store[0], store[1], "--config", &config], 2, "no terminal; write --yes"),
        (&["peek", "user=a", "--admin", "https://h"], 2, "plain HTTP: write http://HOST:8080"),
        (&["peek", "user=a", "--admin", "h/metrics"], 2, "such as http://127.0.0.1:8080"),
        (&["peek", "user=a", "--admin", "127.0.0.1:1"], 2, "--admin-token-file must name the file"),
        (
            &["peek", "user=a", "--admin", "127.0.0.1:1", "--admin-token-file", "/nowhere"],
            2,
            "from /nowhere: ",
        ),
        (
            &["peek", "user=a", "--admin", "127.0.0.1:1", "--admin-token-file", &token],
            2,
            "http://127.0.0.1:1: cannot connect: ",
        ),
    ] {
        let (code, printed, error) = tollgate(args);
        assert_eq!((code, printed.as_str()), (Some(status), ""), "{args:?}: {error}");
        assert!(error.contains(told) && !error.contains(TOKEN), "{args:?}: {error}");
    }
}

/// Runs it on a terminal on which somebody types this line. Returns what the terminal shows, and the exit status.
fn on_a_terminal(args: &[&str], typed: &str) -> (String, Option<i32>) {
    let tollgate = binaries::tollgate().expect("built").display().to_string();
    let quoted: Vec<String> =
        [tollgate.as_str()].iter().chain(args).map(|word| format!("'{word}'")).collect();
    let mut command = Command::new("script");
    command.args(["-qec", &quoted.join(" "), "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = command.spawn().expect("util-linux has script");
    std::io::Write::write_all(&mut terminal.stdin.take().expect("a pipe"), format!("{typed}\n").as_bytes())
        .expect("typed");
    let output = terminal.wait_with_output().expect("ends");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

#[tokio::test]
async fn a_reset_shows_what_is_there_and_asks_before_it_fills_it() {
    let Some(redis) = support::redis().await else { return };
    let (config, url) = (limits("asks").display().to_string(), redis.url());
    let place = ["--config", &config, "--store", &url, "careful=ann"];
    let reset = [&["reset"], &place[..]].concat();
    let level = || levels(&act(&[&["peek"], &place[..]].concat()))[0].1;
    for no in ["n", "", "yess"] {
        let (shown, status) = on_a_terminal(&reset, no);
        assert_eq!(status, Some(1), "{shown}");
        assert!(shown.contains("level 0 of 5") && shown.contains("Fill this bucket? [y/N]"), "{shown}");
        assert!(shown.contains("nothing was changed") && level() < 0.1, "{shown}");
    }
    let (shown, status) = on_a_terminal(&reset, "Y");
    assert_eq!(status, Some(0), "{shown}");
    assert!(
        shown.contains("level 0 before, 5 of 5 now") && shown.contains("notice within a second"),
        "{shown}"
    );
    assert_eq!(level(), 5.0);
}
