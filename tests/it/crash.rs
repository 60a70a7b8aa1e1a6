//! `kill -9` at any moment loses nothing and repeats nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use activities::{Activities, CardKeys, Modes, NotificationSettings};
use serde_json::{Value, json};
use tests::{Answer, DEADLINE, Jumun, Setup, Shop, until};
use workflows::order::OrderFilter;
use workflows::{Order, Status};

/// Orders that are placed all at once, while their steps take long enough for every stage to be met by a kill.
const ORDERS: usize = 24;

#[tokio::test]
async fn killing_jumun_loses_nothing() {
    let setup = Setup::new();
    let jumun = setup.start().await;
    let shop = Shop::open(&jumun).await;
    slow_down(&jumun).await;
    place_until(&shop, async || jumun.kill()).await;

    let again = setup.start().await;
    everything_ends(&setup, shop.within(&again)).await;
}

#[tokio::test]
async fn killing_the_engine_loses_nothing() {
    let setup = Setup::new();
    let jumun = setup.start().await;
    let shop = Shop::open(&jumun).await;
    slow_down(&jumun).await;
    // jumun starts the engine again by itself.
    place_until(&shop, async || jumun.signal_engine("KILL")).await;
    everything_ends(&setup, shop).await;
}

#[tokio::test]
async fn a_stop_lets_open_orders_go_on_at_the_next_start() {
    let setup = Setup::new();
    let jumun = setup.start().await;
    let shop = Shop::open(&jumun).await;
    let id = shop.placed().await;
    shop.reaches(&id, "in_delivery").await;
    assert_eq!(jumun.stop(), Some(0));

    let again = setup.start().await;
    assert_eq!(again.command(&id, "complete-delivery").await.ok()["status"], "closed");
}

async fn slow_down(jumun: &Jumun) {
    for context in ["payment", "stock", "delivery"] {
        let slow = json!({ "mode": "slow", "delay_ms": 150 });
        let _ = jumun.put(&format!("/v1/sandbox/{context}"), &slow).await.ok();
    }
}

/// Places orders one after another, each under its own key, and kills when half of them were answered.
async fn place_until(shop: &Shop<'_>, kill: impl AsyncFnOnce()) {
    let orders = async {
        futures::future::join_all((0..ORDERS).map(|n| async move {
            // Staggered, so that the kill meets each at another stage.
            if n >= ORDERS / 2 {
                let _ = place(shop, ORDERS + n).await;
            }
            place(shop, n).await
        }))
        .await
    };
    let kill = async {
        let path = format!("/v1/orders?merchant_id={}&status=in_delivery", shop.merchant_id);
        until("the first orders to be in delivery", async || {
            let listed = shop.jumun.try_get(&path).await.ok()?;
            (listed.body["items"].as_array()?.len() >= 3).then_some(())
        })
        .await;
        kill().await;
    };
    futures::join!(orders, kill);
}

async fn place(shop: &Shop<'_>, n: usize) -> Option<Answer> {
    let request =
        shop.jumun.request(reqwest::Method::POST, "/v1/orders").header("idempotency-key", format!("crash-{n}"));
    let cards = ["tok_ok", "tok_lost_reply", "tok_flaky_1", "tok_declined"];
    shop.jumun.try_send(request.json(&shop.request(cards[n % 4], 1))).await.ok()
}

/// Asks for every order once more by its key, drives all to their end, stops, and counts.
async fn everything_ends(setup: &Setup, shop: Shop<'_>) {
    let expected = ORDERS + ORDERS / 2;
    let mut by_id = BTreeMap::<String, usize>::new();
    for n in (0..ORDERS).chain(ORDERS + ORDERS / 2..ORDERS * 2) {
        let answer = until("an answer", async || place(&shop, n).await.filter(|answer| answer.status != 503)).await;
        let id = match answer.status {
            201 | 402 => tests::expect_order(&answer.body),
            202 => answer.header("location").rsplit('/').next().expect("an id").to_owned(),
            _ => panic!("{answer:#?}"),
        };
        by_id.insert(id, n);
    }
    assert_eq!(by_id.len(), expected, "one order for each key");
    for (id, n) in &by_id {
        if n % 4 == 3 {
            shop.reaches(id, "rejected").await;
        } else {
            shop.reaches(id, "in_delivery").await;
            assert_eq!(shop.jumun.command(id, "complete-delivery").await.ok()["status"], "closed");
        }
    }
    let sold = i64::try_from(by_id.values().filter(|n| *n % 4 != 3).count()).expect("few");
    assert_eq!(shop.shelf("chili").await, (100 - sold, 0, 100 - sold));
    for (id, n) in &by_id {
        let charged = shop.jumun.entries(id).await;
        assert_eq!(charged, if n % 4 == 3 { &[][..] } else { &["charge"][..] }, "{id}");
    }
    until("the workflows to end", async || open_workflows(shop.jumun).await.is_empty().then_some(())).await;
    shop.jumun.proves_clean().await;
    assert_eq!(shop.jumun.stop(), Some(0));
    views_are_what_their_events_tell(setup).await;
}

async fn open_workflows(jumun: &Jumun) -> Vec<Value> {
    jumun
        .engine_query("SELECT id FROM sys_invocation WHERE target_service_name = 'order' AND status != 'completed'")
        .await
}

/// Opens the stopped system's store, and builds every order again from its events.
async fn views_are_what_their_events_tell(setup: &Setup) {
    let store = tokio::time::timeout(DEADLINE, setup.store()).await.expect("in time");
    let (payment_store, remote) = (None, BTreeMap::new());
    let (notifications, modes) = (NotificationSettings::default(), Arc::new(Modes::default()));
    let card_keys = CardKeys::draw().parse().expect("keys");
    let setup = activities::Setup { store, payment_store, card_keys, remote, notifications, modes };
    let book = Activities::open(&setup).await.expect("opens").orders;
    let orders = book.orders(&OrderFilter { limit: 1000, ..OrderFilter::default() }).await.expect("lists");
    assert!(orders.len() >= ORDERS);
    for order in orders {
        assert!(matches!(order.status, Status::Closed | Status::Rejected), "{order:#?}");
        let events = book.events(&order.id, 0, u32::MAX).await.expect("reads");
        assert_eq!(Order::from_events(&events), Some(order));
    }
}
