use chrono::Utc;
use workflows::order::{Dashboard, DashboardQuery, Fact, OrderBook, Rejection};
use workflows::{OrderId, Role, Step};

use super::super::Orders;
use super::super::tally::without_zeros;
use super::super::tests::{at_its_gate, place, reach, record};
use super::*;

/// A store with orders of two shops at several statuses, one of them in trouble.
async fn lively() -> (Store, Orders) {
    let store = Store::open("mem://").await.expect("opens");
    let book = Orders::open(store.database("orders").await.expect("opens")).await.expect("defines");
    for n in 1..=9u128 {
        let order = place(&book, n, if n % 2 == 0 { "a" } else { "b" }).await;
        let approved = Fact::PaymentApproved { payment_id: order.id.payment() };
        let facts = match n % 3 {
            0 => vec![Fact::OrderRejected { rejection: Rejection::NotAccepted }],
            1 => vec![approved, Fact::OrderPaid],
            _ => continue,
        };
        let _ = record(&book, &order, Step::PaymentCharge, &facts).await;
    }
    book.note_failure(&OrderId::from_bits(4), Step::StockCommit, "stock is away").await.expect("notes");
    (store, book)
}

async fn dashboard(book: &Orders) -> Dashboard {
    let query = DashboardQuery {
        merchant_id: None,
        since: Utc::now() - chrono::TimeDelta::hours(2),
        stuck_since_before: Utc::now() + chrono::TimeDelta::hours(1),
    };
    book.dashboard(&query).await.expect("reads")
}

/// All that can be rebuilt, without what counts nothing.
async fn rows(store: &Store) -> Vec<Value> {
    let statements = "
        SELECT *, record::id(id) AS id FROM orders;
        SELECT *, record::id(id) AS id FROM tallies;
        SELECT *, record::id(id) AS id FROM takings;
    ";
    let database = store.database("orders").await.expect("opens");
    let mut answers = database.run(statements, &Value::Null).await.expect("reads");
    let rows = (0..3).flat_map(|statement| answers.read::<Vec<Value>>(statement).expect("rows"));
    rows.map(|row| without_zeros(&row)).collect()
}

async fn damage(store: &Store, statements: &str) {
    let database = store.database("orders").await.expect("opens");
    database.run(statements, &json!({ "four": OrderId::from_bits(4) })).await.expect("writes");
}

#[tokio::test]
async fn what_was_never_damaged_is_the_same() {
    let (store, _book) = lively().await;
    let before = rows(&store).await;
    let rebuilt = rebuild(&store, Difference::Replace).await.expect("rebuilds");
    assert!(rebuilt.is_same(), "{rebuilt:#?}");
    assert_eq!((rebuilt.orders, rebuilt.events), (9, 18));
    assert_eq!(rows(&store).await, before);
}

#[tokio::test]
async fn an_empty_store_is_nothing_to_rebuild() {
    let store = Store::open("mem://").await.expect("opens");
    let rebuilt = rebuild(&store, Difference::Replace).await.expect("rebuilds");
    assert_eq!(rebuilt, Rebuilt::default());
}

#[tokio::test]
async fn rows_and_tallies_become_what_the_events_tell() {
    let (store, book) = lively().await;
    let (before, shown) = (rows(&store).await, dashboard(&book).await);
    let stray = OrderId::from_bits(77);
    damage(
        &store,
        &format!(
            "UPDATE type::record('orders', $four) SET status = 'closed', place = 'x', doc = object::extend(encoding::json::decode(doc), {{ status: 'closed' }});
             UPDATE orders SET doc = 'gone' WHERE status = 'rejected';
             DELETE orders WHERE status = 'placed';
             CREATE orders:{stray} CONTENT {{ status: 'placed', place: 'y', doc: {{}} }};
             CREATE orders:`~ last` CONTENT {{ place: 'z' }};
             CREATE orders:`! first` CONTENT {{ place: 'z' }};
             UPDATE tallies SET statuses.paid.orders += 1;
             CREATE tallies:['nobody', 'KRW'] CONTENT {{ currency: 'KRW', statuses: {{ paid: {{ orders: 1, value: 1 }} }} }};
             DELETE takings WHERE merchant_id = 'a';
             UPDATE takings SET revenue = 'much';"
        ),
    )
    .await;

    let reported = rebuild(&store, Difference::Report).await.expect("compares");
    assert_eq!((reported.different, reported.missing, reported.strays), (4, 3, 3), "{reported:#?}");
    assert_eq!((reported.tallies, reported.takings), (3, 2), "{reported:#?}");
    assert_eq!(reported.examples.len(), 10);
    assert_eq!(rebuild(&store, Difference::Report).await.expect("compares"), reported, "nothing was touched");

    assert_eq!(rebuild(&store, Difference::Replace).await.expect("rebuilds"), reported);
    assert_eq!(rows(&store).await, before);
    assert_eq!(dashboard(&book).await, shown);
    assert!(rebuild(&store, Difference::Replace).await.expect("compares").is_same());
}

