//! Operators' hands: driving on what is held up, one by one or many at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Jumun, Shop, until, variant};
use workflows::Role;

use crate::shared;

/// A sauce shop whose deliveries are tried once a minute, which is longer than any test waits.
async fn patient_shop(jumun: &Jumun) -> Shop<'_> {
    let minute = json!({
        "attempt_timeout_ms": 2000, "first_delay_ms": 60_000, "factor": 1.0, "longest_delay_ms": 60_000,
    });
    let lifecycle = variant("sauce-shop", |lifecycle| lifecycle["steps"] = json!({ "delivery.request": minute }));
    Shop::open_with(jumun, lifecycle).await
}

/// Waits until the order's workflow is in that state, in the engine's words too.
async fn does(jumun: &Jumun, id: &str, state: &str, engine: &str) -> Value {
    until(&format!("the workflow of {id} to be {state}"), async || {
        let workflow = jumun.get(&format!("/v1/orders/{id}/workflow")).await.ok();
        (workflow["state"] == state && workflow["engine"]["status"] == engine).then_some(workflow)
    })
    .await
}

async fn retry(jumun: &Jumun, id: &str) -> tests::Answer {
    jumun.post(&format!("/v1/orders/{id}/retry"), &json!({})).await
}

#[tokio::test]
async fn a_retry_does_not_wait_for_its_time() {
    let jumun = Jumun::ephemeral().await;
    let shop = patient_shop(&jumun).await;
    jumun.sandbox("delivery", "down").await;
    let id = shop.placed().await;
    let failing = does(&jumun, &id, "backing_off", "backing-off").await;
    assert_eq!((&failing["step"], &failing["attempt"]), (&json!("delivery.request"), &json!(1)));
    let retried = retry(&jumun, &id).await;
    assert_eq!(retried.status, 202, "{retried:#?}");
    assert_eq!(retried.body, json!({ "order_id": id, "done": "triggered", "step": "delivery.request" }));
    until("another attempt to have failed", async || {
        let workflow = jumun.get(&format!("/v1/orders/{id}/workflow")).await.ok();
        (workflow["attempt"] == 2 && workflow["engine"]["status"] == "backing-off").then_some(())
    })
    .await;

    jumun.sandbox("delivery", "up").await;
    let start = Instant::now();
    assert_eq!(retry(&jumun, &id).await.ok()["done"], "triggered");
    jumun.reaches(&id, "in_delivery").await;
    assert!(start.elapsed() < Duration::from_secs(30), "it went on by itself, after {:?}", start.elapsed());
    let events = jumun.event_names(&id).await;
    let refused = retry(&jumun, &id).await.problem(409, "nothing-to-retry");
    assert_eq!((&refused["order_id"], &refused["status"]), (&json!(id), &json!("in_delivery")));
    assert_eq!(jumun.event_names(&id).await, events);
    let _ = jumun.command(&id, "complete-delivery").await.ok();
    does(&jumun, &id, "completed", "completed").await;
    let _ = retry(&jumun, &id).await.problem(409, "nothing-to-retry");
    let _ = retry(&jumun, &format!("ord_{}", "0".repeat(32))).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_retry_resumes_what_the_engine_has_paused() {
    let jumun = Jumun::ephemeral().await;
    let shop = patient_shop(&jumun).await;
    jumun.sandbox("delivery", "down").await;
    let id = shop.placed().await;
    does(&jumun, &id, "backing_off", "backing-off").await;
    jumun.pause_in_engine(&id).await;
    does(&jumun, &id, "paused", "paused").await;
    jumun.sandbox("delivery", "up").await;
    assert_eq!(retry(&jumun, &id).await.ok()["done"], "resumed");
    jumun.reaches(&id, "in_delivery").await;
    jumun.each_fact_once(&id).await;
}

#[tokio::test]
async fn a_retry_needs_its_engine() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open(&jumun).await;
    let id = shop.placed().await;
    jumun.signal_engine("STOP");
    let refused = retry(&jumun, &id).await;
    jumun.signal_engine("CONT");
    let _ = refused.problem(503, "try-again-later");
}

