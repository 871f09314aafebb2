//! Where rules come from: files, or xDS.

use super::{go, reader::Reader};

/// Variables of rules by files.
const OF_FILES: &[&str] = &["RUNTIME_ROOT", "RUNTIME_SUBDIRECTORY", "RUNTIME_APPDIRECTORY"];
/// Variables of rules by xDS that are read with `CONFIG_TYPE=GRPC_XDS_SOTW`.
const OF_XDS: &[&str] = &[
    "CONFIG_GRPC_XDS_SERVER_URL",
    "CONFIG_GRPC_XDS_NODE_ID",
    "CONFIG_GRPC_XDS_NODE_METADATA",
    "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS",
    "CONFIG_GRPC_XDS_SERVER_USE_TLS",
    "CONFIG_GRPC_XDS_SERVER_TLS_CACERT",
    "CONFIG_GRPC_XDS_CLIENT_TLS_CERT",
    "CONFIG_GRPC_XDS_CLIENT_TLS_KEY",
    "CONFIG_GRPC_XDS_SERVER_TLS_SAN",
    "XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES",
    "FORCE_START_WITHOUT_INITIAL_CONFIG",
];

/// Sets the flags that say where rules come from.
pub(super) fn translate(reader: &mut Reader<'_>) {
    if reader.is_on("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED") {
        reader.put("healthy-after", "store,rules", &["HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED"]);
    } else {
        reader.put("healthy-after", "store", &["HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED"]);
    }
    folder(reader);
    if let Some(variable) = reader.tollgate("config").or_else(|| reader.tollgate("xds-server")) {
        reader.leave_to(&variable, OF_FILES);
        reader.leave_to(&variable, OF_XDS);
        reader.leave_to(&variable, &["CONFIG_TYPE"]);
        return;
    }
    match reader.text("CONFIG_TYPE").unwrap_or("FILE") {
        "FILE" => files(reader),
        "GRPC_XDS_SOTW" => xds(reader),
        _ => reader.refuse("CONFIG_TYPE", "write FILE or GRPC_XDS_SOTW"),
    }
}

fn folder(reader: &mut Reader<'_>) {
    let files = if reader.is_on("RUNTIME_IGNOREDOTFILES") { "visible" } else { "all" };
    reader.put("config-folder", files, &["RUNTIME_IGNOREDOTFILES"]);
}

fn files(reader: &mut Reader<'_>) {
    let root = reader.text("RUNTIME_ROOT").unwrap_or("/srv/runtime_data/current");
    let below = reader.text("RUNTIME_SUBDIRECTORY").unwrap_or("");
    let last = reader.text_or_empty("RUNTIME_APPDIRECTORY").unwrap_or("config");
    let mut path = root.trim_end_matches('/').to_owned();
    for part in [below, last].map(|part| part.trim_matches('/')).into_iter().filter(|part| !part.is_empty()) {
        path.push('/');
        path.push_str(part);
    }
    if path.contains(',') {
        let instead = "Tollgate takes a comma for the end of a path: name folders without one";
        let name = OF_FILES.iter().find(|name| reader.text(name).is_some_and(|text| text.contains(',')));
        reader.refuse(name.copied().unwrap_or("RUNTIME_ROOT"), instead);
    }
    reader.put("config", if path.is_empty() { "/".to_owned() } else { path }, OF_FILES);
}

fn xds(reader: &mut Reader<'_>) {
    let server = reader.text("CONFIG_GRPC_XDS_SERVER_URL").unwrap_or("localhost:18000");
    reader.put("xds-server", server, &["CONFIG_GRPC_XDS_SERVER_URL"]);
    let node = reader.text("CONFIG_GRPC_XDS_NODE_ID").unwrap_or("default");
    reader.put("xds-node-id", node, &["CONFIG_GRPC_XDS_NODE_ID"]);
    reader.put_text("xds-node-metadata", &["CONFIG_GRPC_XDS_NODE_METADATA"]);
    if let Some(headers) = reader.text("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS") {
        // A text that is no map was refused before.
        let headers = go::map(headers).unwrap_or_default();
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        reader.put("xds-header", headers.join(","), &["CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS"]);
    }
    if reader.is_on("CONFIG_GRPC_XDS_SERVER_USE_TLS") {
        reader.put("xds-tls", "on", &["CONFIG_GRPC_XDS_SERVER_USE_TLS"]);
        reader.put_text("xds-ca", &["CONFIG_GRPC_XDS_SERVER_TLS_CACERT"]);
        reader.put_text("xds-cert", &["CONFIG_GRPC_XDS_CLIENT_TLS_CERT"]);
        reader.put_text("xds-key", &["CONFIG_GRPC_XDS_CLIENT_TLS_KEY"]);
        reader.put_text("xds-server-name", &["CONFIG_GRPC_XDS_SERVER_TLS_SAN"]);
    } else {
        reader.honour(&["CONFIG_GRPC_XDS_SERVER_USE_TLS"]);
    }
    if let Some(bytes) = reader.text("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES").and_then(|text| go::whole(text).ok())
    {
        match u64::try_from(bytes) {
            Err(_negative) => reader.refuse("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", "write a number of bytes"),
            // The reference's word for its default.
            Ok(0) => {}
            Ok(bytes) => {
                reader.put("xds-max-message", bytes.to_string(), &["XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES"]);
            }
        }
    }
    let waits = if reader.is_on("FORCE_START_WITHOUT_INITIAL_CONFIG") { "off" } else { "on" };
    reader.put("xds-wait-for-rules", waits, &["FORCE_START_WITHOUT_INITIAL_CONFIG"]);
}
