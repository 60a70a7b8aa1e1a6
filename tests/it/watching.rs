//! Watching orders: the dashboard, what is stuck, and what a workflow does.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{Jumun, Shop, until};

use crate::shared;

/// What a tally says of each state: how many orders, and their value.
fn tally(dashboard: &Value, part: &str, by: &str) -> BTreeMap<String, (i64, i64)> {
    let rows = dashboard[part].as_array().expect("a list");
    let read = |row: &Value| {
        let numbers = (row["orders"].as_i64().expect("a number"), row["value"]["amount"].as_i64().expect("money"));
        (row[by].as_str().expect("a state").to_owned(), numbers)
    };
    rows.iter().map(read).collect()
}

/// The same, counted from the list of orders.
fn count(orders: &[Value], state: impl Fn(&Value) -> &Value) -> BTreeMap<String, (i64, i64)> {
    let mut counted = BTreeMap::<String, (i64, i64)>::new();
    for order in orders {
        let Some(state) = state(order).as_str() else { continue };
        let (number, value) = counted.entry(state.to_owned()).or_default();
        *number += 1;
        *value += order["total"]["amount"].as_i64().expect("money");
    }
    counted
}

#[tokio::test]
async fn the_dashboard_matches_the_orders() {
    let shop = Shop::open_with(shared().await, "street12").await;
    let jumun = shop.jumun;
    let mut ids = Vec::new();
    for (number, end) in ["closed", "closed", "in_delivery", "cancelled", "rejected"].into_iter().enumerate() {
        let quantity = u32::try_from(number).expect("few") + 1;
        let card = if end == "rejected" { "tok_declined" } else { "tok_ok" };
        let id = tests::expect_order(&shop.place(card, quantity).await.body);
        if end == "cancelled" {
            let _ = jumun.ask(&id, "cancel").await;
            jumun.reaches(&id, end).await;
        } else {
            jumun.drive(&id, end).await;
        }
        ids.push(id);
    }
    let orders = jumun.get(&format!("/v1/orders?merchant_id={}", shop.merchant_id)).await.ok();
    let orders = orders["items"].as_array().expect("a list");
    assert_eq!(orders.len(), ids.len());

    let dashboard = jumun.get(&format!("/v1/dashboard?merchant_id={}", shop.merchant_id)).await.ok();
    let statuses = tally(&dashboard, "statuses", "status");
    assert_eq!(statuses, count(orders, |order| &order["status"]));
    assert_eq!((statuses["closed"], statuses["rejected"]), ((2, 27_000), (1, 45_000)));
    assert_eq!(tally(&dashboard, "payments", "state"), count(orders, |order| &order["payment"]["state"]));
    assert_eq!(tally(&dashboard, "deliveries", "state"), count(orders, |order| &order["delivery"]["state"]));
    assert_eq!(dashboard["stuck"], 0);
    let today = &dashboard["today"][0];
    let money = |name: &str| today[name]["amount"].as_i64().expect("money");
    assert_eq!((&today["placed"], money("revenue"), money("refunds")), (&json!(5), 9_000 * (1 + 2 + 3 + 4), 36_000));
    let hours = dashboard["hours"].as_array().expect("a list");
    assert_eq!(hours.iter().filter_map(|hour| hour["placed"].as_i64()).sum::<i64>(), 5);

    let request = jumun.request(reqwest::Method::GET, &format!("/v1/dashboard?merchant_id={}", shop.merchant_id));
    let korean = jumun.send(request.header("accept-language", "ko")).await.ok();
    let labels: Vec<_> = korean["statuses"].as_array().expect("a list").iter().map(|row| &row["label"]).collect();
    assert!(labels.contains(&&json!("배송중")) && labels.contains(&&json!("주문취소")), "{labels:?}");
}

