//! Redis, Tollgate, Envoy Gateway and its Envoys, started as they would be in a cluster.

use std::{
    env,
    fs::{self, read_to_string},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lab::{
    binaries::{Part, checkout},
    http,
    process::Process,
    redis::Redis,
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::{
    backend,
    certificates::{Certificates, SECRET, write},
    client::Request,
    folders, resources,
};

/// Envoy Gateway wants one named, or else asks the network for the newest.
pub(crate) const ENVOY_VERSION: &str = "1.40.0";
pub(crate) const PORT: u16 = 10080;
pub(crate) const OTHER_PORT: u16 = 10081;
pub(crate) const SECOND_PORT: u16 = 10090;
/// A change takes 2 s, or half a minute on a machine that compiles meanwhile.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const BASE: &str = "base.yaml";

/// For exact counts on a busy machine: a store deadline that it meets.
const PATIENT: &str = "TOLLGATE_STORE_DEADLINE=2s";

const GATEWAY_CONFIG: &str = "apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyGateway
gateway: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
provider:
  type: Custom
  custom:
    resource: {type: File, file: {paths: [RESOURCES]}}
    infrastructure:
      type: Host
      host: {configHome: CONFIG, dataHome: DATA, stateHome: STATE, runtimeDir: RUNTIME}
# Envoy's own 20 ms are short for a machine that compiles meanwhile, and what is late passes.
rateLimit: {timeout: 5s, backend: {type: Redis, redis: {url: \"localhost:6379\"}}}
extensionApis: {enableBackend: true, enableLua: true}
telemetry: {metrics: {prometheus: {disable: true}}}
";

/// Envoy Gateway runs this for each Envoy. It notes what to run, and Envoy is started from that: so Envoys outlive
/// Envoy Gateway, as in a cluster.
const STAND_IN: &str = r#"#!/bin/sh
name=$(echo "$2" | tr / -)
printf '%s\n' "$@" >"ENVOYS/.$name" && mv "ENVOYS/.$name" "ENVOYS/$name"
exec sleep infinity
"#;

pub(crate) struct Rig {
    pub(crate) certificates: Certificates,
    service: Process,
    gateway: Process,
    envoys: Vec<Process>,
    /// Whose resources are there.
    test: String,
    /// Of the resources that were written last.
    version: u32,
    _redis: Redis,
}

/// The one of all tests, which take turns. The first call of a test takes away the resources of the one before: Envoy
/// Gateway works on all that are there whenever one changes.
pub(crate) async fn rig() -> MappedMutexGuard<'static, Rig> {
    static RIG: Mutex<Option<Rig>> = Mutex::const_new(None);
    let mut rig = RIG.lock().await;
    if rig.is_none() {
        static TRIED: AtomicBool = AtomicBool::new(false);
        assert!(!TRIED.swap(true, Ordering::Relaxed), "it did not start for the first test");
        *rig = Some(Rig::start().await);
    }
    let test = thread::current().name().unwrap_or_default().to_owned();
    let started = rig.as_mut().expect("started");
    if started.test != test {
        started.test = test;
        started.remove_all();
    }
    MutexGuard::map(rig, |rig| rig.as_mut().expect("started"))
}

// === impl Rig ===

impl Rig {
    async fn start() -> Rig {
        assert!(
            is_alone(),
            "run these with `make gateway-test`, which makes a network of their own for them"
        );
        for folder in [folders::RESOURCES, folders::ENVOYS] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let certificates = Certificates::make(&gateway_binary());
        write(&Path::new(folders::RESOURCES).join(BASE), &resources::base());
        backend::start();
        // Later arguments win.
        let redis = Redis::start_with(&["--port", "6379"]).await.expect("Redis starts");
        // Before Envoy Gateway, which would take port 8081 for a health probe, and only logs that it cannot.
        let service = start_service(&[]).await;
        let gateway = start_gateway();
        let mut rig = Rig {
            certificates,
            service,
            gateway,
            envoys: Vec::new(),
            test: String::new(),
            version: 0,
            _redis: redis,
        };
        for gateway in resources::GATEWAYS {
            rig.start_envoy(gateway).await;
        }
        rig
    }

    async fn start_envoy(&mut self, gateway: &str) {
        let file = Path::new(folders::ENVOYS).join(format!("shop-{gateway}"));
        let noted = self.gateway.ready(async |_| read_to_string(&file).ok()).await;
        let noted = noted.expect("Envoy Gateway asks for an Envoy");
        let admin_file = file.with_extension("admin");
        let mut command = Command::new(Part::Envoy.find().expect("scripts/setup was run"));
        command.args(arguments(&noted)).args(["--concurrency", "1", "--disable-hot-restart"]);
        command.args(["--log-level", "warn", "--admin-address-path"]).arg(&admin_file);
        let mut envoy = Process::spawn(&format!("envoy-{gateway}"), &command).expect("Envoy starts");
        let ready = envoy.ready(async |_| {
            let admin: SocketAddr = read_to_string(&admin_file).ok()?.trim().parse().ok()?;
            http::get(admin, "/ready", &[]).await.ok()?.status.is_success().then_some(())
        });
        ready.await.expect("Envoy is ready");
        self.envoys.push(envoy);
    }

    /// SIGKILL, and a new one of which each connection is new.
    pub(crate) async fn restart_envoys(&mut self) {
        self.envoys.clear();
        for gateway in resources::GATEWAYS {
            self.start_envoy(gateway).await;
        }
    }

    /// Kills the rate-limit service, and starts it again with these variables besides. Returns as soon as it is healthy.
    pub(crate) async fn restart_service(&mut self, more: &[&str]) {
        self.service.kill();
        self.service = start_service(more).await;
    }

    /// Writes resources of that name, or their next version, and returns when they are in force for all of `probes`.
    pub(crate) async fn apply(&mut self, name: &str, texts: &[String], probes: &[Request]) {
        self.version += 1;
        let version = self.version;
        let file = Path::new(folders::RESOURCES).join(format!("{name}.yaml"));
        write(&file, &resources::numbered(&texts.concat(), version));
        for probe in probes {
            let probe = probe.clone().header("x-probe", &version.to_string());
            self.until(&probe, 429).await;
        }
    }

    fn remove_all(&self) {
        for entry in fs::read_dir(folders::RESOURCES).expect("a folder") {
            let path = entry.expect("can be read").path();
            if ![BASE, SECRET].iter().any(|kept| path.ends_with(kept)) {
                fs::remove_file(path).expect("removed");
            }
        }
    }

    /// Asks until it gets this status.
    pub(crate) async fn until(&self, request: &Request, status: u16) {
        let started = Instant::now();
        let mut seen = None;
        while started.elapsed() < PATIENCE {
            seen = request.send().await.map(|answer| answer.status.as_u16()).ok();
            if seen == Some(status) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("{request:?}: {seen:?} instead of {status} after {} s", PATIENCE.as_secs());
    }

    pub(crate) fn kill_gateway(&mut self) {
        self.gateway.kill();
    }

    pub(crate) fn restart_gateway(&mut self) {
        self.gateway.kill();
        self.gateway = start_gateway();
    }
}

/// Denied hits of this key, on the page and under the name by which Prometheus gets them from envoyproxy/ratelimit.
pub(crate) async fn over_limit(key: &str) -> u64 {
    let page = SocketAddr::from((Ipv4Addr::LOCALHOST, 19001));
    let page = http::get(page, "/metrics", &[]).await.expect("an answer").text();
    let (name, label) = ("ratelimit_service_rate_limit_over_limit{", format!("key2=\"{key}\""));
    let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(&label));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Whether this network has nothing but loopback.
fn is_alone() -> bool {
    let devices = read_to_string("/proc/net/dev").expect("Linux has it");
    devices.lines().filter_map(|line| line.split_once(':')).all(|(name, _)| name.trim() == "lo")
}

fn gateway_binary() -> PathBuf {
    let named = env::var_os("TOLLGATE_ENVOY_GATEWAY").filter(|value| !value.is_empty());
    named.map_or_else(|| checkout().join(".tools/bin/envoy-gateway"), PathBuf::from)
}

/// As its Deployment does, with these variables besides.
async fn start_service(more: &[&str]) -> Process {
    let mut command = Command::new("/usr/bin/env");
    command.arg("-i").args(deployed()).arg(PATIENT).args(more).arg("/bin/ratelimit");
    let mut service = Process::spawn("ratelimit", &command).expect("it starts");
    let health = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let ready = service.ready(async |_| {
        let answer = http::get(health, "/healthcheck", &[]).await.ok()?;
        answer.status.is_success().then_some(())
    });
    ready.await.expect("healthy");
    service
}

/// The variables of the Deployment that Envoy Gateway makes if nobody asks for more.
fn deployed() -> impl Iterator<Item = &'static str> {
    let deployments = include_str!("../ratelimit/deployments.txt");
    let blocks = deployments.split("\n\n").filter_map(|block| block.strip_prefix("== ")?.split_once('\n'));
    let mut defaults = blocks.filter(|(names, _)| names.split_whitespace().any(|name| name == "default"));
    defaults.next().expect("one is the default").1.lines()
}

fn start_gateway() -> Process {
    let bin = Path::new(folders::DATA).join("envoy-versions").join(ENVOY_VERSION).join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let stand_in = bin.join("envoy");
    fs::write(&stand_in, STAND_IN.replace("ENVOYS", folders::ENVOYS)).expect("written");
    fs::set_permissions(&stand_in, PermissionsExt::from_mode(0o755)).expect("executable");
    let config = Path::new("/run/gateway/envoy-gateway.yaml");
    let text = GATEWAY_CONFIG
        .replace("RESOURCES", folders::RESOURCES)
        .replace("CONFIG", folders::CONFIG)
        .replace("DATA", folders::DATA)
        .replace("STATE", folders::STATE)
        .replace("RUNTIME", folders::RUNTIME);
    fs::write(config, text).expect("written");
    let mut command = Command::new(gateway_binary());
    command.args(["server", "--config-path"]).arg(config);
    Process::spawn("envoy-gateway", &command).expect("Envoy Gateway starts")
}

/// Those by which Envoy knows who it is and whom to ask; the others are of the program that would run it.
fn arguments(noted: &str) -> Vec<String> {
    let after = |flag: &str| noted.split_once(&format!("{flag}\n")).expect("is there").1;
    let line = |flag: &str| after(flag).lines().next().unwrap_or_default().to_owned();
    let bootstrap = after("--config-yaml").split("\n--log-level\n").next().unwrap_or_default().to_owned();
    let cluster = ["--service-cluster".to_owned(), line("--service-cluster")];
    let node = ["--service-node".to_owned(), line("--service-node")];
    [cluster, node, ["--config-yaml".to_owned(), bootstrap]].concat()
}
