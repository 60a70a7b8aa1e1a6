//! Live streams: of one order and of all, cut and resumed without a gap and without a repetition.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde_json::Value;
use tests::{Feed, Jumun, Shop, Told, until};

use crate::shared;

const ORDERS: usize = 50;
/// More at once would only time each other out on a busy machine.
const AT_ONCE: usize = 10;

/// Reads until `is_last`, cutting the connection after every `each` events.
async fn read(jumun: &Jumun, path: &str, each: usize, mut is_last: impl FnMut(&Told) -> bool) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    loop {
        let mut feed = Feed::open(jumun, path, told.last().map(|told| told.id.as_str())).await;
        for _ in 0..each {
            let next = feed.next().await.expect("the stream goes on");
            let last = is_last(&next);
            assert!(told.iter().all(|told| told.id != next.id), "told twice: {next:?}");
            told.push(next);
            if last {
                return told;
            }
        }
    }
}

#[tokio::test]
async fn an_orders_stream_goes_on_where_it_was_cut() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    let path = format!("/v1/orders/{id}/events");
    let read = read(shop.jumun, &path, 2, |told| told.name == "order_closed");
    let (told, _) = futures::join!(read, shop.jumun.drive(&id, "closed"));
    let events = shop.jumun.events(&id).await;
    let data: Vec<_> = told.iter().map(|told| told.data.clone()).collect();
    assert_eq!(data, events, "the same as what is listed, each once");
    for (told, event) in told.iter().zip(&events) {
        assert_eq!(
            (told.id.as_str(), told.name.as_str()),
            (&*event["number"].to_string(), event["type"].as_str().expect("a name"))
        );
    }
}

#[tokio::test]
async fn an_orders_stream_tells_what_happens_as_it_happens() {
    let shop = Shop::open_with(shared().await, "pizza").await;
    let id = shop.placed().await;
    shop.jumun.takes(&id, "start-production").await;
    let version = shop.jumun.order(&id).await["version"].to_string();
    let mut feed = Feed::open(shop.jumun, &format!("/v1/orders/{id}/events"), Some(&version)).await;
    let _ = shop.jumun.command(&id, "start-production").await.ok();
    assert_eq!(feed.next().await.expect("goes on").name, "production_started");
    assert_eq!(feed.next().await.expect("goes on").name, "delivery_requested");
    let _ = shop.jumun.ask(&id, "start-delivery").await;
    assert_eq!(feed.next().await.expect("goes on").name, "delivery_started");
}

/// All events by position, as they are listed, without it.
async fn listed(jumun: &Jumun) -> BTreeMap<u64, Value> {
    let mut events = BTreeMap::new();
    loop {
        let after = events.last_key_value().map_or(0, |(position, _)| *position);
        let page = jumun.get(&format!("/v1/events?after={after}&limit=100")).await.ok();
        let page = page["items"].as_array().expect("a list").clone();
        if page.is_empty() {
            return events;
        }
        for mut event in page {
            let position = event.as_object_mut().expect("an object").remove("position");
            events.insert(position.and_then(|position| position.as_u64()).expect("a position"), event);
        }
    }
}

#[tokio::test]
async fn the_stream_of_all_orders_has_no_gap_and_no_repetition() {
    let jumun = Jumun::ephemeral().await;
    let shop = Shop::open(&jumun).await;
    let mut closed = 0;
    let read = read(&jumun, "/v1/events", 20, |told| {
        closed += usize::from(told.name == "order_closed");
        closed == ORDERS
    });
    let orders = stream::iter(0..ORDERS).map(|_| async {
        let id = shop.placed().await;
        jumun.drive(&id, "closed").await;
        id
    });
    let orders = orders.buffer_unordered(AT_ONCE).collect::<Vec<_>>();
    let (told, ids) = futures::join!(read, orders);
    let positions: Vec<u64> = told.iter().map(|told| told.id.parse().expect("a position")).collect();
    let expected: Vec<u64> = (1..=u64::try_from(told.len()).expect("few")).collect();
    assert_eq!(positions, expected, "counted from 1 without gaps");
    assert_eq!(told.len(), ORDERS * 9);

    let listed = listed(&jumun).await;
    assert_eq!(listed.keys().copied().collect::<Vec<_>>(), expected);
    for told in &told {
        assert_eq!(told.data, listed[&told.id.parse().expect("a position")]);
    }
    // Each order's facts are in their order there.
    for id in &ids {
        let numbers: Vec<_> =
            told.iter().filter(|told| told.data["order_id"] == **id).map(|told| told.data["number"].as_u64()).collect();
        assert_eq!(numbers, (1..=9).map(Some).collect::<Vec<_>>());
    }
    let told_of: BTreeSet<_> = told.iter().filter_map(|told| told.data["order_id"].as_str()).collect();
    assert_eq!(told_of, ids.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn a_stream_does_not_keep_jumun_from_stopping() {
    let jumun = Jumun::ephemeral().await;
    let mut feed = Feed::open(&jumun, "/v1/events", None).await;
    let shop = Shop::open(&jumun).await;
    shop.placed().await;
    assert_eq!(feed.next().await.expect("goes on").name, "order_placed");
    let stopped = tokio::task::spawn_blocking(move || jumun.stop());
    while feed.next().await.is_some() {}
    assert_eq!(until("the stop", async || stopped.is_finished().then_some(())).await, ());
    assert_eq!(stopped.await.expect("no panic"), Some(0));
}
