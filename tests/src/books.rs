//! The contexts' own books, read past everything that a test breaks: whether an order that has ended left anything
//! behind.

use std::collections::{BTreeMap, BTreeSet};

use activities::{Activities, NotificationSettings, Store};
use serde::Deserialize;
use serde_json::json;
use workflows::order::{Event, Fact, Reach};
use workflows::payment::EntryKind;
use workflows::promotion::CouponState;
use workflows::provider::Listing;
use workflows::stock::ProductQuery;
use workflows::{DeliveryState, Order, OrderId, PaymentState, Status};

use crate::faults;

/// How the contexts' books are kept, past all faults.
#[derive(Clone)]
pub struct Books {
    store: Store,
    pub(crate) activities: Activities,
}

/// The faults of one order's books.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.push(otherwise());
        }
    }
}

impl Books {
    /// Those in a store.
    pub async fn of(store: Store) -> Self {
        Self { activities: faults::open(store.clone(), NotificationSettings::default()).await, store }
    }

    /// The order as its readers see it.
    pub async fn order(&self, id: &OrderId) -> Option<Order> {
        self.activities.orders.order(id).await.expect("reads")
    }

    /// How it is reached.
    pub async fn reach(&self, id: &OrderId) -> Reach {
        self.activities.orders.order_with_reach(id).await.expect("reads").expect("there is such an order").1
    }

    /// Its events.
    pub async fn events(&self, id: &OrderId) -> Vec<Event> {
        self.activities.orders.events(id, 0, u32::MAX).await.expect("reads")
    }

    /// The kinds of its ledger entries, in order.
    pub async fn entries(&self, id: &OrderId) -> Vec<EntryKind> {
        let listing = Listing { order_id: Some(id.clone()), merchant_id: None, limit: 10 };
        let payments = self.activities.payments.payments(&listing).await.expect("lists");
        payments.iter().flat_map(|payment| &payment.entries).map(|entry| entry.kind).collect()
    }

    /// What is wrong with an order that should have ended at `status`, of a merchant who had `on_hand` pieces of each of
    /// its products before: everything that was done is still there, once, if it was closed, and nothing at all if it
    /// was not.
    pub async fn faults_of(&self, id: &OrderId, status: Status, on_hand: i64) -> Vec<String> {
        let mut findings = Findings::default();
        let Some(order) = self.order(id).await else { return vec!["there is no such order".to_owned()] };
        findings.expect(order.status == status, || format!("it is {:?}, not {status:?}", order.status));
        self.check_facts(&order, &mut findings).await;
        self.check_money(&order, &mut findings).await;
        self.check_stock(&order, on_hand, &mut findings).await;
        self.check_delivery(&order, &mut findings).await;
        self.check_coupon(&order, &mut findings).await;
        self.check_kitchen(&order, &mut findings).await;
        findings.0
    }

    /// Each fact stands once, in order, they make the order what it is, and everybody was told of every status.
    async fn check_facts(&self, order: &Order, findings: &mut Findings) {
        let events = self.events(&order.id).await;
        let names = || events.iter().map(|event| event.fact.name()).collect::<Vec<_>>();
        let numbered = (1..).zip(&events).all(|(number, event)| event.number == number);
        findings.expect(numbered, || format!("its events are not numbered without gaps: {events:#?}"));
        let once = names().iter().collect::<BTreeSet<_>>().len() == events.len();
        findings.expect(once, || format!("something became true twice: {:?}", names()));
        findings.expect(Order::from_events(&events).as_ref() == Some(order), || {
            format!("it is not what its events tell: {order:#?} by {events:#?}")
        });
        let trouble = self.activities.orders.trouble(&order.id).await.expect("reads");
        findings.expect(trouble.is_none(), || format!("it still shows as stuck: {trouble:?}"));

        let listing = Listing { order_id: Some(order.id.clone()), merchant_id: None, limit: 200 };
        let notified = self.activities.notifications.notifications(&listing).await.expect("lists");
        let mut notified: Vec<_> =
            notified.iter().map(|notification| (notification.number, notification.status)).collect();
        notified.sort_unstable();
        let expected = status_changes(&events);
        findings.expect(notified == expected, || format!("told {notified:?} instead of {expected:?}"));
    }

    /// All of the money for a closed order, in one entry, and none of it on any account for every other.
    async fn check_money(&self, order: &Order, findings: &mut Findings) {
        let listing = Listing { order_id: Some(order.id.clone()), merchant_id: None, limit: 10 };
        let payments = self.activities.payments.payments(&listing).await.expect("lists");
        let entries: Vec<_> = payments.iter().flat_map(|payment| &payment.entries).collect();
        let mut accounts = BTreeMap::<&str, i64>::new();
        let mut kinds = Vec::new();
        for entry in &entries {
            let sum: i64 = entry.postings.iter().map(|posting| posting.amount.amount).sum();
            findings.expect(sum == 0 && entry.postings.len() >= 2, || format!("an entry is not balanced: {entry:?}"));
            kinds.push(json!(entry.kind).to_string());
            for posting in &entry.postings {
                *accounts.entry(posting.account.as_str()).or_default() += posting.amount.amount;
            }
        }
        let once = kinds.iter().collect::<BTreeSet<_>>().len() == kinds.len();
        findings.expect(once, || format!("the ledger has an entry twice: {kinds:?}"));
        let taken: i64 = accounts.values().filter(|amount| **amount > 0).sum();
        let (expected, count) = if order.status == Status::Closed { (order.total.amount, 1) } else { (0, kinds.len()) };
        findings.expect(taken == expected && kinds.len() == count, || {
            format!("its money is {taken} in {kinds:?}, which does not match {:?}", order.status)
        });
        let states: Vec<_> = payments.iter().map(|payment| payment.state).collect();
        let settled = match (order.status, states.as_slice()) {
            (Status::Closed, states) => states == [PaymentState::Approved],
            (_, []) => true,
            (_, [state]) => {
                matches!(state, PaymentState::Declined | PaymentState::Cancelled | PaymentState::Refunded)
            }
            _ => false,
        };
        findings.expect(settled, || format!("its payment is {states:?}"));
        let seen = order.payment.state;
        let settled = matches!(seen, PaymentState::Approved) == (order.status == Status::Closed);
        findings.expect(settled && seen != PaymentState::Pending, || format!("its payment shows as {seen:?}"));
    }

