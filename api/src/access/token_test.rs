use std::sync::{Arc, Mutex};

use jsonwebtoken::{EncodingKey, Header, encode};
use poem::listener::TcpAcceptor;
use poem::{EndpointExt, IntoResponse, Response, Server};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Keys that were made for these tests, and are good for nothing else.
const EC_KEY: &str = include_str!("testdata/ec.pem");
const OTHER_EC_KEY: &str = include_str!("testdata/other_ec.pem");

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn access() -> Access {
    let key = TokenKey::new(SECRET).expect("is long enough");
    Access::new(Key::Secret(key), ISSUER, AUDIENCE).expect("can be set up")
}

fn claims() -> Value {
    json!({ "sub": "kim", "role": "customer", "iss": "jumun", "aud": "jumun", "exp": now() + 60 })
}

fn signed(claims: &Value) -> String {
    settle_cryptography();
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).expect("encodes")
}

/// Who it is, or why it is nobody.
async fn read(access: &Access, token: &str) -> Result<(Role, String), String> {
    match access.known(token).await {
        Ok(known) => Ok((known.principal.role(), known.principal.subject().to_owned())),
        Err(problem) => {
            let body: Value = problem.into_response().into_body().into_json().await.expect("a problem");
            Err(format!("{}: {}", body["type"].as_str().expect("a type"), body["detail"].as_str().expect("a detail")))
        }
    }
}

#[tokio::test]
async fn a_minted_token_is_good() {
    let key = TokenKey::new(SECRET).expect("is long enough");
    let merchant_id: MerchantId = "pizza".parse().expect("an id");
    let principal = Principal::new(Role::Merchant, "lee", Some(merchant_id)).expect("is one");
    let token = key.mint(&principal, ISSUER, AUDIENCE, now(), now() + 60);
    let known = access().known(&token).await.expect("is good");
    assert_eq!(known.principal, principal);
    assert!(known.expires_at > Instant::now() + Duration::from_secs(50));
    assert!(!format!("{key:?} {:?}", access()).contains("0123456789"));
    assert_eq!(TokenKey::new(&SECRET[1..]).err(), Some(ShortKey));
}

#[tokio::test]
async fn a_token_that_says_anything_else_is_refused() {
    type Change = fn(&mut Value);
    let wrong: [(&str, Change); 17] = [
        ("expired", |claims| claims["exp"] = json!(now() - 60)),
        ("for ever", |claims| drop(claims.as_object_mut().expect("an object").remove("exp"))),
        ("not yet", |claims| claims["nbf"] = json!(now() + 60)),
        ("another issuer", |claims| claims["iss"] = json!("mallory")),
        ("no issuer", |claims| drop(claims.as_object_mut().expect("an object").remove("iss"))),
        ("another audience", |claims| claims["aud"] = json!("bank")),
        ("other audiences", |claims| claims["aud"] = json!(["bank", "shop"])),
        ("no audience", |claims| drop(claims.as_object_mut().expect("an object").remove("aud"))),
        ("nobody", |claims| drop(claims.as_object_mut().expect("an object").remove("sub"))),
        ("an empty subject", |claims| claims["sub"] = json!("")),
        ("a subject of two lines", |claims| claims["sub"] = json!("kim\noperator")),
        ("no role", |claims| drop(claims.as_object_mut().expect("an object").remove("role"))),
        ("another role", |claims| claims["role"] = json!("admin")),
        ("two roles", |claims| claims["role"] = json!(["customer", "operator"])),
        ("a merchant without one", |claims| claims["role"] = json!("merchant")),
        ("a customer with a merchant", |claims| claims["merchant_id"] = json!("pizza")),
        ("a malformed merchant", |claims| {
            claims["role"] = json!("merchant");
            claims["merchant_id"] = json!("../pizza");
        }),
    ];
    let access = access();
    assert_eq!(read(&access, &signed(&claims())).await, Ok((Role::Customer, "kim".to_owned())));
    let mut several = claims();
    several["aud"] = json!(["shop", "jumun"]);
    assert!(read(&access, &signed(&several)).await.is_ok());
    for (what, change) in wrong {
        let mut claims = claims();
        change(&mut claims);
        let refused = read(&access, &signed(&claims)).await.expect_err(what);
        assert!(refused.starts_with("/problems/unauthenticated: The token is not good here"), "{what}: {refused}");
    }
}

