//! The file: whole and in part, by token, by signed link, by the public link and its password.

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::Studio;
use crate::support::TestCluster;

const BODY: &[u8] = b"0123456789abcdefghij";

fn client() -> Client {
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn ask(studio: &Studio, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = client().request(method, format!("{}{path}", studio.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the node answers")
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Its path with the signature that alice was given.
async fn link(studio: &Studio, user: &str, recording: &str) -> String {
    studio.recording(user, recording).await["download"]["url"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_had_whole_or_in_part_as_rfc_9110_says() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(BODY).await;
    let url = link(&studio, "bob", &recording).await;
    let whole = ask(&studio, Method::GET, &url, &[]).await;
    assert_eq!(whole.status(), 200);
    assert_eq!((header(&whole, "content-type"), header(&whole, "accept-ranges")), ("video/mp4".into(), "bytes".into()));
    assert_eq!(header(&whole, "content-length"), "20");
    let (tag, modified) = (header(&whole, "etag"), header(&whole, "last-modified"));
    assert_eq!(whole.bytes().await.unwrap(), BODY);
    let head = ask(&studio, Method::HEAD, &url, &[]).await;
    assert_eq!(
        (head.status().as_u16(), header(&head, "content-length"), header(&head, "etag")),
        (200, "20".into(), tag.clone())
    );
    assert!(head.bytes().await.unwrap().is_empty());
    for (range, content_range, part) in [
        ("bytes=0-3", "bytes 0-3/20", &BODY[..4]),
        ("bytes=15-", "bytes 15-19/20", &BODY[15..]),
        ("bytes=-5", "bytes 15-19/20", &BODY[15..]),
        ("bytes=18-99", "bytes 18-19/20", &BODY[18..]),
    ] {
        for if_range in [None, Some(tag.as_str()), Some(modified.as_str())] {
            let mut headers = vec![("range", range)];
            headers.extend(if_range.map(|value| ("if-range", value)));
            let answer = ask(&studio, Method::GET, &url, &headers).await;
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "content-range")),
                (206, content_range.to_owned()),
                "{headers:?}"
            );
            assert_eq!(answer.bytes().await.unwrap(), part, "{headers:?}");
        }
    }
    for stale in ["\"another\"", "Tue, 14 Nov 2023 22:13:20 GMT"] {
        let changed = ask(&studio, Method::GET, &url, &[("range", "bytes=0-3"), ("if-range", stale)]).await;
        assert_eq!((changed.status().as_u16(), changed.bytes().await.unwrap().len()), (200, 20), "{stale}");
    }
    let outside = ask(&studio, Method::GET, &url, &[("range", "bytes=20-")]).await;
    assert_eq!((outside.status().as_u16(), header(&outside, "content-range")), (416, "bytes */20".to_owned()));
    let several = ask(&studio, Method::GET, &url, &[("range", "bytes=0-1,3-4")]).await;
    assert_eq!(several.status(), 200, "one range at a time");
    let known = ask(&studio, Method::GET, &url, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status().as_u16(), known.bytes().await.unwrap().len()), (304, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_was_in_the_call_has_it_and_to_others_it_is_not_there() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(BODY).await;
    let paths = |id: &str| [format!("/api/v1/recordings/{id}"), format!("/api/v1/recordings/{id}/download")];
    for (there, nowhere) in paths(&recording).iter().zip(paths("0190-no-such")) {
        assert_eq!(studio.get("alice", there).await.status, 200);
        let (seen, absent) = (studio.get("mallory", there).await, studio.get("mallory", &nowhere).await);
        assert_eq!((seen.status, seen.untraced()), (404, absent.untraced()));
    }
    assert_eq!(studio.get("mallory", "/api/v1/recordings").await.body["recordings"], json!([]));
    let none = ask(&studio, Method::GET, &format!("/api/v1/recordings/{recording}/download"), &[]).await;
    assert_eq!(none.status(), 401);
    let by_others =
        studio.cluster.rest(0, "mallory").request("DELETE", &format!("/api/v1/recordings/{recording}"), None).await;
    assert_eq!(by_others.status, 404);
    let by_guest =
        studio.cluster.rest(0, "bob").request("DELETE", &format!("/api/v1/recordings/{recording}"), None).await;
    assert_eq!((by_guest.status, by_guest.code()), (403, "forbidden"), "bob did not begin it, nor led the call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_link_is_good_for_its_user_recording_and_time_alone() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(BODY).await;
    let url = link(&studio, "alice", &recording).await;
    assert_eq!(ask(&studio, Method::GET, &url, &[]).await.status(), 200, "it needs no token");
    for (what, forged) in [
        ("another user", url.replace("user=alice", "user=bob")),
        ("another recording", url.replace(&recording, "0190-another")),
        ("a longer time", url.replace("expires=1", "expires=2")),
        ("another signature", format!("{}AA", &url[..url.len() - 2])),
        ("no signature", url.split("&signature").next().unwrap().to_owned() + "&signature="),
        ("a public link that is none", format!("/api/v1/recordings/{recording}/download?link=AAAA")),
    ] {
        assert_eq!(ask(&studio, Method::GET, &forged, &[]).await.status(), 404, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_link_may_have_a_password_whose_tries_are_counted_and_may_be_taken_back() {
    let builder = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "password.address=3/86400s");
    let Some(studio) = Studio::open(builder).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(BODY).await;
    let alice = studio.cluster.rest(0, "alice");
    let path = format!("/api/v1/recordings/{recording}");
    let change = |body: Value| {
        let (alice, path) = (&alice, &path);
        async move { alice.request("PATCH", path, Some(body)).await }
    };
    let refused = change(json!({"password": "correct horse"})).await;
    assert_eq!(refused.status, 400, "there is no public link to protect");
    let public = change(json!({"access": "public"})).await;
    let url = public.body["recording"]["publicUrl"].as_str().unwrap().to_owned();
    assert_eq!(ask(&studio, Method::GET, &url, &[]).await.status(), 200, "anybody");
    assert!(studio.recording("bob", &recording).await.get("publicUrl").is_none(), "it is alice's to pass on");

    assert_eq!(change(json!({"password": "short"})).await.status, 400);
    let locked = change(json!({"password": "correct horse"})).await;
    assert_eq!((locked.status, &locked.body["recording"]["hasPassword"]), (200, &json!(true)));
    let asked = ask(&studio, Method::GET, &url, &[]).await;
    assert_eq!(asked.status(), 401);
    assert!(header(&asked, "www-authenticate").starts_with("Basic realm="));
    let with = |password: &str| {
        let (studio, url) = (&studio, &url);
        let request =
            client().get(format!("{}{url}", studio.address())).basic_auth("anybody", Some(password.to_owned()));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(with("correct horse").await, 200);
    for _ in 0..3 {
        assert_eq!(with("wrong horse").await, 401);
    }
    assert_eq!(with("correct horse").await, 429, "too many wrong ones from this address");
    assert_eq!(studio.get("alice", &format!("{path}/download")).await.status, 200, "who was in the call needs none");

    assert_eq!(change(json!({"access": "participants"})).await.body["recording"]["hasPassword"], json!(false));
    assert_eq!(ask(&studio, Method::GET, &url, &[]).await.status(), 404, "taken back");
    let anew = change(json!({"access": "public"})).await;
    assert_ne!(anew.body["recording"]["publicUrl"], json!(url), "and another when it is given anew");
    assert_eq!(ask(&studio, Method::GET, &url, &[]).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_sent_without_being_held_in_memory() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let large: Vec<u8> = (0..64 * 1024 * 1024u32).map(|n| (n >> 12) as u8).collect();
    let (_alice, _bob, _call, recording) = studio.recorded(&large).await;
    let url = link(&studio, "alice", &recording).await;
    let resident = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let pid = studio.cluster.node(0).pid();
    let before = resident(pid);
    // Nobody reads these: what has been sent waits in the sockets, and no more of the files is read.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(ask(&studio, Method::GET, &url, &[]).await);
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let grown = resident(pid).saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} KiB for four downloads of 64 MiB");
    let got = waiting.pop().unwrap().bytes().await.unwrap();
    assert!(got == large, "byte for byte");
}
