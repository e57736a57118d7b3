//! The sweeper of rooms without a call, on a real livekit-server.

#![cfg(feature = "failpoints")]

use std::{
    process::Output,
    time::{Duration, Instant},
};

use carillon::media::Media;
use serde_json::Value;

use crate::{
    media_rooms::ERROR_500,
    support::{
        TestCluster,
        livekit::{self, Instance, call_id},
        node::{command, field},
        proxy::{Mode, Proxy},
    },
};

const NO_GRACE: (&str, &str) = ("FAILPOINTS", "orphan-rooms-grace=return(0)");
/// No sweep by itself while a test runs.
const SELDOM: (&str, u64) = ("CARILLON_SWEEP_INTERVAL_SECS", 3600);

/// `carillon sweep orphan_rooms`: how it ended, and what it printed.
async fn sweep(cluster: &TestCluster, more: &[&str]) -> String {
    let arguments: Vec<&str> = ["sweep", "orphan_rooms"].into_iter().chain(more.iter().copied()).collect();
    let mut command = command(&arguments, cluster.settings());
    let output: Output =
        tokio::task::spawn_blocking(move || command.output().expect("run carillon sweep")).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn rooms(media: &Media) -> Vec<String> {
    let mut names: Vec<String> = media.rooms().await.unwrap().into_iter().map(|room| room.name).collect();
    names.sort_unstable();
    names
}

/// A call that is over, one that goes on, and rooms of both and of others.
async fn scene(cluster: &TestCluster, media: &Media) -> (String, Vec<String>) {
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let over = alice.call_through(&bob).await;
    alice.act("call:end", &over).await;
    bob.expect_end(&over, "completed").await;
    let open = alice.call_through(&bob).await;
    let mut stay = vec![open, "somebody-elses".to_owned()];
    for name in stay.iter().chain([&over]) {
        media.open_room(&call_id(name), 10).await.unwrap();
    }
    stay.sort_unstable();
    let mut all = stay.clone();
    all.push(over.clone());
    all.sort_unstable();
    assert_eq!(rooms(media).await, all);
    // The call goes on without them: their connections end with the test.
    (over, stay)
}

fn done(cluster: &TestCluster) -> Vec<Value> {
    let lines = cluster.node(0).logged("swept").into_iter();
    lines
        .filter(|line| field(line, "sweep") == Some("orphan_rooms") && field(line, "outcome") == Some("done"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_of_a_call_that_is_over_is_closed_and_no_other() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::embedded().with_livekit(&livekit).set(NO_GRACE.0, NO_GRACE.1).set(SELDOM.0, SELDOM.1);
    let cluster = settings.set("CARILLON_RECONNECT_GRACE_SECS", 300).start().await;
    let media = livekit.media();
    let (over, stay) = scene(&cluster, &media).await;

    let printed = sweep(&cluster, &["--dry-run"]).await;
    assert!(printed.contains(&over) && printed.contains("dry_run"), "{printed}");
    assert_eq!(rooms(&media).await.len(), 3, "a dry run closes nothing");

    let printed = sweep(&cluster, &[]).await;
    assert!(printed.contains(&over) && printed.contains("done"), "{printed}");
    assert_eq!(rooms(&media).await, stay);
    sweep(&cluster, &[]).await;
    let done = done(&cluster);
    assert_eq!(done.len(), 1, "once: {done:?}");
    assert_eq!(field(&done[0], "what"), Some("close_room"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_or_an_end_that_is_younger_than_the_grace_is_left_alone() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::embedded().with_livekit(&livekit).set(SELDOM.0, SELDOM.1);
    let cluster = settings.set("CARILLON_RECONNECT_GRACE_SECS", 300).start().await;
    let media = livekit.media();
    let (over, _) = scene(&cluster, &media).await;
    let printed = sweep(&cluster, &[]).await;
    assert!(!printed.contains(&over), "{printed}");
    assert_eq!(rooms(&media).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_livekit_that_says_500_hangs_or_succeeds_late_leads_to_no_wrong_deletion_and_no_double_effect() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let link = Proxy::start(livekit.port(), 11);
    let url = format!("ws://127.0.0.1:{}", link.port());
    let settings = TestCluster::embedded().with_livekit_at(&livekit, &url).set(NO_GRACE.0, NO_GRACE.1);
    let settings = settings.set(SELDOM.0, SELDOM.1).set("CARILLON_RECONNECT_GRACE_SECS", 300);
    let cluster = settings.start().await;
    let media = livekit.media();
    let (over, stay) = scene(&cluster, &media).await;

    for mode in [Mode::Answer(ERROR_500), Mode::Refuse] {
        link.set(mode.clone());
        let printed = sweep(&cluster, &[]).await;
        assert!(printed.contains("could_not_ask"), "{mode:?}: {printed}");
        assert_eq!(rooms(&media).await.len(), 3, "{mode:?}: nothing is closed");
    }
    // Done, and nobody is told: neither which rooms there are, nor that one was closed.
    link.set(Mode::HoldAnswers);
    let printed = sweep(&cluster, &[]).await;
    assert!(printed.contains("could_not_ask"), "{printed}");
    assert_eq!(rooms(&media).await.len(), 3);
    // It hangs in the middle of a run, and does what it was asked for after the run has given it up.
    link.set(Mode::Reset);
    link.set(Mode::Delay(1200..=1200));
    let swept = {
        let cluster = &cluster;
        async move { sweep(cluster, &[]).await }
    };
    let hang = async {
        let deadline = Instant::now() + Duration::from_secs(30);
        let http = cluster.http(0);
        loop {
            if http.metric("carillon_livekit_requests_total{kind=\"list_rooms\",outcome=\"ok\"}").await > Some(0.0) {
                return link.set(Mode::HoldAnswers);
            }
            assert!(Instant::now() < deadline, "the rooms are listed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (printed, ()) = tokio::join!(swept, hang);
    assert!(printed.contains(&over) && printed.contains("could_not_ask"), "unknown, not done: {printed}");
    link.set(Mode::Reset);
    link.mend();
    sweep(&cluster, &[]).await;
    assert_eq!(rooms(&media).await, stay, "that room is closed, and no other");
    assert!(done(&cluster).len() <= 1, "{:?}", done(&cluster));
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_left_alone_while_the_state_of_calls_cannot_be_read() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::of(1).with_livekit(&livekit).set(NO_GRACE.0, NO_GRACE.1).linked(0, 13);
    let cluster =
        settings.set("CARILLON_SWEEP_INTERVAL_SECS", 1).set("CARILLON_RECONNECT_GRACE_SECS", 300).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let over = alice.call_through(&bob).await;
    alice.act("call:end", &over).await;
    bob.expect_end(&over, "completed").await;
    cluster.links(0).database.set(Mode::Reset);
    let media = livekit.media();
    media.open_room(&call_id(&over), 10).await.unwrap();
    // Several of its turns pass.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(rooms(&media).await.len(), 1, "nothing is closed that could not be asked about");
    cluster.links(0).database.mend();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !rooms(&media).await.is_empty() {
        assert!(Instant::now() < deadline, "and closed when it can be asked");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
