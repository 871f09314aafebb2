//! Traces. The variables of OpenTelemetry keep their meaning; those of the reference go before them.

use super::reader::Reader;

/// Variables that name the service, and the attributes that they become.
const RESOURCE: [(&str, &str); 3] = [
    ("TRACING_SERVICE_NAME", "service.name"),
    ("TRACING_SERVICE_NAMESPACE", "service.namespace"),
    ("TRACING_SERVICE_INSTANCE_ID", "service.instance.id"),
];
const NAMES: &[&str] = &[RESOURCE[0].0, RESOURCE[1].0, RESOURCE[2].0];

pub(super) fn translate(reader: &mut Reader<'_>) {
    if !reader.is_on("TRACING_ENABLED") {
        reader.put("traces", "off", &["TRACING_ENABLED"]);
        return;
    }
    reader.put("traces", "on", &["TRACING_ENABLED"]);
    reader.honour_prefix("OTEL_*");
    match reader.text("TRACING_EXPORTER_PROTOCOL") {
        // It is the reference's default, whatever OpenTelemetry's variables say.
        None | Some("http") => {
            reader.put("traces-protocol", "http/protobuf", &["TRACING_EXPORTER_PROTOCOL"]);
        }
        Some("grpc") => reader.put("traces-protocol", "grpc", &["TRACING_EXPORTER_PROTOCOL"]),
        Some(_) => reader.refuse("TRACING_EXPORTER_PROTOCOL", "write http or grpc"),
    }
    reader.put_text("traces-ratio", &["TRACING_SAMPLING_RATE"]);
    let named = RESOURCE.iter().filter_map(|(variable, name)| Some((name, reader.text(variable)?)));
    let resource: Vec<String> = named.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if !resource.is_empty() {
        reader.put("traces-resource", resource.join(","), NAMES);
    }
}

/// A list of attributes has commas and percent signs of its own.
fn escaped(value: &str) -> String {
    value.replace('%', "%25").replace(',', "%2C")
}
