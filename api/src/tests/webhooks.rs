//! `/v1/merchants/{merchant_id}/webhooks`.

use poem::http::Method;
use serde_json::{Value as Json, json};
use workflows::OrderId;
use workflows::notification::{Channel, Message, MessageAttempt, MessageState};

use crate::testing::{Answer, Fate, World, at, locked, request};
use crate::value::Value;
use crate::webhooks::WebhookUrl;

const WEBHOOKS: &str = "/v1/merchants/sauce-shop/webhooks";
const ERP: &str = "/v1/merchants/sauce-shop/webhooks/erp";
const URL: &str = "https://erp.example/jumun";

/// What was to be delivered to webhook `erp` of the order's event of that number, after one attempt.
pub(super) fn message(order_id: &OrderId, number: u32, error: Option<&str>) -> Message {
    let channel = Channel::Webhook("erp".parse().expect("a name"));
    let attempt = MessageAttempt {
        at: at(),
        duration_ms: 12,
        status_code: error.is_none().then_some(204),
        error: error.map(str::to_owned),
    };
    Message {
        id: order_id.notification(number).message(&channel),
        channel,
        order_id: order_id.clone(),
        merchant_id: "sauce-shop".parse().expect("a merchant id"),
        kind: "order_paid".to_owned(),
        state: if error.is_some() { MessageState::Pending } else { MessageState::Delivered },
        attempts: vec![attempt],
        created_at: at(),
        updated_at: at(),
    }
}

async fn replay(world: &World, delivery_id: &str) -> Answer {
    world.send(request(Method::POST, &format!("{ERP}/deliveries/{delivery_id}/replay")).finish()).await
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let world = World::new().await;
    let said = json!({"url": URL, "events": ["order_paid", "order_closed", "order_paid"]});
    let created = world.put(ERP, said).await;
    assert_eq!((created.status.as_u16(), created.header("location")), (201, Some(ERP)), "{created:?}");
    assert_eq!(created.body["secret"], "whsec_c2VjcmV0");
    let webhook = json!({
        "merchant_id": "sauce-shop",
        "name": "erp",
        "url": URL,
        "events": ["order_paid", "order_closed"],
        "created_at": "2026-01-31T09:30:00Z",
        "updated_at": "2026-01-31T09:30:00Z",
    });
    assert_eq!(world.get(ERP).await.body, webhook);
    assert_eq!(world.get(WEBHOOKS).await.body, json!({"items": [webhook]}));
    let replaced = world.put(ERP, json!({"url": "http://127.0.0.1:9000/"})).await;
    assert_eq!((replaced.status.as_u16(), &replaced.body["events"]), (200, &json!([])), "{replaced:?}");
    assert!(replaced.body.get("secret").is_none() && replaced.header("location").is_none(), "{replaced:?}");
    let deleted = world.delete(ERP).await;
    assert_eq!((deleted.status.as_u16(), deleted.body), (204, Json::Null));
    world.delete(ERP).await.is_problem(404, "not-found");
    world.get(ERP).await.is_problem(404, "not-found");
    assert_eq!(world.get(WEBHOOKS).await.body, json!({"items": []}));
}

#[tokio::test]
async fn a_webhook_says_where_to_and_what_about() {
    let world = World::new().await;
    for (body, said) in [
        (json!({}), "url: missing"),
        (json!({"url": "erp.example"}), "http or https"),
        (json!({"url": "https://user:secret@erp.example"}), "without user and password"),
        (json!({"url": format!("https://erp.example/{}", "a".repeat(2048))}), "2048 characters"),
        (json!({"url": URL, "events": ["order_paid", "order_payed"]}), "events[1]: expected one of order_placed"),
        (json!({"url": URL, "events": vec!["order_paid"; 51]}), "events"),
        (json!({"url": URL, "events": "order_paid"}), "events: expected a list"),
        (json!({"url": URL, "secret": "mine"}), "unknown field `secret`"),
    ] {
        let answer = world.put(ERP, body).await;
        answer.is_problem(400, "invalid-request");
        assert!(answer.detail().contains(said), "{said}: {answer:?}");
    }
    let good = || json!({"url": URL});
    world.put("/v1/merchants/sauce-shop/webhooks/No!", good()).await.is_problem(400, "invalid-request");
    world.put("/v1/merchants/nobody/webhooks/erp", good()).await.is_problem(404, "not-found");
    world.get("/v1/merchants/nobody/webhooks").await.is_problem(404, "not-found");
    world.get(ERP).await.is_problem(404, "not-found");
}

