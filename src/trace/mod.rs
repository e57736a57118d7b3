//! Traces: what one command did, wherever in the cluster it did it.
//!
//! Every command has a trace id, whether or not anything is recorded of it: it stands in logs, in the events of the call
//! and in refusals. Spans are recorded only where an address to send them to is set and the trace is sampled; else a
//! span is nothing, and costs a look at the thread's own memory. Must never hold a command up, nor fail one: spans that
//! nobody takes are dropped and counted. No span may hold an SDP, a token, a metadata or the id of a user.

mod context;
mod current;
mod export;
mod otlp;
mod sampler;
mod span;

pub use self::{
    context::{SpanId, TraceContext, TraceId, lenient},
    current::{Entered, current, enter, within},
    export::{ExportSettings, Stats, finish, start, stats},
    sampler::{Base, Sampler},
    span::{Kind, Recording, Span, receive},
};

/// The trace id of the work of this moment.
pub fn current_id() -> Option<TraceId> {
    current().map(|context| context.trace)
}
