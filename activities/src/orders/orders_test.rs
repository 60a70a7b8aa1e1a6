use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DurationRound, TimeDelta};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use workflows::order::{Customer, Fact, Gate, Line, Placement, Standing, Stuck, StuckAt, Takings, Tally};
use workflows::{Currency, Lifecycle, Money, PaymentMethod, PaymentState, Status};

use super::*;
use crate::Store;

pub(super) async fn book() -> Orders {
    let store = Store::open("mem://").await.expect("opens");
    Orders::open(store.database("orders").await.expect("opens")).await.expect("defines")
}

pub(super) fn placement(merchant: &str) -> Placement {
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

fn placing<'a>(order_id: &'a OrderId, facts: &'a [Fact]) -> Entry<'a> {
    Entry { order_id, step: Step::OrderPlace, before: None, by: None, facts, reach: None, since: &[] }
}

pub(super) async fn place(book: &Orders, n: u128, merchant: &str) -> Order {
    let id = OrderId::from_bits(n);
    let facts = [Fact::OrderPlaced(Box::new(placement(merchant)))];
    let recorded = book.record(placing(&id, &facts)).await.expect("records");
    Order::from_events(&recorded.events).expect("placed")
}

pub(super) async fn record(book: &Orders, before: &Order, step: Step, facts: &[Fact]) -> Vec<Event> {
    let entry = Entry { order_id: &before.id, step, before: Some(before), by: None, facts, reach: None, since: &[] };
    book.record(entry).await.expect("records").events
}

/// An order that waits for its courier, and is reached by `way` and `run`.
pub(super) async fn at_its_gate(book: &Orders, n: u128) -> Order {
    let id = OrderId::from_bits(n);
    let reach = Reach { awakeable: Some("way".to_owned()), run: Some("run".to_owned()) };
    let placed = [Fact::OrderPlaced(Box::new(placement("a")))];
    let heard = book.record(Entry { reach: Some(&reach), ..placing(&id, &placed) }).await.expect("records").events;
    let order = Order::from_events(&heard).expect("placed");
    let facts = [
        Fact::PaymentApproved { payment_id: id.payment() },
        Fact::OrderPaid,
        Fact::DeliveryRequested { delivery_id: id.delivery() },
        Fact::DeliveryStarted,
    ];
    let entry = Entry { before: Some(&order), step: Step::DeliveryStart, reach: Some(&reach), ..placing(&id, &facts) };
    let order = order.clone().after_all(&book.record(entry).await.expect("records").events);
    assert_eq!(order.gate, Some(Gate::Handover));
    order
}

pub(super) async fn reach(book: &Orders, id: &OrderId) -> Reach {
    book.order_with_reach(id).await.expect("reads").expect("is there").1
}

#[tokio::test]
async fn an_order_is_reached_by_its_latest_awakeable_as_long_as_it_waits() {
    let book = book().await;
    let order = at_its_gate(&book, 1).await;
    let way = |awakeable: Option<&str>| Reach { awakeable: awakeable.map(str::to_owned), run: Some("run".to_owned()) };
    assert_eq!(reach(&book, &order.id).await, way(Some("way")));
    for (version, awakeable) in [(order.version, "another"), (order.version - 1, "too late"), (order.version + 1, "no")]
    {
        book.note_awakeable(&order.id, version, awakeable).await.expect("notes, or not");
        assert_eq!(reach(&book, &order.id).await, way(Some("another")));
    }
    assert_eq!(book.order(&order.id).await.expect("reads"), Some(order.clone()));

    let facts = [Fact::DeliveryCompleted];
    let (step, next) = (Step::DeliveryComplete, way(Some("the next")));
    let entry = Entry { before: Some(&order), step, reach: Some(&next), ..placing(&order.id, &facts) };
    book.record(entry).await.expect("records");
    assert_eq!(reach(&book, &order.id).await, way(None));

    let nobody = OrderId::from_bits(2);
    book.note_awakeable(&nobody, 1, "way").await.expect("nothing");
    assert_eq!(book.order_with_reach(&nobody).await.expect("reads"), None);
}

#[tokio::test]
async fn what_has_become_true_before_is_recorded_along_once_whoever_comes_first() {
    let book = book().await;
    for n in 0..6_u8 {
        let placed = place(&book, n.into(), "a").await;
        let reserved = [Fact::StockReserved];
        let entry = |step, since, facts| Entry {
            order_id: &placed.id,
            step,
            before: Some(&placed),
            since,
            by: None,
            facts,
            reach: None,
        };
        let since = entry(Step::StockReserve, &[], &reserved).events(1, book.now());
        let paid = [Fact::PaymentApproved { payment_id: placed.id.payment() }, Fact::OrderPaid];
        let charge = entry(Step::PaymentCharge, &since, &paid);
        let alone = entry(Step::PaymentCharge, &since, &[]);
        // An attempt took its time, or failed; one before that was not heard; one that was left for dead comes at last.
        if n % 2 == 1 {
            assert_eq!(book.record(alone.clone()).await.expect("records").events, Vec::new());
            assert_eq!(book.order(&placed.id).await.expect("reads"), Some(placed.clone().after_all(&since)));
        }
        let own = book.record(charge.clone()).await.expect("records").events;
        assert_eq!(
            own.iter().map(|event| (event.number, event.step)).collect::<Vec<_>>(),
            [(3, Step::PaymentCharge), (4, Step::PaymentCharge)]
        );
        if n / 2 == 1 {
            book.note_failure(&placed.id, Step::StockCommit, "no answer").await.expect("notes");
            assert_eq!(book.record(alone).await.expect("records").events, own);
            assert!(book.trouble(&placed.id).await.expect("reads").is_some(), "another step still fails");
        }
        if n / 2 == 2 {
            assert_eq!(book.record(charge).await.expect("records").events, own);
        }
        let after = placed.clone().after_all(&since).after_all(&own);
        assert_eq!(book.order(&placed.id).await.expect("reads"), Some(after.clone()));
        let told = book.events(&placed.id, 1, 10).await.expect("reads");
        assert_eq!(told, [since.clone(), own].concat());

        // What comes without knowing that anything was recorded comes after it.
        let cancel = [Fact::CancellationRequested { by: None, reason: None }];
        let late = entry(Step::OrderRequestCancellation, &since, &cancel);
        let heard = book.record(late).await.expect("records").events;
        assert_eq!(heard.iter().map(|event| event.number).collect::<Vec<_>>(), [3, 4, 5]);
    }
}

#[tokio::test]
async fn nothing_comes_behind_the_back_of_whoever_gave_it_up_and_let_it_settle() {
    let book = Arc::new(book().await);
    let mut came = 0;
    for n in 0..20 {
        let order = place(&book, n, "a").await;
        let facts = [Fact::StockReserved];
        let entry = Entry {
            order_id: &order.id,
            step: Step::StockReserve,
            before: Some(&order),
            by: None,
            facts: &facts,
            reach: None,
            since: &[],
        };
        // Together they take longer to write than one order takes to read, and it comes among them.
        let mut others = JoinSet::new();
        let mut place_others = |from: u128| {
            for other in from..from + 30 {
                let book = book.clone();
                others.spawn(async move { place(&book, 1_000 * (n + 1) + other, "a").await });
            }
        };
        place_others(0);
        tokio::task::yield_now().await;
        let mut recording = Box::pin(futures::FutureExt::fuse(book.record(entry)));
        let _ = futures::poll!(recording.as_mut());
        place_others(30);
        while others.len() > 59 - usize::try_from(n).expect("is small") {
            tokio::select! {
                _ = others.join_next() => {}
                _ = recording.as_mut() => {}
            }
        }
        drop(recording);
        book.settled().await;
        let events = async || book.events(&order.id, 0, 10).await.expect("reads").len();
        let settled = events().await;
        others.join_all().await;
        assert_eq!(events().await, settled, "given up after {n} others");
        came += usize::from(settled == 2);
    }
    assert!(came > 0, "some of it was on its way");
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
    // An attempt that was left for dead hears of its own step only, whatever came after it.
    record(&book, &order.clone().after_all(&first), Step::OrderReject, &[Fact::OrderPaid, Fact::OrderClosed]).await;
    let again = record(&book, &place(&book, 1, "a").await, Step::StockReserve, &[Fact::StockReserved]).await;
    assert_eq!(first, again);
}

#[tokio::test]
async fn a_row_without_its_events_is_a_failure_and_not_tried_for_ever() {
    let book = book().await;
    let order = place(&book, 1, "a").await;
    book.database.run("DELETE events", &json!({})).await.expect("deletes");
    let facts = [Fact::OrderPlaced(Box::new(placement("a")))];
    let again = tokio::time::timeout(std::time::Duration::from_secs(10), book.record(placing(&order.id, &facts)));
    assert!(again.await.expect("an answer").is_err());
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

    let ids = book.order_ids(&OrderFilter { limit: 5, ..OrderFilter::default() }).await.expect("lists");
    assert_eq!(ids, (2..7).rev().map(OrderId::from_bits).collect::<Vec<_>>());

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
    assert_eq!(count(OrderFilter { except: vec![Status::Paid, Status::Closed], ..OrderFilter::default() }).await, 4);
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

async fn all(book: &Orders) -> Vec<Order> {
    book.orders(&OrderFilter { limit: 1000, ..OrderFilter::default() }).await.expect("lists")
}

async fn dashboard_of(book: &Orders) -> Dashboard {
    let now = book.now();
    let query = DashboardQuery { merchant_id: None, since: now, stuck_since_before: now };
    book.dashboard(&query).await.expect("reads")
}

/// Places the orders of `numbers` at the same time, and takes each through some steps.
async fn place_together(book: &Arc<Orders>, numbers: Range<u128>) {
    let mut lives = JoinSet::new();
    for n in numbers {
        let book = book.clone();
        lives.spawn(async move {
            let mut order = place(&book, n, "a").await;
            for (step, facts) in [
                (Step::StockReserve, &[Fact::StockReserved][..]),
                (Step::PaymentCharge, &[Fact::OrderPaid, Fact::StockCommitted]),
            ] {
                for event in record(&book, &order, step, facts).await {
                    order.learn(&event);
                }
            }
        });
    }
    lives.join_all().await;
}

#[tokio::test]
async fn the_feed_has_every_event_once_without_gaps_and_in_the_order_of_each_order() {
    let book = Arc::new(book().await);
    place_together(&book, 0..40).await;
    let whole = book.feed(0, 1000).await.expect("reads");
    assert_eq!(whole.len(), 40 * 4);
    assert!((1..).zip(&whole).all(|(position, event)| event.position == position));
    for n in 0..40 {
        let id = OrderId::from_bits(n);
        let of_order: Vec<_> = whole.iter().filter(|told| told.event.order_id == id).map(|told| &told.event).collect();
        assert_eq!(of_order, book.events(&id, 0, 10).await.expect("reads").iter().collect::<Vec<_>>());
    }

    let mut paged = Vec::new();
    while let page = book.feed(paged.len() as u64, 7).await.expect("reads")
        && !page.is_empty()
    {
        assert!(page.len() <= 7);
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    assert_eq!(book.feed(u64::MAX, 7).await.expect("reads"), []);
}

/// As builds up to 0.1.0-rc.3 wrote it: a row for each event, and no version beside the document.
const AS_BEFORE: &str = "
    FOR $row IN (SELECT id, doc FROM events) {
        DELETE $row.id;
        FOR $event IN encoding::json::decode($row.doc) {
            CREATE type::record('events', [$event.order_id, $event.number])
                SET doc = encoding::json::encode($event) RETURN NONE;
        };
    };
    FOR $row IN (SELECT id, events FROM feed) {
        UPDATE $row.id SET events = array::flatten($row.events.map(|$span| {
            (<array> $span[1]..=$span[2]).map(|$number| [$span[0], $number])
        })) RETURN NONE;
    };
    UPDATE orders UNSET version RETURN NONE;
";

#[tokio::test]
async fn what_earlier_builds_wrote_is_read_and_gone_on_with() {
    let store = Store::open("mem://").await.expect("opens");
    let book = Arc::new(Orders::open(store.database("orders").await.expect("opens")).await.expect("defines"));
    let placed = place(&book, 99, "a").await;
    place_together(&book, 0..10).await;
    let (events, feed) =
        (book.events(&placed.id, 0, 10).await.expect("reads"), book.feed(0, 100).await.expect("reads"));
    let rows = async || {
        let counts = "RETURN [count(SELECT id FROM events), count(SELECT id FROM orders WHERE version != NONE)]";
        book.database.run(counts, &json!({})).await.expect("reads").read::<[u64; 2]>(0).expect("counts")
    };
    let [together, _] = rows().await;
    assert!(together < 41, "{together}");
    book.database.run(AS_BEFORE, &json!({})).await.expect("writes");
    assert_eq!(rows().await, [41, 0]);

    assert_eq!(book.events(&placed.id, 0, 10).await.expect("reads"), events);
    assert_eq!(book.feed(0, 100).await.expect("reads"), feed);
    assert_eq!(book.feed(7, 5).await.expect("reads"), feed[7..12]);
    // At once, so that they are written together: one that goes on, and others that have gone on already.
    let first = book.order(&OrderId::from_bits(3)).await.expect("reads").expect("is there");
    let before = Order::from_events(&book.events(&first.id, 0, 1).await.expect("reads")).expect("is placed");
    let reserved = [Fact::StockReserved];
    let overtaken = record(&book, &before, Step::StockReserve, &reserved);
    let (went_on, heard) = tokio::join!(record(&book, &placed, Step::StockReserve, &reserved), overtaken);
    assert_eq!(went_on.len(), 1);
    assert_eq!(heard, book.events(&first.id, 1, 1).await.expect("reads"), "as it was recorded then");
    assert_eq!(book.feed(41, 10).await.expect("reads").len(), 1);
    assert_eq!(rows().await, [42, 1]);

    let found = super::examination::examine(&book.database).await.expect("examines");
    assert_eq!((found.events, found.wrong), (42, 0), "{found:#?}");
    let rebuilt = super::rebuild::rebuild(&store, super::rebuild::Difference::Report).await.expect("compares");
    assert!(rebuilt.is_same(), "{rebuilt:#?}");
}

#[tokio::test]
async fn two_processes_write_one_feed() {
    let store = Store::open("mem://").await.expect("opens");
    let open = async || Orders::open(store.database("orders").await.expect("opens")).await.expect("defines");
    let (one, other) = (Arc::new(open().await), Arc::new(open().await));
    tokio::join!(place_together(&one, 0..20), place_together(&other, 20..40));
    let feed = one.feed(0, 1000).await.expect("reads");
    assert_eq!(feed.len(), 40 * 4);
    assert!((1..).zip(&feed).all(|(position, told)| told.position == position));
    let orders: i64 = dashboard_of(&one).await.statuses.iter().map(|tally| tally.orders).sum();
    assert_eq!(orders, 40);
}

#[tokio::test]
async fn no_event_is_seen_before_one_with_a_smaller_position() {
    let book = Arc::new(book().await);
    let writing = tokio::spawn({
        let book = book.clone();
        async move { place_together(&book, 0..30).await }
    });
    let mut seen = 0;
    while seen < 30 * 4 {
        let more = book.feed(seen, 1000).await.expect("reads");
        for told in more {
            seen += 1;
            assert_eq!(told.position, seen);
        }
    }
    writing.await.expect("no panic");
}

#[tokio::test]
async fn what_cannot_be_written_again_is_in_no_others_way() {
    let book = Arc::new(book().await);
    let order = place(&book, 1, "a").await;
    let facts = [Fact::StockReserved];
    // All but one of these come too late, and share their transaction with orders that are placed.
    let mut tasks = JoinSet::new();
    for n in 2..20 {
        let (book, order, facts) = (book.clone(), order.clone(), facts.clone());
        tasks.spawn(
            async move { tokio::join!(place(&book, n, "b"), record(&book, &order, Step::StockReserve, &facts)).1 },
        );
    }
    let heard = tasks.join_all().await;
    assert!(heard.iter().all(|events| *events == heard[0] && events.len() == 1));
    assert_eq!(book.feed(0, 100).await.expect("reads").len(), 20);
    assert_eq!(all(&book).await.len(), 19);
}

#[tokio::test]
async fn what_is_written_is_told_as_it_is_read() {
    let book = book().await;
    let mut written = book.written();
    let order = place(&book, 1, "a").await;
    futures::future::join_all((2..10).map(|n| place(&book, n, "a"))).await;
    record(&book, &order, Step::StockReserve, &[Fact::StockReserved]).await;
    assert!(written.try_recv().is_ok());
    let told: Vec<_> = std::iter::from_fn(|| written.try_recv().ok()).flat_map(|events| events.to_vec()).collect();
    assert_eq!(told, book.feed(1, 1000).await.expect("reads"));
    place(&book, 1, "a").await;
    assert!(written.is_empty(), "nothing was written");
}

#[tokio::test]
async fn trouble_lasts_until_the_next_success() {
    let book = book().await;
    let order = place(&book, 1, "a").await;
    let trouble = async || book.trouble(&order.id).await.expect("reads");
    let fail = async |step, why: &str| book.note_failure(&order.id, step, why).await.expect("notes");
    assert_eq!(trouble().await, None);

    fail(Step::StockReserve, "no answer").await;
    let first = trouble().await.expect("in trouble");
    assert_eq!((first.step, first.failures, first.why.as_str()), (Step::StockReserve, 1, "no answer"));
    assert_eq!(first.since, first.at);
    fail(Step::StockReserve, &"김".repeat(501)).await;
    let second = trouble().await.expect("in trouble");
    assert_eq!((second.since, second.failures, second.why), (first.since, 2, "김".repeat(500)));
    assert!(second.at > first.at);

    fail(Step::PaymentRefund, "down").await;
    let other = trouble().await.expect("in trouble");
    assert_eq!((other.step, other.failures, other.since), (Step::PaymentRefund, 1, other.at));
    book.forget_failures(&order.id).await.expect("forgets");
    assert_eq!(trouble().await, None);

    fail(Step::StockReserve, "down").await;
    record(&book, &order, Step::StockReserve, &[Fact::StockReserved]).await;
    assert_eq!(trouble().await, None, "an event ends it");
    // The reply was lost after the event was written, and so it is noted.
    fail(Step::StockReserve, "no answer").await;
    record(&book, &order, Step::StockReserve, &[Fact::StockReserved]).await;
    assert_eq!(trouble().await, None, "the event was there before");

    let nobody = OrderId::from_bits(2);
    book.note_failure(&nobody, Step::OrderPlace, "down").await.expect("nothing");
    assert_eq!((book.trouble(&nobody).await.expect("reads"), book.order(&nobody).await.expect("reads")), (None, None));
    assert_eq!(all(&book).await.len(), 1);
}

#[tokio::test]
async fn stuck_is_what_fails_or_waits_for_nobody() {
    let book = book().await;
    let delivery_id = OrderId::from_bits(0).delivery();
    let requested = || Fact::DeliveryRequested { delivery_id: delivery_id.clone() };
    let moving = place(&book, 1, "a").await;
    let waiting = place(&book, 2, "a").await;
    record(&book, &waiting, Step::DeliveryRequest, &[requested(), Fact::DeliveryStarted]).await;
    let closed = place(&book, 3, "a").await;
    record(&book, &closed, Step::OrderClose, &[Fact::OrderClosed]).await;
    assert_eq!(book.order(&waiting.id).await.expect("reads").expect("exists").gate, Some(Gate::Handover));

    let hour = TimeDelta::hours(1);
    let listed = async |are, since_before| {
        let stuck = Some(Stuck { are, since_before });
        let orders = book.orders(&OrderFilter { stuck, limit: 10, ..OrderFilter::default() }).await.expect("lists");
        orders.into_iter().map(|order| order.id).collect::<Vec<_>>()
    };
    let check = async |since_before, stuck: &[&Order], others: &[&Order]| {
        let ids = |orders: &[&Order]| orders.iter().map(|order| order.id.clone()).collect::<Vec<_>>();
        assert_eq!((listed(true, since_before).await, listed(false, since_before).await), (ids(stuck), ids(others)));
        let query = DashboardQuery { merchant_id: None, since: book.now(), stuck_since_before: since_before };
        assert_eq!(book.dashboard(&query).await.expect("reads").stuck, stuck.len() as u64);
        let nobodys = DashboardQuery { merchant_id: "b".parse().ok(), ..query };
        assert_eq!(book.dashboard(&nobodys).await.expect("reads").stuck, 0);
    };
    check(book.now() - hour, &[], &[&closed, &waiting, &moving]).await;
    check(book.now() + hour, &[&moving], &[&closed, &waiting]).await;
    // Up to a second late, and never early.
    check(moving.updated_at, &[], &[&closed, &waiting, &moving]).await;
    check(moving.updated_at + TimeDelta::seconds(1), &[&moving], &[&closed, &waiting]).await;
    for order in [&waiting, &closed] {
        book.note_failure(&order.id, Step::PaymentRefund, "down").await.expect("notes");
    }
    check(book.now() + hour, &[&closed, &waiting, &moving], &[]).await;
    let query = DashboardQuery { merchant_id: None, since: book.now(), stuck_since_before: book.now() + hour };
    let at = |step, orders| StuckAt { step, orders };
    let by_step = [at(Some(Step::PaymentRefund), 2), at(None, 1)];
    assert_eq!(book.dashboard(&query).await.expect("reads").stuck_at, by_step);
    let failing = |step| OrderFilter { failing_step: Some(step), limit: 10, ..OrderFilter::default() };
    let refunds = book.order_ids(&failing(Step::PaymentRefund)).await.expect("lists");
    assert_eq!(refunds, [closed.id.clone(), waiting.id.clone()]);
    assert_eq!(book.order_ids(&failing(Step::PaymentCharge)).await.expect("lists"), []);
    check(book.now() - hour, &[], &[&closed, &waiting, &moving]).await;
    book.forget_failures(&closed.id).await.expect("forgets");
    check(book.now() + hour, &[&waiting, &moving], &[&closed]).await;
    // A later failure of the same step does not make it a younger trouble. Stillness is known to the second.
    let between = book.now() + TimeDelta::seconds(1);
    while book.now() < between {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    book.note_failure(&waiting.id, Step::PaymentRefund, "down").await.expect("notes");
    check(between, &[&waiting, &moving], &[&closed]).await;
}

/// The dashboard, counted from all orders and all events.
async fn recount(book: &Orders, merchant: Option<&str>, since: DateTime<Utc>) -> Dashboard {
    let mut orders = all(book).await;
    orders.retain(|order| merchant.is_none_or(|merchant| order.merchant_id.as_str() == merchant));
    let mut hours: BTreeMap<(DateTime<Utc>, &str), Takings> = BTreeMap::new();
    for order in &orders {
        let (currency, amount) = (order.total.currency, order.total.amount);
        let events = book.events(&order.id, 0, 1000).await.expect("reads");
        for (index, event) in events.iter().enumerate() {
            let hour = event.at.duration_trunc(TimeDelta::hours(1)).expect("in range");
            let nothing = Takings {
                hour,
                currency,
                placed: 0,
                revenue: 0,
                refunds: 0,
                paid: 0,
                paid_ms: 0,
                delivered: 0,
                delivered_ms: 0,
            };
            let takings = hours.entry((hour, currency.code())).or_insert(nothing);
            let took = (event.at - order.placed_at).num_milliseconds();
            match event.fact {
                Fact::OrderPlaced(_) => takings.placed += 1,
                Fact::PaymentApproved { .. } | Fact::DepositConfirmed { .. } => {
                    takings.revenue += amount;
                    takings.paid += 1;
                    takings.paid_ms += took;
                }
                Fact::PaymentCancelled { refunded: true } => {
                    let so_far = Order::from_events(&events[..index]).expect("placed");
                    let heard_of = so_far.payment.state == PaymentState::Approved;
                    takings.revenue += if heard_of { 0 } else { amount };
                    takings.refunds += amount;
                }
                Fact::DeliveryCompleted => {
                    takings.delivered += 1;
                    takings.delivered_ms += took;
                }
                _ => {}
            }
        }
    }
    Dashboard {
        statuses: tallied(&orders, |order| Some(order.status)),
        payments: tallied(&orders, |order| Some(order.payment.state)),
        deliveries: tallied(&orders, |order| order.delivery.as_ref().map(|delivery| delivery.state)),
        hours: hours
            .into_values()
            .filter(|takings| {
                takings.hour >= since && takings.placed + takings.paid + takings.delivered + takings.refunds > 0
            })
            .collect(),
        standings: {
            let mut standings: Vec<Standing> = Vec::new();
            for order in &orders {
                let lifecycle = Lifecycle::preset(&order.lifecycle.name).map(|preset| preset.name.clone());
                let same = |known: &&mut Standing| known.lifecycle == lifecycle && known.status == order.status;
                match standings.iter_mut().find(same) {
                    Some(known) => known.orders += 1,
                    None => standings.push(Standing { lifecycle, status: order.status, orders: 1 }),
                }
            }
            standings.sort_by_key(|standing| format!("{standing:?}"));
            standings
        },
        stuck: 0,
        stuck_at: Vec::new(),
        failing_since: None,
    }
}

fn tallied<T: Copy + PartialEq + std::fmt::Debug>(orders: &[Order], what: fn(&Order) -> Option<T>) -> Vec<Tally<T>> {
    let mut tallies: Vec<Tally<T>> = Vec::new();
    for order in orders {
        let (Some(what), currency) = (what(order), order.total.currency) else { continue };
        let known = tallies.iter_mut().find(|tally| tally.what == what && tally.currency == currency);
        match known {
            Some(tally) => {
                tally.orders += 1;
                tally.value += order.total.amount;
            }
            None => tallies.push(Tally { what, currency, orders: 1, value: order.total.amount }),
        }
    }
    tallies.sort_by_key(|tally| format!("{tally:?}"));
    tallies
}

/// With its tallies in the order in which `tallied` has them.
fn sorted(dashboard: Dashboard) -> Dashboard {
    let mut dashboard = dashboard;
    dashboard.statuses.sort_by_key(|tally| format!("{tally:?}"));
    dashboard.payments.sort_by_key(|tally| format!("{tally:?}"));
    dashboard.deliveries.sort_by_key(|tally| format!("{tally:?}"));
    dashboard.standings.sort_by_key(|standing| format!("{standing:?}"));
    dashboard
}

/// A life that no lifecycle would allow: the book writes down whatever it is told.
async fn live_at_random(book: &Orders, n: u128, random: &mut StdRng) {
    let id = OrderId::from_bits(n);
    let possible = [
        (Step::StockReserve, Fact::StockReserved),
        (Step::PaymentCharge, Fact::PaymentApproved { payment_id: id.payment() }),
        (Step::PaymentCharge, Fact::OrderPaid),
        (Step::PaymentOpenDeposit, Fact::DepositRequested { payment_id: id.payment() }),
        (Step::PaymentConfirmDeposit, Fact::DepositConfirmed { payment_id: id.payment() }),
        (Step::DeliveryRequest, Fact::DeliveryRequested { delivery_id: id.delivery() }),
        (Step::DeliveryStart, Fact::DeliveryStarted),
        (Step::DeliveryComplete, Fact::DeliveryCompleted),
        (Step::PaymentRefund, Fact::PaymentCancelled { refunded: true }),
        (Step::PaymentCloseDeposit, Fact::PaymentCancelled { refunded: false }),
        (Step::DeliveryCancel, Fact::DeliveryCancelled),
        (Step::OrderClose, Fact::OrderClosed),
        (Step::OrderCancel, Fact::OrderCancelled),
    ];
    let mut placement = placement(["a", "b", "c"][random.random_range(0..3)]);
    let currency = if random.random_bool(0.3) { Currency::EUR } else { Currency::KRW };
    placement.total = Money::new(random.random_range(0..100_000), currency);
    let placed = [Fact::OrderPlaced(Box::new(placement))];
    let first = Entry {
        order_id: &id,
        step: Step::OrderPlace,
        before: None,
        by: None,
        facts: &placed,
        reach: None,
        since: &[],
    };
    let mut recorded = Order::from_events(&book.record(first).await.expect("records").events).expect("placed");
    // What has become true since, and is recorded along with what comes next.
    let mut since: Vec<Event> = Vec::new();
    for _ in 0..random.random_range(0..8) {
        let count = random.random_range(1..3);
        let chosen: Vec<_> = (0..count).map(|_| possible[random.random_range(0..possible.len())].clone()).collect();
        let facts: Vec<_> = chosen.iter().map(|(_, fact)| fact.clone()).collect();
        let known = recorded.clone().after_all(&since);
        let entry = |facts| Entry {
            order_id: &id,
            step: chosen[0].0,
            before: Some(&recorded),
            since: &since,
            by: None,
            facts,
            reach: None,
        };
        let goes_on = |fact: &Fact| matches!(fact, Fact::StockReserved | Fact::DeliveryRequested { .. });
        if facts.iter().all(goes_on) && !known.status.is_final() {
            let more = entry(&facts).events(known.version, book.now());
            since.extend(more);
            continue;
        }
        if random.random_bool(0.3) {
            assert_eq!(book.record(entry(&[])).await.expect("records").events, [], "it is known already");
        }
        let heard = book.record(entry(&facts)).await.expect("records").events;
        if random.random_bool(0.3) {
            // The reply was lost.
            assert_eq!(book.record(entry(&facts)).await.expect("records").events, heard);
        }
        recorded = known.after_all(&heard);
        since.clear();
    }
    if !since.is_empty() {
        let entry = Entry {
            order_id: &id,
            step: Step::OrderClose,
            before: Some(&recorded),
            since: &since,
            by: None,
            facts: &[],
            reach: None,
        };
        assert_eq!(book.record(entry).await.expect("records").events, []);
    }
    let told = book.events(&id, 0, u32::MAX).await.expect("reads");
    assert!(told.iter().map(|event| event.number).eq(1..=recorded.after_all(&since).version));
}

#[tokio::test]
async fn the_dashboard_is_what_a_recount_finds() {
    let book = Arc::new(book().await);
    let before = book.now();
    let mut lives = JoinSet::new();
    for n in 0..60 {
        let book = book.clone();
        lives.spawn(async move { live_at_random(&book, n.into(), &mut StdRng::seed_from_u64(n)).await });
    }
    lives.join_all().await;
    // Long before anything was there to be stuck.
    let stuck_since_before = before - TimeDelta::hours(1);
    let whole_hour = before.duration_trunc(TimeDelta::hours(1)).expect("in range");
    for merchant in [None, Some("a"), Some("b"), Some("nobody")] {
        for since in [whole_hour, before, before + TimeDelta::days(1)] {
            let merchant_id = merchant.map(|merchant| merchant.parse().expect("valid"));
            let query = DashboardQuery { merchant_id, since, stuck_since_before };
            let dashboard = book.dashboard(&query).await.expect("reads");
            assert!(dashboard.statuses.is_sorted_by_key(|tally| tally.what), "in the order of a life");
            let since = since.duration_trunc(TimeDelta::hours(1)).expect("in range");
            assert_eq!(sorted(dashboard), recount(&book, merchant, since).await, "{merchant:?} {since}");
        }
    }
    let everything = recount(&book, None, whole_hour).await;
    assert!(everything.hours.iter().any(|hour| hour.refunds > 0) && everything.deliveries.len() > 4, "{everything:?}");
}

/// Steps that fail are noted in the rows that appends write. Many appends that are written together would conflict with the
/// notes again and again, were they not written in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_appends_get_through_while_failures_are_noted() {
    let book = Arc::new(book().await);
    let mut orders = Vec::new();
    for n in 0..64 {
        orders.push(place(&book, n, &format!("m{n}")).await);
    }
    let mut noting = JoinSet::new();
    for chunk in orders.chunks(4).map(<[Order]>::to_vec) {
        let book = book.clone();
        noting.spawn(async move {
            loop {
                for order in &chunk {
                    let _ = book.note_failure(&order.id, Step::PaymentCharge, "no answer").await;
                }
            }
        });
    }
    let mut paying = JoinSet::new();
    for order in orders {
        let book = book.clone();
        paying.spawn(async move {
            let facts = [Fact::PaymentApproved { payment_id: order.id.payment() }];
            let entry = Entry {
                order_id: &order.id,
                step: Step::PaymentCharge,
                before: Some(&order),
                by: None,
                facts: &facts,
                reach: None,
                since: &[],
            };
            // As the engine asks again.
            while book.record(entry.clone()).await.is_err() {}
        });
    }
    let all = async { while paying.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_mins(2), all).await.expect("all of them, in the end");
}
