//! Whether the collector of traces is there. Only if one is named, in OpenTelemetry's own variables.

use super::{
    net::{http, http_failed, reach, within},
    report::Findings,
};
use crate::gateway::auth::Url;

/// Sends it nothing, in the form of spans.
pub(super) async fn check(found: &Findings) {
    const NAME: &str = "otlp";
    let set =
        |name: &str| std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let whole = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = set("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| format!("{}/v1/traces", base.trim_end_matches('/')));
    let setting = if whole.is_some() { "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" } else { "OTEL_EXPORTER_OTLP_ENDPOINT" };
    let Some(address) = whole.or(base) else { return };
    let url = Url::parse(&address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return found.wrong(
            NAME,
            format!("{setting} is no http:// or https:// address"),
            "give the collector's address for OTLP over HTTP, such as http://collector:4318",
        );
    };
    let (host, port) = (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(4318));
    if let Err(trouble) = reach(&host, port, setting).await {
        return found.warning(NAME, trouble.seen, trouble.mend);
    }
    let client = match http() {
        Ok(client) => client,
        Err(trouble) => return found.warning(NAME, trouble.seen, trouble.mend),
    };
    // A request with no spans in it has no bytes.
    let request = client.post(url).header("content-type", "application/x-protobuf").body(Vec::new());
    let mend = "the collector must take OTLP over HTTP, on port 4318 as a rule (4317 is gRPC)";
    match within(request.send()).await {
        Some(Ok(answer)) if answer.status().is_success() => found.ok(NAME, format!("{host}:{port} takes traces")),
        Some(Ok(answer)) if matches!(answer.status().as_u16(), 401 | 403) => found.by_hand(
            NAME,
            format!("{host}:{port} asks for credentials, which were not sent"),
            "see that OTEL_EXPORTER_OTLP_HEADERS holds them, and that traces arrive",
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
