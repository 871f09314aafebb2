//! The Deployments that Envoy Gateway renders for envoyproxy/ratelimit: the program starts with exactly their
//! environments, accounts for every variable, takes rules from a control plane and limits by them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper_util::rt::TokioIo;
use lab::redis::Redis;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, ServerName, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};
use tollgate::pb::{
    RateLimitRequest, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    rules::RateLimitUnit,
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    connector::Connector,
    pages::{get, port, wait},
    program::{Program, request},
    support::{
        self,
        ads::{self, Ads},
        authority::Authority,
    },
};

type Variables = Vec<(String, String)>;

/// What stands for a value that Kubernetes fills in.
const FROM: &str = "<from>";
/// Variables in them that the reference does not read either.
const OF_USERS: [&str; 2] = ["env_a", "env_b"];

/// The distinct sets of variables, each with the names of its files.
fn deployments() -> Vec<(String, Variables)> {
    let text = include_str!("deployments.txt");
    let sets = text.split("\n== ").skip(1).map(|set| {
        let (names, variables) = set.split_once('\n').expect("variables");
        let variables = variables.lines().filter_map(|line| line.split_once('='));
        (names.to_owned(), variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    });
    sets.collect()
}

/// The value of a scalar of YAML that stands on one line.
fn unquoted(text: &str) -> String {
    text.trim().trim_matches('"').to_owned()
}

/// The variables in a golden file, which has one container.
fn variables_of(deployment: &str) -> Variables {
    let (_, from_env) = deployment.split_once("        env:\n").expect("it has variables");
    let mut variables = Variables::new();
    for line in
        from_env.lines().take_while(|line| line.starts_with("         ") || line.starts_with("        - "))
    {
        match line.strip_prefix("        - name: ") {
            Some(name) => variables.push((unquoted(name), FROM.to_owned())),
            None => {
                if let (Some(value), Some(last)) =
                    (line.strip_prefix("          value: "), variables.last_mut())
                {
                    last.1 = unquoted(value);
                }
            }
        }
    }
    variables
}

/// Where `go mod download` puts Envoy Gateway.
fn golden_files() -> PathBuf {
    let cache = env::var_os("GOMODCACHE").map(PathBuf::from);
    let go = || env::var_os("GOPATH").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join("go")));
    let cache = cache.or_else(|| Some(go()?.join("pkg/mod"))).unwrap_or_default();
    cache.join("github.com/envoyproxy/gateway@v1.9.1/internal/infrastructure/kubernetes/ratelimit/testdata/deployments")
}

#[test]
fn the_sets_of_variables_are_those_of_the_golden_files() {
    let Ok(folder) = fs::read_dir(golden_files()) else {
        eprintln!("SKIPPED: Envoy Gateway's module is not at {}", golden_files().display());
        return;
    };
    let mut by_name: BTreeMap<String, Variables> = BTreeMap::new();
    for (names, variables) in deployments() {
        by_name.extend(names.split(' ').map(|name| (name.to_owned(), variables.clone())));
    }
    let mut seen = BTreeSet::new();
    for file in folder {
        let path = file.expect("can be read").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("can be read");
        assert_eq!(by_name.get(&name), Some(&variables_of(&text)), "{name}");
        seen.insert(name);
    }
    assert_eq!(seen, by_name.into_keys().collect());
}

