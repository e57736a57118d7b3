//! Spans: how long each step of a command took, and how it ended.
//!
//! A span that is not recorded is nothing: no allocation, no clock. One that is recorded is handed to the exporter when
//! it is dropped, however that comes about: an answer, a timeout, a panic, a future that nobody polls any more.

use std::borrow::Cow;

use super::{SpanId, TraceContext, current, export};
use crate::clock;

/// What a span is in the eyes of who reads it, as OpenTelemetry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step within this process.
    Internal,
    /// A request that was received and is answered.
    Server,
    /// A request that was sent, until its answer.
    Client,
    /// A message is sent, and no answer expected.
    Producer,
    /// A message was received.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// What is recorded of a span.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) context: TraceContext,
    pub(super) parent: Option<SpanId>,
    /// The parent is in another process.
    pub(super) remote: bool,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    /// Nanoseconds since the Unix epoch.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) links: Vec<TraceContext>,
    /// It failed, with this kind of error.
    pub(super) error: Option<Cow<'static, str>>,
}

impl Recording {
    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) -> &mut Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Adds an attribute if there is one.
    pub fn set_some(&mut self, name: &'static str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            self.set(name, value);
        }
        self
    }

    /// Names it anew. A name must be one of few: ids are attributes.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Self {
        self.name = name.into();
        self
    }

    /// Another span that has to do with it, in whichever trace.
    pub fn link(&mut self, to: TraceContext) -> &mut Self {
        self.links.push(to);
        self
    }
}

/// See the module.
#[derive(Debug, Default)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<Recording>>);

impl Span {
    /// None.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A step of what this thread works for at the moment.
    #[inline]
    pub fn begin(name: &'static str, kind: Kind) -> Self {
        Self::below(current(), name, kind)
    }

    /// A step of what `parent` stands for, in this process.
    #[inline]
    pub fn below(parent: Option<TraceContext>, name: &'static str, kind: Kind) -> Self {
        match parent {
            Some(parent) if parent.sampled && export::is_on() => Self::record(parent, name, kind, false),
            _ => Self::none(),
        }
    }

    /// The same where the parent is in another process.
    pub fn below_remote(parent: Option<TraceContext>, name: &'static str, kind: Kind) -> Self {
        let mut span = Self::below(parent, name, kind);
        span.note(|span| span.remote = true);
        span
    }

    #[cold]
    fn record(parent: TraceContext, name: &'static str, kind: Kind, remote: bool) -> Self {
        let context = TraceContext { span: SpanId::random(), ..parent };
        Self::of(Recording::begun(context, Some(parent.span), remote, name, kind))
    }

    fn of(recording: Recording) -> Self {
        Self(Some(Box::new(recording)))
    }

    /// Says more about it, if it is recorded.
    pub fn note<T>(&mut self, say: impl FnOnce(&mut Recording) -> T) {
        if let Some(recording) = &mut self.0 {
            say(recording);
        }
    }

    /// It failed. `kind` is one of few words, such as an error code.
    pub fn fail(&mut self, kind: impl Into<Cow<'static, str>>) {
        if let Some(recording) = &mut self.0 {
            recording.error = Some(kind.into());
        }
    }

    /// Where what is done because of it belongs; `None`: it is not recorded.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|recording| recording.context)
    }

    /// The same, or where the span itself would belong.
    pub fn context_or_current(&self) -> Option<TraceContext> {
        self.context().or_else(current)
    }
}

impl Recording {
    fn begun(context: TraceContext, parent: Option<SpanId>, remote: bool, name: &'static str, kind: Kind) -> Self {
        Self {
            context,
            parent,
            remote,
            name: name.into(),
            kind,
            began: clock::now_nanos(),
            ended: 0,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(recording) = self.0.take() {
            end(recording);
        }
    }
}

#[cold]
fn end(mut recording: Box<Recording>) {
    // The clock may have been put back meanwhile.
    recording.ended = clock::now_nanos().max(recording.began);
    export::hand_over(recording);
}

/// The trace of something that comes into the cluster, or that a node does by itself: the one that `parent` names, or a
/// new one. With its first span here, if it is recorded.
pub fn receive(parent: Option<TraceContext>, name: &'static str, kind: Kind) -> (TraceContext, Span) {
    let context = parent.unwrap_or_else(|| TraceContext::random(false));
    if !export::samples(&context, parent.is_some()) {
        return (TraceContext { sampled: false, ..context }, Span::none());
    }
    let context = TraceContext { sampled: true, ..context };
    let span = match parent {
        Some(_) => Span::record(context, name, kind, true),
        None => Span::of(Recording::begun(context, None, false, name, kind)),
    };
    (span.context().unwrap_or(context), span)
}
