//! Tokens of fixed keys: what is accepted, and every refusal.

use serde_json::json;

use super::*;
use crate::gateway::auth::{MAX_TOKEN_BYTES, TokenRequest, bearer, mint};

fn with_issuer_and_audience() -> AuthSettings {
    AuthSettings { issuer: Some("https://id.example".into()), audience: Some("calls".into()), ..secret_settings() }
}

/// A token with a header of our choosing and a signature of `signature`.
fn forged(header: Value, claims: &Value, signature: &str) -> String {
    // The library encodes what we cannot encode otherwise: a part of any token is the base64url of its JSON.
    let part = |json: &Value| hs256(json).split('.').nth(1).unwrap().to_owned();
    format!("{}.{}.{signature}", part(&header), part(claims))
}

#[actix_web::test]
async fn a_good_token_says_who_it_is_until_when_and_what_they_may() {
    let token = hs256(&alice_with(json!({"name": "Alice\n A.", "role": "admin"})));
    let claims = verify(secret_settings(), &token).await.unwrap();
    assert_eq!(claims.user.as_str(), "alice");
    assert_eq!(claims.name.as_deref(), Some("Alice A."));
    assert!(claims.admin);
    assert_eq!(claims.expires_at, NOW + Duration::from_secs(60));
    assert!(!verify(secret_settings(), &hs256(&alice())).await.unwrap().admin);
}

#[actix_web::test]
async fn each_kind_of_public_key_checks_tokens_of_its_algorithm() {
    for (algorithm, private, public) in
        [(Algorithm::RS256, RSA, RSA_PUBLIC), (Algorithm::ES256, P256, P256_PUBLIC), (Algorithm::EdDSA, ED, ED_PUBLIC)]
    {
        let token = signed(algorithm, private, Some("any"), &alice());
        assert!(verify(public_key_settings(public), &token).await.is_ok(), "{algorithm:?}");
    }
}

#[actix_web::test]
async fn a_secret_and_a_public_key_serve_side_by_side() {
    let settings = AuthSettings { secret: Some(Secret::new(SECRET)), ..public_key_settings(ED_PUBLIC) };
    assert!(verify(settings.clone(), &hs256(&alice())).await.is_ok());
    assert!(verify(settings.clone(), &signed(Algorithm::EdDSA, ED, None, &alice())).await.is_ok());
    assert_refused(settings, &signed(Algorithm::RS256, RSA, None, &alice()), "no key for this algorithm").await;
}

#[actix_web::test]
async fn a_token_without_a_signature_is_refused() {
    let unknown = "not a token, or of an unknown algorithm";
    for alg in ["none", "None", "nOnE", ""] {
        assert_refused(secret_settings(), &forged(json!({"alg": alg, "typ": "JWT"}), &alice(), ""), unknown).await;
    }
    assert_refused(secret_settings(), &forged(json!({"typ": "JWT"}), &alice(), ""), unknown).await;
    let unsigned = forged(json!({"alg": "HS256"}), &alice(), "");
    assert_refused(secret_settings(), &unsigned, "the signature does not fit").await;
}

#[actix_web::test]
async fn a_public_key_is_never_taken_for_a_secret() {
    let forged = encode(&Header::default(), &alice(), &EncodingKey::from_secret(RSA_PUBLIC.as_bytes())).unwrap();
    assert_refused(public_key_settings(RSA_PUBLIC), &forged, "no key for this algorithm").await;
}

#[actix_web::test]
async fn an_algorithm_of_the_same_family_is_not_the_keys_algorithm() {
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = encode(&Header::new(algorithm), &alice(), &secret).unwrap();
        assert_refused(secret_settings(), &token, "no key for this algorithm").await;
    }
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let token = signed(algorithm, RSA, None, &alice());
        assert_refused(public_key_settings(RSA_PUBLIC), &token, "no key for this algorithm").await;
    }
}

#[actix_web::test]
async fn a_token_of_another_key_or_with_a_changed_claim_is_refused() {
    let other = encode(&Header::default(), &alice(), &EncodingKey::from_secret(b"another secret")).unwrap();
    assert_refused(secret_settings(), &other, "the signature does not fit").await;
    let (mine, theirs) = (hs256(&alice()), hs256(&alice_with(json!({"sub": "mallory"}))));
    let signature = mine.rsplit_once('.').unwrap().1;
    let mixed = format!("{}.{signature}", theirs.rsplit_once('.').unwrap().0);
    assert_refused(secret_settings(), &mixed, "the signature does not fit").await;
    let next = signed(Algorithm::EdDSA, ED_NEXT, None, &alice());
    assert_refused(public_key_settings(ED_PUBLIC), &next, "the signature does not fit").await;
}

