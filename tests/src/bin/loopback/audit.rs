//! What became of the orders, once the load is over: every order that was acknowledged goes all the way, and everything that
//! it is to bring about has happened once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::iter;
use reqwest::Method;
use serde_json::Value;
use tests::{Apart, Shop};
use tokio::time::sleep;
use workflows::Role;

use crate::load::{Caller, Placed};

/// What the shop has in the beginning.
pub const ON_HAND: i64 = 1_000_000;
/// How many orders are looked after at a time.
const AT_ONCE: usize = 8;
/// How long orders may take that were placed under load.
const PILE_GONE_WITHIN: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(500);

/// What became of the orders.
#[derive(Debug)]
pub struct Audit {
    /// What is wrong with orders that were acknowledged: a line for each.
    pub lost: Vec<String>,
    /// Orders of the shop that nobody was told of: their placements had failed.
    pub untold: usize,
    /// How long after the load's end the last order was with the courier.
    pub settled: Duration,
}

/// Waits until an order is with the courier, and has it brought; it may be brought already. Whether it was, and not rejected.
pub async fn bring(operator: &Caller, courier: &Caller, id: &str) -> Result<bool, String> {
    if reaches(operator, id, &["in_delivery", "closed", "rejected"]).await? == "rejected" {
        return Ok(false);
    }
    courier.certain(Method::POST, &format!("/v1/orders/{id}/complete-delivery")).await?;
    // A slow system answers before the order is closed.
    reaches(operator, id, &["closed"]).await.map(|_| true)
}

/// Waits until an order has one of these statuses: which.
async fn reaches(operator: &Caller, id: &str, statuses: &[&'static str]) -> Result<&'static str, String> {
    let began = Instant::now();
    loop {
        let order = operator.certain(Method::GET, &format!("/v1/orders/{id}")).await?;
        if let Some(status) = statuses.iter().find(|status| order["status"] == **status) {
            return Ok(status);
        }
        if began.elapsed() > PILE_GONE_WITHIN {
            return Err(format!("it does not get on: {order}"));
        }
        sleep(PAUSE).await;
    }
}

/// Ends every order, and counts.
pub async fn audit(system: &Apart, shop: &Shop<'_>, acknowledged: &[Placed]) -> Audit {
    let began = Instant::now();
    let operator = Caller::new(system, Role::Operator, "auditor");
    let courier = Caller::new(system, Role::Courier, "courier");
    let mut lost = Vec::new();
    let mut all = BTreeSet::new();
    let settled = all_on_their_way(&operator, shop).await;
    if let Err(why) = &settled {
        lost.push(why.clone());
    }
    let settled_after = began.elapsed();
    match listed(&operator, shop).await {
        Ok(ids) => all.extend(ids),
        Err(why) => lost.push(why),
    }
    let told: BTreeSet<_> = acknowledged.iter().map(|placed| placed.id.clone()).collect();
    let stand: BTreeSet<_> = acknowledged.iter().filter(|placed| placed.stands).map(|placed| &placed.id).collect();
    lost.extend(told.difference(&all).map(|id| format!("{id} is not listed")));
    let untold: BTreeSet<_> = all.difference(&told).cloned().collect();
    // Those that nobody was told of go their way like all others.
    let (operator, courier) = (&operator, &courier);
    let checked = iter(told.union(&untold)).map(async |id| match closed_once(operator, courier, id).await {
        Ok(false) if stand.contains(id) => Err(format!("{id}: it stood, and was rejected")),
        checked => checked.map_err(|why| format!("{id}: {why}")),
    });
    let checked: Vec<_> = checked.buffer_unordered(AT_ONCE).collect().await;
    let sold = checked.iter().filter(|checked| matches!(checked, Ok(true))).count();
    lost.extend(checked.into_iter().filter_map(Result::err));
    let shelf = shelf(operator, shop).await;
    let left = ON_HAND - i64::try_from(sold).expect("few");
    if shelf != Ok((left, 0)) {
        lost.push(format!("on hand and reserved are {shelf:?} instead of {left} and 0"));
    }
    match operator.certain(Method::GET, "/v1/ledger/proof").await {
        Ok(proof) if proof["clean"] == true => {}
        proof => lost.push(format!("the money does not add up: {proof:?}")),
    }
    Audit { lost, untold: untold.len(), settled: settled_after }
}

/// Waits until every order is with the courier, brought, or rejected.
async fn all_on_their_way(operator: &Caller, shop: &Shop<'_>) -> Result<(), String> {
    let path = format!("/v1/dashboard?merchant_id={}", shop.merchant_id);
    let began = Instant::now();
    loop {
        let dashboard = operator.certain(Method::GET, &path).await?;
        let arrived = |tally: &Value| matches!(tally["status"].as_str(), Some("in_delivery" | "closed" | "rejected"));
        if dashboard["statuses"].as_array().is_some_and(|statuses| statuses.iter().all(arrived)) {
            return Ok(());
        }
        if began.elapsed() > PILE_GONE_WITHIN {
            return Err(format!("orders do not arrive: {}", dashboard["statuses"]));
        }
        sleep(PAUSE).await;
    }
}

async fn listed(operator: &Caller, shop: &Shop<'_>) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/orders?merchant_id={}&limit=200{cursor}", shop.merchant_id);
        let page = operator.certain(Method::GET, &path).await?;
        let items = page["items"].as_array().into_iter().flatten();
        ids.extend(items.filter_map(|order| order["id"].as_str().map(str::to_owned)));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(ids),
        }
    }
}

/// Whether it was closed, and not rejected; everything that became true of it did so once, in its books and in those of payment.
async fn closed_once(operator: &Caller, courier: &Caller, id: &str) -> Result<bool, String> {
    let path = format!("/v1/orders/{id}");
    let rejected = !bring(operator, courier, id).await?;
    let events = operator.certain(Method::GET, &format!("{path}/events")).await?;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
    let gapless = events.iter().zip(1_u64..).all(|(event, number)| event["number"] == number);
    if !gapless || names.iter().collect::<BTreeSet<_>>().len() != names.len() {
        return Err(format!("not each fact once: {names:?}"));
    }
    let payments = operator.certain(Method::GET, &format!("/v1/payments?order_id={id}")).await?;
    let entries =
        payments["items"].as_array().into_iter().flatten().filter_map(|payment| payment["entries"].as_array());
    let entries = entries.flatten().count();
    let deliveries = operator.certain(Method::GET, &format!("/v1/deliveries?order_id={id}")).await?;
    let deliveries = deliveries["items"].as_array().map_or(0, Vec::len);
    match (rejected, entries, deliveries) {
        (false, 1, 1) => Ok(true),
        // Charged and given back, or not at all.
        (true, 0 | 2, 0) => Ok(false),
        _ => Err(format!("rejected: {rejected}, with {entries} entries in the ledger and {deliveries} deliveries")),
    }
}

/// On hand and reserved.
async fn shelf(operator: &Caller, shop: &Shop<'_>) -> Result<(i64, i64), String> {
    let path = format!("/v1/merchants/{}/products/chili", shop.merchant_id);
    let product = operator.certain(Method::GET, &path).await?;
    let number = |name: &str| product[name].as_i64().ok_or_else(|| format!("no {name} in {product}"));
    Ok((number("on_hand")?, number("reserved")?))
}