/// What stands at the paths and addresses that a Deployment names.
struct Cluster {
    redis: Redis,
    tls_port: u16,
    authority: Authority,
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl Cluster {
    async fn start() -> Option<Cluster> {
        if !lab::real::available(&[lab::binaries::Part::Redis]) {
            return None;
        }
        let authority = Authority::new("golden");
        let (certificate, key) = authority.files("golden-pod");
        let ca = authority.file("golden-ca");
        let tls_port = lab::ports::free().expect("a free port");
        let (port, files) =
            (tls_port.to_string(), [&certificate, &key, &ca].map(|path| path.display().to_string()));
        let args = ["--tls-port", &port, "--tls-cert-file", &files[0], "--tls-key-file", &files[1]];
        let args = [&args[..], &["--tls-ca-cert-file", &files[2], "--tls-auth-clients", "yes"]].concat();
        let redis = Redis::start_with(&args).await.expect("Redis starts");
        Some(Cluster { redis, tls_port, authority, certificate, key, ca })
    }

    /// The value with the path or the address that it has here. Everything else stays as it is.
    fn here(&self, name: &str, value: &str, is_tls: bool, control_plane: SocketAddr) -> String {
        let file = |path: &Path| path.display().to_string();
        match (name, value) {
            (_, "/certs/tls.crt" | "/redis-certs/tls.crt") => file(&self.certificate),
            (_, "/certs/tls.key" | "/redis-certs/tls.key") => file(&self.key),
            (_, "/certs/ca.crt") => file(&self.ca),
            ("REDIS_URL", _) if is_tls => format!("127.0.0.1:{}", self.tls_port),
            ("REDIS_URL", _) => self.redis.addr().to_string(),
            ("PROMETHEUS_ADDR", _) => "127.0.0.1:0".to_owned(),
            ("CONFIG_GRPC_XDS_SERVER_URL", _) => control_plane.to_string(),
            (_, FROM) => "the pod's".to_owned(),
            (_, value) => value.to_owned(),
        }
    }

    fn adapted(&self, variables: &Variables, control_plane: SocketAddr) -> Variables {
        let is_tls = variables.iter().any(|(name, value)| name == "REDIS_TLS" && value == "true");
        let mut adapted: Variables = variables
            .iter()
            .map(|(name, value)| (name.clone(), self.here(name, value, is_tls, control_plane)))
            .collect();
        // The system here trusts the authority of this Redis.
        adapted.push(("SSL_CERT_FILE".to_owned(), self.ca.display().to_string()));
        adapted
    }

    /// By mutual TLS, to an address, without a name: as Envoy Gateway's Envoys do.
    async fn connect(&self, at: SocketAddr) -> RateLimitServiceClient<Channel> {
        let (chain, key) = self.authority.sign("envoy");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config =
            builder.with_root_certificates(self.authority.roots()).with_client_auth_cert(vec![chain], key);
        let mut config = config.expect("a client");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let config = Arc::new(config);
        let connector = Connector(move || {
            let tls = TlsConnector::from(Arc::clone(&config));
            async move {
                tls.connect(ServerName::from(at.ip()), TcpStream::connect(at).await?).await.map(TokioIo::new)
            }
        });
        let channel = Endpoint::from_static("http://tollgate").connect_with_connector(connector).await;
        RateLimitServiceClient::new(channel.expect("connects"))
    }

    /// Its certificate has a name that nobody connects to, and it demands one of its clients, as Envoy Gateway does.
    async fn control_plane(&self) -> Ads {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.authority.roots());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_client_cert_verifier(clients.expect("roots"));
        let (certificate, key) = self.authority.sign_for("envoy-gateway", "envoy-gateway.elsewhere");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let mut config = builder.with_single_cert(vec![certificate], key).expect("a pair");
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ads::start_at(([127, 0, 0, 1], 0).into(), Some(config)).await
    }
}

/// The names in a list of the line that accounts for the variables.
fn listed<'a>(account: &'a str, list: &str) -> Vec<&'a str> {
    let (_, rest) = account.split_once(&format!("{list}=\"")).expect("the list");
    let names = rest.split('"').next().unwrap_or_default();
    names.split(", ").filter(|name| !name.is_empty()).collect()
}

