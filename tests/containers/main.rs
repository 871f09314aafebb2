//! compose.yaml runs the files under envoy/ through containers.sed. `make compose-test` shows the result in an
//! engine. These tests show that the script knows every address and setting to replace, and that the image is built
//! from all it needs.
#![cfg(target_os = "linux")] // It is written for the sed of Envoy's image, which is GNU's.

mod compose;
mod dashboard;
mod deploy;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

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

#[test]
fn what_the_program_embeds_is_there_when_the_image_is_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("can be read");
    let (dockerfile, ignored) = (read("Dockerfile"), read(".dockerignore"));
    let mut embedded = Vec::new();
    embeds(&root.join("src"), &mut embedded);
    assert!(embedded.contains(&"lua".to_owned()), "{embedded:?}");
    for folder in embedded {
        assert!(
            dockerfile.contains(&format!("\nCOPY {folder} {folder}\n")),
            "the Dockerfile copies no {folder}/"
        );
        assert!(ignored.contains(&format!("\n!{folder}\n")), ".dockerignore leaves {folder}/ out");
    }
}

#[test]
fn the_image_has_the_program_under_the_name_of_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).expect("can be read");
    let (build, image) = dockerfile.split_once("\nFROM gcr.io/distroless/").expect("two stages");
    // A folder is copied with the links in it; a link that is named would be copied as the file that it leads to.
    assert!(build.contains("ln -s /usr/local/bin/tollgate /links/ratelimit"));
    assert!(image.contains("\nCOPY --from=build /links/ /bin/\n"));
    assert!(image.contains("\nCOPY --from=build /tollgate /usr/local/bin/tollgate\n"));
    // These would take precedence over the variables of the reference.
    let variables = image.split_whitespace().filter(|word| word.starts_with("TOLLGATE_"));
    for variable in variables.filter(|word| word.contains('=')) {
        assert!(variable.starts_with("TOLLGATE_IMAGE_"), "{variable}");
    }
}

/// The folders beside src/ from which the sources in `folder` embed something.
fn embeds(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("can be read") {
        let path = entry.expect("can be read").path();
        if path.is_dir() {
            embeds(&path, into);
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8");
        let embedded = text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
        // Other paths stay within src.
        let outside = embedded.filter_map(|path| path.rsplit_once("../")?.1.split_once('/'));
        into.extend(outside.map(|(folder, _)| folder.to_owned()));
    }
}

/// What `scripts/image` says, and what it asked of a Docker on linux/amd64 that only writes down what it is asked.
fn image(version: &str, platform: &str) -> (bool, String, String) {
    let name = format!("docker-{version}-{}", platform.replace('/', "-"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("can be written");
    let (docker, asked) = (folder.join("docker"), folder.join("asked"));
    let stub = "#!/bin/sh\ncase $1 in version) echo linux/amd64 ;; esac\n";
    fs::write(&docker, format!("{stub}echo \"$@\" >>'{}'\n", asked.display())).expect("can be written");
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).expect("can be written");
    let _ = fs::remove_file(&asked);
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").expect("a PATH"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/image");
    let output = Command::new(script).args([version, platform]).env("PATH", path).output().expect("runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.success(), said, fs::read_to_string(asked).unwrap_or_default())
}

#[test]
fn an_image_bears_the_version_that_its_program_reports() {
    let version = env!("CARGO_PKG_VERSION");
    for (given, tag) in
        [(version.to_owned(), version.to_owned()), (format!("{version}+b1"), format!("{version}-b1"))]
    {
        let (built, said, asked) = image(&given, "linux/arm64");
        assert!(built, "{said}");
        let wanted = format!(
            "build --platform linux/arm64 --build-arg BUILD=ordinary --tag tollgate:{tag} \
             --label org.opencontainers.image.version={given} "
        );
        assert!(asked.contains(&wanted), "{asked}");
    }
    let (built, said, asked) = image("99.0", "linux/arm64");
    assert!(!built && asked.is_empty(), "{asked}");
    assert!(said.contains(&format!("write VERSION={version}")), "{said}");
}

#[test]
fn an_image_for_the_engines_own_platform_is_built_with_a_profile() {
    let version = env!("CARGO_PKG_VERSION");
    for (platform, wanted) in [("", "build --tag"), ("linux/amd64", "build --platform linux/amd64 --tag")] {
        let (built, said, asked) = image(version, platform);
        assert!(built && asked.contains(wanted) && !asked.contains("BUILD="), "{said}{asked}");
    }
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile");
    let dockerfile = fs::read_to_string(dockerfile).expect("can be read");
    assert!(
        dockerfile.contains("\nARG BUILD=profiled\n") && dockerfile.contains("\nFROM ${BUILD} AS build\n")
    );
}
