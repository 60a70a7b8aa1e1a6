//! Every lifecycle with a fault in every step, forward and back. The steps are taken from the list of all steps, so that
//! a new one takes part without anything new here.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tests::{Fault, Faults, Jumun, Place, Shop, expect_order, until};
use workflows::{Lifecycle, Step};

/// One before the effect and one after it; `faults.rs` has them all for one lifecycle.
const FAULTS: [Fault; 2] = [Fault::Panic, Fault::LoseReply];

fn one_everywhere(faults: &Faults, fault: Fault) {
    for step in Step::ALL {
        for place in [Place::Provider, Place::Record] {
            faults.plan(step, place, &[fault]);
        }
    }
}

async fn place(shop: &Shop<'_>, lifecycle: &str) -> String {
    let by_deposit = lifecycle == "shopping-mall";
    let request = if by_deposit { shop.deposit_request(1) } else { shop.request("tok_ok", 1) };
    let placed = shop.jumun.post("/v1/orders", &request).await;
    assert_eq!(placed.status, 201, "{lifecycle}: {placed:#?}");
    expect_order(&placed.body)
}

/// Does what the order asks people for, until it has `status`.
async fn drive(shop: &Shop<'_>, id: &str, status: &str) -> Value {
    until(&format!("{id} to be {status}"), async || {
        let order = shop.jumun.get(&format!("/v1/orders/{id}")).await.ok();
        if order["status"] == status {
            return Some(order);
        }
        let next = order["allowed_commands"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|command| *command != "cancel" && *command != "reject");
        if let Some(command) = next {
            let _ = shop.jumun.command(id, command.as_str().expect("a name")).await;
        }
        None
    })
    .await
}

async fn each_fact_once(shop: &Shop<'_>, id: &str, what: &str) {
    let events = shop.jumun.event_names(id).await;
    let distinct: BTreeSet<_> = events.iter().collect();
    assert_eq!(distinct.len(), events.len(), "{what}: {events:?}");
}

async fn sweep(lifecycle: &str) {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open_with(&jumun, lifecycle).await;
    let counted = !matches!(lifecycle, "food-delivery" | "pizza");
    let mut sold = 0;
    for fault in FAULTS {
        let what = format!("{lifecycle} with {fault:?}");
        one_everywhere(&faults, fault);
        let id = place(&shop, lifecycle).await;
        drive(&shop, &id, "closed").await;
        faults.clear();
        each_fact_once(&shop, &id, &what).await;
        assert_eq!(jumun.entries(&id).await.len(), 1, "{what}: paid once");
        sold += i64::from(counted);
        assert_eq!(shop.shelf("chili").await, (100 - sold, 0, 100 - sold), "{what}");

        let id = place(&shop, lifecycle).await;
        drive(&shop, &id, "in_delivery").await;
        one_everywhere(&faults, fault);
        jumun.cancel_in_engine(&id).await;
        let cancelled = shop.reaches(&id, "cancelled").await;
        faults.clear();
        each_fact_once(&shop, &id, &what).await;
        let entries = jumun.entries(&id).await;
        assert!(entries.len() == 2 && entries[1] == "refund", "{what}: {entries:?}");
        assert_eq!(cancelled["delivery"]["state"], "cancelled", "{what}");
        assert!(cancelled["coupon"].is_null() || cancelled["coupon"]["state"] == "cancelled", "{what}");
        assert_eq!(shop.shelf("chili").await, (100 - sold, 0, 100 - sold), "{what}");
    }
}

#[tokio::test]
async fn sauce_shop() {
    sweep("sauce-shop").await;
}

#[tokio::test]
async fn shopping_mall() {
    sweep("shopping-mall").await;
}

#[tokio::test]
async fn food_delivery() {
    sweep("food-delivery").await;
}

#[tokio::test]
async fn street12() {
    sweep("street12").await;
}

#[tokio::test]
async fn pizza() {
    sweep("pizza").await;
}

#[test]
fn every_lifecycle_is_swept() {
    let presets: Vec<_> = Lifecycle::presets().iter().map(|preset| preset.name.as_str()).collect();
    assert_eq!(presets, ["food-delivery", "pizza", "sauce-shop", "shopping-mall", "street12"]);
}
