//! What webhooks are told of recordings: once, also when the call is over.

use super::{Studio, record};
use crate::{
    support::TestCluster,
    webhooks::{hook, receiver::Receiver, telling},
};

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_told_of_a_recording_from_its_start_to_its_file_each_once() {
    for builder in [TestCluster::embedded(), TestCluster::two_nodes()] {
        let Some(studio) = Studio::open(telling(builder)).await else { return };
        let receiver = Receiver::start().await;
        hook(&studio.cluster, &receiver, &["call.ended", "recording.started", "recording.stopped", "recording.ready"])
            .await;
        let (alice, _bob, call) = studio.talk().await;
        let recording = record(&alice, &call, serde_json::json!({})).await;
        assert!(studio.tell(&call, &recording, "egress_started", "EGRESS_ACTIVE").await.ok());
        alice.act("call:end", &call).await;
        receiver.expect_of("call.ended", &call).await;
        std::fs::write(studio.file(&recording), b"moving pictures").unwrap();
        for _ in 0..2 {
            assert!(studio.tell(&call, &recording, "egress_ended", "EGRESS_COMPLETE").await.ok());
        }
        let ready = receiver.expect_of("recording.ready", &call).await;
        assert_eq!(
            (ready.data()["recordingId"].as_str(), ready.data()["sizeBytes"].as_u64()),
            (Some(&*recording), Some(15))
        );
        assert_eq!(
            receiver.kinds_of(&call),
            ["recording.started", "recording.stopped", "call.ended", "recording.ready"]
        );
    }
}
