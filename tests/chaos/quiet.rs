//! The quiet after the storm: everybody does what is still to be done, until every order has ended and the engine has
//! nothing left to do. Then everything is counted.

use std::collections::BTreeMap;

use futures::StreamExt;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::client::{Client, Request, is_final, patiently, text};
use crate::model::{Entry, Seen, judge};
use crate::shops::{ENOUGH, PLENTY, PRICE, SCARCE, Shop, effect};

const PAGE: usize = 200;
/// What the engine has still to do.
const OPEN: &str = "SELECT id, target, status, last_failure FROM sys_invocation WHERE status != 'completed' LIMIT 20";

/// What is wrong, and with what.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Violation {
    /// A key and an order, or a shop.
    pub of: String,
    pub what: String,
    /// The whole picture, where there is one.
    pub picture: Option<String>,
}

/// How often orders of each shop ended how.
pub type Ends = BTreeMap<&'static str, BTreeMap<String, usize>>;

/// Opens the shops; `scarce`: what each has of what runs out.
pub async fn open_shops(client: &Client<'_>, scarce: i64) {
    let jumun = client.system.jumun();
    for shop in Shop::ALL {
        let path = format!("/v1/merchants/{}", shop.merchant_id());
        let merchant = json!({ "name": shop.name(), "currency": "KRW", "lifecycle": shop.lifecycle() });
        let _ = jumun.put(&path, &merchant).await.ok();
        for (sku, on_hand) in [(PLENTY, ENOUGH), (SCARCE, scarce)] {
            let mut product = json!({ "name": sku, "unit_price": { "amount": PRICE, "currency": "KRW" } });
            if shop.counts_stock() {
                product["on_hand"] = json!(on_hand);
            }
            let _ = jumun.put(&format!("{path}/products/{sku}"), &product).await.ok();
        }
    }
}

/// Ends every order, waits until nothing is left to do, and tells everything that is wrong.
pub async fn check(
    client: &Client<'_>,
    requests: &[Request],
    scarce: i64,
    at_once: usize,
    bar: &ProgressBar,
) -> (Ends, Vec<Violation>) {
    let mut violations = Vec::new();
    bar.set_message("everybody does what is left to do");
    futures::stream::iter(requests).map(|request| end(client, request)).buffer_unordered(at_once).collect::<()>().await;
    let idle = patiently(async || client.system.engine_query(OPEN).await?.is_empty().then_some(()));
    if idle.await.is_none() {
        let open = client.system.engine_query(OPEN).await;
        violations.push(violation("the engine", format!("it never came to rest: {open:?}")));
    }

    let by_key: BTreeMap<_, _> = requests.iter().map(|request| (request.known().key, request)).collect();
    let mut ends = Ends::new();
    bar.set_message("everything is counted");
    let proof = client.read("/v1/ledger/proof").await.map(|answer| answer.body).unwrap_or_default();
    if proof["clean"] != true {
        let picture = Some(format!("{proof:#}"));
        violations.push(Violation { picture, ..violation("the ledger", "its proof is not clean") });
    }
    for shop in Shop::ALL {
        let orders = list(client, shop).await;
        let mut sold = BTreeMap::from([(PLENTY, 0), (SCARCE, 0)]);
        for order in &orders {
            *ends.entry(shop.name()).or_default().entry(text(order, "status")).or_default() += 1;
            if order["status"] == "closed" {
                let line = &order["lines"][0];
                let sku = if line["sku"] == SCARCE { SCARCE } else { PLENTY };
                *sold.get_mut(sku).expect("one of two") += line["quantity"].as_i64().unwrap_or_default();
            }
        }
        let checked = futures::stream::iter(&orders)
            .map(|order| check_order(client, &by_key, order))
            .buffer_unordered(at_once)
            .collect::<Vec<_>>();
        violations.extend(checked.await.into_iter().flatten());
        violations.extend(check_requests(shop, requests, &orders));
        if shop.counts_stock() {
            for (sku, had) in [(PLENTY, ENOUGH), (SCARCE, scarce)] {
                violations.extend(check_shelf(client, shop, sku, had, sold[sku]).await);
            }
        }
    }
    (ends, violations)
}

fn violation(of: impl Into<String>, what: impl Into<String>) -> Violation {
    Violation { of: of.into(), what: what.into(), picture: None }
}

/// Does for an order that stands whatever people are still asked for.
async fn end(client: &Client<'_>, request: &Request) {
    let known = request.known();
    let Some(id) = known.order_id() else { return };
    let facts = client.read(&format!("/v1/orders/{id}/events")).await.map(|answer| answer.body.to_string());
    let facts = facts.unwrap_or_default();
    for command in known.shop.commands().iter().filter(|command| !facts.contains(effect(command))) {
        if client.takes(request, id, command).await {
            client.command(request, id, command).await;
        }
    }
    let ended = patiently(async || {
        let order = client.order(request, id).await?;
        is_final(order["status"].as_str()?).then_some(())
    });
    if ended.await.is_none() {
        request.complain("it never ended".to_owned());
    }
}

