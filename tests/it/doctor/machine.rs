//! What can be wrong with the machine, with key servers and with collectors.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
};

use super::{Scene, migrated};
use crate::{faults::clocks::libfaketime, support::process::free_port};

/// The same answer to everybody, until the test process ends; where it is.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // The doctor also looks whether anybody listens at all, and says nothing then.
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_seen_by_those_of_the_servers() {
    let database = migrated().await;
    let scene = Scene::on(&database);
    for (offset, words) in [("+1h", "60 min ahead of"), ("-1h", "60 min behind")] {
        let mut command = scene.command(&["--json"]);
        command.env("LD_PRELOAD", libfaketime()).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let examined = scene.examined(command);
        examined.is_wrong("clock.database", words, "time server").is_wrong("clock.redis", words, "time server");
        assert_eq!(examined.wrong(), ["clock.database", "clock.redis"]);
    }
    let mut command = scene.command(&["--json"]);
    command.env("LD_PRELOAD", libfaketime()).env("FAKETIME", "+4s").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let doubtful = Scene {
        settings: [scene.settings.clone(), vec![("CARILLON_NODE_LEASE_SECS".into(), "60".into())]].concat(),
        ..scene
    };
    command.env("CARILLON_NODE_LEASE_SECS", "60");
    doubtful.examined(command).warns("clock.database", "ahead of", "time server");
}

#[tokio::test]
async fn few_open_files_are_wrong_and_more_are_few() {
    let scene = Scene::embedded();
    for (files, verdict, words) in [(128, "wrong", "room for 48 clients"), (1024, "warning", "room for 944 clients")] {
        let mut command = scene.command(&["--json"]);
        // SAFETY: setrlimit is async-signal-safe and touches nothing but the calling process.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: files, rlim_max: files };
                if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            });
        }
        scene.examined(command).says(verdict, "limits.open_files", words, "LimitNOFILE");
    }
}

#[tokio::test]
async fn a_key_server_that_is_not_there_or_gives_no_keys_is_named() {
    let scene = Scene::embedded();
    let down = scene.clone().set("CARILLON_JWKS_URL", format!("http://127.0.0.1:{}/keys", free_port())).examine();
    down.is_wrong("jwks", "nothing listens there", "CARILLON_JWKS_URL");
    let absent = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let absent = scene.clone().set("CARILLON_JWKS_URL", format!("{absent}/keys")).examine();
    absent.is_wrong("jwks", "404", "JWKS document");
    absent.says("warning", "settings.tokens", "no issuer and no audience", "CARILLON_JWT_ISSUER");
    let empty = answering("HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"keys\":[]}");
    let empty = scene.set("CARILLON_JWKS_URL", format!("{empty}/keys")).examine();
    empty.is_wrong("jwks", "no key that tokens could be checked with", "RSA");
}

#[tokio::test]
async fn an_address_that_is_taken_by_something_else_is_named() {
    let somebody = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let scene = Scene::embedded().set("CARILLON_LISTEN", somebody.strip_prefix("http://").unwrap());
    scene.examine().is_wrong("listen", "not by Carillon", "CARILLON_LISTEN");
    let elsewhere = Scene::embedded().set("CARILLON_LISTEN", "192.0.2.1:8080").examine();
    elsewhere.is_wrong("listen", "no address of this machine", "0.0.0.0");
    elsewhere.says("warning", "settings.proxies", "no proxy is trusted", "CARILLON_TRUSTED_PROXIES");
    elsewhere.says("warning", "settings.cluster", "one node", "postgres://");
}

#[tokio::test]
async fn a_collector_is_asked_only_if_there_is_to_be_one() {
    assert!(Scene::embedded().examine().all("otlp").is_empty());
    let taking = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let well = Scene::embedded().set("OTEL_EXPORTER_OTLP_ENDPOINT", taking).examine();
    well.nothing_wrong().says("ok", "otlp", "takes traces", "");
    let down = Scene::embedded().set("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", free_port()));
    down.examine().warns("otlp", "nothing listens there", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let refusing = answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let unknown = Scene::embedded().set("OTEL_EXPORTER_OTLP_ENDPOINT", refusing).examine();
    unknown.warns("otlp", "refuses our credentials", "OTEL_EXPORTER_OTLP_HEADERS");
}

#[tokio::test]
async fn what_looks_like_a_setting_and_is_none_is_named() {
    let scene =
        Scene::embedded().set("CARILLON_RING_TIMEOUT", "30").set("CARILLON_ALLOWED_ORIGINS", "http://app.example");
    let examined = scene.examine();
    examined.warns("settings.unknown", "CARILLON_RING_TIMEOUT is no setting", "--help");
    examined.warns("settings.origins", "http://app.example is http", "https");
    let short = Scene::embedded().set("CARILLON_SERVICE_KEY", "0123456789abcdef").examine();
    short.warns("settings.secrets", "CARILLON_SERVICE_KEY is shorter than 32 bytes", "openssl rand -hex 32");
}
