//! The log: one line per event, on standard error.
//!
//! Owns the form of the lines. Must never be given what has no `Debug`: secrets, tokens, SDP, candidates. Survives a
//! closed standard error: lines are lost then, nothing else.
//!
//! Fields are named with dots (`call.id`, `user.id`, `node.id`) and stand beside `timestamp`, `level`, `target` and
//! `message` in JSON; those of the innermost span stand in `span`. What is logged while a thread works for a trace bears its
//! id, `trace_id`.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{self, Format, Json, JsonFields, Writer},
    },
    layer::SubscriberExt,
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    config::{LogFormat, LogSettings},
    trace::{self, TraceId},
};

/// Starts the log of this process. Later calls do nothing; a filter that cannot be read (the settings checked it)
/// becomes `info`.
pub fn init(settings: &LogSettings) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // An error says that a log is there already, as in tests.
    let _ = registry().with(filter).with(lines(settings.format, io::stderr().is_terminal(), io::stderr)).try_init();
}

/// What writes events as lines.
fn lines<S, W>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Json => {
            let inner = format::format().json().flatten_event(true).with_span_list(false);
            layer.fmt_fields(JsonFields::new()).event_format(TracedJson(inner)).boxed()
        }
        LogFormat::Pretty => layer.event_format(TracedText(format::format().with_ansi(colours))).boxed(),
    }
}

/// Lines of JSON, with the trace as their last field.
struct TracedJson(Format<Json>);

/// Lines for people, with the trace at their end.
struct TracedText(Format);

/// Writes a line; if there is a trace to name, between the line and what ends it.
fn line(
    mut writer: Writer<'_>,
    end: &str,
    name: impl FnOnce(&mut Writer<'_>, TraceId) -> fmt::Result,
    format: impl FnOnce(Writer<'_>) -> fmt::Result,
) -> fmt::Result {
    let Some(id) = trace::current_id() else { return format(writer) };
    let mut text = String::with_capacity(256);
    format(Writer::new(&mut text))?;
    match text.strip_suffix(end) {
        Some(fields) => {
            writer.write_str(fields)?;
            name(&mut writer, id)?;
            writer.write_str(end)
        }
        None => writer.write_str(&text),
    }
}

impl<S, N> FormatEvent<S, N> for TracedJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let name = |writer: &mut Writer<'_>, id| write!(writer, ",\"trace_id\":\"{id}\"");
        line(writer, "}\n", name, |writer| self.0.format_event(ctx, writer, event))
    }
}

impl<S, N> FormatEvent<S, N> for TracedText
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let name = |writer: &mut Writer<'_>, id| write!(writer, " trace_id={id}");
        line(writer, "\n", name, |writer| self.0.format_event(ctx, writer, event))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::{info, info_span};

    use super::*;

    fn logged(format: LogFormat) -> String {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let subscriber = registry().with(lines(format, false, file.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _span = info_span!("command", user.id = "u1").entered();
            info!(call.id = %"c1", age_secs = 3, text = "two\nlines", "call started");
        });
        io::Seek::rewind(&mut &*file).unwrap();
        io::read_to_string(&*file).unwrap()
    }

    #[test]
    fn a_json_event_is_one_object_with_dotted_fields_beside_the_message() {
        let text = logged(LogFormat::Json);
        assert_eq!(text.lines().count(), 1, "{text}");
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["message"], "call started");
        assert_eq!((event["call.id"].as_str(), event["age_secs"].as_i64()), (Some("c1"), Some(3)));
        assert_eq!(event["span"]["user.id"], "u1");
        assert!(event["timestamp"].is_string() && event["level"] == "INFO" && event["target"].is_string());
    }

    #[test]
    fn what_is_logged_for_a_trace_bears_its_id_and_nothing_else_does() {
        let context = trace::TraceContext::random(false);
        for format in [LogFormat::Json, LogFormat::Pretty] {
            let with = {
                let _within = trace::enter(Some(context));
                logged(format)
            };
            let without = logged(format);
            assert_eq!((with.lines().count(), without.lines().count()), (1, 1), "{with}");
            assert!(!without.contains("trace_id"), "{without}");
            match format {
                LogFormat::Json => {
                    let event: serde_json::Value = serde_json::from_str(&with).unwrap();
                    assert_eq!(event["trace_id"], context.trace.to_string());
                    assert_eq!((&event["message"], &event["span"]["user.id"]), (&"call started".into(), &"u1".into()));
                }
                LogFormat::Pretty => assert!(with.ends_with(&format!(" trace_id={}\n", context.trace)), "{with}"),
            }
        }
    }

    #[test]
    fn a_pretty_event_is_one_line() {
        let text = logged(LogFormat::Pretty);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("call started") && text.contains("call.id=c1"), "{text}");
    }
}