/// All orders of a shop.
async fn list(client: &Client<'_>, shop: Shop) -> Vec<Value> {
    let mut orders = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/orders?merchant_id={}&limit={PAGE}{cursor}", shop.merchant_id());
        let page = client.read(&path).await.expect("orders can be listed when all is quiet").ok();
        orders.extend(page["items"].as_array().expect("a list").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return orders,
        }
    }
}

async fn check_order(client: &Client<'_>, by_key: &BTreeMap<String, &Request>, order: &Value) -> Vec<Violation> {
    let (id, key) = (text(order, "id"), text(order, "note"));
    let Some(request) = by_key.get(&key) else {
        return vec![violation(id, "nobody has placed it")];
    };
    let known = request.known();
    let seen = see(client, order, &id).await;
    let wrong = judge(&known, &seen);
    let picture = (!wrong.is_empty()).then(|| format!("{seen:#?}\n{known:#?}"));
    let of = format!("{key}, {id}");
    wrong.into_iter().map(|what| Violation { of: of.clone(), what, picture: picture.clone() }).collect()
}

/// What the order, its events and the providers' own records say.
async fn see(client: &Client<'_>, order: &Value, id: &str) -> Seen {
    let list = async |path: String| {
        let answer = client.read(&path).await.expect("everything can be read when all is quiet").ok();
        answer["items"].as_array().expect("a list").clone()
    };
    let (events, payments, deliveries, coupons, notifications) = futures::join!(
        list(format!("/v1/orders/{id}/events")),
        list(format!("/v1/payments?order_id={id}")),
        list(format!("/v1/deliveries?order_id={id}")),
        list(format!("/v1/coupons?order_id={id}")),
        list(format!("/v1/notifications?order_id={id}")),
    );
    let each = |items: &[Value], member: &str| items.iter().map(|item| text(item, member)).collect::<Vec<_>>();
    let entries = payments.iter().flat_map(|payment| payment["entries"].as_array().cloned().unwrap_or_default());
    let entry = |entry: Value| Entry {
        kind: text(&entry, "kind"),
        postings: entry["postings"].as_array().map_or_else(Vec::new, |postings| {
            let amount = |posting: &Value| posting["amount"]["amount"].as_i64().unwrap_or_default();
            postings.iter().map(|posting| (text(posting, "account"), amount(posting))).collect()
        }),
    };
    let rejected = events.iter().find(|event| event["type"] == "order_rejected");
    Seen {
        id: id.to_owned(),
        status: text(order, "status"),
        total: order["total"]["amount"].as_i64().unwrap_or_default(),
        rejection: rejected.map(|event| text(&event["data"]["rejection"], "kind")),
        events: events
            .iter()
            .map(|event| (event["number"].as_u64().unwrap_or_default(), text(event, "type")))
            .collect(),
        entries: entries.map(entry).collect(),
        deliveries: each(&deliveries, "state"),
        coupons: each(&coupons, "state"),
        notified: each(&notifications, "status"),
    }
}

/// What was acknowledged is there, and what was complained of meanwhile.
fn check_requests(shop: Shop, requests: &[Request], orders: &[Value]) -> Vec<Violation> {
    let ids: Vec<_> = orders.iter().map(|order| text(order, "id")).collect();
    let mut violations = Vec::new();
    for request in requests.iter().filter(|request| request.shop() == shop) {
        let known = request.known();
        let mut wrong = request.complaints();
        wrong.extend(known.judge_answers());
        if known.order_id().is_some_and(|id| !ids.iter().any(|other| other == id)) {
            wrong.push("it was acknowledged, and is not there".to_owned());
        }
        let picture = format!("{known:#?}");
        violations.extend(wrong.into_iter().map(|what| Violation {
            of: known.key.clone(),
            what,
            picture: Some(picture.clone()),
        }));
    }
    violations
}

/// What is there, what is held and what was sold make up what was there in the beginning.
async fn check_shelf(client: &Client<'_>, shop: Shop, sku: &str, had: i64, sold: i64) -> Option<Violation> {
    let path = format!("/v1/merchants/{}/products/{sku}", shop.merchant_id());
    let product = client.read(&path).await.expect("products can be read when all is quiet").ok();
    let (on_hand, reserved) = (product["on_hand"].as_i64(), product["reserved"].as_i64());
    let fits = on_hand == Some(had - sold) && reserved == Some(0);
    let what = format!("of {had} {sku} {sold} were sold, {on_hand:?} are left and {reserved:?} held");
    (!fits).then(|| violation(shop.name(), what))
}
