//! Keys in files, and keys of a key server: a small real one that counts how often it is asked.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, http::KeepAlive, rt, web};
use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::*;
use crate::gateway::auth::{KeyError, Url, jwks::Timing};

const RSA_1024: &str = include_str!("../test_keys/rsa1024.public.pem");
const P384_PUBLIC: &str = include_str!("../test_keys/p384.public.pem");

#[test]
fn a_file_that_holds_no_public_key_we_check_with_is_refused_with_the_reason() {
    let error = |pem: &str| VerifyingKey::from_pem(pem).unwrap_err();
    assert_eq!(error(RSA), KeyError::Private);
    assert_eq!(error(ED), KeyError::Private);
    assert_eq!(error(RSA_1024), KeyError::RsaSize);
    assert_eq!(error(P384_PUBLIC), KeyError::Curve);
    assert_eq!(error(""), KeyError::NotAPublicKey);
    assert_eq!(error("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), KeyError::NotAPublicKey);
    let certificate = RSA_PUBLIC.replace("PUBLIC KEY", "CERTIFICATE");
    assert_eq!(error(&certificate), KeyError::NotAPublicKey);
}

/// How the key server answers.
#[derive(Clone)]
enum Reply {
    Body(String),
    Status(u16),
    Redirect(String),
    /// Never, as far as a test can tell.
    Hang,
}

struct KeyServer {
    reply: Arc<Mutex<Reply>>,
    fetches: Arc<AtomicUsize>,
    address: std::net::SocketAddr,
    handle: ServerHandle,
}

impl KeyServer {
    fn start(reply: Reply) -> Self {
        let (reply, fetches) = (Arc::new(Mutex::new(reply)), Arc::new(AtomicUsize::new(0)));
        let shared = (reply.clone(), fetches.clone());
        let server = HttpServer::new(move || {
            let (reply, fetches) = shared.clone();
            App::new().default_service(web::to(move || {
                fetches.fetch_add(1, Ordering::SeqCst);
                let reply = reply.lock().unwrap().clone();
                async move {
                    match reply {
                        Reply::Body(body) => HttpResponse::Ok().body(body),
                        Reply::Status(status) => HttpResponse::build(status.try_into().unwrap()).finish(),
                        Reply::Redirect(to) => HttpResponse::Found().insert_header(("location", to)).finish(),
                        Reply::Hang => {
                            sleep(Duration::from_secs(600)).await;
                            HttpResponse::Ok().finish()
                        }
                    }
                }
            }))
        })
        .workers(1)
        // No connection outlives its answer, so that a stopped server is away at once.
        .keep_alive(KeepAlive::Disabled)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        rt::spawn(server);
        Self { reply, fetches, address, handle }
    }

    fn with_keys(keys: &[Value]) -> Self {
        Self::start(Reply::Body(key_set(keys)))
    }

    fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    async fn go_away(&self) {
        self.handle.stop(false).await;
        let gone = async {
            while TcpStream::connect(self.address).await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.expect("gone");
    }

    fn settings(&self) -> AuthSettings {
        let url = Url::parse(&format!("http://{}/keys", self.address)).unwrap();
        AuthSettings { jwks_url: Some(url), ..AuthSettings::default() }
    }

    fn verifier(&self, timing: Timing) -> Verifier {
        Verifier::start_with(self.settings(), timing).unwrap()
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    async fn wait_for_fetches(&self, least: usize) {
        let enough = async {
            while self.fetches() < least {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), enough).await.expect("fetches");
    }
}

fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn ed_jwk(kid: &str) -> Value {
    public_jwk(Algorithm::EdDSA, ED, json!({"kid": kid, "use": "sig", "alg": "EdDSA"}))
}

fn next_jwk(kid: &str) -> Value {
    public_jwk(Algorithm::EdDSA, ED_NEXT, json!({ "kid": kid }))
}

fn ed_token(kid: Option<&str>) -> String {
    signed(Algorithm::EdDSA, ED, kid, &alice())
}

fn next_token(kid: &str) -> String {
    signed(Algorithm::EdDSA, ED_NEXT, Some(kid), &alice())
}

const UNKNOWN: AuthError = AuthError::Unauthenticated("no key for this token");
const FORGED: AuthError = AuthError::Unauthenticated("the signature does not fit");

#[actix_web::test]
async fn keys_of_a_key_server_are_fetched_once_for_many_tokens() {
    let server = KeyServer::with_keys(&[
        public_jwk(Algorithm::RS256, RSA, json!({"kid": "r"})),
        public_jwk(Algorithm::ES256, P256, json!({"kid": "e"})),
        ed_jwk("d"),
    ]);
    let verifier = server.verifier(Timing::default());
    for _ in 0..3 {
        for (algorithm, pem, kid) in
            [(Algorithm::RS256, RSA, "r"), (Algorithm::ES256, P256, "e"), (Algorithm::EdDSA, ED, "d")]
        {
            let token = signed(algorithm, pem, Some(kid), &alice());
            assert_eq!(verifier.verify(&token, NOW).await.unwrap().user.as_str(), "alice");
            assert!(verifier.verify(&signed(algorithm, pem, None, &alice()), NOW).await.is_ok(), "without a kid");
        }
    }
    assert_eq!(server.fetches(), 1);
}

#[actix_web::test]
async fn a_storm_of_unknown_key_ids_costs_one_fetch() {
    let server = KeyServer::with_keys(&[ed_jwk("a")]);
    let verifier = server.verifier(Timing::default());
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
    let storm: Vec<_> = (0..200).map(|n| ed_token(Some(&format!("made-up-{n}")))).collect();
    for _ in 0..3 {
        let results = join_all(storm.iter().map(|token| verifier.verify(token, NOW))).await;
        assert!(results.iter().all(|result| *result == Err(UNKNOWN)));
    }
    assert_eq!(server.fetches(), 2, "the first, and one refresh for all of them");
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
}

#[actix_web::test]
async fn everybody_who_comes_before_the_first_answer_waits_for_the_same_fetch() {
    let server = KeyServer::with_keys(&[ed_jwk("a")]);
    let verifier = server.verifier(Timing::default());
    let token = ed_token(Some("a"));
    let results = join_all((0..100).map(|_| verifier.verify(&token, NOW))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(server.fetches(), 1);
}

#[actix_web::test]
async fn a_rotated_key_is_found_by_one_refresh_and_the_old_one_is_gone() {
    let server = KeyServer::with_keys(&[ed_jwk("a")]);
    let verifier = server.verifier(Timing::default());
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
    server.answer(Reply::Body(key_set(&[next_jwk("b")])));
    let token = next_token("b");
    let results = join_all((0..50).map(|_| verifier.verify(&token, NOW))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(verifier.verify(&ed_token(Some("a")), NOW).await, Err(UNKNOWN));
    assert_eq!(server.fetches(), 2);
}

#[actix_web::test]
async fn keys_are_fetched_again_unasked_so_that_a_withdrawn_key_ends() {
    let server = KeyServer::with_keys(&[ed_jwk("a")]);
    let timing = Timing { refresh_every: Duration::from_millis(100), ..Timing::default() };
    let verifier = server.verifier(timing);
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
    server.answer(Reply::Body(key_set(&[next_jwk("b")])));
    let before = server.fetches();
    // Two more: the first of them may have been answered before the change.
    server.wait_for_fetches(before + 2).await;
    assert!(verifier.verify(&next_token("b"), NOW).await.is_ok());
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_err());
}

#[actix_web::test]
async fn known_keys_stay_good_while_the_key_server_is_away() {
    let server = KeyServer::with_keys(&[ed_jwk("a")]);
    let timing = Timing { min_interval: Duration::from_millis(50), ..Timing::default() };
    let verifier = server.verifier(timing);
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
    server.go_away().await;
    // Whose key it is cannot be told now: the client may try again.
    assert_eq!(verifier.verify(&next_token("b"), NOW).await, Err(AuthError::Unavailable));
    sleep(Duration::from_millis(120)).await;
    assert_eq!(verifier.verify(&next_token("b"), NOW).await, Err(AuthError::Unavailable));
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
    assert_eq!(verifier.verify(&next_token("a"), NOW).await, Err(FORGED));
}

#[actix_web::test]
async fn a_wrong_answer_of_the_key_server_leaves_the_known_keys() {
    let server = KeyServer::with_keys(&[ed_jwk("a")]);
    let timing = Timing { min_interval: Duration::ZERO, timeout: Duration::from_millis(200), ..Timing::default() };
    let verifier = server.verifier(timing);
    assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
    let huge = format!(r#"{{"keys":[],"filler":"{}"}}"#, "x".repeat(300 * 1024));
    let elsewhere = KeyServer::with_keys(&[next_jwk("b")]);
    for reply in [
        Reply::Status(500),
        Reply::Status(204),
        Reply::Body("<html>".into()),
        Reply::Body("{}".into()),
        Reply::Body(key_set(&[])),
        Reply::Body(huge),
        Reply::Redirect(format!("http://{}/keys", elsewhere.address)),
        Reply::Hang,
    ] {
        server.answer(reply);
        assert_eq!(verifier.verify(&next_token("b"), NOW).await, Err(AuthError::Unavailable));
        assert!(verifier.verify(&ed_token(Some("a")), NOW).await.is_ok());
    }
    assert_eq!(elsewhere.fetches(), 0, "redirects are not followed");
}

#[actix_web::test]
async fn a_key_server_that_comes_up_late_is_found() {
    let server = KeyServer::start(Reply::Status(503));
    let timing = Timing { first_retry: Duration::from_millis(30), ..Timing::default() };
    let verifier = server.verifier(timing);
    assert_eq!(verifier.verify(&ed_token(Some("a")), NOW).await, Err(AuthError::Unavailable));
    server.answer(Reply::Body(key_set(&[ed_jwk("a")])));
    let found = async {
        while verifier.verify(&ed_token(Some("a")), NOW).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), found).await.expect("found");
}

#[actix_web::test]
async fn failed_first_fetches_are_spaced_out_however_many_tokens_come() {
    let server = KeyServer::start(Reply::Status(503));
    let verifier = server.verifier(Timing::default());
    for _ in 0..100 {
        assert_eq!(verifier.verify(&ed_token(Some("a")), NOW).await, Err(AuthError::Unavailable));
    }
    assert!(server.fetches() <= 2, "{}", server.fetches());
}

#[actix_web::test]
async fn keys_that_are_not_for_checking_signatures_are_ignored() {
    let octets = "c2VjcmV0LXRoYXQtaXMtcHVibGlzaGVkLWJ5LW1pc3Rha2U";
    let server = KeyServer::with_keys(&[
        json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": octets}),
        public_jwk(Algorithm::RS256, RSA, json!({"kid": "enc", "use": "enc"})),
        public_jwk(Algorithm::RS256, RSA, json!({"kid": "oaep", "alg": "RSA-OAEP"})),
        public_jwk(Algorithm::RS256, RSA, json!({"kid": "hs", "alg": "HS256"})),
        public_jwk(Algorithm::ES256, P256, json!({"kid": "ops", "key_ops": ["deriveKey"]})),
        public_jwk(Algorithm::ES256, P256, json!({"kid": "alg", "alg": "ES384"})),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "none"}),
        json!({"kty": "EC", "crv": "P-256", "kid": "off", "x": "A".repeat(43), "y": "A".repeat(43)}),
        json!({"kty": "RSA", "kid": "tiny", "n": "AQAB", "e": "AQAB"}),
        json!("nonsense"),
        ed_jwk("good"),
    ]);
    let verifier = server.verifier(Timing::default());
    assert!(verifier.verify(&ed_token(Some("good")), NOW).await.is_ok());
    for (algorithm, pem, kid) in [
        (Algorithm::RS256, RSA, "enc"),
        (Algorithm::RS256, RSA, "oaep"),
        (Algorithm::RS256, RSA, "hs"),
        (Algorithm::ES256, P256, "ops"),
        (Algorithm::ES256, P256, "alg"),
        (Algorithm::EdDSA, ED, "short"),
        (Algorithm::ES256, P256, "off"),
        (Algorithm::RS256, RSA, "tiny"),
    ] {
        let token = signed(algorithm, pem, Some(kid), &alice());
        assert_eq!(verifier.verify(&token, NOW).await, Err(UNKNOWN), "{kid}");
    }
    let header = Header { kid: Some("s".into()), ..Header::default() };
    let symmetric = encode(&header, &alice(), &EncodingKey::from_base64_secret(&format!("{octets}=")).unwrap());
    let refused = AuthError::Unauthenticated("no key for this algorithm");
    assert_eq!(verifier.verify(&symmetric.unwrap(), NOW).await, Err(refused));
}

#[actix_web::test]
async fn a_key_of_the_server_is_used_with_its_own_algorithm_only() {
    let server =
        KeyServer::with_keys(&[public_jwk(Algorithm::RS256, RSA, json!({"kid": "pss", "alg": "PS256"})), ed_jwk("a")]);
    let verifier = server.verifier(Timing::default());
    assert!(verifier.verify(&signed(Algorithm::PS256, RSA, Some("pss"), &alice()), NOW).await.is_ok());
    for (algorithm, pem, kid) in [(Algorithm::RS256, RSA, "pss"), (Algorithm::RS256, RSA, "a")] {
        assert_eq!(verifier.verify(&signed(algorithm, pem, Some(kid), &alice()), NOW).await, Err(FORGED));
    }
    assert_eq!(server.fetches(), 1, "a known id with another algorithm is not worth a fetch");
}

#[actix_web::test]
async fn tokens_of_fixed_keys_do_not_wait_for_the_key_server() {
    let server = KeyServer::start(Reply::Hang);
    let settings = AuthSettings { secret: Some(Secret::new(SECRET)), ..server.settings() };
    let verifier = Verifier::start(settings).unwrap();
    let token = hs256(&alice());
    assert!(timeout(Duration::from_secs(1), verifier.verify(&token, NOW)).await.expect("at once").is_ok());
}

#[actix_web::test]
async fn an_https_key_server_is_asked_over_tls() {
    // It speaks no TLS: the keys it would give must not be taken.
    let server = KeyServer::with_keys(&[ed_jwk("a")]);
    let url = Url::parse(&format!("https://{}/keys", server.address)).unwrap();
    let verifier = Verifier::start(AuthSettings { jwks_url: Some(url), ..AuthSettings::default() }).unwrap();
    assert_eq!(verifier.verify(&ed_token(Some("a")), NOW).await, Err(AuthError::Unavailable));
    assert_eq!(server.fetches(), 0);
}
