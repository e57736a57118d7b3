//! A signal that was given an id is answered, whatever becomes of the node that relays it.

use std::time::Duration;

use serde_json::json;

use super::nodes;
use crate::support::moves::candidate;

/// Longer than a node waits for another's answer, and than a lease.
const ANSWERED: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_signal_to_an_owner_that_does_not_answer_is_refused_as_retryable_and_not_forgotten() {
    let cluster = nodes(2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    cluster.node(0).freeze().await;
    let signal = json!({"callId": call, "to": "alice", "type": "ice_candidate", "payload": candidate(1)});
    let answer = tokio::time::timeout(ANSWERED, bob.call("call:signal", signal)).await;
    cluster.node(0).signal(libc::SIGCONT);
    let refused = answer.expect("it is answered").expect_err("nobody relayed it");
    assert_eq!((refused.code.as_str(), refused.retryable), ("unavailable", true), "{refused:?}");
}