#[tokio::test]
async fn deliveries_show_every_attempt() {
    let world = World::new().await;
    let deliveries = format!("{ERP}/deliveries");
    world.get(&deliveries).await.is_problem(404, "not-found");
    world.put(ERP, json!({"url": URL})).await;
    assert_eq!(world.get(&deliveries).await.body, json!({"items": []}));
    let order_id = OrderId::from_bits(7);
    let messages = vec![message(&order_id, 5, Some("no answer within 15 s")), message(&order_id, 4, None)];
    *locked(&world.state.messages) = messages;
    let listed = world.get(&deliveries).await.body;
    let digits = format!("{:032x}", 7);
    let expected = json!({
        "id": format!("ntf_{digits}_5.webhook-erp"),
        "type": "order_paid",
        "order_id": format!("ord_{digits}"),
        "state": "pending",
        "attempts": [{
            "at": "2026-01-31T09:30:00Z",
            "duration_ms": 12,
            "status_code": null,
            "error": "no answer within 15 s",
        }],
        "created_at": "2026-01-31T09:30:00Z",
        "updated_at": "2026-01-31T09:30:00Z",
    });
    assert_eq!(listed["items"][0], expected);
    assert_eq!(listed["items"][1]["attempts"][0]["status_code"], 204);
    assert_eq!(world.get(&format!("{deliveries}?limit=1")).await.body, json!({"items": [expected]}));
    world.get(&format!("{deliveries}?limit=0")).await.is_problem(400, "invalid-request");
}

#[tokio::test]
async fn a_replay_waits_for_no_other_delivery() {
    let world = World::new().await;
    let order_id = OrderId::from_bits(7);
    let delivered = message(&order_id, 4, None);
    let id = delivered.id.clone();
    *locked(&world.state.messages) = vec![delivered];
    let taken = replay(&world, id.as_str()).await;
    assert_eq!((taken.status.as_u16(), &taken.body["id"]), (202, &json!(id)), "{taken:?}");
    assert_eq!(taken.body["state"], "delivered");
    let [(path, body)] = world.state.take_sent().try_into().expect("one call");
    // The key is the message's id, a slash and `replay`: no delivery has that queue.
    assert_eq!(path, format!("/restate/send/message/{id}%2Freplay/replay"));
    assert_eq!(body, json!(id));

    replay(&world, order_id.notification(9).message(&Channel::Template).as_str()).await.is_problem(404, "not-found");
    replay(&world, "dlv_1").await.is_problem(404, "not-found");
    world.set_fate(Fate::Fails);
    replay(&world, id.as_str()).await.is_problem(503, "try-again-later");
    let unreachable = world.without_engine();
    replay(&unreachable, id.as_str()).await.is_problem(503, "try-again-later");
    assert!(unreachable.state.take_sent().is_empty());
}

#[tokio::test]
async fn without_the_notification_provider_nothing_is_said_of_webhooks() {
    let world = World::new().await;
    world.put("/v1/sandbox/notification", json!({"mode": "down"})).await;
    let id = OrderId::from_bits(7).notification(4).message(&Channel::Template);
    for answer in [
        world.put(ERP, json!({"url": URL})).await,
        world.get(ERP).await,
        world.get(WEBHOOKS).await,
        world.delete(ERP).await,
        world.get(&format!("{ERP}/deliveries")).await,
        replay(&world, id.as_str()).await,
    ] {
        answer.is_problem(503, "upstream-unavailable");
        assert_eq!(answer.body["context"], "notification");
    }
    assert!(world.state.take_sent().is_empty());
}

#[test]
fn a_webhook_goes_to_a_plain_url() {
    for url in ["http://127.0.0.1:9000/hook", "https://erp.example", "https://erp.example/a?b=c@d"] {
        assert_eq!(WebhookUrl::from_text(url), Some(WebhookUrl(url.to_owned())));
    }
    let long = format!("https://erp.example/{}", "a".repeat(2048));
    for wrong in [
        "",
        "erp.example/hook",
        "/hook",
        "ftp://erp.example",
        "http:erp.example",
        "https:///hook",
        "https://",
        "http://user@erp.example",
        "http://user:password@erp.example",
        "http://:password@erp.example",
        " http://erp.example",
        "http://erp.example/a b",
        "http://erp.example/\n",
        "http:\\\\erp.example",
        "http://erp.example:99999",
        &long,
    ] {
        assert_eq!(WebhookUrl::from_text(wrong), None, "{wrong}");
    }
}