#[tokio::test]
async fn the_algorithm_is_not_the_tokens_to_choose() {
    let access = access();
    let good = signed(&claims());
    let (_, rest) = good.split_once('.').expect("three parts");
    let part = |json: &Value| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, json.to_string());
    let body = rest.split('.').next().expect("a body");
    for token in [
        format!("{}.{body}.", part(&json!({ "alg": "none", "typ": "JWT" }))),
        format!("{}.{rest}", part(&json!({ "alg": "none", "typ": "JWT" }))),
        format!("{}.{rest}", part(&json!({ "alg": "HS512", "typ": "JWT" }))),
        format!("{}.{rest}", part(&json!({ "alg": "ES256", "typ": "JWT" }))),
        encode(&Header::new(Algorithm::HS512), &claims(), &EncodingKey::from_secret(SECRET)).expect("encodes"),
        encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(b"another")).expect("encodes"),
        format!("{good}x"),
        format!("{}.{rest}", "x".repeat(LONGEST_TOKEN)),
        "a.b.c".to_owned(),
        String::new(),
    ] {
        assert!(read(&access, &token).await.is_err(), "{token}");
    }
}

/// An identity provider, whose keys can be exchanged and which counts how often it is asked.
struct Provider {
    published: Arc<Mutex<(Option<Value>, u32)>>,
    url: String,
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        let published = Arc::new(Mutex::new((None::<Value>, 0)));
        let served = published.clone();
        let keys = poem::endpoint::make_sync(move |_| {
            let mut served = served.lock().expect("no panic");
            served.1 += 1;
            match &served.0 {
                Some(keys) => Response::builder().body(keys.to_string()),
                None => Response::builder().status(poem::http::StatusCode::SERVICE_UNAVAILABLE).finish(),
            }
        });
        let acceptor = TcpAcceptor::from_tokio(listener).expect("bound");
        tokio::spawn(Server::new_with_acceptor(acceptor).run(keys.map_to_response()));
        Self { published, url }
    }

    fn publish(&self, keys: &[(&str, &str)]) {
        let keys: Vec<_> = keys.iter().map(|(kid, pem)| public(kid, pem)).collect();
        self.published.lock().expect("no panic").0 = Some(json!({ "keys": keys }));
    }

    fn asked(&self) -> u32 {
        self.published.lock().expect("no panic").1
    }

    fn access(&self) -> Access {
        let key = Key::Published { url: self.url.clone(), algorithms: vec![Algorithm::RS256, Algorithm::ES256] };
        Access::new(key, ISSUER, AUDIENCE).expect("can be set up")
    }
}

/// The public half of a key, as a JWK.
fn public(kid: &str, pem: &str) -> Value {
    let key = jsonwebtoken::jwk::Jwk::from_encoding_key(&private(pem), Algorithm::ES256).expect("a key");
    let mut jwk = serde_json::to_value(key).expect("serialises");
    jwk["kid"] = json!(kid);
    jwk["use"] = json!("sig");
    jwk
}

fn private(pem: &str) -> EncodingKey {
    settle_cryptography();
    EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key")
}

fn signed_by(kid: Option<&str>, pem: &str) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
    encode(&header, &claims(), &private(pem)).expect("encodes")
}

