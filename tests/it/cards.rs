//! A card's token is for its provider's eyes only: it lies in no journal, no event, no view, no log, no answer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use activities::CardKeys;
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Jumun, Setup, Shop, expect_order, until};
use workflows::OrderId;
use workflows::payment::{CardToken, SealedCard, StaysSealed, Vault};

/// Nothing else says anything like them. The first two are charged, one of them at the second attempt.
const CARDS: [&str; 3] =
    ["tok_slow_0000000000000000000000000001", "tok_flaky_0000000000000000000000001", "tok_4242424242424242424242"];
const NAME: &str = "Hong Gildong of the Seventh Street";

fn keys() -> Arc<CardKeys> {
    Arc::new(CardKeys::draw().parse().expect("a key"))
}

/// The token as it is, and as it would look in a journal that is shown in hexadecimal or in base64.
fn forms(token: &str) -> Vec<String> {
    let hex = hex(token);
    let aligned = (0..3).map(|skip| {
        // The ends depend on what is beside it.
        let text = BASE64_STANDARD_NO_PAD.encode([&b"   "[..skip], token.as_bytes()].concat());
        text[4..text.len() - 4].to_owned()
    });
    [token.to_owned(), hex.to_uppercase(), hex].into_iter().chain(aligned).collect()
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn is_told(token: &str, text: &[u8]) -> bool {
    forms(token).iter().any(|form| contains(text, form.as_bytes()))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[track_caller]
fn tells_no_card(what: &str, text: &[u8]) {
    for card in CARDS {
        assert!(!is_told(card, text), "{what} tells {card}");
    }
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).expect("readable")));
        }
    }
    found
}

fn request(shop: &Shop<'_>, card: &str) -> Value {
    let mut request = shop.request(card, 1);
    request["customer"]["name"] = json!(NAME);
    request
}

async fn place(shop: &Shop<'_>, key: &str, body: &Value) -> Answer {
    let request = shop.jumun.request(Method::POST, "/v1/orders").header("idempotency-key", key);
    shop.jumun.send(request.json(body)).await
}

#[test]
fn a_search_sees_a_token_in_every_form() {
    for (before, card) in ["", "a", "ab", "abc"].into_iter().zip(CARDS.into_iter().cycle()) {
        let text = format!("{before}{{\"card_token\":\"{card}\"}}");
        for form in [text.clone(), BASE64_STANDARD_NO_PAD.encode(&text), hex(&text).to_uppercase()] {
            assert!(is_told(card, form.as_bytes()), "{form}");
        }
    }
}

#[tokio::test]
async fn a_card_is_found_nowhere() {
    let setup = Setup::new().logged("debug,api=trace,workflows=trace,activities=trace,restate_sdk=trace,hyper=trace");
    let jumun = setup.start().await;
    let shop = Shop::open(&jumun).await;
    let mut answers = Vec::new();
    let mut orders = Vec::new();
    for (n, card) in CARDS.into_iter().enumerate() {
        let placed = place(&shop, &format!("card-{n}"), &request(&shop, card)).await;
        assert_eq!(placed.status, if n == 2 { 402 } else { 201 }, "{placed:#?}");
        orders.push(expect_order(&placed.body));
        answers.push(placed);
    }
    shop.reaches(&orders[0], "in_delivery").await;
    // Asked in every wrong way as well.
    let wrong = |change: fn(&mut Value)| {
        let mut body = request(&shop, CARDS[0]);
        change(&mut body);
        body
    };
    for body in [
        wrong(|body| body["payment"]["pin"] = json!(CARDS[0])),
        wrong(|body| body["payment"]["card_token"] = json!([CARDS[0]])),
        wrong(|body| body["payment"]["card_token"] = json!(CARDS[0].repeat(20))),
        wrong(|body| body["payment"]["method"] = json!(CARDS[0])),
        wrong(|body| body["lines"][0]["sku"] = json!("none")),
        wrong(|body| body["expected_total"] = json!({ "amount": 1, "currency": "KRW" })),
    ] {
        let answer = place(&shop, "wrong", &body).await;
        assert!((400..500).contains(&answer.status), "{answer:#?}");
        answers.push(answer);
    }
    let broken = jumun.request(Method::POST, "/v1/orders").header("content-type", "application/json");
    answers.push(jumun.send(broken.body(format!("{{\"payment\": {{\"card_token\": \"{}", CARDS[0]))).await);
    for id in &orders {
        for path in ["", "/events", "/workflow"] {
            answers.push(jumun.get(&format!("/v1/orders/{id}{path}")).await);
        }
    }
    for path in ["/v1/orders", "/v1/events", "/v1/payments", "/v1/notifications", "/v1/dashboard", "/v1/ledger/proof"] {
        answers.push(jumun.get(path).await);
    }
    for answer in &answers {
        tells_no_card("an answer", format!("{answer:?}").as_bytes());
    }

    let mut journal = Vec::new();
    for table in ["sys_journal", "sys_journal_events", "sys_invocation", "sys_promise", "sys_inbox", "state"] {
        for row in jumun.engine_query(&format!("SELECT * FROM {table}")).await {
            let row = row.to_string().into_bytes();
            tells_no_card(table, &row);
            journal.push(row);
        }
    }
    for part in [&orders[0], NAME, "request_digest"] {
        assert!(journal.iter().any(|row| is_told(part, row)), "the search sees {part}, which is in clear");
    }

    assert_eq!(jumun.stop(), Some(0));
    let files = files(&setup.data_dir());
    for (path, bytes) in &files {
        tells_no_card(path, bytes);
    }
    // The engine compresses its files, so they can show only so much: what is in them was asked of it above.
    let seen = files.iter().any(|(path, bytes)| path.contains("/store/") && contains(bytes, NAME.as_bytes()));
    assert!(seen || setup.is_elsewhere(), "the search sees what is in clear");
    let log = setup.log();
    tells_no_card("the log", log.as_bytes());
    assert!(log.contains(&orders[0]), "the log says something");
}

