//! What `lab up` prints: the addresses, and commands that work as pasted.

use super::Stack;
use crate::binaries;

/// The addresses of all variants, and commands for prove, oha and ghz.
pub fn how_to_hammer(stack: &Stack) -> String {
    let (global, authz, naive) = (stack.global.addr(), stack.authz.addr(), stack.naive.addr());
    let tollgate = program();
    let (grpc, admin) = (stack.tollgate.grpc(), stack.tollgate.admin());
    let request = r#"{"domain":"edge","descriptors":[{"entries":[{"key":"route","value":"default"},{"key":"api_key","value":"{{.RequestNumber}}"}]}]}"#;
    let ghz = "ghz --insecure --call envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    let load = format!(
        "-d '{}' -c 64 -n 20000 {grpc}",
        request.replace("{{.RequestNumber}}", "ghz-{{.RequestNumber}}")
    );
    format!(
        "\
three nodes that ask Tollgate         http://{global}   (10 per second for each x-api-key; /login: 6 per minute)
three nodes that ask it by ext_authz  http://{authz}   (the same limits, in the same buckets)
three nodes that count for themselves http://{naive}
Tollgate                              grpc {grpc}, admin http://{admin}, buckets in {redis}

prove that the limit holds, or does not:
  {tollgate} prove --target http://{global}/ --header 'x-api-key: a' --limit 10/s --metrics http://{admin}/metrics
  {tollgate} prove --target http://{naive}/ --header 'x-api-key: a' --limit 10/s

oha, through the load balancer: counts 200 and 429
  oha -z 10s -c 50 --no-tui -H 'x-api-key: b' http://{global}/
  oha -z 10s -c 50 --no-tui -H 'x-api-key: b' http://{naive}/

ghz, straight at Tollgate: latency and throughput; it counts OVER_LIMIT as OK
  {ghz} {load}
  {ghz} --proto proto/envoy/service/ratelimit/v3/rls.proto --import-paths proto {load}

processes {pids}
Ctrl-C ends everything
",
        redis = stack.redis.url(),
        pids = stack.pids().iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
    )
}

/// The program as it can be called from here.
pub(super) fn program() -> String {
    let Ok(path) = binaries::tollgate() else { return "tollgate".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}
