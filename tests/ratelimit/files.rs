//! Rules by files, where the reference looks for them.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use crate::program::{LIMITS, Program, ask, root};

/// Fails the test unless the limit in force becomes this one within 10 s.
async fn until_limit_is(program: &Program, requests_per_unit: u32) {
    let mut client = program.client().await;
    for _ in 0..200 {
        let status = &ask(&mut client).await.statuses[0];
        if status.current_limit.as_ref().is_some_and(|limit| limit.requests_per_unit == requests_per_unit) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}", program.process.log_text());
}

/// Replaces a link as Kubernetes does: at once.
fn swap(link: &Path, target: &str) {
    let new = link.with_file_name("..new");
    symlink(target, &new).expect("can be made");
    fs::rename(new, link).expect("can be renamed");
}

fn limits(requests_per_unit: u32) -> String {
    LIMITS.replace("requests_per_unit: 2", &format!("requests_per_unit: {requests_per_unit}"))
}

#[tokio::test]
async fn a_config_map_that_is_updated_takes_effect_with_and_without_its_hidden_names() {
    for ignored in ["true", "false"] {
        let (three, four) = (limits(3), limits(4));
        let versions = [
            ("ratelimit/config/..v1/limits.yaml", three.as_str()),
            ("ratelimit/config/..v2/limits.yaml", &four),
        ];
        let root = root(&format!("map-{ignored}"), &versions[..1]);
        let folder = root.join("ratelimit/config");
        symlink("..v1", folder.join("..data")).expect("can be made");
        symlink("..data/limits.yaml", folder.join("limits.yaml")).expect("can be made");
        let text = root.display().to_string();
        let variables = [
            ("RUNTIME_ROOT", text.as_str()),
            ("RUNTIME_SUBDIRECTORY", "ratelimit"),
            ("RUNTIME_IGNOREDOTFILES", ignored),
            ("RUNTIME_WATCH_ROOT", "false"),
            ("TOLLGATE_STORE", "memory"),
        ];
        let program = Program::start(&variables).await.expect("starts");
        until_limit_is(&program, 3).await;
        fs::create_dir(folder.join("..v2")).expect("can be made");
        fs::write(folder.join("..v2/limits.yaml"), &four).expect("can be written");
        swap(&folder.join("..data"), "..v2");
        fs::remove_dir_all(folder.join("..v1")).expect("can be removed");
        until_limit_is(&program, 4).await;
    }
}

#[tokio::test]
async fn a_runtime_root_that_is_swapped_takes_effect() {
    let (three, four) = (limits(3), limits(4));
    // Its files may have any name, and lie in subfolders.
    let root = root("swapped", &[("v1/a/config/edge/limits", &three), ("v2/a/config/edge/limits", &four)]);
    let current = root.join("current");
    symlink("v1", &current).expect("can be made");
    let text = current.display().to_string();
    let variables =
        [("RUNTIME_ROOT", text.as_str()), ("RUNTIME_SUBDIRECTORY", "a"), ("TOLLGATE_STORE", "memory")];
    let program = Program::start(&variables).await.expect("starts");
    until_limit_is(&program, 3).await;
    swap(&current, "v2");
    until_limit_is(&program, 4).await;
    // A broken file changes nothing.
    fs::write(root.join("v2/a/config/edge/limits"), "domain: [").expect("can be written");
    tokio::time::sleep(Duration::from_secs(3)).await;
    until_limit_is(&program, 4).await;
    assert!(program.process.log_text().contains("was refused"), "{}", program.process.log_text());
}
