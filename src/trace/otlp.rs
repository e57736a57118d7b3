//! Spans as the messages of OTLP, and the answer to them.

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status, span, status},
};
use prost::Message;

use super::{
    TraceContext,
    export::Ended,
    span::{Kind, Recording, Value},
};
use crate::build_info;

/// The name of what has recorded the spans.
const SCOPE: &str = "carillon";

/// The body of a request, for spans of this process.
pub(super) fn body(resource: &[(String, String)], spans: &[Ended]) -> Vec<u8> {
    let attributes = resource.iter().map(|(name, value)| attribute(name, &Value::Text(value.clone()))).collect();
    let scope = InstrumentationScope {
        name: SCOPE.to_owned(),
        version: build_info::VERSION.to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = spans.iter().map(|recording| span(recording)).collect();
    let of_scope = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let of_resource = ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![of_scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec()
}

/// How many spans of an accepted request were refused, and why, as its answer says.
pub(super) fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let partial = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
    (rejected > 0).then_some((rejected, partial.error_message))
}

fn attribute(name: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.clone()),
        Value::Number(number) => any_value::Value::IntValue(*number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn flags(context: &TraceContext, remote: bool) -> u32 {
    let known = SpanFlags::ContextHasIsRemoteMask as u32;
    u32::from(context.sampled) | known | if remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 }
}

fn span(recording: &Recording) -> Span {
    let mut attributes: Vec<KeyValue> =
        recording.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let status = recording.error.as_ref().map(|kind| {
        attributes.push(attribute("error.type", &Value::Text(kind.clone().into_owned())));
        Status { code: status::StatusCode::Error.into(), ..Status::default() }
    });
    let kind = match recording.kind {
        Kind::Internal => span::SpanKind::Internal,
        Kind::Server => span::SpanKind::Server,
        Kind::Client => span::SpanKind::Client,
        Kind::Producer => span::SpanKind::Producer,
        Kind::Consumer => span::SpanKind::Consumer,
    };
    let link = |to: &TraceContext| span::Link {
        trace_id: to.trace.to_bytes().to_vec(),
        span_id: to.span.to_bytes().to_vec(),
        flags: flags(to, false),
        ..span::Link::default()
    };
    Span {
        trace_id: recording.context.trace.to_bytes().to_vec(),
        span_id: recording.context.span.to_bytes().to_vec(),
        parent_span_id: recording.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        flags: flags(&recording.context, recording.remote),
        name: recording.name.clone().into_owned(),
        kind: kind.into(),
        start_time_unix_nano: recording.began,
        end_time_unix_nano: recording.ended,
        attributes,
        links: recording.links.iter().map(link).collect(),
        status,
        ..Span::default()
    }
}