#[tokio::test]
async fn another_card_under_the_same_key_is_another_request() {
    let setup = Setup::new();
    let jumun = setup.start().await;
    let shop = Shop::open(&jumun).await;
    let order = expect_order(&place(&shop, "key", &request(&shop, CARDS[0])).await.ok());
    let _ = place(&shop, "key", &request(&shop, "tok_ok")).await.problem(422, "idempotency-key-reused");
    // Another start has the same key of its own, so it is still the same request.
    jumun.stop();
    let again = setup.start().await;
    let shop = shop.within(&again);
    assert_eq!(expect_order(&place(&shop, "key", &request(&shop, CARDS[0])).await.ok()), order);
    let _ = place(&shop, "key", &request(&shop, "tok_ok")).await.problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn a_card_that_cannot_be_opened_is_neither_declined_nor_charged() {
    let jumun = Jumun::sealed(keys(), keys()).await;
    let shop = Shop::open(&jumun).await;
    let request = jumun.request(Method::POST, "/v1/orders").header("prefer", "wait=0");
    let placed = jumun.send(request.json(&request_one(&shop))).await;
    assert_eq!(placed.status, 202, "{placed:#?}");
    let id = placed.header("location").rsplit('/').next().expect("an id").to_owned();
    // Whoever looks is told what to do.
    until("the failure to be told", async || {
        let workflow = jumun.get(&format!("/v1/orders/{id}/workflow")).await.body;
        let told = workflow["last_failure"].as_str()?.contains("payment.card_key");
        (told && workflow["step"] == "payment.charge").then_some(())
    })
    .await;
    let rejected = shop.reaches(&id, "rejected").await;
    assert_eq!(rejected["reason"], "payment unavailable");
    jumun.sees(&id, "payment_cancelled").await;
    assert_eq!(jumun.entries(&id).await, Vec::<String>::new());
    let _ = shop.place("tok_ok", 1).await.problem(503, "try-again-later");
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
}

fn request_one(shop: &Shop<'_>) -> Value {
    request(shop, "tok_ok")
}

/// A vault whose key comes when it has been needed a few times.
struct Late {
    keys: Arc<CardKeys>,
    missing: AtomicU32,
}

impl Vault for Late {
    fn seal(&self, order_id: &OrderId, token: &CardToken) -> SealedCard {
        self.keys.seal(order_id, token)
    }

    fn open(&self, order_id: &OrderId, card: &SealedCard) -> Result<CardToken, StaysSealed> {
        let missing = self.missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |missing| missing.checked_sub(1));
        if missing.is_ok() {
            return Err(StaysSealed::UnknownKey(card.key.clone()));
        }
        self.keys.open(order_id, card)
    }

    fn digest(&self, order_id: &OrderId, request: &str) -> String {
        self.keys.digest(order_id, request)
    }

    fn is_digest_of(&self, digest: &str, order_id: &OrderId, request: &str) -> Result<bool, StaysSealed> {
        self.keys.is_digest_of(digest, order_id, request)
    }
}

#[tokio::test]
async fn a_key_that_comes_in_time_lets_the_order_go_on() {
    let keys = keys();
    let late = Arc::new(Late { keys: keys.clone(), missing: AtomicU32::new(3) });
    let jumun = Jumun::sealed(keys, late.clone()).await;
    let shop = Shop::open(&jumun).await;
    let id = shop.placed().await;
    assert_eq!(late.missing.load(Ordering::Relaxed), 0);
    assert_eq!(jumun.entries(&id).await, ["charge"]);
}