async fn bulk(shop: &Shop<'_>, body: Value) -> tests::Answer {
    let mut body = body;
    body["filter"]["merchant_id"] = json!(shop.merchant_id);
    shop.jumun.post("/v1/orders/bulk", &body).await
}

fn outcomes(answer: &Value) -> [u64; 5] {
    ["accepted", "carried_out", "not_allowed", "failed", "not_tried"]
        .map(|outcome| answer["outcomes"][outcome].as_u64().unwrap_or_else(|| panic!("{outcome} of {answer:#?}")))
}

#[tokio::test]
async fn all_stuck_orders_are_retried_at_once() {
    let jumun = Jumun::spawn(&["--ephemeral", "--stuck-after", "1s"]).await;
    let shop = patient_shop(&jumun).await;
    let well = shop.placed().await;
    jumun.reaches(&well, "in_delivery").await;
    jumun.sandbox("delivery", "down").await;
    let mut held_up = Vec::new();
    for _ in 0..5 {
        held_up.push(shop.placed().await);
    }
    let retry = |dry_run, expected: Value| {
        let filter = json!({ "stuck": true });
        bulk(&shop, json!({ "filter": filter, "command": "retry", "dry_run": dry_run, "expected": expected }))
    };
    until("all of them to be stuck", async || (retry(true, json!(null)).await.ok()["matched"] == 5).then_some(()))
        .await;
    for id in &held_up {
        does(&jumun, id, "backing_off", "backing-off").await;
    }
    jumun.sandbox("delivery", "up").await;
    let start = Instant::now();
    assert_eq!(outcomes(&retry(false, json!(5)).await.ok()), [5, 0, 0, 0, 0]);
    for id in &held_up {
        jumun.reaches(id, "in_delivery").await;
    }
    assert!(start.elapsed() < Duration::from_secs(30), "they went on by themselves, after {:?}", start.elapsed());
    assert_eq!(retry(true, json!(null)).await.ok()["matched"], 0);
}

#[tokio::test]
async fn many_are_cancelled_as_counted_and_no_others() {
    let lifecycle = variant("food-delivery", |lifecycle| lifecycle["cancellation"]["operator"] = json!("accepted"));
    let shop = Shop::open_with(shared().await, lifecycle).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.extend(futures::future::join_all((0..3).map(|_| shop.placed())).await);
    }
    let (cooking, waiting) = ids.split_at(3);
    for id in cooking {
        shop.jumun.drive(id, "in_production").await;
    }
    for id in waiting {
        shop.jumun.takes(id, "accept").await;
    }
    let cancel = |filter: Value, dry_run: bool, expected: Value| {
        bulk(
            &shop,
            json!({
                "filter": filter, "command": "cancel", "reason": "the kitchen has burnt down",
                "dry_run": dry_run, "expected": expected,
            }),
        )
    };
    let counted = cancel(json!({}), true, json!(null)).await.ok();
    assert_eq!(
        (&counted["matched"], &counted["more"], &counted["outcomes"]),
        (&json!(60), &json!(false), &json!(null))
    );
    let late = shop.placed().await;
    let late = shop.jumun.takes(&late, "accept").await;
    let refused = cancel(json!({}), false, json!(60)).await.problem(409, "count-changed");
    assert_eq!(refused["matched"], 61);
    for id in waiting {
        assert_eq!(shop.jumun.order(id).await["status"], "paid", "nothing was done");
    }

    let before = json!({ "placed_before": late["placed_at"] });
    let done = cancel(before.clone(), false, json!(60)).await.ok();
    assert_eq!(outcomes(&done), [57, 0, 3, 0, 0], "{done:#?}");
    let failures = done["failures"].as_array().expect("failures");
    let failed: Vec<_> = failures.iter().filter_map(|failure| failure["order_id"].as_str()).collect();
    assert!(failed.len() == 3 && cooking.iter().all(|id| failed.contains(&id.as_str())), "{failures:#?}");
    assert!(failures.iter().all(|failure| failure["type"] == "/problems/command-not-allowed"), "{failures:#?}");
    for id in waiting {
        let order = shop.reaches(id, "cancelled").await;
        assert_eq!(order["reason"], "the kitchen has burnt down");
        shop.jumun.each_fact_once(id).await;
        shop.jumun.settles(id).await;
    }
    for id in cooking {
        assert_eq!(shop.jumun.order(id).await["status"], "in_production");
    }
    let late = tests::expect_order(&late);
    assert_eq!(shop.jumun.order(&late).await["status"], "paid");
    // Once more: what is left of them takes it as little as before.
    assert_eq!(outcomes(&cancel(before, false, json!(3)).await.ok()), [0, 0, 3, 0, 0]);
}

