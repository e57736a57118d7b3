//! What can be wrong with LiveKit, TURN and STUN, and where recordings are kept.

use std::net::UdpSocket;

use super::{Scene, TURN_SECRET};
use crate::support::{coturn, livekit, process};

fn with_livekit(livekit: &livekit::Instance) -> Scene {
    Scene::embedded()
        .set("LIVEKIT_URL", livekit.url())
        .set("LIVEKIT_API_KEY", livekit::API_KEY)
        .set("LIVEKIT_API_SECRET", &livekit.api_secret)
        .forbidding(&livekit.api_secret)
}

#[tokio::test]
async fn a_livekit_that_does_not_know_us_is_told_from_one_that_is_down() {
    let Some(program) = livekit::program() else { return };
    let livekit = livekit::Instance::start(program).await;
    let scene = with_livekit(&livekit);
    scene.examine().nothing_wrong().says("ok", "livekit.api", "takes our key", "");
    let secret = "canary-a-secret-that-livekit-does-not-know";
    let wrong = scene.clone().set("LIVEKIT_API_SECRET", secret).forbidding(secret).examine();
    wrong.is_wrong("livekit.api", "does not take LIVEKIT_API_KEY and LIVEKIT_API_SECRET", "livekit.yaml");
    wrong.is_wrong("livekit.public", "does not take our tokens", "LIVEKIT_PUBLIC_URL");
    livekit.kill();
    let down = scene.examine();
    down.is_wrong("livekit.api", "refuses connections", "LIVEKIT_URL");
    assert_eq!(down.wrong(), ["livekit.public", "livekit.api"]);
}

#[tokio::test]
async fn a_livekit_that_makes_rooms_for_any_token_is_warned_of() {
    let Some(program) = livekit::program() else { return };
    let livekit = livekit::Instance::prepare(program).auto_create();
    livekit.launch().await;
    with_livekit(&livekit).examine().warns("livekit.auto_create", "on", "room.auto_create: false");
}

#[tokio::test]
async fn something_else_in_the_place_of_livekit_is_not_taken_for_it() {
    let redis = crate::support::redis::shared();
    let scene =
        Scene::embedded().set("LIVEKIT_API_KEY", "key").set("LIVEKIT_API_SECRET", "canary-livekit-secret-of-nobody");
    let scene = scene.set("LIVEKIT_URL", format!("ws://127.0.0.1:{}", redis.address().1));
    scene.examine().is_wrong("livekit.api", "gives no answer", "scheme");
}

fn with_turn(urls: &str, secret: &str) -> Scene {
    Scene::embedded().set("TURN_URLS", urls).set("TURN_SECRET", secret).forbidding(secret)
}

#[tokio::test]
async fn a_turn_server_with_another_secret_is_told_from_one_that_is_not_there() {
    let turn = coturn::Instance::start(&coturn::shipped(TURN_SECRET));
    for url in [turn.url(), turn.url().replace("udp", "tcp")] {
        with_turn(&url, TURN_SECRET).examine().nothing_wrong().says("ok", "turn", "gives a relay at 127.0.0.1", "");
        let wrong = with_turn(&url, "canary-turn-secret-of-another").examine();
        wrong.is_wrong("turn", "is there and refuses our credentials (401)", "static-auth-secret");
        let gone = url.replace(&url.split(':').nth(2).unwrap()[..5], &process::free_port().to_string());
        with_turn(&gone, TURN_SECRET).examine().is_wrong("turn", "nothing listens there", "start the server");
    }
    let nowhere = with_turn("turn:no-such-host.invalid", TURN_SECRET).examine();
    nowhere.is_wrong("turn", "the name no-such-host.invalid is not known here", "TURN_URLS");
    let tls = with_turn(&turn.url().replace("turn:", "turns:").replace("udp", "tcp"), TURN_SECRET).examine();
    tls.is_wrong("turn", "no TLS", "public authority");
}

#[tokio::test]
async fn a_turn_server_that_serves_anybody_is_wrong() {
    let open = coturn::Instance::start("no-auth\nrealm=tests\nallow-loopback-peers\ncli-password=tests\n");
    with_turn(&open.url(), TURN_SECRET).examine().is_wrong(
        "turn",
        "to anybody, without credentials",
        "use-auth-secret",
    );
}

#[tokio::test]
async fn a_stun_server_that_is_silent_is_named_and_one_that_is_not_there() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let urls = format!("stun:{},stun:127.0.0.1:{}", silent.local_addr().unwrap(), process::free_port());
    let examined = Scene::embedded().set("STUN_URLS", urls).examine();
    examined.is_wrong("stun", "does not answer within 4 s", "open its port for UDP");
    examined.is_wrong("stun", "nothing listens there", "start the server");
    examined.says("warning", "turn", "TURN_URLS is empty", "coturn");
}

#[tokio::test]
async fn a_folder_for_recordings_that_cannot_be_written_to_is_named() {
    let closed = Scene::embedded().set("RECORDINGS_DIR", "/proc").examine();
    closed.is_wrong("recordings.directory", "no file can be written", "livekit-egress");
    closed.says("warning", "recordings.media_server", "no media server", "LIVEKIT_URL");
    let absent = process::new_folder("doctor").join("none");
    let none = Scene::embedded().set("RECORDINGS_DIR", absent.display()).examine();
    none.is_wrong("recordings.directory", "is no directory here", "mkdir -p");
    assert!(!absent.exists(), "looking makes nothing");
}