#[actix_web::test]
async fn what_is_no_token_is_refused_without_a_panic() {
    let good = hs256(&alice());
    let long = format!("{good}{}", "a".repeat(MAX_TOKEN_BYTES));
    assert_refused(secret_settings(), &long, "the token is too long").await;
    for text in ["", ".", "..", "...", "a.b.c", "ü.ü.ü", "eyJ.eyJ.eyJ", &good[1..], &format!("{good}."), &good[..40]]
    {
        assert!(matches!(verify(secret_settings(), text).await, Err(AuthError::Unauthenticated(_))), "{text}");
    }
    for cut in 0..good.len() {
        assert!(verify(secret_settings(), &good[..cut]).await.is_err(), "cut at {cut}");
    }
}

#[actix_web::test]
async fn a_token_that_needs_an_extension_is_refused_and_key_addresses_in_it_are_ignored() {
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let critical = Header { crit: Some(vec!["b64".into()]), ..Header::default() };
    let token = encode(&critical, &alice(), &secret).unwrap();
    assert_refused(secret_settings(), &token, "the token needs an extension").await;
    // Nobody listens there: a fetch would be an error or a wait, not an answer.
    let addresses = Header {
        jku: Some("http://127.0.0.1:9/keys".into()),
        x5u: Some("http://127.0.0.1:9/chain".into()),
        ..Header::default()
    };
    assert!(verify(secret_settings(), &encode(&addresses, &alice(), &secret).unwrap()).await.is_ok());
}

#[actix_web::test]
async fn a_key_inside_a_token_is_ignored() {
    let mut header = Header::new(Algorithm::EdDSA);
    header.jwk = Some(serde_json::from_value(public_jwk(Algorithm::EdDSA, ED_NEXT, json!({}))).unwrap());
    let token = encode(&header, &alice(), &encoding_key(Algorithm::EdDSA, ED_NEXT)).unwrap();
    assert_refused(public_key_settings(ED_PUBLIC), &token, "the signature does not fit").await;
}

#[actix_web::test]
async fn exp_is_required_and_a_number() {
    let refused = async |exp: Value, reason| {
        assert_refused(secret_settings(), &hs256(&alice_with(json!({"exp": exp}))), reason).await;
    };
    refused(Value::Null, "exp is missing").await;
    for wrong in [json!((NOW_SECS + 60).to_string()), json!("never"), json!(true), json!([NOW_SECS + 60]), json!({})] {
        refused(wrong, "exp is not a number").await;
    }
    let fraction = hs256(&alice_with(json!({"exp": NOW_SECS as f64 + 1.5})));
    assert_eq!(verify(secret_settings(), &fraction).await.unwrap().expires_at, NOW + Duration::from_millis(1500));
    for far in [json!(i64::MAX), json!(u64::MAX), json!(1e300)] {
        let claims = verify(secret_settings(), &hs256(&alice_with(json!({"exp": far})))).await.unwrap();
        assert_eq!(claims.expires_at.to_string(), "9999-12-31T23:59:59.000Z");
    }
}

#[actix_web::test]
async fn an_expired_token_is_called_expired_once_the_leeway_is_over() {
    for exp in [json!(NOW_SECS - 30), json!(0), json!(-5), json!(-1e300), json!(i64::MIN)] {
        let token = hs256(&alice_with(json!({"exp": exp})));
        assert_eq!(verify(secret_settings(), &token).await, Err(AuthError::Expired), "{exp}");
    }
    // Within the leeway the session lasts until the leeway is over.
    let token = hs256(&alice_with(json!({"exp": NOW_SECS - 29})));
    assert_eq!(verify(secret_settings(), &token).await.unwrap().expires_at, NOW + Duration::from_secs(1));
}

#[actix_web::test]
async fn only_a_token_that_is_good_otherwise_is_called_expired() {
    let forged = encode(&Header::default(), &json!({"sub": "a", "exp": 1}), &EncodingKey::from_secret(b"x")).unwrap();
    assert_refused(secret_settings(), &forged, "the signature does not fit").await;
    let foreign = hs256(&alice_with(json!({"exp": 1})));
    assert_refused(with_issuer_and_audience(), &foreign, "iss is not the configured issuer").await;
}

#[actix_web::test]
async fn nbf_is_kept_to_the_leeway_and_must_be_a_number() {
    let at = |nbf: Value| hs256(&alice_with(json!({"nbf": nbf})));
    assert!(verify(secret_settings(), &at(json!(NOW_SECS + 30))).await.is_ok());
    assert_refused(secret_settings(), &at(json!(NOW_SECS + 31)), "nbf is in the future").await;
    assert_refused(secret_settings(), &at(json!("0")), "nbf is not a number").await;
    assert_refused(secret_settings(), &at(json!([])), "nbf is not a number").await;
}

