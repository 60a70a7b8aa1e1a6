use workflows::audit::Outcome;
use workflows::order::{Actor, Entry, Fact, Rejection};
use workflows::{Order, OrderId, Role, Step};

use super::super::tests::{book, placement};
use super::*;

fn actor(role: Role, subject: &str) -> Actor {
    Actor { role, subject: subject.to_owned() }
}

async fn place(book: &Orders, n: u128, merchant: &str, by: Option<&Actor>) -> Order {
    let id = OrderId::from_bits(n);
    let facts = [Fact::OrderPlaced(Box::new(placement(merchant)))];
    let entry =
        Entry { order_id: &id, step: Step::OrderPlace, before: None, by, facts: &facts, reach: None, since: &[] };
    Order::from_events(&book.record(entry).await.expect("records").events).expect("placed")
}

async fn record(book: &Orders, before: &Order, step: Step, by: Option<&Actor>, facts: &[Fact]) {
    let entry = Entry { order_id: &before.id, step, before: Some(before), by, facts, reach: None, since: &[] };
    book.record(entry).await.expect("records");
}

async fn entries(book: &Orders, query: TrailQuery) -> Vec<AuditEntry> {
    let limit = if query.limit == 0 { 100 } else { query.limit };
    book.entries(&TrailQuery { limit, ..query }).await.expect("lists")
}

#[tokio::test]
async fn what_was_asked_of_an_order_is_written_with_what_came_of_it() {
    let book = book().await;
    let (kim, shop) = (actor(Role::Customer, "kim"), actor(Role::Merchant, "owner"));
    let order = place(&book, 1, "a", Some(&kim)).await;
    // Again: its answer was lost.
    place(&book, 1, "a", Some(&kim)).await;
    record(&book, &order, Step::StockReserve, None, &[Fact::StockReserved]).await;
    let order = book.order(&order.id).await.expect("reads").expect("exists");
    let rejection = Rejection::ByMerchant { reason: Some("no chili".to_owned()) };
    record(&book, &order, Step::OrderReject, Some(&shop), &[Fact::OrderRejected { rejection }, Fact::OrderCancelled])
        .await;

    let entries = entries(&book, TrailQuery::default()).await;
    let told: Vec<_> =
        entries.iter().map(|entry| (entry.id.as_str(), entry.act.action.as_str(), &entry.act.by)).collect();
    let (placed, rejected) = (format!("{}/1", order.id), format!("{}/3", order.id));
    assert_eq!(told, [(rejected.as_str(), "order_rejected", &shop), (placed.as_str(), "order_placed", &kim)]);
    assert_eq!(entries[0].act.reason.as_deref(), Some("no chili"));
    assert_eq!((&entries[0].act.order_id, &entries[0].act.merchant_id), (&Some(order.id), &Some(order.merchant_id)));
    assert_eq!(entries[0].end.as_ref().map(|end| end.outcome), Some(Outcome::Done));
}

#[tokio::test]
async fn an_act_is_there_before_what_came_of_it() {
    let book = book().await;
    let mut act = Act::new(actor(Role::Operator, "ops"), "put_merchant");
    act.merchant_id = "a".parse().ok();
    act.details = Some(json!({ "filter": { "stuck": true } }));
    let id = book.begin(&act).await.expect("writes");
    let begun = entries(&book, TrailQuery::default()).await;
    assert_eq!(begun, [AuditEntry { id: id.clone(), at: begun[0].at, act: act.clone(), end: None }]);
    let end = End {
        outcome: Outcome::Refused,
        problem: Some("/problems/stock-reserved".to_owned()),
        counts: Some(json!({ "accepted": 1 })),
    };
    book.end(&id, &end).await.expect("writes");
    let ended = entries(&book, TrailQuery::default()).await;
    assert_eq!(ended, [AuditEntry { end: Some(end), ..begun[0].clone() }]);
}

#[tokio::test]
async fn the_trail_goes_from_new_to_old_and_pages_without_gaps() {
    let book = book().await;
    let (kim, ops) = (actor(Role::Customer, "kim"), actor(Role::Operator, "ops"));
    for n in 0..6 {
        place(&book, n, if n % 2 == 0 { "a" } else { "b" }, Some(if n < 4 { &kim } else { &ops })).await;
    }
    let mut act = Act::new(ops.clone(), "put_merchant");
    act.merchant_id = "a".parse().ok();
    book.begin(&act).await.expect("writes");
    let all = entries(&book, TrailQuery::default()).await;
    assert_eq!(all.len(), 7);
    assert!(all.is_sorted_by(|one, other| (one.at, &one.id) > (other.at, &other.id)));
    assert_eq!(all[0].act.action, "put_merchant");

    let mut paged = Vec::new();
    let mut query = TrailQuery { limit: 3, ..TrailQuery::default() };
    loop {
        let page = entries(&book, query.clone()).await;
        let Some(last) = page.last() else { break };
        query.beyond = Some((last.at, last.id.clone()));
        paged.extend(page);
    }
    assert_eq!(paged, all);

    let none = TrailQuery::default;
    let subject = |subject: &str| Some(subject.to_owned());
    let merchant_id = |id: &str| id.parse().ok();
    for (query, expected) in [
        (TrailQuery { subject: subject("kim"), ..none() }, vec![3, 4, 5, 6]),
        (TrailQuery { subject: subject("nobody"), ..none() }, vec![]),
        (TrailQuery { role: Some(Role::Operator), ..none() }, vec![0, 1, 2]),
        (TrailQuery { role: Some(Role::Courier), ..none() }, vec![]),
        (TrailQuery { merchant_id: merchant_id("a"), ..none() }, vec![0, 2, 4, 6]),
        (TrailQuery { merchant_id: merchant_id("a"), subject: subject("ops"), ..none() }, vec![0, 2]),
        (TrailQuery { action: Some("put_merchant".to_owned()), ..none() }, vec![0]),
        (TrailQuery { order_id: Some(OrderId::from_bits(4)), ..none() }, vec![2]),
        (TrailQuery { after: Some(all[2].at), ..none() }, vec![0, 1]),
        (TrailQuery { before: Some(all[2].at), merchant_id: merchant_id("b"), ..none() }, vec![3, 5]),
        (TrailQuery { before: Some(all[2].at), after: Some(all[5].at), ..none() }, vec![3, 4]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|n: usize| all[n].clone()).collect();
        assert_eq!(entries(&book, query.clone()).await, expected, "{query:?}");
    }
}