/// The entries of the audit trail that match, newest first.
async fn audit(jumun: &Jumun, filter: &str) -> Vec<Value> {
    let page = jumun.get(&format!("/v1/audit?limit=200&{filter}")).await.ok();
    page["items"].as_array().expect("a list").clone()
}

/// What an entry says of who did what.
fn said(entry: &Value) -> [&str; 4] {
    ["role", "subject", "action", "outcome"].map(|part| entry[part].as_str().unwrap_or("-"))
}

#[tokio::test]
async fn it_is_known_who_did_what_to_an_order() {
    let shop = Shop::open_with(shared().await, "food-delivery").await;
    let jumun = shop.jumun;
    let minji = jumun.as_role(Role::Customer, "minji", None);
    let owner = jumun.as_role(Role::Merchant, "owner", Some(&shop.merchant_id));
    let rider = jumun.as_role(Role::Courier, "rider", None);
    let placed = minji.post("/v1/orders", &shop.request_one()).await;
    let id = tests::expect_order(&placed.body);
    for (who, command) in [
        (&owner, "accept"),
        (&owner, "start-production"),
        (&owner, "finish-production"),
        (&rider, "start-delivery"),
        (&rider, "complete-delivery"),
    ] {
        until(command, async || (who.command(&id, command).await.status == 200).then_some(())).await;
    }
    jumun.reaches(&id, "closed").await;
    let entries = audit(jumun, &format!("order_id={id}")).await;
    let told: Vec<_> = entries.iter().rev().map(said).collect();
    assert_eq!(
        told,
        [
            ["customer", "minji", "order_placed", "done"],
            ["merchant", "owner", "order_accepted", "done"],
            ["merchant", "owner", "production_started", "done"],
            ["merchant", "owner", "production_finished", "done"],
            ["courier", "rider", "delivery_started", "done"],
            ["courier", "rider", "delivery_completed", "done"],
        ]
    );
    assert!(entries.iter().all(|entry| entry["merchant_id"] == json!(shop.merchant_id)), "{entries:#?}");
    assert_eq!(audit(jumun, &format!("merchant_id={}&subject=rider", shop.merchant_id)).await, entries[..2]);
    assert_eq!(audit(jumun, &format!("order_id={id}&role=merchant&action=order_accepted")).await, entries[4..5]);

    // The same is said of its events, and by whom only to those who may know.
    for (reader, subject) in [(&owner, json!("minji")), (&minji, json!(null)), (&rider, json!(null))] {
        let events = reader.get(&format!("/v1/orders/{id}/events")).await.ok();
        let by = &events["items"][0]["by"];
        assert_eq!((&by["role"], &by["subject"]), (&json!("customer"), &subject), "{}", events["items"][0]);
        assert!(events["items"][1]["by"].is_null(), "it came by itself");
    }
}

