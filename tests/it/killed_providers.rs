//! `kill -9` of a provider's process: orders that do not need it go on, and those that do go on when it is back. R25,
//! R36, and R6 and R35: payments are kept in a database of another kind.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tests::{Jumun, Providers, Shop, expect_order, life, until};
use tokio::sync::watch;
use workflows::{Context, Lifecycle};

const ORDERS: usize = 100;
/// So many orders are open at a time: more would time each other out on a busy machine, which is another test.
const AT_ONCE: usize = 25;
const ON_HAND: i64 = 1_000;

#[tokio::test]
async fn r25_orders_are_taken_while_the_kitchen_is_dead_and_offered_when_it_returns() {
    let jumun = Jumun::with_providers(Providers::on_disk().await).await;
    let shop = Shop::open_with(&jumun, "food-delivery").await;
    let before = shop.placed().await;
    jumun.takes(&before, "accept").await;
    jumun.providers().kill(Context::Kitchen);
    let id = shop.placed().await;
    assert_eq!(jumun.order(&id).await["status"], "paid");
    assert!(!jumun.event_names(&id).await.contains(&"order_offered".to_owned()));
    // What was offered before it died is still accepted.
    assert_eq!(jumun.command(&before, "accept").await.ok()["status"], "accepted");
    jumun.providers().restart(Context::Kitchen).await;
    for id in [&before, &id] {
        jumun.drive(id, "closed").await;
        assert_eq!(jumun.notifies(id, "closed").await, life("food-delivery"));
    }
}

/// What is to become of an order: some are rejected where that can be, some are cancelled as soon as they stand or at
/// the first gate, most are closed.
async fn live(shop: &Shop<'_>, number: usize) {
    let id = place(shop, number).await;
    let order = shop.jumun.order(&id).await;
    // Every lifecycle has some of each.
    match (number / Lifecycle::presets().len() % 10, order["lifecycle"].as_str()) {
        (3, Some("food-delivery")) => {
            ask(shop, &id, "reject").await;
            shop.reaches(&id, "rejected").await;
        }
        (1 | 6, _) => {
            ask(shop, &id, "cancel").await;
            ends(shop, &id).await;
        }
        _ => drop(shop.jumun.drive(&id, "closed").await),
    }
}

/// Places the order under its own key, as often as it takes.
async fn place(shop: &Shop<'_>, number: usize) -> String {
    let request = shop.request_one();
    until("an order that stands", async || {
        let place = shop.jumun.request(reqwest::Method::POST, "/v1/orders");
        let place = place.header("idempotency-key", format!("{}-{number}", shop.merchant_id));
        let answer = shop.jumun.send(place.json(&request)).await;
        match answer.status {
            201 => Some(expect_order(&answer.body)),
            202 | 503 => None,
            _ => panic!("{answer:#?}"),
        }
    })
    .await
}

/// Asks until the order takes it, or is past taking it.
async fn ask(shop: &Shop<'_>, id: &str, command: &str) {
    until(&format!("{command} of {id}"), async || {
        let answer = shop.jumun.command(id, command).await;
        let past = answer.status == 409 && command == "cancel" && answer.body["status"] == "in_delivery";
        (answer.status == 200 || past).then_some(())
    })
    .await;
}

async fn ends(shop: &Shop<'_>, id: &str) -> Value {
    until(&format!("the end of {id}"), async || {
        let order = shop.jumun.order(id).await;
        match order["status"].as_str() {
            Some("closed" | "cancelled" | "rejected") => Some(order),
            Some("cancelling") => None,
            _ => Some(shop.jumun.drive(id, "closed").await),
        }
    })
    .await
}

/// Waits until some order has met the dead provider.
async fn is_missed(jumun: &Jumun, context: Context) {
    let query = format!(
        "SELECT id FROM sys_invocation WHERE status = 'backing-off' \
         AND last_failure_related_command_name LIKE '{context}.%'"
    );
    until(&format!("{context} to be missed"), async || (!jumun.engine_query(&query).await.is_empty()).then_some(()))
        .await;
}

#[tokio::test]
async fn killing_any_provider_in_the_middle_of_a_hundred_orders_loses_and_repeats_nothing() {
    let jumun = Jumun::with_providers(Providers::on_disk_and_postgres().await).await;
    let mut shops = Vec::new();
    for preset in Lifecycle::presets() {
        let shop = Shop::open_with(&jumun, preset.name.as_str()).await;
        shop.put_product("chili", 9_000, ON_HAND).await;
        shops.push(shop);
    }
    // The orders come in waves, one for each provider that dies.
    let (wave, _) = watch::channel(0);
    let orders = (0..ORDERS).map(|number| {
        let (shop, mut wave) = (&shops[number % shops.len()], wave.subscribe());
        async move {
            let mine = number * Context::ALL.len() / ORDERS;
            wave.wait_for(|wave| *wave > mine).await.expect("every wave comes");
            live(shop, number).await;
        }
    });
    let deaths = async {
        for (number, context) in Context::ALL.into_iter().enumerate() {
            jumun.providers().kill(context);
            wave.send_replace(number + 1);
            is_missed(&jumun, context).await;
            jumun.providers().restart(context).await;
        }
    };
    futures::join!(stream::iter(orders).buffer_unordered(AT_ONCE).collect::<Vec<()>>(), deaths);
    for shop in &shops {
        everything_matches(shop).await;
    }
}

/// Every order of the shop has ended, and its money, its stock, its facts and its notifications tell the same.
async fn everything_matches(shop: &Shop<'_>) {
    let listed = shop.jumun.get(&format!("/v1/orders?merchant_id={}&limit=200", shop.merchant_id)).await.ok();
    let orders = listed["items"].as_array().expect("a list");
    assert!(orders.len() >= ORDERS / 5 && listed["next_cursor"].is_null());
    let mut sold = 0;
    for order in orders {
        let id = order["id"].as_str().expect("an id");
        let status = order["status"].as_str().expect("a status");
        shop.jumun.settles(id).await;
        shop.jumun.each_fact_once(id).await;
        let notified = shop.jumun.notifies(id, status).await;
        let distinct: BTreeSet<_> = notified.iter().collect();
        assert_eq!(distinct.len(), notified.len(), "{id}: {notified:?}");
        if status == "closed" {
            sold += 1;
            assert_eq!(notified, life(order["lifecycle"].as_str().expect("a name")), "{id}");
            let delivery = shop.jumun.get(&format!("/v1/deliveries?order_id={id}")).await.ok();
            assert_eq!(delivery["items"].as_array().map(Vec::len), Some(1), "{id}");
            assert_eq!(delivery["items"][0]["state"], "delivered", "{id}");
        }
    }
    let counted = !matches!(orders[0]["lifecycle"].as_str(), Some("food-delivery" | "pizza"));
    let sold = if counted { sold } else { 0 };
    until("the stock to match", async || {
        (shop.shelf("chili").await == (ON_HAND - sold, 0, ON_HAND - sold)).then_some(())
    })
    .await;
    assert_ne!(orders.iter().filter(|order| order["status"] == json!("closed")).count(), 0);
}
