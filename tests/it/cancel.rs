//! Cancelling: accepted means that everything is undone, exactly once, whatever else happens.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::{Jumun, Shop, until, variant};
use tokio::time::sleep;
use workflows::order::Actor;
use workflows::order::command::CommandRequest;
use workflows::{Command, Role};

use crate::shared;

fn count(names: &[String], name: &str) -> usize {
    names.iter().filter(|other| *other == name).count()
}

#[tokio::test]
async fn cancel_while_a_step_is_stuck_takes_hold_at_once_and_undoes_everything() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open(&jumun).await;
    jumun.sandbox("delivery", "down").await;
    let id = shop.placed().await;
    until("the stock to be sold", async || {
        jumun.event_names(&id).await.contains(&"stock_committed".to_owned()).then_some(())
    })
    .await;
    assert_eq!(shop.shelf("chili").await, (99, 0, 99));

    let reason = json!({ "reason": "changed my mind" });
    let cancelling = jumun.post(&format!("/v1/orders/{id}/cancel"), &reason).await.ok();
    assert_eq!((&cancelling["status"], &cancelling["reason"]), (&json!("cancelling"), &json!("changed my mind")));
    assert_eq!(jumun.get(&format!("/v1/orders/{id}")).await.ok()["status"], "cancelling");
    assert_eq!(jumun.command(&id, "cancel").await.ok()["status"], "cancelling", "asked again");

    jumun.sandbox("delivery", "up").await;
    let cancelled = shop.reaches(&id, "cancelled").await;
    assert_eq!(cancelled["payment"]["state"], "refunded");
    assert_eq!(jumun.entries(&id).await, ["charge", "refund"]);
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    let deliveries = jumun.get(&format!("/v1/deliveries?order_id={id}")).await.ok();
    assert_eq!(deliveries["items"], json!([]), "nothing was ever delivered");
    assert_eq!(jumun.command(&id, "cancel").await.ok()["status"], "cancelled", "asked again");
}

#[tokio::test]
async fn cancels_from_all_sides_undo_everything_once() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open(&jumun).await;
    for _ in 0..5 {
        jumun.sandbox("delivery", "down").await;
        let id = shop.placed().await;
        // What was not tried is not undone either.
        tests::until("the delivery to be tried", async || {
            jumun.invocations(&id).await.iter().any(|row| row["status"] == "backing-off").then_some(())
        })
        .await;
        let (first, second) = futures::join!(jumun.command(&id, "cancel"), jumun.command(&id, "cancel"));
        assert_eq!(
            (first.ok()["status"].clone(), second.ok()["status"].clone()),
            (json!("cancelling"), json!("cancelling"))
        );
        // The unwind is stuck at `delivery.cancel`: each press of the engine's button comes in its middle.
        for _ in 0..3 {
            jumun.cancel_in_engine(&id).await;
        }
        jumun.sandbox("delivery", "up").await;
        jumun.cancel_in_engine_at_the_end(&id).await;
        shop.reaches(&id, "cancelled").await;
        assert_eq!(jumun.entries(&id).await, ["charge", "refund"]);
        assert_eq!(shop.shelf("chili").await, (100, 0, 100));
        let events = jumun.event_names(&id).await;
        for once in ["cancellation_requested", "payment_cancelled", "stock_released", "order_cancelled"] {
            assert_eq!(count(&events, once), 1, "{once} in {events:?}");
        }
    }
}

#[tokio::test]
async fn a_cancel_races_the_steps_and_the_answer_holds() {
    let shop = Shop::open(shared().await).await;
    let mut sold = 0;
    for round in 0..30 {
        let request = shop.jumun.request(reqwest::Method::POST, "/v1/orders").header("prefer", "wait=0");
        let placed = shop.jumun.send(request.json(&shop.request("tok_ok", 1))).await;
        let id = placed.header("location").rsplit('/').next().expect("an id").to_owned();
        if round % 2 == 0 {
            // It may be beyond `paid` by the time that it is seen.
            until("the payment", async || {
                shop.jumun.event_names(&id).await.contains(&"order_paid".to_owned()).then_some(())
            })
            .await;
        }
        let answer = shop.jumun.command(&id, "cancel").await;
        let entries: &[&str] = if answer.status == 200 {
            let end = shop.reaches(&id, "cancelled").await;
            match end["payment"]["state"].as_str() {
                Some("refunded") => &["charge", "refund"],
                Some("none" | "cancelled") => &[],
                other => panic!("{other:?} in {end:#?}"),
            }
        } else {
            let _ = answer.problem(409, "command-not-allowed");
            sold += 1;
            shop.reaches(&id, "in_delivery").await;
            &["charge"]
        };
        assert_eq!(shop.jumun.entries(&id).await, entries, "round {round}");
    }
    assert_eq!(shop.shelf("chili").await, (100 - sold, 0, 100 - sold));
}

