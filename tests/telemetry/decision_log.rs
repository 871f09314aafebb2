//! `--decision-log`: files that come and go, pipes without readers, full disks.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use lab::process::Signal;
use serde_json::Value;
use tollgate::{clock, pb::rate_limit_response::Code as Overall};

use super::{Service, VALUE};

const WRITTEN: &str = "tollgate_decision_log_lines_total{result=\"written\"}";
const DROPPED: &str = "tollgate_decision_log_lines_total{result=\"dropped\"}";

/// A path that does not exist yet.
fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("decision-log-{name}"));
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir_all(&path);
    path
}

async fn logging_to(test: &str, file: &Path, more: &[&str]) -> Service {
    let file = file.display().to_string();
    Service::start(test, |serve| serve.args(&["--decision-log", &file]).args(more)).await
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("can be read");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn a_renamed_file_gets_no_more_lines_after_sigusr1_and_no_line_is_lost() {
    let (file, renamed) = (path("rotated"), path("rotated.1"));
    let mut service = logging_to("rotated", &file, &["--decision-log-admissions", "2"]).await;
    for _ in 0..4 {
        service.ask("user", &[]).await;
    }
    for _ in 0..3 {
        service.ask("once", &[]).await;
    }
    // Two of four, and two denials; the admission between them is the first of the next two.
    service.until_counted(WRITTEN, 4).await;
    let first = lines(&file);
    assert!(first.iter().all(|line| line["domain"] == "edge" && line["door"] == "rls"), "{first:?}");
    assert_eq!(first.iter().filter(|line| line["verdict"] == "deny").count(), 2, "{first:?}");
    assert!(!fs::read_to_string(&file).expect("can be read").contains(VALUE));

    fs::rename(&file, &renamed).expect("can be renamed");
    service.ask("once", &[]).await;
    service.until_counted(WRITTEN, 5).await;
    assert_eq!(lines(&renamed).len(), 5, "without the signal, the file is the same");
    service.process.signal(Signal::Reopen).expect("is sent");
    service.until_logged("was opened again").await;
    service.ask("once", &[]).await;
    service.until_counted(WRITTEN, 6).await;
    assert_eq!((lines(&renamed).len(), lines(&file).len()), (5, 1));
    // What is still queued at the end is written.
    service.ask("once", &[]).await;
    service.process.terminate(Duration::from_secs(10)).await.expect("ends");
    assert_eq!(lines(&file).len(), 2);
}

#[tokio::test]
async fn a_missing_folder_is_told_and_the_lines_come_once_it_is_there() {
    let folder = path("missing");
    let file = folder.join("log.json");
    let mut service = logging_to("missing", &file, &["--show-values"]).await;
    service.ask("once", &[]).await;
    assert_eq!(service.ask("once", &[]).await.overall_code(), Overall::OverLimit);
    service.until_logged("the decision log cannot be written").await;
    assert!(service.process.log_text().contains("no such file or directory"));
    fs::create_dir(&folder).expect("is made");
    service.until_counted(WRITTEN, 1).await;
    service.until_logged("can be written again").await;
    assert_eq!(lines(&file)[0]["entries"][0]["value"], VALUE);
}

#[tokio::test]
async fn a_full_disk_costs_lines_and_no_request_waits() {
    let mut service = logging_to("full", Path::new("/dev/full"), &["--decision-log-admissions", "1"]).await;
    let started = clock::monotonic();
    // More than the queue holds, with what the writer has taken already.
    for _ in 0..6_000 {
        assert_eq!(service.ask("user", &[]).await.overall_code(), Overall::Ok);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    service.until_counted(DROPPED, 1).await;
    assert_eq!(service.counted(WRITTEN).await, 0);
    service.until_logged("no space left on device").await;
    let told = service.process.log_text();
    assert_eq!(told.matches("cannot be written").count(), 1, "once an hour: {told}");
}

#[tokio::test]
async fn a_pipe_without_a_reader_holds_up_nothing_and_gets_whole_lines_once_it_is_read() {
    let pipe = path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
    let mut service = logging_to("pipe", &pipe, &[]).await;
    service.ask("once", &[]).await;
    assert_eq!(service.ask("once", &[]).await.overall_code(), Overall::OverLimit);
    service.until_logged("nobody reads the named pipe").await;
    let read = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(fs::File::open(pipe).expect("can be read")).read_line(&mut line).expect("a line");
        line
    });
    let line = tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time").expect("no panic");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&line["rule"], &line["verdict"]), (&"once".into(), &"deny".into()));
    // The reader is gone again.
    for _ in 0..3 {
        service.ask("once", &[]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(service.ask("once", &[]).await.overall_code(), Overall::OverLimit);
}

#[tokio::test]
async fn standard_output_has_the_lines_and_the_log_of_the_process_does_not() {
    let mut service = Service::start("stdout", |serve| serve.args(&["--decision-log", "-"])).await;
    service.ask("once", &[]).await;
    service.ask("once", &[]).await;
    service.until_logged("\"verdict\":\"deny\"").await;
    assert!(!service.process.log_text().contains(VALUE));
}

#[tokio::test]
async fn a_key_has_one_name_in_the_logs_of_all_replicas_and_on_the_live_page() {
    let Some(redis) = super::support::redis().await else { return };
    let store = redis.url();
    let mut replicas = Vec::new();
    for name in ["one", "two"] {
        let file = path(&format!("names-{name}"));
        let more = ["--store", &store[..], "--store-deadline", "5s"];
        let service = logging_to(&format!("names-{name}"), &file, &more).await;
        service.until_ready().await;
        replicas.push((service, file));
    }
    // The secret is asked for at the end of a second, and until then each process has names of its own.
    for _ in 0..200 {
        for (service, _) in &mut replicas {
            service.ask("once", &[]).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let newest = |file: &PathBuf| lines(file).pop().map(|line| line["key"].clone());
        let (one, two) = (newest(&replicas[0].1), newest(&replicas[1].1));
        if let (Some(name), true) = (&one, one == two) {
            let name = name.as_str().expect("a text");
            assert!(name.starts_with("c-"), "{name}");
            for (service, _) in &replicas {
                let events =
                    lab::http::get(service.process.admin(), "/events", &[]).await.expect("an answer");
                assert!(events.text().contains(name), "{name} {}", events.text());
            }
            return;
        }
    }
    panic!("the names differ: {:?}", replicas.iter().map(|(_, file)| lines(file).pop()).collect::<Vec<_>>());
}
