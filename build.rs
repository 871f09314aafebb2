//! Compiles `proto/` without a `protoc`.
//!
//! The published descriptors (served by reflection) stay as written. The generated code differs in one
//! point: entry keys and values are decoded as bytes, because Envoy fills these proto strings with header
//! values that need not be UTF-8, and a decode error would let such a request pass unlimited.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;
use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

const RLS: &str = "envoy/service/ratelimit/v3/rls.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut descriptors = protox::compile([RLS], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("rls_descriptor.bin"), descriptors.encode_to_vec())?;

    read_entries_as_bytes(&mut descriptors);
    tonic_prost_build::configure()
        .build_client(true)
        .codec_path("crate::rls::codec::RlsCodec")
        .bytes(".envoy")
        .include_file("protocol.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

fn read_entries_as_bytes(descriptors: &mut FileDescriptorSet) {
    let entry = descriptors
        .file
        .iter_mut()
        .filter(|file| file.package() == "envoy.extensions.common.ratelimit.v3")
        .flat_map(|file| &mut file.message_type)
        .flat_map(|message| &mut message.nested_type)
        .find(|nested| nested.name() == "Entry")
        .expect("proto/ defines RateLimitDescriptor.Entry");
    for field in &mut entry.field {
        field.set_type(Type::Bytes);
    }
}
