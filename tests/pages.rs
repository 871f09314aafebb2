//! Links lead somewhere, and what `docs/migrate.md` shows is what happens: its limits files, its metrics, and the trial
//! beside another service.

mod support;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lab::{
    binaries::{self, Part},
    envoy::{Config, Envoy},
    http,
    tollgate::{Serve, Tollgate},
};

fn pages() -> Vec<PathBuf> {
    let root = binaries::checkout();
    let mut pages = Vec::new();
    for folder in [root.to_path_buf(), root.join("docs"), root.join("envoy")] {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

/// Without blocks of code, which may show links that are none.
fn prose(page: &Path) -> String {
    fs::read_to_string(page).expect("a page").split("\n```").step_by(2).collect()
}

/// As GitHub makes them of headings: `## The store` is `the-store`.
fn anchors(page: &Path) -> HashSet<String> {
    let text = prose(page);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().chars().flat_map(char::to_lowercase);
        let kept = kept.filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn what_leases_cost_is_said_in_the_same_words_everywhere() {
    let words =
        "a request that fits may be denied while runtimes hold hits that they have reserved and not spent";
    let places = [
        "README.md",
        "docs/promise.md",
        "docs/leases.md",
        "docs/why-it-holds.md",
        "prove/src/args.rs",
        "src/cli/defaults.rs",
        "tests/simulation/leases.rs",
    ];
    for place in places {
        let text = fs::read_to_string(binaries::checkout().join(place)).expect("a file");
        let text =
            text.lines().map(|line| line.trim().trim_start_matches("//").trim_start_matches(['/', '!']));
        let text: Vec<&str> = text.flat_map(str::split_whitespace).collect();
        assert!(text.join(" ").contains(words), "{place}");
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let (mut broken, mut links) = (Vec::new(), 0);
    for page in pages() {
        let text = prose(&page).replace('\n', " ");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let is_right = target.exists() && (heading.is_empty() || anchors(&target).contains(heading));
            if !is_right {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(links > 50, "{links} links are all that was found");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The blocks of YAML that begin like this.
fn blocks(beginning: &str) -> Vec<String> {
    let page = fs::read_to_string(binaries::checkout().join("docs/migrate.md")).expect("the page");
    let fenced = page.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    fenced.map(|(block, _)| block.to_owned()).filter(|block| block.starts_with(beginning)).collect()
}

/// Exit status 0, and what it printed.
fn tollgate(args: &[&str]) -> String {
    let output = Command::new(binaries::tollgate().expect("built")).args(args).output().expect("runs");
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    assert!(output.status.success(), "{args:?}: {printed}");
    printed
}

#[test]
fn limits_that_came_from_limitador_apply_as_the_page_says() {
    let files = blocks("domain:");
    let [shop, api] = files.as_slice() else { panic!("two worked examples, not {}", files.len()) };
    let file = |name: &str, text: &str| support::file(name, text).display().to_string();
    let (shop, api) = (file("migrate-shop.yaml", shop), file("migrate-api.yaml", api));
    tollgate(&["check", "--strict", &shop, &api]);
    for (config, entries, limits) in [
        (&shop, ["req.method=GET", "user_id=ann"], &["10 per minute"][..]),
        (&shop, ["req.method=POST", "user_id=ann"], &["5 per minute"]),
        (&api, ["plan=internal", "tenant=t"], &["1000 per day"]),
        (&api, ["plan=gold", "tenant=t"], &["100 per 30 seconds", "1000 per day"]),
    ] {
        let told = tollgate(&["explain", "--config", config, entries[0], entries[1]]);
        let applied: Vec<&str> = told.lines().filter(|line| line.starts_with("  limit ")).collect();
        assert_eq!(applied.len(), limits.len(), "{entries:?}: {told}");
        for (applied, limit) in applied.iter().zip(limits) {
            assert!(applied.contains(&format!(": {limit}, ")), "{entries:?}: {applied}");
        }
    }
    let bucket = |plan: &str| {
        let told = tollgate(&["explain", "--config", &api, plan, "tenant=t"]);
        let found = told.split("bucket ").nth(1).and_then(|rest| rest.split(':').next().map(str::to_owned));
        found.expect("a bucket")
    };
    assert_eq!(bucket("plan=gold"), bucket("plan=silver"), "a tenant has one bucket, whatever its plan");
}

#[test]
fn every_metric_that_the_page_names_is_explained_for_operators() {
    let read =
        |page: &str| fs::read_to_string(binaries::checkout().join("docs").join(page)).expect("the page");
    let (page, operate) = (read("migrate.md"), read("operate.md"));
    let words = page.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
    let metrics: Vec<&str> = words.filter(|word| word.starts_with("tollgate_")).collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        assert!(operate.contains(&format!("`{metric}`")), "{metric} is not in docs/operate.md");
    }
}

/// An Envoy as in `examples/envoy.yaml`, with the trial of the page before the filter that is there.
fn with_trial(incumbent: &Tollgate, trial: &Tollgate) -> Config {
    let trials = blocks("- name: trial\n");
    let [filter, cluster] = trials.as_slice() else { panic!("a filter and a cluster, not {}", trials.len()) };
    let indented = |text: &str, by: usize| -> String {
        text.lines().flat_map(|line| [&" ".repeat(by), line, "\n"].map(ToOwned::to_owned)).collect()
    };
    let port = format!("port_value: {} ", trial.grpc().port());
    let cluster = cluster.replace("port_value: 8081 ", &port);
    assert!(cluster.contains(&port), "{cluster}");
    // A busy machine must not turn answers into timeouts.
    let filter = filter.replace("timeout: 0.05s", "timeout: 5s");
    let before = "          - name: envoy.filters.http.ratelimit\n";
    let clusters = "  clusters:\n";
    let config =
        Config::example(incumbent.grpc()).and_then(|config| config.replace("timeout: 0.1s", "timeout: 5s"));
    let config = config.and_then(|config| config.replace(before, &(indented(&filter, 10) + before)));
    let config =
        config.and_then(|config| config.replace(clusters, &(clusters.to_owned() + &indented(&cluster, 2))));
    config.expect("the example has these places")
}

async fn decided(tollgate: &Tollgate, verdict: &str) -> u64 {
    let page = http::get(tollgate.admin(), "/metrics", &[]).await.expect("an answer").text();
    let wanted = format!("verdict=\"{verdict}\"");
    let lines =
        page.lines().filter(|line| line.starts_with("tollgate_decisions_total{") && line.contains(&wanted));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// In the role of the incumbent is a Tollgate with a smaller limit, so that each filter's answer shows.
#[tokio::test]
async fn a_trial_in_shadow_mode_counts_what_it_would_deny_and_changes_no_answer() {
    if !lab::real::available(&[Part::Envoy]) {
        return;
    }
    let limits = |name: &str, number: u32| {
        let text = format!(
            "domain: edge\ndescriptors:\n- key: route\n  descriptors:\n  - key: api_key\n    rate_limit: \
             {{ unit: day, algorithm: token_bucket, requests_per_unit: {number} }}\n"
        );
        support::file(&format!("migrate-{name}.yaml"), &text)
    };
    let incumbent = Tollgate::start(&Serve::new(limits("incumbent", 4))).await.expect("starts");
    let serve = Serve::new(limits("trial", 2)).args(&["--shadow-mode", "--headers", "none"]);
    let mut trial = Tollgate::start(&serve).await.expect("starts");
    let envoy = Envoy::start(&with_trial(&incumbent, &trial)).await.expect("Envoy starts");
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(http::get(envoy.listen(), "/", &[("x-api-key", "a")]).await.expect("an answer"));
    }
    let codes: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(codes, [200, 200, 200, 200, 429, 429], "the incumbent's limit");
    let remaining: Vec<_> = answers.iter().map(|answer| answer.header("ratelimit-remaining")).collect();
    assert_eq!(remaining, ["3", "2", "1", "0", "0", "0"].map(Some), "the incumbent's headers alone");
    assert_eq!((decided(&incumbent, "allow").await, decided(&incumbent, "deny").await), (4, 2));
    assert_eq!(
        (decided(&trial, "allow").await, decided(&trial, "deny").await),
        (2, 4),
        "as if it was enforced"
    );
    let counter =
        async |name: &str| envoy.counter(&format!("cluster.application.ratelimit.trial.{name}")).await;
    assert_eq!((counter("ok").await.expect("a counter"), counter("error").await.expect("a counter")), (6, 0));

    trial.kill();
    let answer = http::get(envoy.listen(), "/", &[("x-api-key", "b")]).await.expect("an answer");
    assert_eq!(
        answer.header("ratelimit-remaining"),
        Some("3"),
        "without the trial, the incumbent still decides"
    );
    assert_eq!(counter("error").await.expect("a counter"), 1);
}