#[tokio::test]
async fn trouble_stays_as_long_as_it_is_of_the_order_as_it_is() {
    let (store, book) = lively().await;
    let four = OrderId::from_bits(4);
    let trouble = book.trouble(&four).await.expect("reads").expect("is in trouble");
    damage(&store, "UPDATE type::record('orders', $four) SET status = 'closed', still_since = NONE").await;
    assert_eq!(rebuild(&store, Difference::Replace).await.expect("rebuilds").different, 1);
    assert_eq!(book.trouble(&four).await.expect("reads"), Some(trouble));
    damage(
        &store,
        "UPDATE type::record('orders', $four) SET doc = object::extend(encoding::json::decode(doc), { version: 1 })",
    )
    .await;
    assert_eq!(rebuild(&store, Difference::Replace).await.expect("rebuilds").different, 1);
    assert_eq!(book.trouble(&four).await.expect("reads"), None);
}

#[tokio::test]
async fn an_order_is_reached_as_it_was() {
    let store = Store::open("mem://").await.expect("opens");
    let book = Orders::open(store.database("orders").await.expect("opens")).await.expect("defines");
    let id = at_its_gate(&book, 4).await.id;
    let known = reach(&book, &id).await;
    damage(&store, "DELETE type::record('orders', $four)").await;
    assert_eq!(rebuild(&store, Difference::Replace).await.expect("rebuilds").missing, 1);
    assert_eq!(reach(&book, &id).await, known);
    damage(&store, "UPDATE type::record('orders', $four) SET awakeable = NONE, run = NONE").await;
    assert_eq!(rebuild(&store, Difference::Replace).await.expect("rebuilds").different, 1);
    assert_eq!(reach(&book, &id).await, known);

    // What its run has told since is known better than by its events.
    let version = book.order(&id).await.expect("reads").expect("is there").version;
    book.note_awakeable(&id, version, "another").await.expect("notes");
    assert!(rebuild(&store, Difference::Replace).await.expect("compares").is_same());
    damage(&store, "UPDATE type::record('orders', $four) SET status = 'closed'").await;
    assert_eq!(rebuild(&store, Difference::Replace).await.expect("rebuilds").different, 1);
    assert_eq!(reach(&book, &id).await, Reach { awakeable: Some("another".to_owned()), ..known });
}

#[tokio::test]
async fn an_order_whose_events_have_a_gap_is_named_and_left_alone() {
    let (store, _book) = lively().await;
    damage(&store, "DELETE type::record('events', [$four, 1]); UPDATE tallies SET currency = 'EUR'").await;
    let before = rows(&store).await;
    let rebuilt = rebuild(&store, Difference::Replace).await.expect("rebuilds");
    assert_eq!(rebuilt.unreadable, [OrderId::from_bits(4).to_string()]);
    assert_eq!((rebuilt.tallies, rebuilt.takings), (0, 0));
    assert_eq!(rows(&store).await, before);
}

#[tokio::test]
async fn orders_that_lie_across_pages_are_whole() {
    let store = Store::open("mem://").await.expect("opens");
    let book = Orders::open(store.database("orders").await.expect("opens")).await.expect("defines");
    let order = place(&book, 5, "a").await;
    let cancelled = Fact::CancellationRequested { by: Some(Role::Customer), reason: None };
    let mut known = order;
    for _ in 0..PAGE + PAGE / 2 {
        let events = record(&book, &known, Step::OrderCancel, std::slice::from_ref(&cancelled)).await;
        known = known.after_all(&events);
    }
    for n in [4, 6] {
        place(&book, n, "a").await;
    }
    let rebuilt = rebuild(&store, Difference::Report).await.expect("compares");
    assert!(rebuilt.is_same(), "{rebuilt:#?}");
    assert_eq!((rebuilt.orders, rebuilt.events), (3, (PAGE + PAGE / 2 + 3) as u64));
}

#[test]
fn an_id_is_quoted_whatever_it_is() {
    let id = OrderId::from_bits(7);
    assert_eq!(quoted(id.as_str()), format!("`{id}`"));
    assert_eq!(quoted("a`b\\"), "`a\\`b\\\\`");
}
