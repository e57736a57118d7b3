//! The log: one line per event, on standard error.
//!
//! Owns the form of the lines. Must never be given what has no `Debug`: secrets, tokens, SDP, candidates. Survives a
//! closed standard error: lines are lost then, nothing else.
//!
//! Fields are named with dots (`call.id`, `user.id`, `node.id`) and stand beside `timestamp`, `level`, `target` and
//! `message` in JSON; those of the innermost span stand in `span`.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, registry, registry::LookupSpan, util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogSettings};

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
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Pretty => layer.with_ansi(colours).boxed(),
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
    fn a_pretty_event_is_one_line() {
        let text = logged(LogFormat::Pretty);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("call started") && text.contains("call.id=c1"), "{text}");
    }
}