    /// What was sold is gone, and nothing is held.
    async fn check_stock(&self, order: &Order, on_hand: i64, findings: &mut Findings) {
        let closed = order.status == Status::Closed;
        let taken = closed && order.lifecycle.stock.take != workflows::lifecycle::StockTake::None;
        let skus = order.lines.iter().map(|line| line.sku.clone()).collect();
        let query = ProductQuery { merchant_id: order.merchant_id.clone(), skus };
        let products = self.activities.stock.products(&query).await.expect("lists");
        for (line, product) in order.lines.iter().zip(&products) {
            let sold = if taken { i64::from(line.quantity) } else { 0 };
            let found = (product.on_hand, product.reserved);
            findings.expect(found == (Some(on_hand - sold), 0), || {
                format!("of {on_hand} on hand and {sold} sold, {found:?} are on hand and reserved")
            });
        }
    }

    /// It has arrived, or there is none.
    async fn check_delivery(&self, order: &Order, findings: &mut Findings) {
        let listing = Listing { order_id: Some(order.id.clone()), merchant_id: None, limit: 10 };
        let deliveries = self.activities.deliveries.deliveries(&listing).await.expect("lists");
        let states: Vec<_> = deliveries.iter().map(|delivery| delivery.state).collect();
        let brought = order.status == Status::Closed && order.lifecycle.delivery.is_some();
        let settled = match states.as_slice() {
            [] => !brought,
            [DeliveryState::Delivered] => brought,
            [DeliveryState::Cancelled] => order.status != Status::Closed,
            _ => false,
        };
        findings.expect(settled, || format!("its delivery is {states:?}"));
        if let Some(seen) = order.delivery.as_ref().map(|delivery| delivery.state) {
            findings.expect(states == [seen], || format!("its delivery shows as {seen:?}, and is {states:?}"));
        }
    }

    /// The customer has it, or there is none.
    async fn check_coupon(&self, order: &Order, findings: &mut Findings) {
        let listing = Listing { order_id: Some(order.id.clone()), merchant_id: None, limit: 10 };
        let coupons = self.activities.promotions.coupons(&listing).await.expect("lists");
        let states: Vec<_> = coupons.iter().map(|coupon| coupon.state).collect();
        let earned = order.status == Status::Closed && order.lifecycle.coupon.is_some();
        let settled = match states.as_slice() {
            [] => !earned,
            [CouponState::Issued] => earned,
            [CouponState::Cancelled] => order.status != Status::Closed,
            _ => false,
        };
        findings.expect(settled, || format!("its coupon is {states:?}"));
        if let Some(seen) = order.coupon.as_ref().map(|coupon| coupon.state) {
            findings.expect(states == [seen], || format!("its coupon shows as {seen:?}, and is {states:?}"));
        }
    }

    /// The kitchen has done with its ticket, as far as it was asked, or has none. Its port tells nobody, so its store is
    /// asked.
    async fn check_kitchen(&self, order: &Order, findings: &mut Findings) {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Ticket {
            state: String,
        }
        let kitchen = self.store.database("kitchen").await.expect("opens");
        let statement = "SELECT state FROM type::record('tickets', $order)";
        let mut answers = kitchen.run(statement, &json!({ "order": order.id })).await.expect("reads");
        let tickets: Vec<Ticket> = answers.read(0).expect("reads");
        let states: Vec<_> = tickets.iter().map(|ticket| ticket.state.as_str()).collect();
        let lifecycle = &order.lifecycle;
        let expected: &[&str] = match (order.status, lifecycle.production, lifecycle.acceptance) {
            (Status::Closed, Some(production), _) => match production.finish {
                workflows::lifecycle::ProductionFinish::Merchant => &["finished"],
                workflows::lifecycle::ProductionFinish::None => &["started"],
            },
            (Status::Closed, None, Some(_)) => &["offered"],
            (Status::Closed, None, None) => &[],
            _ => &["withdrawn", "stopped", "void"],
        };
        let settled = match states.as_slice() {
            [] => expected.is_empty() || order.status != Status::Closed,
            [state] => expected.contains(state),
            _ => false,
        };
        findings.expect(settled, || format!("its kitchen ticket is {states:?}"));
    }
}

/// The numbers of the events that changed the order's status, and what it was then.
#[must_use]
pub fn status_changes(events: &[Event]) -> Vec<(u32, Status)> {
    let mut order: Option<Order> = None;
    let mut changes = Vec::new();
    for event in events {
        let before = order.as_ref().map(|order| order.status);
        order = Order::after(order, event);
        let Some(order) = &order else { continue };
        if before != Some(order.status) || matches!(event.fact, Fact::OrderPlaced(_)) {
            changes.push((event.number, order.status));
        }
    }
    changes
}
