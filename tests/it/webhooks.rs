//! Webhooks: signed, in order for each order, tried again on a schedule, replayed by hand, and lost by no crash.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tests::{Fault, Faults, Jumun, Place, Received, Receiver, Setup, Shop, life, until};
use tokio::sync::OnceCell;
use workflows::Step;

/// A system with little patience.
async fn impatient() -> &'static Jumun {
    static SYSTEM: OnceCell<Jumun> = OnceCell::const_new();
    SYSTEM.get_or_init(|| Jumun::configured("[notifications]\nschedule = [\"300ms\", \"600ms\"]")).await
}

fn path(shop: &Shop<'_>) -> String {
    format!("/v1/merchants/{}/webhooks/till", shop.merchant_id)
}

/// Has the shop's events sent to the receiver; the secret that they are signed with.
async fn subscribe(shop: &Shop<'_>, receiver: &Receiver, events: &[&str]) -> String {
    let body = json!({ "url": format!("{}/hook", receiver.url), "events": events });
    let put = shop.jumun.put(&path(shop), &body).await;
    assert_eq!(put.status, 201, "{put:#?}");
    put.body["secret"].as_str().expect("a secret").to_owned()
}

async fn deliveries(shop: &Shop<'_>) -> Vec<Value> {
    let listed = shop.jumun.get(&format!("{}/deliveries", path(shop))).await.ok();
    listed["items"].as_array().expect("a list").clone()
}

fn id(received: &Received) -> &str {
    received.header("webhook-id")
}

/// Asserts that the secret signs it, and nothing else.
fn verify(received: &Received, secret: &str) {
    let webhook = Webhook::new(secret).expect("a secret");
    assert!(webhook.verify(&received.body, &received.headers).is_ok(), "{received:?}");
    let forged = [received.body.as_slice(), b" "].concat();
    assert!(webhook.verify(&forged, &received.headers).is_err());
    let other = Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("a secret");
    assert!(other.verify(&received.body, &received.headers).is_err());
}

/// The statuses that were told, in the order of telling, each message counted once.
fn statuses(received: &[Received]) -> Vec<String> {
    let mut told: Vec<(String, String)> = Vec::new();
    for request in received {
        let status = request.json()["data"]["status"].as_str().expect("a status").to_owned();
        if told.iter().all(|(known, _)| known != id(request)) {
            told.push((id(request).to_owned(), status));
        }
    }
    told.into_iter().map(|(_, status)| status).collect()
}

#[tokio::test]
async fn what_fails_is_tried_again_on_schedule_signed_and_in_order() {
    let shop = Shop::open(impatient().await).await;
    let receiver = Receiver::start().await;
    receiver.answer(&[500, 503]);
    let secret = subscribe(&shop, &receiver, &[]).await;
    let order = shop.placed().await;
    shop.jumun.drive(&order, "closed").await;

    let life = life("sauce-shop");
    let received = receiver.receives(life.len() + 2).await;
    assert_eq!(received.iter().map(|request| request.answered).take(4).collect::<Vec<_>>(), [500, 503, 200, 200]);
    for request in &received {
        verify(request, &secret);
        assert_eq!((request.path.as_str(), request.header("content-type")), ("/hook", "application/json"));
    }
    let [first, second, third] = [&received[0], &received[1], &received[2]];
    assert!(id(first) == id(second) && id(second) == id(third), "one message, three attempts");
    assert!(first.body == second.body && second.body == third.body);
    assert!(second.at - first.at >= Duration::from_millis(300), "{:?}", second.at - first.at);
    assert!(third.at - second.at >= Duration::from_millis(600), "{:?}", third.at - second.at);
    assert_eq!(statuses(&received), life, "in order, and nothing before what was to come first");
    let told = third.json();
    assert_eq!((&told["type"], &told["data"]["order_id"]), (&json!("order_placed"), &json!(order)));

    // Newest first, each with its attempts.
    let log = until("the last attempt to be noted", async || {
        let log = deliveries(&shop).await;
        log.iter().all(|delivery| delivery["state"] == "delivered").then_some(log)
    })
    .await;
    assert_eq!(log.len(), life.len());
    let attempts = log[life.len() - 1]["attempts"].as_array().expect("attempts");
    let codes: Vec<_> = attempts.iter().map(|attempt| attempt["status_code"].as_u64()).collect();
    assert_eq!(codes, [Some(500), Some(503), Some(200)]);
    assert_eq!(receiver.received().len(), life.len() + 2, "nothing is sent twice");
}

#[tokio::test]
async fn a_secret_is_shown_once_and_stays() {
    let shop = Shop::open(impatient().await).await;
    let receiver = Receiver::start().await;
    let secret = subscribe(&shop, &receiver, &["order_paid"]).await;
    assert!(secret.starts_with("whsec_"), "{secret}");
    let body = json!({ "url": receiver.url, "events": ["order_paid", "delivery_started"] });
    let replaced = shop.jumun.put(&path(&shop), &body).await;
    assert_eq!(replaced.status, 200, "{replaced:#?}");
    let read = shop.jumun.get(&path(&shop)).await.ok();
    let listed = shop.jumun.get(&format!("/v1/merchants/{}/webhooks", shop.merchant_id)).await.ok();
    for text in [replaced.body.to_string(), read.to_string(), listed.to_string()] {
        assert!(!text.contains("whsec_") && !text.contains("secret"), "{text}");
    }
    assert_eq!(listed["items"], json!([read]));

    shop.reaches(&shop.placed().await, "in_delivery").await;
    let received = receiver.receives(2).await;
    let kinds: Vec<_> = received.iter().map(|request| request.json()["type"].clone()).collect();
    assert_eq!(kinds, [json!("order_paid"), json!("delivery_started")], "what it asked for, and nothing else");
    for request in &received {
        verify(request, &secret);
    }
}

