//! What a trace shows of the actors: which span stands for which step, and what it says.
//!
//! No span may hold what people tell each other, or who they are. One that is not recorded costs nothing here.

use super::{Node, messages::Delivery};
use crate::{
    domain::{Call, CallId, NodeId},
    trace::{Kind, Span, TraceContext},
};

/// A question to a call's owner on another node, until its answer.
pub(super) fn ask_owner(node: &Node, owner: &NodeId, call: &CallId) -> Span {
    let mut span = Span::begin("ask owner", Kind::Client);
    span.note(|span| {
        span.set("messaging.system", node.bus_system())
            .set("messaging.operation.type", "send")
            .set("carillon.to.node", owner.as_str())
            .set("carillon.call.id", call.as_str());
    });
    span
}

/// The same where it arrives.
pub(super) fn serve_ask(node: &Node, trace: Option<TraceContext>, from: &NodeId, call: &CallId) -> Span {
    let mut span = Span::below_remote(trace, "serve ask", Kind::Server);
    span.note(|span| {
        span.set("messaging.system", node.bus_system())
            .set("carillon.from.node", from.as_str())
            .set("carillon.call.id", call.as_str());
    });
    span
}

/// Telling so many users what has happened to a call.
pub(super) fn publish(node: &Node, call: &Call, users: usize) -> Span {
    let mut span = Span::begin("publish", Kind::Producer);
    span.note(|span| {
        span.set("messaging.system", node.bus_system())
            .set("messaging.operation.type", "send")
            .set("messaging.batch.message_count", users)
            .set("carillon.call.id", call.id.as_str())
            .set("carillon.seq", call.seq);
    });
    span
}

/// Handing on what has happened to so many sessions of one user.
pub(super) fn deliver(node: &Node, delivery: &Delivery, sessions: usize) -> Span {
    let here = delivery.owner == node.id;
    let begin = if here { Span::below } else { Span::below_remote };
    let mut span = begin(delivery.trace, "deliver", Kind::Consumer);
    span.note(|span| {
        span.set("messaging.system", if here { "in_process" } else { node.bus_system() })
            .set("messaging.operation.type", "process")
            .set("carillon.call.id", delivery.call.as_str())
            .set_some("carillon.seq", delivery.items.last().map(|item| item.seq))
            .set("carillon.sessions", sessions);
    });
    span
}
