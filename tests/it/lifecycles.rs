//! Lifecycles as data: those that a merchant writes, what is told of them in advance, and those that nobody could live by.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Jumun, Shop, preset, variant};
use workflows::Lifecycle;

use crate::shared;

#[tokio::test]
async fn lifecycles_can_be_read() {
    let jumun = shared().await;
    let listed = jumun.get("/v1/lifecycles").await.ok();
    let one = jumun.get("/v1/lifecycles/sauce-shop").await.ok();
    assert!(listed["items"].as_array().expect("a list").contains(&one));
    assert_eq!(one["payment"]["method"], "card");
    assert_eq!(one["cancellation"]["customer"], "paid");
    let _ = jumun.get("/v1/lifecycles/none").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_merchant_writes_a_lifecycle_of_its_own() {
    let lifecycle = variant("food-delivery", |lifecycle| {
        lifecycle["acceptance"]["window"] = json!("1s");
        lifecycle["steps"] = json!({ "payment.charge": {
            "attempt_timeout_ms": 500, "first_delay_ms": 50, "factor": 1.0, "longest_delay_ms": 50,
            "give_up_after_ms": 2000
        } });
    });
    let shop = Shop::open_with(shared().await, lifecycle.clone()).await;
    let merchant = shop.jumun.get(&format!("/v1/merchants/{}", shop.merchant_id)).await.ok();
    assert_eq!(merchant["lifecycle"], lifecycle["name"]);
    // Its own window, and its own patience: a payment of four seconds, which others wait for, is given up.
    let id = shop.placed().await;
    assert_eq!(shop.reaches(&id, "rejected").await["lifecycle"], lifecycle["name"]);
    let _ = shop.place("tok_slow_4000", 1).await.problem(503, "try-again-later");
}

#[tokio::test]
async fn an_order_keeps_the_lifecycle_that_it_was_placed_under() {
    let shop = Shop::open_with(shared().await, "sauce-shop").await;
    let id = shop.placed().await;
    let pizza = json!({ "name": "A shop", "currency": "KRW", "lifecycle": "pizza" });
    assert_eq!(shop.jumun.put(&format!("/v1/merchants/{}", shop.merchant_id), &pizza).await.status, 200);
    assert_eq!(shop.reaches(&id, "in_delivery").await["lifecycle"], "sauce-shop");
    let later = shop.placed().await;
    assert_eq!(shop.jumun.takes(&later, "start-production").await["lifecycle"], "pizza");
}

/// Paid, taken from the shelf, and handed out over the counter.
fn counter(receipt: Value) -> Value {
    let mut lifecycle = variant("sauce-shop", |lifecycle| lifecycle["receipt"] = receipt);
    lifecycle.as_object_mut().expect("an object").remove("delivery");
    lifecycle
}

#[tokio::test]
async fn what_is_handed_out_needs_no_delivery_and_can_be_cancelled_before() {
    let receipt = json!({ "window": "7days", "on_timeout": "confirm" });
    let shop = Shop::open_with(shared().await, counter(receipt)).await;
    let [bought, cancelled] = [shop.placed().await, shop.placed().await];
    for id in [&bought, &cancelled] {
        let waiting = shop.jumun.takes(id, "confirm-receipt").await;
        assert_eq!(waiting["allowed_commands"], json!(["confirm-receipt", "cancel"]));
        assert!(waiting["deadline"].is_string() && waiting["delivery"].is_null());
    }
    assert_eq!(shop.shelf("chili").await, (98, 0, 98));

    assert_eq!(shop.jumun.command(&bought, "confirm-receipt").await.ok()["status"], "closed");
    assert_eq!(
        shop.jumun.event_names(&bought).await,
        [
            "order_placed",
            "stock_reserved",
            "payment_approved",
            "order_paid",
            "stock_committed",
            "receipt_confirmed",
            "order_closed"
        ]
    );
    let _ = shop.jumun.command(&cancelled, "cancel").await.ok();
    assert!(shop.reaches(&cancelled, "cancelled").await["delivery"].is_null());
    assert_eq!(shop.shelf("chili").await, (99, 0, 99));
    for id in [&bought, &cancelled] {
        shop.jumun.settles(id).await;
    }
    let deliveries = shop.jumun.get(&format!("/v1/deliveries?order_id={bought}")).await.ok();
    assert_eq!(deliveries["items"], json!([]));
}

#[tokio::test]
async fn what_is_handed_out_unasked_closes_by_itself() {
    let mut lifecycle = counter(Value::Null);
    lifecycle.as_object_mut().expect("an object").remove("receipt");
    let shop = Shop::open_with(shared().await, lifecycle).await;
    let id = shop.placed().await;
    shop.reaches(&id, "closed").await;
    shop.jumun.settles(&id).await;
    assert_eq!(shop.shelf("chili").await, (99, 0, 99));
}

#[tokio::test]
async fn an_impossible_lifecycle_is_refused_with_all_its_faults() {
    let jumun = shared().await;
    let shop = Shop::open(jumun).await;
    let mut lifecycle = variant("food-delivery", |lifecycle| {
        lifecycle["coupon"] = json!("before_delivery");
        lifecycle["acceptance"]["window"] = json!("0s");
        lifecycle["receipt"] = json!({ "window": 0, "on_timeout": "confirm" });
        lifecycle["cancellation"]["customer"] = json!("delivered");
        lifecycle["unwind"] = json!(["payment"]);
    });
    lifecycle.as_object_mut().expect("an object").remove("delivery");
    let expected = [
        "acceptance.window",
        "receipt.window",
        "coupon: nothing is delivered",
        "cancellation: an order of this lifecycle is never cancelled at `delivered`",
        "unwind: `kitchen` is missing",
        "unwind: `coupon` is missing",
    ];
    let merchant = format!("/v1/merchants/{}", shop.merchant_id);
    let before = jumun.get(&merchant).await.ok();
    let put = json!({ "name": "A shop", "currency": "KRW", "lifecycle": lifecycle });
    for refused in [jumun.put(&merchant, &put).await, jumun.post("/v1/lifecycles/preview", &lifecycle).await] {
        let problem = refused.problem(422, "invalid-lifecycle");
        let faults = problem["faults"].as_array().expect("faults");
        for fault in expected {
            let named = faults.iter().filter_map(Value::as_str).any(|named| named.starts_with(fault));
            assert!(named, "{fault} in {faults:#?}");
        }
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    }
    for (impossible, status, problem) in [
        (json!({ "name": "half" }), 422, "invalid-lifecycle"),
        (json!(7), 400, "invalid-request"),
        (json!("no-such-lifecycle"), 422, "unknown-lifecycle"),
    ] {
        let put = json!({ "name": "A shop", "currency": "KRW", "lifecycle": impossible });
        let _ = jumun.put(&merchant, &put).await.problem(status, problem);
    }
    assert_eq!(jumun.get(&merchant).await.ok(), before, "nothing was changed");
}

async fn preview(jumun: &Jumun, lifecycle: &Value) -> Value {
    jumun.post("/v1/lifecycles/preview", lifecycle).await.ok()
}

/// The steps that recorded events, in order, each once.
async fn steps_seen(jumun: &Jumun, id: &str) -> Vec<String> {
    let mut steps: Vec<String> =
        jumun.events(id).await.iter().map(|event| event["step"].as_str().expect("a step").to_owned()).collect();
    steps.dedup();
    steps
}

#[tokio::test]
async fn a_preview_tells_the_steps_that_an_order_goes_through() {
    let jumun = shared().await;
    for lifecycle in Lifecycle::presets() {
        let name = lifecycle.name.as_str();
        let preview = preview(jumun, &preset(name)).await;
        let shop = Shop::open_with(jumun, name).await;
        let id = shop.placed().await;
        jumun.drive(&id, "closed").await;
        let steps = preview["steps"].as_array().expect("steps");
        let told: Vec<_> = steps.iter().map(|step| step["step"].as_str().expect("a step")).collect();
        assert_eq!(steps_seen(jumun, &id).await, told, "{name}");

        let told: BTreeSet<_> = steps.iter().map(|step| step["status"].as_str().expect("a status")).collect();
        let notified = jumun.notifies(&id, "closed").await;
        let notified: BTreeSet<_> = notified.iter().map(String::as_str).collect();
        // What passes within one step is told only as its end.
        assert!(told.is_subset(&notified), "{name}: {told:?} in {notified:?}");
        let diagram = preview["diagram"].as_str().expect("a diagram");
        assert!(diagram.starts_with("stateDiagram-v2\n"), "{diagram}");
    }
}

#[tokio::test]
async fn a_preview_tells_what_a_cancel_undoes_and_in_which_order() {
    let jumun = shared().await;
    let preview = preview(jumun, &preset("street12")).await;
    let cancels = preview["cancellation"].as_array().expect("cancels");
    let cancel = cancels.iter().find(|cancel| cancel["status"] == "in_delivery").expect("can be cancelled");
    let by: Vec<_> = cancel["by"].as_array().expect("roles").iter().filter_map(Value::as_str).collect();
    assert_eq!(by, ["customer", "merchant", "operator"]);

    let shop = Shop::open_with(jumun, "street12").await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let _ = jumun.command(&id, "cancel").await.ok();
    shop.reaches(&id, "cancelled").await;
    let seen = steps_seen(jumun, &id).await;
    let from = seen.iter().position(|step| step == "order.request_cancellation").expect("was requested") + 1;
    let undone = &seen[from..seen.len() - 1];
    assert_eq!(undone, ["payment.refund", "promotion.revoke", "delivery.cancel", "stock.restock"]);
    // What is told may find nothing to undo: what was sold is held no more.
    let told: Vec<_> = cancel["undoes"].as_array().expect("steps").iter().filter_map(Value::as_str).collect();
    assert_eq!(told, [undone.iter().map(String::as_str).collect(), vec!["stock.release"]].concat());
}