#[tokio::test]
async fn the_program_starts_with_each_environment_and_accounts_for_every_variable() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut sets = deployments();
    sets.sort_by_key(|(_, variables)| variables.iter().any(|(name, _)| name == "REDIS_AUTH"));
    for (number, (names, variables)) in sets.into_iter().enumerate() {
        let mut control_plane = cluster.control_plane().await;
        let adapted = cluster.adapted(&variables, control_plane.addr());
        let adapted: Vec<(&str, &str)> =
            adapted.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // No later set is without a password.
        if let Some((_, password)) = variables.iter().find(|(name, _)| name == "REDIS_AUTH") {
            let mut connection = support::connection(&cluster.redis);
            let set = redis::cmd("CONFIG").arg(&["SET", "requirepass", password]).exec(&mut connection);
            set.expect("a password");
        }
        let started = Program::start(&adapted).await;
        if variables.iter().any(|(name, value)| name == "REDIS_TYPE" && value == "sentinel") {
            // The reference panics: there are no Sentinels in REDIS_URL.
            let told = started.map(|_program| ()).expect_err("it cannot be honoured").to_string();
            assert!(
                told.contains("REDIS_URL: write the name of the master and then its Sentinels"),
                "{told}"
            );
            continue;
        }
        let program = started.unwrap_or_else(|error| panic!("{names}: {error}"));
        let account = program.account();
        let (honoured, ignored) = (listed(&account, "honoured"), listed(&account, "without_effect"));
        for (name, _) in &variables {
            let count = honoured.iter().chain(&ignored).filter(|known| *known == name).count();
            let expected = usize::from(!OF_USERS.contains(&name.as_str()));
            assert_eq!(count, expected, "{names}: {name} in {account}");
        }
        let admin = program.admin;
        wait(move || get(admin, "/healthcheck") == (200, "OK".to_owned())).await;
        let mut stream = control_plane.stream().await;
        let node = stream.request().await.node.expect("a node");
        assert_eq!(node.id, "envoy-ratelimit", "{names}");
        let domain = format!("default/eg/http-{number}");
        let rules = ads::config(&domain, vec![ads::leaf("user", "", RateLimitUnit::Day, 2)]);
        stream.send_good("1", &[rules]).await;
        let mut client = cluster.connect(program.grpc).await;
        for expected in [Code::Ok, Code::Ok, Code::OverLimit, Code::OverLimit] {
            let request = RateLimitRequest { domain: domain.clone(), ..request() };
            let answer = client.should_rate_limit(request).await.expect("an answer").into_inner();
            assert_eq!(answer.overall_code(), expected, "{names}: {answer:?}");
        }
        let log = program.process.log_text();
        if variables.iter().any(|(name, _)| name == "USE_PROMETHEUS") {
            let (status, page) = get(port(&log, "metrics"), "/metrics");
            let hits =
                format!("ratelimit_service_rate_limit_total_hits{{domain=\"{domain}\",key1=\"user\"}} 4");
            assert!(status == 200 && page.contains(&hits), "{names}: {page}");
        } else {
            assert!(!log.contains("operators (metrics)"), "{names}: {log}");
        }
        let rules = get(port(&log, "debug"), "/rlconfig").1;
        let line = "user: unit=DAY requests_per_unit=2, shadow_mode: false, quota_mode: false";
        assert_eq!(rules, format!("{domain}.{line}\n"), "{names}");
        assert!(!log.contains("redis_auth_password"), "{names}: a password is never shown");
        let is_trouble = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        assert_eq!(log.lines().filter(is_trouble).collect::<Vec<_>>(), [""; 0], "{names}");
    }
}

#[test]
fn a_golden_file_is_read_as_it_stands() {
    let text = "      containers:\n      - command:\n        - /bin/ratelimit\n        env:\n        - name: A\n          value: \"true\"\n        - name: B\n          valueFrom:\n            fieldRef:\n              fieldPath: metadata.name\n        - name: C\n          value: :19001\n        image: x\n        ports:\n        - containerPort: 1\n          name: D\n";
    let expected = [("A", "true"), ("B", FROM), ("C", ":19001")];
    assert_eq!(variables_of(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}
