use workflows::order::{Fact, OrderBook};
use workflows::{OrderId, Step};

use super::super::tests::{book, place, record};
use super::*;

/// Three orders, of which two have gone on.
async fn kept() -> super::super::Orders {
    let book = book().await;
    for n in 1..=3 {
        let order = place(&book, n, if n == 3 { "b" } else { "a" }).await;
        let id = order.payment.id.clone();
        if n > 1 {
            record(&book, &order, Step::PaymentCharge, &[Fact::PaymentApproved { payment_id: id }, Fact::OrderPaid])
                .await;
        }
    }
    book
}

#[tokio::test]
async fn a_book_in_order_has_no_fault() {
    let book = kept().await;
    let sound = Examination { orders: 3, events: 7, ..Examination::default() };
    assert_eq!(examine(&book.database).await.expect("examines"), sound);
    // An order in trouble is not out of order.
    book.note_failure(&OrderId::from_bits(1), Step::StockReserve, "planned").await.expect("notes");
    assert_eq!(examine(&book.database).await.expect("examines"), sound);
    let empty = super::super::tests::book().await;
    assert_eq!(examine(&empty.database).await.expect("examines"), Examination::default());
}

#[tokio::test]
async fn more_than_a_page_is_gone_through() {
    let book = book().await;
    for n in 0..u128::from(PAGE) + 3 {
        place(&book, n, "a").await;
    }
    let found = examine(&book.database).await.expect("examines");
    assert_eq!((found.orders, found.events, found.wrong), (u64::from(PAGE) + 3, u64::from(PAGE) + 3, 0), "{found:?}");
}

#[tokio::test]
async fn every_corruption_is_found_with_its_order() {
    let (first, second) = (OrderId::from_bits(1), OrderId::from_bits(2));
    let corruptions = [
        (
            "UPDATE type::record('orders', $id) SET doc = object::extend(encoding::json::decode(doc), { status: 'closed' })",
            Some(&second),
            "the view's status is \"closed\"",
        ),
        (
            "UPDATE type::record('orders', $id) SET doc = object::extend(encoding::json::decode(doc), { total: { currency: 'KRW', amount: 1 } })",
            Some(&second),
            "the view's total",
        ),
        ("UPDATE type::record('orders', $id) SET doc = NONE", Some(&second), "the view's"),
        ("UPDATE type::record('orders', $id) SET status = 'closed'", Some(&second), "the column status"),
        ("UPDATE type::record('orders', $id) SET moving_since = NONE", Some(&second), "the column moving_since"),
        ("DELETE type::record('orders', $id)", Some(&second), "there is no such order"),
        ("DELETE type::record('events', [$id, 1])", Some(&second), "its event 1 is missing"),
        ("DELETE type::record('events', [$id, 3])", Some(&second), "the view's status"),
        (
            "UPDATE type::record('events', [$id, 3]) SET doc = encoding::json::encode([encoding::json::decode(doc)[1]])",
            Some(&second),
            "its event 2 is missing",
        ),
        (
            "UPDATE type::record('events', [$id, 3])
                SET doc = encoding::json::encode([encoding::json::decode(doc)[0], encoding::json::decode(doc)[0]])",
            Some(&second),
            "its event 3 is that of another place",
        ),
        (
            "UPDATE type::record('events', [$id, 3]) SET doc = encoding::json::encode([])",
            Some(&second),
            "its event 3 is that of another place",
        ),
        (
            "UPDATE type::record('events', [$id, 1])
                SET doc = object::extend(encoding::json::decode(doc)[0], { order_id: $first })",
            Some(&second),
            "its event 1 is that of another place",
        ),
        (
            "UPDATE type::record('events', [$id, 3])
                SET doc = encoding::json::encode([object::extend(encoding::json::decode(doc)[0], { fact: 1 })])",
            Some(&second),
            "its event 3 cannot be read",
        ),
        (
            "UPDATE type::record('events', [$id, 1]) SET doc = object::extend(encoding::json::decode(doc)[0], { at: $at })",
            Some(&second),
            "the view's",
        ),
        ("DELETE type::record('feed', [4])", None, "the feed goes from position 2 to 5 with 1 events"),
        ("DELETE feed; UPDATE counters:feed SET last = 0", None, "of 7 events"),
        ("UPDATE counters:feed SET last = 70", None, "its counter at 70"),
        ("DELETE type::record('events', [$first, 1])", Some(&first), "in the feed, and does not exist"),
        ("UPDATE tallies SET statuses.paid.orders += 1", None, "a KRW: orders of statuses.paid is 2"),
        ("UPDATE takings SET revenue += 1", None, "revenue in the hour of"),
        ("DELETE takings", None, "placed in the hour of"),
    ];
    for (corruption, order_id, what) in corruptions {
        let book = kept().await;
        book.database
            .run(corruption, &json!({ "id": second, "first": first, "at": "2020-01-01T00:00:00Z" }))
            .await
            .expect("corrupts");
        let found = examine(&book.database).await.expect("examines");
        let is_it =
            |fault: &Fault| fault.order_id.as_deref() == order_id.map(OrderId::as_str) && fault.what.contains(what);
        assert!(found.faults.iter().any(is_it), "{corruption}: {found:#?}");
        assert_eq!(found.wrong, found.faults.len() as u64);
    }
}
