//! A panic is logged in the format of the log, and does not flood it.

use std::{env, process::Command, thread};

use serde_json::Value;
use tollgate::logging::{self, Format};

const CHILD: &str = "TOLLGATE_TEST_PANICS";

#[test]
fn a_panic_is_one_line_of_the_log_with_its_place_and_its_text_however_often_it_comes() {
    if env::var_os(CHILD).is_some() {
        logging::init(Format::Json, None).expect("logs");
        let number = 7;
        for _ in 0..3 {
            let ended = thread::Builder::new()
                .name("unlucky".to_owned())
                .spawn(move || panic!("it was {number}"))
                .expect("a thread")
                .join();
            assert!(ended.is_err());
        }
        return;
    }
    let mut child = Command::new(env::current_exe().expect("this program"));
    child.args([
        "a_panic_is_one_line_of_the_log_with_its_place_and_its_text_however_often_it_comes",
        "--exact",
        "--nocapture",
    ]);
    let output =
        child.env(CHILD, "1").env_remove("RUST_BACKTRACE").env_remove("RUST_LOG").output().expect("runs");
    let log = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(output.status.success() && lines.len() == 1 && !log.contains("panicked at"), "{log}");
    assert_eq!(lines[0]["message"], "a bug in Tollgate, please report it: it was 7");
    assert_eq!((&lines[0]["level"], &lines[0]["thread"]), (&"ERROR".into(), &"unlucky".into()));
    assert!(lines[0]["place"].as_str().is_some_and(|place| place.starts_with("tests/panics.rs:")), "{log}");
    assert_eq!((lines[0].get("backtrace"), &lines[0]["times"]), (None, &1.into()));
}