async fn stuck(shop: &Shop<'_>, stuck: bool) -> Vec<String> {
    let path = format!("/v1/orders?merchant_id={}&stuck={stuck}", shop.merchant_id);
    let listed = shop.jumun.get(&path).await.ok();
    let items = listed["items"].as_array().expect("a list");
    items.iter().map(|order| order["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn an_order_is_stuck_while_a_provider_is_down_and_goes_on_by_itself() {
    let jumun = Jumun::spawn(&["--ephemeral", "--stuck-after", "1s"]).await;
    let (shop, other) = (Shop::open(&jumun).await, Shop::open(&jumun).await);
    let waiting = shop.placed().await;
    jumun.reaches(&waiting, "in_delivery").await;
    jumun.sandbox("delivery", "down").await;
    let held_up = shop.placed().await;
    // Before that, a step may be slow enough on its own to count as stuck for a moment.
    until("the delivery to fail", async || {
        let workflow = does(&jumun, &held_up, "backing_off").await;
        (workflow["step"] == "delivery.request").then_some(())
    })
    .await;
    until("the order to be stuck", async || (!stuck(&shop, true).await.is_empty()).then_some(())).await;
    assert_eq!(stuck(&shop, true).await, std::slice::from_ref(&held_up));
    assert_eq!(stuck(&shop, false).await, [waiting], "whoever waits for people is not stuck");
    for (merchant, expected) in [(format!("?merchant_id={}", shop.merchant_id), 1), (String::new(), 1)] {
        assert_eq!(jumun.get(&format!("/v1/dashboard{merchant}")).await.ok()["stuck"], expected, "{merchant}");
    }
    assert_eq!(stuck(&other, true).await, [""; 0]);

    jumun.sandbox("delivery", "up").await;
    jumun.reaches(&held_up, "in_delivery").await;
    assert_eq!(stuck(&shop, true).await, [""; 0]);
    assert_eq!(jumun.get("/v1/dashboard").await.ok()["stuck"], 0);
}

async fn workflow(jumun: &Jumun, id: &str) -> Value {
    jumun.get(&format!("/v1/orders/{id}/workflow")).await.ok()
}

/// Waits until the workflow is in that state, and the engine says the same.
async fn does(jumun: &Jumun, id: &str, state: &str) -> Value {
    until(&format!("the workflow of {id} to be {state}"), async || {
        let workflow = workflow(jumun, id).await;
        (workflow["state"] == state).then_some(workflow)
    })
    .await
}

/// The steps in that state, by name.
fn steps<'a>(workflow: &'a Value, state: &str) -> Vec<&'a str> {
    let steps = workflow["steps"].as_array().expect("steps").iter().filter(|step| step["state"] == state);
    steps.map(|step| step["step"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn a_workflow_tells_what_it_waits_for_what_fails_and_when_it_is_tried_next() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open(&jumun).await;
    jumun.sandbox("delivery", "down").await;
    let id = shop.placed().await;
    let failing = until("the next try to be known", async || {
        let workflow = does(&jumun, &id, "backing_off").await;
        workflow["next_try_at"].is_string().then_some(workflow)
    })
    .await;
    assert_eq!((&failing["status"], &failing["step"]), (&json!("paid"), &json!("delivery.request")));
    assert!(failing["attempt"].as_u64().is_some_and(|attempt| attempt >= 1), "{failing:#?}");
    assert!(failing["last_failure"].as_str().is_some_and(|why| why.contains("delivery")), "{failing:#?}");
    assert!(failing["last_failure_at"].is_string() && failing["gate"].is_null());
    assert_eq!(steps(&failing, "done"), ["order.place", "stock.reserve", "payment.charge", "stock.commit"]);
    let engine = &failing["engine"];
    let (link, invocation) =
        (engine["link"].as_str().expect("a link"), engine["invocation_id"].as_str().expect("an id"));
    assert!(link.starts_with(&jumun.ready.engine_admin) && link.ends_with(invocation), "{link}");
    let more = failing["attempt"].as_u64();
    until("another attempt", async || (workflow(&jumun, &id).await["attempt"].as_u64() > more).then_some(())).await;

    jumun.sandbox("delivery", "up").await;
    let waiting = does(&jumun, &id, "waiting").await;
    assert_eq!(
        (&waiting["gate"], &waiting["step"], &waiting["attempt"]),
        (&json!("handover"), &json!(null), &json!(null))
    );
    assert!(waiting["last_failure"].is_null() && waiting["next_try_at"].is_null());
    let _ = jumun.command(&id, "complete-delivery").await.ok();
    let completed = does(&jumun, &id, "completed").await;
    assert_eq!((&completed["status"], &completed["gate"]), (&json!("closed"), &json!(null)));
    assert_eq!(steps(&completed, "done").len(), 7, "{completed:#?}");
    let unknown = format!("/v1/orders/ord_{}/workflow", "0".repeat(32));
    let _ = jumun.get(&unknown).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_workflow_tells_what_was_undone_and_by_what() {
    let shop = Shop::open_with(shared().await, "street12").await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let _ = shop.jumun.command(&id, "cancel").await.ok();
    shop.reaches(&id, "cancelled").await;
    let workflow = does(shop.jumun, &id, "completed").await;
    let steps = workflow["steps"].as_array().expect("steps");
    for (step, undo) in [
        ("payment.charge", "payment.refund"),
        ("promotion.issue", "promotion.revoke"),
        ("delivery.start", "delivery.cancel"),
        ("stock.commit", "stock.restock"),
    ] {
        let told = steps.iter().find(|told| told["step"] == step).unwrap_or_else(|| panic!("{step}: {steps:#?}"));
        assert_eq!((&told["state"], &told["undone_by"]), (&json!("undone"), &json!(undo)), "{told:#?}");
        assert!(told["undone_at"].as_str() > told["at"].as_str(), "{told:#?}");
    }
}
