use super::*;
use crate::Store;
use workflows::order::{Customer, Fact, Line, Placement};
use workflows::{Currency, Lifecycle, Money, PaymentMethod, Status, Step};

async fn book() -> Orders {
    let store = Store::open("mem://").await.expect("opens");
    Orders::open(store.database("orders").await.expect("opens")).await.expect("defines")
}

fn placement(merchant: &str) -> Placement {
    let price = Money::new(9_000, Currency::KRW);
    Placement {
        merchant_id: merchant.parse().expect("valid"),
        customer: Customer { name: "Kim".to_owned(), phone: "010".to_owned(), address: "Seoul".to_owned() },
        customer_id: None,
        lines: vec![Line {
            sku: "chili".parse().expect("valid"),
            name: "Chili".to_owned(),
            unit_price: price,
            quantity: 1,
            line_total: price,
        }],
        total: price,
        payment_method: PaymentMethod::Card,
        note: None,
        lifecycle: Lifecycle::preset("sauce-shop").expect("exists").clone(),
        request_digest: "digest".to_owned(),
    }
}

async fn place(book: &Orders, n: u128, merchant: &str) -> Order {
    let id = OrderId::from_bits(n);
    let facts = [Fact::OrderPlaced(Box::new(placement(merchant)))];
    let entry = Entry { order_id: &id, step: Step::OrderPlace, before: None, facts: &facts };
    let recorded = book.record(entry).await.expect("records");
    Order::from_events(&recorded.events).expect("placed")
}

async fn record(book: &Orders, before: &Order, step: Step, facts: &[Fact]) -> Vec<Event> {
    let entry = Entry { order_id: &before.id, step, before: Some(before), facts };
    book.record(entry).await.expect("records").events
}

#[tokio::test]
async fn a_step_is_recorded_once() {
    let book = book().await;
    let order = place(&book, 1, "a").await;
    assert_eq!(place(&book, 1, "a").await, order);
    let first = record(&book, &order, Step::StockReserve, &[Fact::StockReserved]).await;
    let again = record(&book, &order, Step::StockReserve, &[Fact::StockReserved]).await;
    assert_eq!(first, again);
    assert_eq!(book.events(&order.id, 0, 10).await.expect("reads").len(), 2);
}

#[tokio::test]
async fn events_that_were_not_heard_come_first() {
    let book = book().await;
    let order = place(&book, 1, "a").await;
    record(&book, &order, Step::StockReserve, &[Fact::StockReserved]).await;
    // The workflow was interrupted and does not know of the reservation.
    let heard = record(&book, &order, Step::OrderReject, &[Fact::OrderPaid, Fact::OrderClosed]).await;
    let numbers: Vec<_> = heard.iter().map(|event| (event.number, event.step)).collect();
    assert_eq!(numbers, [(2, Step::StockReserve), (3, Step::OrderReject), (4, Step::OrderReject)]);
    let stored = book.order(&order.id).await.expect("reads").expect("exists");
    assert_eq!(stored.version, 4);
    assert_eq!(Order::from_events(&book.events(&order.id, 0, 10).await.expect("reads")), Some(stored));
}

#[tokio::test]
async fn listings_go_from_new_to_old_and_page_without_gaps() {
    let book = book().await;
    for n in 0..7 {
        let order = place(&book, n, if n % 2 == 0 { "a" } else { "b" }).await;
        if n < 3 {
            record(&book, &order, Step::PaymentCharge, &[Fact::OrderPaid]).await;
        }
    }
    let all = book.orders(&OrderFilter { limit: 10, ..OrderFilter::default() }).await.expect("lists");
    assert_eq!(
        all.iter().map(|order| order.id.clone()).collect::<Vec<_>>(),
        (0..7).rev().map(OrderId::from_bits).collect::<Vec<_>>()
    );

    let mut paged = Vec::new();
    let mut filter = OrderFilter { limit: 3, ..OrderFilter::default() };
    loop {
        let page = book.orders(&filter).await.expect("lists");
        let Some(last) = page.last() else { break };
        filter.beyond = Some((last.placed_at, last.id.clone()));
        paged.extend(page);
    }
    assert_eq!(paged, all);

    let count =
        async |filter: OrderFilter| book.orders(&OrderFilter { limit: 10, ..filter }).await.expect("lists").len();
    assert_eq!(count(OrderFilter { status: Some(Status::Paid), ..OrderFilter::default() }).await, 3);
    assert_eq!(
        count(OrderFilter { merchant_id: Some("b".parse().expect("valid")), ..OrderFilter::default() }).await,
        3
    );
    let middle = all[3].placed_at;
    assert_eq!(count(OrderFilter { placed_after: Some(middle), ..OrderFilter::default() }).await, 3);
    assert_eq!(count(OrderFilter { placed_before: Some(middle), ..OrderFilter::default() }).await, 3);
    let far = |year: &str| Some(format!("{year}-01-01T00:00:00Z").parse().expect("a time"));
    for year in ["2287", "2500", "9999"] {
        assert_eq!(count(OrderFilter { placed_before: far(year), ..OrderFilter::default() }).await, 7, "{year}");
        assert_eq!(count(OrderFilter { placed_after: far(year), ..OrderFilter::default() }).await, 0, "{year}");
    }
    assert_eq!(count(OrderFilter { placed_after: far("1900"), ..OrderFilter::default() }).await, 7);
    assert_eq!(count(OrderFilter { customer_id: Some("nobody".to_owned()), ..OrderFilter::default() }).await, 0);
}
