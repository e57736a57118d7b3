//! The softphone in a real browser: the scenarios of tests/browser in headless Chromium with fake media, against real
//! nodes. Without a browser or the scenarios' packages (`npm ci` in tests/browser) nothing is tested, and that is said.

use std::{path::PathBuf, process::Command, time::Duration};

use serde_json::json;
use tokio::sync::Mutex;

use crate::support::{
    TestCluster,
    cluster::ClusterBuilder,
    livekit,
    process::{self, Process},
};

/// A scenario gives up by itself before that.
const LIMIT: Duration = Duration::from_secs(500);

/// The nodes' ring time in the scenarios, in seconds: one of them waits for it.
const RING_SECS: u64 = 8;

/// A user id is whatever the application says.
const HOSTILE: &str = "<img src=x onerror=\"globalThis.pwned=1\">";

/// One browser at a time: two that encode video on two cores starve each other, and everything else.
static BROWSER: Mutex<()> = Mutex::const_new(());

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").filter(|name| !name.is_empty()).map(PathBuf::from);
    let usual = ["chromium", "chromium-browser", "google-chrome"].map(|name| PathBuf::from("/usr/bin").join(name));
    let runs = |program: &PathBuf| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    named.into_iter().chain(usual).find(runs)
}

async fn run(scenario: &str, nodes: usize) {
    run_with(scenario, nodes, |builder| builder, json!(null)).await;
}

/// `media_server`: what the scenario is told of LiveKit, if it makes tokens of its own.
async fn run_with(
    scenario: &str,
    nodes: usize,
    change: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
    media_server: serde_json::Value,
) {
    let _turn = BROWSER.lock().await;
    let builder = if nodes == 1 { TestCluster::embedded() } else { TestCluster::of(nodes) };
    let cluster = change(builder.set("CARILLON_RING_TIMEOUT_SECS", RING_SECS)).start().await;
    play(&cluster, scenario, json!({"livekit": media_server})).await;
}

/// Runs a scenario against these nodes, while the caller has its turn. `more`: what it is told besides the nodes and the
/// users' tokens.
async fn play(cluster: &TestCluster, scenario: &str, more: serde_json::Value) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let chromium =
        chromium().unwrap_or_else(|| panic!("there is no Chromium that runs; `tests/run tools` installs it"));
    assert!(folder.join("node_modules").exists(), "`npm ci` was not run in tests/browser; `tests/run tools` does");
    let urls: Vec<String> = (0..cluster.size()).map(|n| format!("http://{}", cluster.node(n).address)).collect();
    let tokens: serde_json::Map<_, _> = ["alice", "bob", "carol", "dave", HOSTILE]
        .map(|user| (user.to_owned(), json!(cluster.token(user))))
        .into_iter()
        .collect();
    let output = process::new_folder("browser");
    // For who wants to look at them afterwards; else they go with the run.
    let screenshots = std::env::var_os("CARILLON_SCREENSHOTS").map_or_else(|| output.clone(), PathBuf::from);
    let mut input = json!({"urls": urls, "tokens": tokens, "ringTimeoutSecs": RING_SECS, "screenshots": screenshots});
    for (name, value) in more.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    let log = output.join("log");
    let mut node = Command::new("node");
    node.arg(folder.join(format!("{scenario}.mjs"))).current_dir(&folder);
    node.env("CARILLON_BROWSER_TEST", input.to_string()).env("CHROMIUM", chromium);
    // SIGTERM, so that the scenario takes its browser along.
    let mut running = Process::spawn(scenario, node, &log, libc::SIGTERM);
    let status = running.exit(LIMIT).await;
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.is_some_and(|status| status.success()), "{scenario}: {status:?}\n{said}");
    println!("{said}");
}

#[tokio::test]
async fn two_tabs_on_one_node_call_each_other_with_video() {
    run("one_node", 1).await;
}

#[tokio::test]
async fn two_tabs_on_two_nodes_call_each_other_with_video() {
    run("two_nodes", 2).await;
}

#[tokio::test]
async fn a_video_call_goes_on_when_the_callees_tab_reconnects_to_the_other_node() {
    run("reconnect", 2).await;
}

#[tokio::test]
async fn three_people_are_in_a_mesh_and_one_of_two_tabs_answers() {
    run("group", 2).await;
}

#[tokio::test]
async fn the_mesh_survives_crossing_offers_lost_signals_and_new_owners() {
    run("mesh", 1).await;
}

#[tokio::test]
async fn the_way_to_a_room_and_back_breaks_no_picture_off() {
    let Some(program) = livekit::program() else { return };
    let livekit = livekit::Instance::prepare(program).auto_create();
    livekit.launch().await;
    let told = json!({"url": livekit.url(), "key": livekit::API_KEY, "secret": livekit.api_secret});
    run_with("room", 1, |builder| builder.with_livekit(&livekit), told).await;
}

#[tokio::test]
async fn a_call_of_two_becomes_one_of_three_by_the_media_server_and_no_picture_is_broken_off() {
    let Some(program) = livekit::program() else { return };
    let livekit = livekit::Instance::start(program).await;
    run_with("escalate", 2, |builder| builder.with_livekit(&livekit), json!(null)).await;
}

#[tokio::test]
async fn a_media_server_that_browsers_cannot_reach_leaves_the_call_as_it_was() {
    let Some(program) = livekit::program() else { return };
    let livekit = livekit::Instance::start(program).await;
    let nowhere = format!("ws://127.0.0.1:{}", process::free_port());
    let lost = |builder: ClusterBuilder| builder.with_livekit(&livekit).set("LIVEKIT_PUBLIC_URL", nowhere);
    run_with("give_up", 1, lost, json!(null)).await;
}

#[tokio::test]
async fn an_operator_sees_nodes_calls_and_sweeps_and_what_they_do_asks_first_and_is_on_record() {
    let _turn = BROWSER.lock().await;
    let people_port = process::free_port();
    // The people's page is at an origin of its own: a client that moves from node to node is at home at none. They ring
    // for longer than it takes to notice that a node is dead.
    let builder = TestCluster::of(3)
        .set("CARILLON_ALLOWED_ORIGINS", format!("http://127.0.0.1:{people_port}"))
        .set("CARILLON_RING_TIMEOUT_SECS", 120)
        .set("CARILLON_RECONNECT_GRACE_SECS", 60);
    let mut cluster = builder.start().await;
    let admin = json!({"sub": "ann", "exp": 4_000_000_000_u64, "role": "admin"});
    let told = json!({
        "adminToken": cluster.realm().token_with(&admin),
        "serviceKey": cluster.realm().service_key,
        "peoplePort": people_port,
        "pids": (0..3).map(|n| cluster.node(n).pid()).collect::<Vec<_>>(),
    });
    play(&cluster, "console", json!({"console": told})).await;
    cluster.node_mut(1).expect_death(Duration::from_secs(10)).await;
    let status = cluster.node_mut(2).terminate(Duration::from_secs(60)).await;
    assert!(status.success(), "the drained node ended with {status}");
}
