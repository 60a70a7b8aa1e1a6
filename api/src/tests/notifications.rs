//! `/v1/notifications`.

use serde_json::json;
use workflows::notification::{Channel, MessageState, MessageSummary, Notification};
use workflows::{OrderId, Status};

use crate::testing::{World, at, locked};

fn notification(order_id: &OrderId, number: u32, kind: &str, status: Status) -> Notification {
    let id = order_id.notification(number);
    let summary = |channel: Channel| MessageSummary { id: id.message(&channel), channel, state: MessageState::Pending };
    Notification {
        messages: vec![summary(Channel::Template), summary(Channel::Webhook("erp".parse().expect("a name")))],
        id,
        order_id: order_id.clone(),
        merchant_id: "sauce-shop".parse().expect("a merchant id"),
        number,
        kind: kind.to_owned(),
        status,
        status_label: "결제완료".to_owned(),
        at: at(),
        created_at: at(),
    }
}

#[tokio::test]
async fn an_order_s_notifications_are_told_in_its_order_and_all_of_them_newest_first() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/notifications").await.body, json!({"items": []}));
    let (one, other) = (OrderId::from_bits(1), OrderId::from_bits(2));
    *locked(&world.state.notifications) = vec![
        notification(&one, 4, "order_paid", Status::Paid),
        notification(&other, 1, "order_placed", Status::Placed),
        notification(&one, 1, "order_placed", Status::Placed),
    ];
    let history = world.get(&format!("/v1/notifications?order_id={one}")).await.body;
    let numbers = |listed: &serde_json::Value| {
        let items = listed["items"].as_array().expect("items");
        items.iter().map(|item| item["number"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&history), [1, 4]);
    let id = one.notification(4);
    let expected = json!({
        "id": id,
        "order_id": one,
        "merchant_id": "sauce-shop",
        "number": 4,
        "type": "order_paid",
        "status": "paid",
        "status_label": "결제완료",
        "at": "2026-01-31T09:30:00Z",
        "created_at": "2026-01-31T09:30:00Z",
        "messages": [
            {"id": format!("{id}.template"), "channel": "template", "state": "pending"},
            {"id": format!("{id}.webhook-erp"), "channel": "webhook-erp", "state": "pending"},
        ],
    });
    assert_eq!(history["items"][1], expected);
    let all = world.get("/v1/notifications").await.body;
    assert_eq!(numbers(&all), [4, 1, 1]);
    assert_eq!(all["items"][1]["order_id"], json!(other));
    assert_eq!(numbers(&world.get("/v1/notifications?limit=1").await.body), [4]);
    for wrong in ["order_id=1", "limit=0", "limit=201", "merchant_id=sauce-shop"] {
        world.get(&format!("/v1/notifications?{wrong}")).await.is_problem(400, "invalid-request");
    }
}