#[tokio::test]
async fn what_is_administered_is_written_down() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open(&jumun).await;
    let merchant = format!("merchants/{}", shop.merchant_id);
    let hook = json!({ "url": "http://127.0.0.1:1/hook" });
    assert_eq!(jumun.put(&format!("/v1/{merchant}/webhooks/erp"), &hook).await.status, 201);
    let delete = || jumun.send(jumun.request(reqwest::Method::DELETE, &format!("/v1/{merchant}/webhooks/erp")));
    assert_eq!(delete().await.status, 204);
    let _ = delete().await.problem(404, "not-found");
    jumun.sandbox("delivery", "down").await;
    let id = shop.placed().await;
    does(&jumun, &id, "backing_off", "backing-off").await;
    assert_eq!(retry(&jumun, &id).await.status, 202);
    let counted = json!({ "filter": { "status": "paid" }, "command": "cancel", "reason": "flood", "dry_run": true });
    assert_eq!(bulk(&shop, counted.clone()).await.ok()["matched"], 1);
    let mut command = counted;
    (command["dry_run"], command["expected"]) = (json!(false), json!(1));
    assert_eq!(outcomes(&bulk(&shop, command).await.ok()), [1, 0, 0, 0, 0]);

    let operator = jumun.as_role(Role::Operator, "ops", None);
    let entries = audit(&jumun, "role=operator").await;
    let mine = |entry: &&Value| entry["merchant_id"] == json!(shop.merchant_id) || entry["action"] == "put_sandbox";
    let told: Vec<_> = entries
        .iter()
        .rev()
        .filter(mine)
        .map(|entry| {
            let [_, _, action, outcome] = said(entry);
            (action, entry["target"].as_str().unwrap_or("-").replace(&shop.merchant_id, "shop"), outcome)
        })
        .collect();
    let expected = [
        ("put_merchant", "-", "done"),
        ("put_product", "merchants/shop/products/chili", "done"),
        ("put_product", "merchants/shop/products/soy", "done"),
        ("put_webhook", "merchants/shop/webhooks/erp", "done"),
        ("delete_webhook", "merchants/shop/webhooks/erp", "done"),
        ("delete_webhook", "merchants/shop/webhooks/erp", "refused"),
        ("put_sandbox", "sandbox/delivery", "done"),
        ("retry_order", "-", "done"),
        ("bulk_command_orders", "-", "done"),
        ("cancellation_requested", "-", "done"),
    ];
    assert_eq!(told, expected.map(|(action, target, outcome)| (action, target.to_owned(), outcome)));
    let bulk = entries.iter().find(|entry| entry["action"] == "bulk_command_orders").expect("written");
    let filter = json!({ "status": "paid", "merchant_id": shop.merchant_id });
    assert_eq!((&bulk["reason"], &bulk["details"]["filter"]), (&json!("flood"), &filter));
    assert_eq!((&bulk["details"]["matched"], &bulk["details"]["outcomes"]["accepted"]), (&json!(1), &json!(1)));
    let cancelled = entries.iter().find(|entry| entry["action"] == "cancellation_requested").expect("written");
    assert_eq!((&cancelled["order_id"], &cancelled["reason"]), (&json!(id), &json!("flood")));
    assert!(!json!(entries).to_string().contains("127.0.0.1:1/hook"), "bodies are not kept");

    // One page after another, and nothing twice.
    let (mut paged, mut next) = (Vec::new(), "/v1/audit?role=operator&limit=4".to_owned());
    loop {
        let page = operator.get(&next).await.ok();
        paged.extend(page["items"].as_array().expect("a list").clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("/v1/audit?role=operator&limit=4&cursor={cursor}");
    }
    assert_eq!(paged, entries);
}

#[tokio::test]
async fn operators_hands_are_operators_own() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    for caller in [
        shop.jumun.as_role(Role::Customer, "customer", None),
        shop.jumun.as_role(Role::Merchant, "owner", Some(&shop.merchant_id)),
        shop.jumun.as_role(Role::Courier, "rider", None),
    ] {
        let body = json!({ "filter": { "merchant_id": shop.merchant_id }, "command": "cancel", "dry_run": true });
        let _ = caller.post("/v1/orders/bulk", &body).await.problem(403, "forbidden");
        let _ = caller.post(&format!("/v1/orders/{id}/retry"), &json!({})).await.problem(403, "forbidden");
        let _ = caller.get("/v1/audit").await.problem(403, "forbidden");
    }
}
