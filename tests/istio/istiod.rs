//! A real istiod, with its configuration in a folder.

use std::{
    env, fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use lab::{binaries::checkout, http, ports, process::Process};

use crate::kubernetes;

pub(crate) struct Istiod {
    process: Process,
    xds: SocketAddr,
}

/// Finds `pilot-discovery` or `istioctl`, or says that it is missing: they are Go and take minutes to build.
pub(crate) fn program(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(named) = env::var_os(variable).filter(|value| !value.is_empty()) {
        return Some(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(checkout().join(".tools/bin"))
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        let required = env::var_os("TOLLGATE_REQUIRE_ISTIO").is_some_and(|value| value == "1");
        assert!(!required, "no {name} in .tools/bin or on PATH: run scripts/setup istio");
        let line = format!("\nSKIPPED: no {name} in .tools/bin or on PATH: run scripts/setup istio\n");
        // Not eprintln!, which the test runner swallows when the test passes.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    found
}

impl Istiod {
    /// Reads `resources` and, as its mesh configuration, `mesh`; returns when it answers.
    pub(crate) async fn start(program: &Path, name: &str, mesh: &str, resources: &[String]) -> Istiod {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("istiod-{name}"));
        let config = folder.join("config");
        // A run before this one may have left other files.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&config).expect("the target folder can be written");
        let write = |file: &str, text: &str| fs::write(folder.join(file), text).expect("can be written");
        write("config/all.yaml", &resources.join("\n---\n"));
        write("mesh.yaml", mesh);
        write("kubeconfig", &kubeconfig(kubernetes::start().await));

        let addr = || SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().expect("a free port")));
        let (xds, web, monitoring, control) = (addr(), addr(), addr(), addr());
        let mut command = Command::new(program);
        command
            .args(["discovery", "--registries=Kubernetes", "--httpsAddr=", "--secureGRPCAddr="])
            .args([format!("--grpcAddr={xds}"), format!("--httpAddr={web}")])
            .args([format!("--monitoringAddr={monitoring}"), format!("--ctrlz_port={}", control.port())])
            .arg(format!("--kubeconfig={}", folder.join("kubeconfig").display()))
            .arg(format!("--meshConfig={}", folder.join("mesh.yaml").display()))
            .arg(format!("--configDir={}", config.display()))
            .env("POD_NAMESPACE", "istio-system")
            // Its filter is one of Istio's own proxy build.
            .env("PILOT_ENABLE_METADATA_EXCHANGE", "false");
        let mut process = Process::spawn("istiod", &command).expect("istiod starts");
        process
            .ready(async |_| http::get(web, "/ready", &[]).await.ok().filter(|answer| answer.status == 200))
            .await
            .expect("istiod is ready");
        Istiod { process, xds }
    }

    /// Where it serves configuration to proxies, in plain text.
    pub(crate) const fn xds(&self) -> SocketAddr {
        self.xds
    }

    pub(crate) fn log_text(&self) -> String {
        self.process.log_text()
    }
}

fn kubeconfig(api: SocketAddr) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [ {{ name: none, cluster: {{ server: 'http://{api}' }} }} ]
users: [ {{ name: none, user: {{}} }} ]
contexts: [ {{ name: none, context: {{ cluster: none, user: none }} }} ]
current-context: none
"
    )
}
