//! Whether the collector of traces is there, if one is named. It is asked as a node asks it, with its headers.

use super::{
    net::{http, http_failed, reach, within},
    report::Findings,
};
use crate::trace::ExportSettings;

/// Sends it nothing, in the form of spans.
pub(super) async fn check(found: &Findings, traces: Option<&ExportSettings>) {
    const NAME: &str = "otlp";
    let Some(ExportSettings { endpoint, headers, .. }) = traces else { return };
    let (host, port) = (endpoint.host_str().unwrap_or_default(), endpoint.port_or_known_default().unwrap_or(4318));
    if let Err(trouble) = reach(host, port, "OTEL_EXPORTER_OTLP_ENDPOINT").await {
        return found.warning(NAME, trouble.seen, trouble.mend);
    }
    let client = match http() {
        Ok(client) => client,
        Err(trouble) => return found.warning(NAME, trouble.seen, trouble.mend),
    };
    // A request with no spans in it has no bytes.
    let request = client.post(endpoint.clone()).headers(headers.clone());
    let request = request.header("content-type", "application/x-protobuf").body(Vec::new());
    let mend = "the collector must take OTLP over HTTP, on port 4318 as a rule (4317 is gRPC)";
    match within(request.send()).await {
        Some(Ok(answer)) if answer.status().is_success() => found.ok(NAME, format!("{host}:{port} takes traces")),
        Some(Ok(answer)) if matches!(answer.status().as_u16(), 401 | 403) => found.warning(
            NAME,
            format!("{host}:{port} refuses our credentials"),
            "see what OTEL_EXPORTER_OTLP_HEADERS must hold for this collector",
        ),
        Some(Ok(answer)) => {
            found.warning(NAME, format!("{host}:{port} answers {} to traces", answer.status()), mend);
        }
        Some(Err(error)) => {
            found.warning(NAME, format!("{host}:{port} does not answer as HTTP: {}", http_failed(error)), mend);
        }
        None => found.warning(NAME, format!("{host}:{port} takes a connection and does not answer"), mend),
    }
}