/// Asks until the keys that are published now are known, which are not asked for all the time.
async fn becomes_good(access: &Access, token: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(refused) = read(access, token).await {
        assert!(Instant::now() < until, "{refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn published_keys_are_fetched_and_rotated() {
    let provider = Provider::start().await;
    let access = provider.access();
    let refused = read(&access, &signed_by(Some("one"), EC_KEY)).await.expect_err("no keys");
    assert!(refused.starts_with("/problems/try-again-later"), "nobody can be known yet: {refused}");

    provider.publish(&[("one", EC_KEY)]);
    becomes_good(&access, &signed_by(Some("one"), EC_KEY)).await;
    assert!(read(&access, &signed_by(None, EC_KEY)).await.is_ok(), "the only key that there is");
    assert!(read(&access, &signed_by(Some("one"), OTHER_EC_KEY)).await.is_err(), "another key's signature");
    let asked = provider.asked();
    let begun = Instant::now();
    for _ in 0..200 {
        assert!(read(&access, &signed_by(Some("two"), OTHER_EC_KEY)).await.is_err());
    }
    let windows = begun.elapsed().as_millis() / super::super::jwks::FETCH_EVERY.as_millis();
    assert!(u128::from(provider.asked() - asked) <= windows + 1, "unknown keys do not flood the provider");

    provider.publish(&[("one", EC_KEY), ("two", OTHER_EC_KEY)]);
    becomes_good(&access, &signed_by(Some("two"), OTHER_EC_KEY)).await;
    assert!(read(&access, &signed_by(Some("one"), EC_KEY)).await.is_ok());
    assert!(read(&access, &signed_by(None, EC_KEY)).await.is_err(), "which of the two?");
}

#[tokio::test]
async fn a_provider_that_publishes_nothing_any_more_locks_nobody_out() {
    let provider = Provider::start().await;
    provider.publish(&[("one", EC_KEY)]);
    let access = provider.access();
    becomes_good(&access, &signed_by(Some("one"), EC_KEY)).await;
    provider.publish(&[]);
    let (asked, until) = (provider.asked(), Instant::now() + Duration::from_secs(20));
    while provider.asked() == asked {
        assert!(Instant::now() < until, "an unknown key is asked for");
        assert!(read(&access, &signed_by(Some("two"), OTHER_EC_KEY)).await.is_err());
    }
    assert!(read(&access, &signed_by(Some("one"), EC_KEY)).await.is_ok());
}

#[tokio::test]
async fn whoever_goes_away_does_not_have_keys_fetched_more_often() {
    let provider = Provider::start().await;
    provider.publish(&[("one", EC_KEY)]);
    let access = provider.access();
    becomes_good(&access, &signed_by(Some("one"), EC_KEY)).await;
    let (asked, begun) = (provider.asked(), Instant::now());
    for _ in 0..200 {
        let token = signed_by(Some("two"), OTHER_EC_KEY);
        let _ = tokio::time::timeout(Duration::from_micros(300), read(&access, &token)).await;
    }
    // What was begun last may not have come there yet.
    assert!(read(&access, &signed_by(Some("two"), OTHER_EC_KEY)).await.is_err());
    let windows = begun.elapsed().as_millis() / super::super::jwks::FETCH_EVERY.as_millis();
    assert!(u128::from(provider.asked() - asked) <= windows + 1);
}

#[tokio::test]
async fn a_published_key_is_no_shared_secret() {
    let provider = Provider::start().await;
    provider.publish(&[("one", EC_KEY)]);
    let access = provider.access();
    let jwk = public("one", EC_KEY).to_string();
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    for secret in [jwk.as_bytes(), EC_KEY.as_bytes(), SECRET] {
        let token = encode(&header, &claims(), &EncodingKey::from_secret(secret)).expect("encodes");
        assert!(read(&access, &token).await.is_err());
    }
    let symmetric = Key::Published { url: provider.url.clone(), algorithms: vec![Algorithm::HS256] };
    assert!(matches!(Access::new(symmetric, ISSUER, AUDIENCE), Err(InvalidJwks::Symmetric(_))));
}
