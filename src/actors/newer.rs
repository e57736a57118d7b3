//! What later versions have written: calls that this one cannot read, and messages that it has no words for.
//!
//! Nodes of two adjacent versions run side by side, so this must cost the newer ones nothing: such a call is never
//! claimed, so that a node which can read it gets it, and who waits for an answer to such a message is told at once
//! rather than after a timeout. Each is counted, and told in the log without flooding it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use serde::Deserialize;

use super::{Node, messages::ToNode};
use crate::{
    cluster::envelope::{self, Envelope},
    domain::CallId,
    wire::Refusal,
};

/// Calls remembered as beyond this version. More than a cluster in trouble has; without a bound a fault in reading would
/// fill the memory. Once full it begins anew: those that still stand are told again.
const MOST: usize = 10_000;

/// Calls that this version cannot read. Their events do not change any more, so what is beyond it stays so.
#[derive(Default)]
pub(super) struct Beyond(Mutex<HashSet<CallId>>);

impl Beyond {
    /// Whether it was news.
    fn note(&self, call: &CallId) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(call.clone())
    }

    fn has(&self, call: &CallId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(call)
    }
}

/// As much of a message's body as all versions have in common.
#[derive(Deserialize)]
struct Skeleton {
    /// Of a question, or of the question that this answers.
    #[serde(default)]
    id: Option<u64>,
    /// Of a signal whose sender waits for its outcome, a number; of a question what is asked.
    #[serde(default)]
    ask: serde_json::Value,
}

impl Skeleton {
    fn question(&self) -> Option<u64> {
        self.id.or_else(|| self.ask.as_u64())
    }
}

impl Node {
    /// A call without an owner has an event that this version cannot read.
    pub(super) fn leave_to_newer(&self, call: &CallId, seq: u64, kind: &str) -> Refusal {
        if self.beyond.note(call) {
            self.metrics.calls_left.inc();
            tracing::warn!(
                call.id = %call, node.id = %self.id, seq, event.kind = %kind, version = crate::build_info::VERSION,
                "call left to newer nodes: this version cannot read an event of it"
            );
        }
        Refusal::unavailable("this node is too old for the call; another may have it")
    }

    /// Whether it has turned out that this version cannot read the call.
    pub(super) fn is_beyond(&self, call: &CallId) -> bool {
        self.beyond.has(call)
    }

    /// A message that this version has no words for, from another node. Nothing in it is acted on.
    pub(super) fn drop_unread(&self, message: Bytes, why: impl std::fmt::Display) {
        let before = self.metrics.messages_dropped.inc();
        // The first, and then ever more rarely: a node of a later version may send a thousand in a second.
        if before == 0 || (before + 1).is_power_of_two() {
            tracing::warn!(node.id = %self.id, error = %why, dropped = before + 1, "message from another node dropped");
        }
        let Ok(Envelope { from, body, .. }) = envelope::decode::<BTreeMap<String, Skeleton>>(message) else { return };
        let refusal =
            || Refusal::unavailable("the nodes asked are of versions that do not understand each other in this");
        for (kind, skeleton) in body {
            let Some(id) = skeleton.question() else { continue };
            if kind == "answer" {
                if let Some((_, waiting)) = self.asks.remove(&id) {
                    waiting.end(Err(refusal()));
                }
            } else if let Err(error) = self.tell_node(&from, &ToNode::Answer { id, result: Err(refusal()) }, &[]) {
                tracing::debug!(node.id = %from, error = %error.message, "answer not published");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_beyond_is_news_once() {
        let beyond = Beyond::default();
        let call = CallId::new("c1").unwrap();
        assert!(!beyond.has(&call));
        assert!(beyond.note(&call) && !beyond.note(&call) && beyond.has(&call));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let beyond = Beyond::default();
        for number in 0..=MOST {
            beyond.note(&CallId::new(format!("c{number}")).unwrap());
        }
        assert_eq!(beyond.0.lock().unwrap().len(), 1);
    }
}
