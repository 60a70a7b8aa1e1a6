//! Every lifecycle with a fault in every step, forward and back. The steps are taken from the list of all steps, so that
//! a new one takes part without anything new here.

use std::sync::Arc;

use tests::{Fault, Faults, Jumun, Place, Shop, life};
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

async fn sweep(lifecycle: &str) {
    let faults = Arc::new(Faults::default());
    let jumun = Jumun::faulted(&faults).await;
    let shop = Shop::open_with(&jumun, lifecycle).await;
    let counted = !matches!(lifecycle, "food-delivery" | "pizza");
    let mut sold = 0;
    for fault in FAULTS {
        let what = format!("{lifecycle} with {fault:?}");
        one_everywhere(&faults, fault);
        let id = shop.placed().await;
        jumun.drive(&id, "closed").await;
        assert_eq!(jumun.notifies(&id, "closed").await, life(lifecycle), "{what}");
        faults.clear();
        jumun.each_fact_once(&id).await;
        assert_eq!(jumun.entries(&id).await.len(), 1, "{what}: paid once");
        sold += i64::from(counted);
        assert_eq!(shop.shelf("chili").await, (100 - sold, 0, 100 - sold), "{what}");

        let id = shop.placed().await;
        jumun.drive(&id, "in_delivery").await;
        one_everywhere(&faults, fault);
        jumun.cancel_in_engine(&id).await;
        let cancelled = shop.reaches(&id, "cancelled").await;
        faults.clear();
        jumun.each_fact_once(&id).await;
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
