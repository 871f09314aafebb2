//! Compiles `proto/` without a `protoc`.
//!
//! The descriptors that reflection serves are those of the files. The generated code differs from them in three
//! points, none of which shows on the wire. Entry keys and values are bytes, because Envoy fills these proto strings
//! with header values that need not be UTF-8, and a decoding error would let such a request pass unlimited. The
//! server's answer is a type of ours that is encoded already. Headers are bytes, as in Envoy.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use tonic_prost_build::manual;

const RLS: &str = "envoy/service/ratelimit/v3/rls.proto";
const AUTHZ: &str = "envoy/service/auth/v3/external_auth.proto";
const DISCOVERY: &str = "envoy/service/discovery/v3/discovery.proto";
const TRACES: &str = "opentelemetry/proto/collector/trace/v1/trace_service.proto";
const RULES: &str = "ratelimit/config/ratelimit/v3/rls_conf.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    // Reflection serves what clients can call, which leaves out the protocol by which Tollgate itself gets rules.
    let called = protox::compile([RLS, AUTHZ], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("rls_descriptor.bin"), called.encode_to_vec())?;

    let mut descriptors = protox::compile([RLS, AUTHZ, DISCOVERY, RULES, TRACES], ["proto"])?;

    strings_as_bytes(&mut descriptors, "envoy.extensions.common.ratelimit.v3", "Entry");
    strings_as_bytes(&mut descriptors, "envoy.config.core.v3", "HeaderValue");
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(false)
        .codec_path("crate::protocol::rls::codec::RlsCodec")
        .bytes(".envoy")
        .include_file("protocol.rs")
        .compile_fds(descriptors)?;
    servers();
    Ok(())
}

/// Generates a server for each service. Their answers are encoded already, and a `CheckRequest` is still encoded.
fn servers() {
    let decide = manual::Method::builder()
        .name("should_rate_limit")
        .route_name("ShouldRateLimit")
        .input_type("crate::pb::RateLimitRequest")
        .output_type("crate::protocol::reply::Reply")
        .codec_path("crate::protocol::rls::codec::ReplyCodec")
        .build();
    let rls = manual::Service::builder()
        .name("RateLimitService")
        .package("envoy.service.ratelimit.v3")
        .method(decide)
        .build();
    let check = manual::Method::builder()
        .name("check")
        .route_name("Check")
        .input_type("crate::protocol::authz::codec::CheckMessage")
        .output_type("crate::protocol::reply::Reply")
        .codec_path("crate::protocol::authz::codec::CheckCodec")
        .build();
    let authz = manual::Service::builder()
        .name("Authorization")
        .package("envoy.service.auth.v3")
        .method(check)
        .build();
    manual::Builder::new().build_client(false).compile(&[rls, authz]);
}

fn strings_as_bytes(descriptors: &mut FileDescriptorSet, package: &str, name: &str) {
    let files = descriptors.file.iter_mut().filter(|file| file.package() == package);
    let message = files
        .flat_map(|file| &mut file.message_type)
        .find_map(|message| named(message, name))
        .expect("proto/ defines the message");
    for field in &mut message.field {
        if field.r#type() == Type::String {
            field.set_type(Type::Bytes);
        }
    }
}

/// The message of that name: this one, or one nested in it.
fn named<'a>(message: &'a mut DescriptorProto, name: &str) -> Option<&'a mut DescriptorProto> {
    if message.name() == name {
        return Some(message);
    }
    message.nested_type.iter_mut().find_map(|nested| named(nested, name))
}
