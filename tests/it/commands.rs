//! `POST /v1/orders/{id}/{command}`: who is first wins, and asking again changes nothing.

use std::sync::Arc;

use serde_json::json;
use tests::{Faults, Jumun, Setup, Shop};

use crate::shared;

#[tokio::test]
async fn a_repeated_command_changes_nothing() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    let answers = futures::future::join_all((0..4).map(|_| shop.jumun.command(&id, "complete-delivery"))).await;
    for answer in answers {
        assert_eq!(answer.ok()["status"], "closed");
    }
    let events = shop.jumun.event_names(&id).await;
    assert_eq!(shop.jumun.command(&id, "complete-delivery").await.ok()["status"], "closed");
    assert_eq!(shop.jumun.event_names(&id).await, events);
}

#[tokio::test]
async fn a_command_out_of_place_is_told_what_would_be_in_place() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    for (command, allowed) in [
        ("cancel", json!([])),
        ("confirm-receipt", json!([])),
        ("accept", json!(["cancel"])),
        ("reject", json!(["cancel"])),
        ("confirm-deposit", json!(["cancel"])),
        ("start-delivery", json!(["complete-delivery"])),
    ] {
        let problem = shop.jumun.command(&id, command).await.problem(409, "command-not-allowed");
        assert_eq!(problem["status"], "in_delivery", "{command}");
        assert_eq!(problem["allowed_commands"], allowed, "{command}");
    }
    assert_eq!(shop.jumun.get(&format!("/v1/orders/{id}")).await.ok()["status"], "in_delivery");
}

#[tokio::test]
async fn unknown_orders_and_commands_are_not_found() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    let unknown = format!("ord_{}", "0".repeat(32));
    let _ = shop.jumun.command(&unknown, "cancel").await.problem(404, "not-found");
    let _ = shop.jumun.command(&id, "teleport").await.problem(404, "not-found");
    let _ = shop.jumun.command("nonsense", "cancel").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_command_that_nobody_contests_is_one_entry_of_the_journal() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    shop.jumun.drive(&id, "closed").await;
    let invocations = shop.jumun.invocations(&id).await;
    let [run] = invocations.as_slice() else { panic!("{invocations:#?}") };
    assert_eq!(run["target_handler_name"], "run");
    let run = run["id"].as_str().expect("an id");
    let query = format!("SELECT entry_type FROM sys_journal WHERE id = '{run}'");
    let entries = shop.jumun.engine_query(&query).await;
    let of_type = |part: &str| {
        entries.iter().filter(|entry| entry["entry_type"].as_str().is_some_and(|of| of.contains(part))).count()
    };
    assert_eq!(of_type("Signal"), 3, "a command each: {entries:#?}");
    // That cancels are heard no more once it is delivered.
    assert_eq!(of_type("CompletePromise"), 2, "{entries:#?}");
    assert_eq!(of_type("GetPromise"), 0, "{entries:#?}");
}

/// As somebody may who knows the engine.
#[tokio::test]
async fn a_gate_whose_awakeable_is_rejected_has_another_one() {
    let (jumun, books) = Jumun::faulted_on(Setup::new(), &Arc::new(Faults::default())).await;
    let shop = Shop::open_with(&jumun, "pizza").await;
    let id = shop.placed().await;
    jumun.takes(&id, "start-production").await;
    let order_id = id.parse().expect("an id");
    let awakeable = async || books.reach(&order_id).await.awakeable.expect("waits at a gate");
    let first = awakeable().await;
    let url = format!("{}/restate/awakeables/{first}/reject", jumun.ready.engine_ingress);
    let rejected = jumun.send(reqwest::Client::new().post(url).body("no")).await;
    assert!(rejected.status < 300, "{rejected:?}");
    tests::until("another awakeable", async || (awakeable().await != first).then_some(())).await;
    for command in ["start-production", "start-delivery", "complete-delivery"] {
        let _ = jumun.ask(&id, command).await;
    }
    shop.reaches(&id, "closed").await;
}
