//! `POST /v1/orders/{id}/{command}`: who is first wins, and asking again changes nothing.

use serde_json::json;
use tests::Shop;

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
async fn a_command_that_nobody_contests_is_no_invocation_of_its_own() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    shop.jumun.drive(&id, "closed").await;
    let handlers: Vec<_> =
        shop.jumun.invocations(&id).await.iter().map(|row| row["target_handler_name"].clone()).collect();
    assert_eq!(handlers, ["run"]);
}