#[tokio::test]
async fn the_engines_cancel_button_cannot_break_an_order() {
    let shop = Shop::open(shared().await).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    shop.jumun.cancel_in_engine(&id).await;
    let cancelled = shop.reaches(&id, "cancelled").await;
    assert_eq!(cancelled["delivery"]["state"], "cancelled");
    assert_eq!(
        shop.jumun.event_names(&id).await[7..],
        ["cancellation_requested", "delivery_cancelled", "stock_released", "payment_cancelled", "order_cancelled"]
    );
    assert_eq!(shop.shelf("chili").await, (100, 0, 100));
    // No courier sees it any more.
    let _ = shop.jumun.command(&id, "complete-delivery").await.problem(404, "not-found");
}

/// As an API asks that has not seen what became of the order meanwhile.
#[tokio::test]
async fn a_cancel_that_comes_when_none_is_heard_is_refused_at_once_and_disturbs_nothing() {
    let (shop, sauces) = (Shop::open_with(shared().await, "shopping-mall").await, Shop::open(shared().await).await);
    let request = CommandRequest {
        command: Command::Cancel,
        by: Actor { role: Role::Operator, subject: "operator".to_owned() },
        reason: None,
        follows: true,
    };
    let cancel = async |id: &str| {
        let url = format!("{}/order/{id}/command", shop.jumun.ready.engine_ingress);
        shop.jumun.send(reqwest::Client::new().post(url).json(&request)).await.ok()
    };
    for while_open in [true, false] {
        let id = shop.placed().await;
        shop.jumun.drive(&id, "delivered").await;
        if while_open {
            let both = futures::join!(cancel(&id), cancel(&id));
            assert_eq!(both, (json!("not_allowed"), json!("not_allowed")));
            shop.jumun.cancel_in_engine(&id).await;
        }
        assert_eq!(shop.jumun.ask(&id, "confirm-receipt").await["status"], "closed");
        until("its invocations to end", async || {
            let invocations = shop.jumun.invocations(&id).await;
            invocations.iter().all(|invocation| invocation["status"] == "completed").then_some(())
        })
        .await;
        for _ in 0..2 {
            assert_eq!(cancel(&id).await, "not_allowed");
        }
    }
    // Of an order that ends where cancels were heard, its end says it.
    let id = sauces.placed().await;
    sauces.jumun.drive(&id, "closed").await;
    assert_eq!(futures::join!(cancel(&id), cancel(&id)), (json!("not_allowed"), json!("not_allowed")));
    assert_eq!(cancel(&id).await, "not_allowed");
    let id = sauces.placed().await;
    sauces.reaches(&id, "in_delivery").await;
    for _ in 0..2 {
        assert_eq!(cancel(&id).await, "accepted");
        sauces.reaches(&id, "cancelled").await;
    }
}

/// How long the receipt of that order may be confirmed, and how long before the end of that somebody cancels.
const RECEIPT: Duration = Duration::from_secs(12);
const BEFORE_ITS_END: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_cancel_that_is_not_heard_puts_off_no_deadline() {
    let window = |lifecycle: &mut Value| lifecycle["receipt"]["window"] = json!(format!("{}s", RECEIPT.as_secs()));
    let shop = Shop::open_with(shared().await, variant("shopping-mall", window)).await;
    let id = shop.placed().await;
    let waiting = shop.jumun.drive(&id, "delivered").await;
    let deadline: DateTime<Utc> = waiting["deadline"].as_str().and_then(|at| at.parse().ok()).expect("a deadline");
    sleep((deadline - BEFORE_ITS_END - Utc::now()).to_std().unwrap_or_default()).await;
    shop.jumun.cancel_in_engine(&id).await;
    let closed = shop.reaches(&id, "closed").await;
    let closed: DateTime<Utc> = closed["updated_at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    // Where the wait had begun anew, it would be half a window after the deadline.
    assert!(closed < deadline + RECEIPT / 4, "closed {closed}, deadline {deadline}");
}