#[actix_web::test]
async fn issuer_and_audience_are_checked_when_they_are_configured() {
    let with = |iss: Value, aud: Value| hs256(&alice_with(json!({"iss": iss, "aud": aud})));
    let issuer = json!("https://id.example");
    for aud in [json!("calls"), json!(["other", "calls"])] {
        assert!(verify(with_issuer_and_audience(), &with(issuer.clone(), aud)).await.is_ok());
    }
    for iss in [Value::Null, json!("https://id.example/"), json!(["https://id.example"]), json!(1)] {
        let token = with(iss, json!("calls"));
        assert_refused(with_issuer_and_audience(), &token, "iss is not the configured issuer").await;
    }
    for aud in [Value::Null, json!("call"), json!(["other"]), json!([]), json!({"calls": 1}), json!([["calls"]])] {
        let token = with(issuer.clone(), aud);
        assert_refused(with_issuer_and_audience(), &token, "aud does not name the configured audience").await;
    }
    assert!(verify(secret_settings(), &with(json!("anybody"), json!("anything"))).await.is_ok());
}

#[actix_web::test]
async fn sub_is_required_and_a_user_id() {
    let refused = async |sub: Value, reason| {
        assert_refused(secret_settings(), &hs256(&alice_with(json!({"sub": sub}))), reason).await;
    };
    refused(Value::Null, "sub is missing").await;
    refused(json!(7), "sub is not a string").await;
    refused(json!(""), "sub is not a user id").await;
    refused(json!("a\nb"), "sub is not a user id").await;
    refused(json!("a".repeat(129)), "sub is not a user id").await;
    assert!(verify(secret_settings(), &hs256(&alice_with(json!({"sub": "ü".repeat(128)})))).await.is_ok());
}

#[actix_web::test]
async fn claims_of_no_use_to_us_do_no_harm() {
    let odd = json!({"name": 7, "role": ["admin"], "jti": {"a": [1]}, "admin": true});
    let claims = verify(secret_settings(), &hs256(&alice_with(odd))).await.unwrap();
    assert_eq!((claims.name, claims.admin), (None, false));
    let long = verify(secret_settings(), &hs256(&alice_with(json!({"name": "n".repeat(5000)})))).await.unwrap();
    assert_eq!(long.name.unwrap().len(), 128);
    assert_refused(secret_settings(), &hs256(&json!([1, 2])), "the claims are not a JSON object").await;
}

#[actix_web::test]
async fn a_minted_token_is_accepted_by_a_node_with_the_same_settings() {
    let settings = with_issuer_and_audience();
    let user = "bob".to_owned();
    let request = TokenRequest {
        user: crate::domain::ids::UserId::new(user).unwrap(),
        name: Some("Bob".into()),
        admin: true,
        ttl: Duration::from_secs(3600),
    };
    let token = mint(&settings, &request, NOW).unwrap();
    let claims = verify(settings, &token).await.unwrap();
    assert_eq!((claims.user.as_str(), claims.name.as_deref(), claims.admin), ("bob", Some("Bob"), true));
    assert_eq!(claims.expires_at, NOW + Duration::from_secs(3600));
    assert!(mint(&public_key_settings(ED_PUBLIC), &request, NOW).is_err());
}

#[actix_web::test]
async fn the_service_key_matches_itself_alone() {
    let key = "a service key of some length";
    let settings = AuthSettings { service_key: Some(Secret::new(key)), ..secret_settings() };
    let verifier = Verifier::start(settings).unwrap();
    assert!(verifier.service_key_matches(key));
    for wrong in ["", "a", &key[1..], &format!("{key} "), SECRET] {
        assert!(!verifier.service_key_matches(wrong));
    }
    let none = Verifier::start(secret_settings()).unwrap();
    assert!(!none.service_key_matches("") && !none.service_key_matches(key));
}

#[test]
fn a_bearer_header_is_one_word_after_the_scheme() {
    assert_eq!(bearer("Bearer abc.def"), Some("abc.def"));
    assert_eq!(bearer("bEARER   abc "), Some("abc"));
    for wrong in ["", "Bearer", "Bearer ", "abc", "Basic abc", "Bearerabc", "Bearer a b", "Bearer a\tb", "Bearer ü"] {
        assert_eq!(bearer(wrong), None, "{wrong}");
    }
}

#[test]
fn neither_settings_nor_verifier_show_a_secret() {
    let settings = AuthSettings { service_key: Some(Secret::new("service-canary")), ..secret_settings() };
    let shown =
        format!("{settings:?} {:?} {:?}", Verifier::start(settings.clone()).unwrap(), public_key_settings(RSA_PUBLIC));
    assert!(!shown.contains("canary") && !shown.contains(SECRET), "{shown}");
}