#[tokio::test]
async fn what_was_given_up_is_replayed_by_hand() {
    let shop = Shop::open(impatient().await).await;
    let receiver = Receiver::start().await;
    receiver.answer(&[500, 500, 500]);
    let secret = subscribe(&shop, &receiver, &["order_paid"]).await;
    shop.placed().await;
    let given_up = until("the end of the schedule", async || {
        deliveries(&shop).await.into_iter().find(|delivery| delivery["state"] == "failed")
    })
    .await;
    assert_eq!(given_up["attempts"].as_array().map(Vec::len), Some(3));

    let delivery = given_up["id"].as_str().expect("an id");
    let replay = format!("{}/deliveries/{delivery}/replay", path(&shop));
    for attempts in [4, 5] {
        assert_eq!(shop.jumun.post(&replay, &json!({})).await.status, 202);
        let received = receiver.receives(attempts).await;
        let last = &received[attempts - 1];
        assert_eq!((id(last), &last.body), (delivery, &received[0].body));
        verify(last, &secret);
        until("the replay to be noted", async || {
            let delivery = &deliveries(&shop).await[0];
            let noted = delivery["attempts"].as_array().map(Vec::len) == Some(attempts);
            (noted && delivery["state"] == "delivered").then_some(())
        })
        .await;
    }
    let unknown = replay.replacen("ntf_", "ntf_0", 1);
    let _ = shop.jumun.post(&unknown, &json!({})).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_dead_webhook_holds_up_nobody() {
    let shop = Shop::open(impatient().await).await;
    let (dead, alive) = (Receiver::start().await, Receiver::start().await);
    dead.answer(&[500; 100]);
    subscribe(&shop, &dead, &[]).await;
    let other = json!({ "url": alive.url, "events": [] });
    let put = shop.jumun.put(&format!("/v1/merchants/{}/webhooks/other", shop.merchant_id), &other).await;
    assert_eq!(put.status, 201, "{put:#?}");
    let order = shop.placed().await;
    shop.jumun.drive(&order, "closed").await;
    let life = life("sauce-shop");
    assert_eq!(statuses(&alive.receives(life.len()).await), life);
    assert!(dead.received().len() < 3 * life.len(), "the dead one was still being tried");
    assert_eq!(shop.jumun.notifies(&order, "closed").await, life);
}

#[tokio::test]
async fn a_webhook_that_is_deleted_is_told_nothing_more() {
    let shop = Shop::open(impatient().await).await;
    let receiver = Receiver::start().await;
    receiver.answer(&[500]);
    subscribe(&shop, &receiver, &[]).await;
    shop.placed().await;
    receiver.receives(1).await;
    assert_eq!(shop.jumun.send(shop.jumun.request(reqwest::Method::DELETE, &path(&shop))).await.status, 204);
    let _ = shop.jumun.get(&path(&shop)).await.problem(404, "not-found");
    let second = Receiver::start().await;
    subscribe(&shop, &second, &["order_paid"]).await;
    shop.placed().await;
    second.receives(1).await;
    assert_eq!(receiver.received().len(), 1, "not even what was waiting for its next attempt");
}

#[tokio::test]
async fn killing_jumun_while_a_retry_waits_loses_nothing() {
    let setup = Setup::new().configured("[notifications]\nschedule = [\"2s\"]");
    let jumun = setup.start().await;
    let shop = Shop::open(&jumun).await;
    let receiver = Receiver::start().await;
    receiver.answer(&[503]);
    let secret = subscribe(&shop, &receiver, &[]).await;
    let order = shop.placed().await;
    shop.reaches(&order, "in_delivery").await;
    until("the first attempt to be noted", async || {
        let log = deliveries(&shop).await;
        log.iter().any(|delivery| delivery["attempts"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    jumun.kill();

    let again = setup.start().await;
    again.drive(&order, "closed").await;
    let life = life("sauce-shop");
    let received = receiver.receives(life.len() + 1).await;
    for request in &received {
        verify(request, &secret);
    }
    assert_eq!(id(&received[0]), id(&received[1]), "the same message once more");
    assert!(received[1].at - received[0].at >= Duration::from_secs(2), "its wait went on, too");
    assert_eq!(statuses(&received), life);
}

#[tokio::test]
async fn an_attempt_that_fails_inside_is_made_again_and_one_that_went_through_is_not() {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open(&jumun).await;
    let receiver = Receiver::start().await;
    subscribe(&shop, &receiver, &[]).await;
    for fault in [Fault::Panic, Fault::Fail, Fault::LoseReply, Fault::PanicAfter] {
        for step in [Step::NotificationSend, Step::NotificationDeliver] {
            faults.plan(step, Place::Provider, &[fault]);
        }
    }
    let order = shop.placed().await;
    jumun.drive(&order, "closed").await;
    let life = life("sauce-shop");
    let received = receiver.receives(life.len()).await;
    until("every fault", async || faults.all_met().then_some(())).await;
    assert_eq!(statuses(&received), life);
    until("every delivery", async || {
        deliveries(&shop).await.iter().all(|delivery| delivery["state"] == "delivered").then_some(())
    })
    .await;
    assert_eq!(receiver.received().len(), life.len());
    assert_eq!(jumun.notifies(&order, "closed").await, life);
}
