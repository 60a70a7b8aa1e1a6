//! What is right, as a table; every way of being wrong; and a proof over books that move and books that are broken.

use std::fmt::Write;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::DateTime;
use tokio::sync::broadcast;

use super::super::{
    Customer, Dashboard, DashboardQuery, Entry, Event, Line, OrderFilter, Placement, Positioned, Reach, Recorded,
    Trouble,
};
use super::*;
use crate::payment::{Charge, Charged, Due, Payment, Posting};
use crate::provider::{Listing, Undo};
use crate::{Lifecycle, MerchantId, Money, Step};

const STATES: [PaymentState; 6] = [
    PaymentState::None,
    PaymentState::Pending,
    PaymentState::Approved,
    PaymentState::Declined,
    PaymentState::Cancelled,
    PaymentState::Refunded,
];

fn merchant() -> MerchantId {
    "sauce-shop".parse().expect("valid")
}

fn order(n: u128, method: PaymentMethod, status: Status, state: PaymentState) -> Order {
    let price = Money::new(9_000, Currency::KRW);
    let placement = Placement {
        merchant_id: merchant(),
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
        payment_method: method,
        note: None,
        lifecycle: Lifecycle::preset("sauce-shop").expect("exists").clone(),
        request_digest: String::new(),
    };
    let mut order = Order::placed(OrderId::from_bits(n), &placement, DateTime::UNIX_EPOCH);
    order.status = status;
    order.payment.state = state;
    order
}

fn filed(order: &Order) -> Filed {
    Filed { id: order.id.to_string(), order: Some(Box::new(order.clone())) }
}

fn entry(kind: EntryKind, method: PaymentMethod, amount: i64) -> LedgerEntry {
    let source = if method == PaymentMethod::Card { "card_clearing" } else { "bank" };
    let sign = if kind == EntryKind::Refund { -1 } else { 1 };
    let posting =
        |account: &str, amount| Posting { account: account.to_owned(), amount: Money::new(amount, Currency::KRW) };
    let postings = vec![posting(source, sign * amount), posting(&format!("merchant:{}", merchant()), -sign * amount)];
    LedgerEntry { kind, at: DateTime::UNIX_EPOCH, postings }
}

/// The order's payment in a state, booked as it should be.
fn audited(order: &Order, state: PaymentState) -> Audited {
    let due = super::super::due(order);
    let claim =
        Claim { order_id: due.order_id, merchant_id: due.merchant_id, method: due.method, state, amount: due.amount };
    let entries = booked_as(&claim).into_iter().map(|kind| entry(kind, claim.method, claim.amount.amount)).collect();
    Audited { id: due.payment_id.to_string(), payment: Some(claim), entries, unreadable: 0 }
}

#[test]
fn where_money_may_be() {
    let mut table = String::new();
    for method in [PaymentMethod::Card, PaymentMethod::Deposit] {
        for status in Status::ALL {
            for state in STATES {
                let mut order = order(1, method, status, state);
                let alone = allowed(&order);
                order.gate = Some(Gate::Acceptance);
                let offered = allowed(&order);
                let mut row = |when: &str, allowed: &[PaymentState]| {
                    let allowed: Vec<_> = allowed.iter().map(|state| state_name(*state)).collect();
                    let (method, status, state) = (method_name(method), status.as_str(), state_name(state));
                    writeln!(table, "{method}, {status}{when}, seen {state}: {}", allowed.join(" or "))
                        .expect("writes");
                };
                if !alone.is_empty() {
                    row("", alone);
                }
                if offered != alone {
                    row(" and offered", offered);
                }
            }
        }
    }
    insta::assert_snapshot!(table);
}

/// What the table allows is right only as it is booked, and everything else is wrong.
#[test]
fn every_state_is_judged_by_the_table() {
    for method in [PaymentMethod::Card, PaymentMethod::Deposit] {
        for (status, seen) in Status::ALL.iter().flat_map(|status| STATES.map(|seen| (*status, seen))) {
            let order = order(1, method, status, seen);
            let filed = filed(&order);
            for state in STATES {
                let right = allowed(&order).contains(&state);
                let payment = (state != PaymentState::None).then(|| audited(&order, state));
                let found = judge(Some(&filed), payment.as_ref());
                assert_eq!(found.is_none(), right, "{status:?}, seen {seen:?}, {state:?}: {found:?}");
                if let Some(found) = found {
                    assert_eq!((found.status, found.payment_state), (Some(status), state));
                    let mismatch = if payment.is_some() { Mismatch::State } else { Mismatch::PaymentMissing };
                    assert_eq!(found.mismatch, mismatch);
                }
            }
        }
    }
}

type Corrupt = fn(&mut Audited);

#[test]
fn every_corruption_is_called_by_its_name() {
    let closed = order(1, PaymentMethod::Card, Status::Closed, PaymentState::Approved);
    let refunded = order(1, PaymentMethod::Card, Status::Cancelled, PaymentState::Refunded);
    let right = audited(&closed, PaymentState::Approved);
    assert_eq!(judge(Some(&filed(&closed)), Some(&right)), None);
    assert_eq!(judge(Some(&filed(&refunded)), Some(&audited(&refunded, PaymentState::Refunded))), None);

    let corruptions: [(Corrupt, Mismatch); 17] = [
        (|audited| audited.payment = None, Mismatch::PaymentMissing),
        (|audited| audited.unreadable = 1, Mismatch::Unreadable),
        (|audited| claim(audited).state = PaymentState::Refunded, Mismatch::State),
        (|audited| claim(audited).state = PaymentState::Pending, Mismatch::State),
        (|audited| claim(audited).amount.amount -= 1, Mismatch::Terms),
        (|audited| claim(audited).amount.currency = Currency::EUR, Mismatch::Terms),
        (|audited| claim(audited).method = PaymentMethod::Deposit, Mismatch::Terms),
        (|audited| claim(audited).order_id = OrderId::from_bits(2), Mismatch::Terms),
        (|audited| claim(audited).merchant_id = "other".parse().expect("valid"), Mismatch::Terms),
        (|audited| audited.entries.clear(), Mismatch::Ledger),
        (|audited| audited.entries[0].kind = EntryKind::Deposit, Mismatch::Ledger),
        (|audited| audited.entries[0].postings[1].amount.amount += 1, Mismatch::Ledger),
        (|audited| audited.entries[0].postings.iter_mut().for_each(|p| p.amount.amount *= 2), Mismatch::Ledger),
        (|audited| audited.entries[0].postings.iter_mut().for_each(|p| p.amount.amount *= -1), Mismatch::Ledger),
        (|audited| audited.entries[0].postings.truncate(0), Mismatch::Ledger),
        (|audited| audited.entries.extend(audited.entries.clone()), Mismatch::Ledger),
        (|audited| audited.entries.push(entry(EntryKind::Refund, PaymentMethod::Card, 9_000)), Mismatch::Ledger),
    ];
    for (n, (corrupt, mismatch)) in corruptions.into_iter().enumerate() {
        let mut audited = right.clone();
        corrupt(&mut audited);
        let found = judge(Some(&filed(&closed)), Some(&audited)).unwrap_or_else(|| panic!("{n} is not seen"));
        assert_eq!(found.mismatch, mismatch, "{n}: {found}");
        assert_eq!(found.order_id, closed.id.as_str());
        assert!(!found.expected.is_empty() && !found.found.is_empty() && found.expected != found.found, "{found}");
    }
    assert_eq!(judge(None, Some(&right)).map(|found| found.mismatch), Some(Mismatch::OrderMissing));
    let unreadable = Filed { order: None, ..filed(&closed) };
    assert_eq!(judge(Some(&unreadable), Some(&right)).map(|found| found.mismatch), Some(Mismatch::Unreadable));
    // Money that came and went is nowhere.
    let mut half = audited(&refunded, PaymentState::Refunded);
    half.entries[1].postings[0].account = "bank".to_owned();
    assert_eq!(judge(Some(&filed(&refunded)), Some(&half)).map(|found| found.mismatch), Some(Mismatch::Ledger));
}

fn claim(audited: &mut Audited) -> &mut Claim {
    audited.payment.as_mut().expect("is there")
}

/// Books in memory, of which each look at one order may be another.
#[derive(Default)]
struct InMemory {
    orders: Mutex<Vec<Filed>>,
    payments: Mutex<Vec<Audited>>,
    /// What becomes of the orders while they are looked at one by one.
    later: Mutex<VecDeque<Vec<Filed>>>,
    down: bool,
}

impl InMemory {
    fn of(orders: &[Order], payments: Vec<Audited>) -> Self {
        let orders = Mutex::new(orders.iter().map(filed).collect());
        Self { orders, payments: Mutex::new(payments), ..Self::default() }
    }

    async fn prove(&self) -> Result<Proof, Unproved> {
        prove(self, self, &|| Box::pin(std::future::ready(()))).await
    }
}

#[tokio::test]
async fn a_proof_goes_through_all_pages_of_both() {
    let orders: Vec<_> =
        (0..600).map(|n| order(n, PaymentMethod::Card, Status::Closed, PaymentState::Approved)).collect();
    let payments = orders.iter().map(|order| audited(order, PaymentState::Approved)).collect();
    let proof = InMemory::of(&orders, payments).prove().await.expect("proves");
    assert!(proof.is_clean(), "{proof:?}");
    assert_eq!((proof.orders, proof.payments, proof.entries), (600, 600, 600));
    let sums = Sums { currency: Currency::KRW, postings: 1200, debits: 5_400_000, credits: -5_400_000 };
    assert_eq!(proof.currencies, [sums]);
}

#[tokio::test]
async fn whatever_is_wrong_is_counted_and_the_first_of_it_is_told() {
    let orders: Vec<_> =
        (0..600).map(|n| order(n, PaymentMethod::Card, Status::Closed, PaymentState::Approved)).collect();
    let mut payments: Vec<_> = orders.iter().map(|order| audited(order, PaymentState::Approved)).collect();
    for payment in payments.iter_mut().step_by(2) {
        payment.entries[0].postings[0].amount.amount = i64::MAX;
    }
    let proof = InMemory::of(&orders, payments).prove().await.expect("proves");
    assert!(!proof.is_clean());
    assert_eq!((proof.unbalanced.count, proof.unbalanced.first.len()), (300, 100));
    assert_eq!((proof.disagreements.count, proof.disagreements.first.len()), (300, 100));
    assert_eq!(proof.currencies[0].total(), 300 * (i128::from(i64::MAX) - 9_000), "no sum overflows");
}

#[tokio::test]
async fn what_stands_alone_is_found_whatever_it_is_called() {
    let orders: Vec<_> =
        (0..4).map(|n| order(n, PaymentMethod::Card, Status::Closed, PaymentState::Approved)).collect();
    let mut payments: Vec<_> = orders.iter().map(|order| audited(order, PaymentState::Approved)).collect();
    payments.remove(0);
    let books = InMemory::of(&orders, payments);
    books.orders.lock().expect("no panic").remove(3);
    books.orders.lock().expect("no panic").insert(0, Filed { id: "a".to_owned(), order: None });
    let stray = Audited { id: "zzz".to_owned(), payment: None, entries: Vec::new(), unreadable: 1 };
    books.payments.lock().expect("no panic").push(stray);
    let proof = books.prove().await.expect("proves");
    let mut found: Vec<_> =
        proof.disagreements.first.iter().map(|found| (&found.order_id[..], found.mismatch)).collect();
    found.sort_by_key(|(id, _)| *id);
    let (first, last) = (OrderId::from_bits(0), OrderId::from_bits(3));
    let expected = [
        ("a", Mismatch::Unreadable),
        (first.as_str(), Mismatch::PaymentMissing),
        (last.as_str(), Mismatch::OrderMissing),
        ("zzz", Mismatch::Unreadable),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_order_that_moves_is_no_false_alarm() {
    // Seen before it was paid, beside a payment that is approved since.
    let before = order(1, PaymentMethod::Deposit, Status::AwaitingDeposit, PaymentState::None);
    let after = order(1, PaymentMethod::Deposit, Status::Paid, PaymentState::Approved);
    let payment = audited(&after, PaymentState::Approved);
    let books = InMemory::of(std::slice::from_ref(&before), vec![payment.clone()]);
    assert_eq!(books.prove().await.expect("proves").disagreements.count, 1, "it stands still");
    books.later.lock().expect("no panic").push_back(vec![filed(&after)]);
    assert!(books.prove().await.expect("proves").is_clean(), "it has moved");
    // It moves from look to look, and so nothing can be said of it.
    let other = order(1, PaymentMethod::Deposit, Status::AwaitingDeposit, PaymentState::Declined);
    let books = InMemory::of(std::slice::from_ref(&before), vec![payment]);
    let moves = [before, other].map(|order| vec![filed(&order)]);
    books.later.lock().expect("no panic").extend(moves);
    assert!(books.prove().await.expect("proves").is_clean(), "it moves");
}

#[tokio::test]
async fn what_cannot_be_read_is_not_proved() {
    let books = InMemory { down: true, ..InMemory::default() };
    assert!(matches!(books.prove().await, Err(Unproved::Payments(_))));
}

#[async_trait]
impl OrderBook for InMemory {
    async fn filed(
        &self,
        only: Option<&OrderId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Filed>, ProviderError> {
        let mut orders = self.orders.lock().expect("no panic");
        if only.is_some()
            && let Some(next) = self.later.lock().expect("no panic").pop_front()
        {
            *orders = next;
        }
        let wanted = |filed: &&Filed| {
            only.is_none_or(|only| filed.id == only.as_str()) && after.is_none_or(|after| filed.id.as_str() > after)
        };
        Ok(orders.iter().filter(wanted).take(limit as usize).cloned().collect())
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    async fn record(&self, _: Entry<'_>) -> Result<Recorded, ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn events(&self, _: &OrderId, _: u32, _: u32) -> Result<Vec<Event>, ProviderError> {
        unimplemented!("a proof asks for orders only")
    }

    async fn feed(&self, _: u64, _: u32) -> Result<Vec<Positioned>, ProviderError> {
        unimplemented!("a proof asks for orders only")
    }

    async fn last_position(&self) -> Result<u64, ProviderError> {
        Err(ProviderError::impossible("nobody follows it"))
    }

    fn written(&self) -> broadcast::Receiver<std::sync::Arc<[Positioned]>> {
        unimplemented!("a proof asks for orders only")
    }

    async fn order(&self, _: &OrderId) -> Result<Option<Order>, ProviderError> {
        unimplemented!("a proof trusts no order to be readable")
    }

    async fn orders(&self, _: &OrderFilter) -> Result<Vec<Order>, ProviderError> {
        unimplemented!("a proof trusts no order to be readable")
    }

    async fn order_ids(&self, _: &OrderFilter) -> Result<Vec<OrderId>, ProviderError> {
        unimplemented!("a proof trusts no order to be found")
    }

    async fn order_with_reach(&self, _: &OrderId) -> Result<Option<(Order, Reach)>, ProviderError> {
        unimplemented!("a proof trusts no order to be readable")
    }

    async fn note_awakeable(&self, _: &OrderId, _: u32, _: &str) -> Result<(), ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn note_failure(&self, _: &OrderId, _: Step, _: &str) -> Result<(), ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn forget_failures(&self, _: &OrderId) -> Result<(), ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn trouble(&self, _: &OrderId) -> Result<Option<Trouble>, ProviderError> {
        unimplemented!("a proof asks for orders only")
    }

    async fn dashboard(&self, _: &DashboardQuery) -> Result<Dashboard, ProviderError> {
        unimplemented!("a proof trusts no tally")
    }
}

#[async_trait]
impl Payments for InMemory {
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError> {
        if self.down {
            return Err(ProviderError::unavailable("down"));
        }
        let wanted = |audited: &&Audited| {
            query.only.as_ref().is_none_or(|only| audited.id == only.as_str())
                && query.after.as_ref().is_none_or(|after| audited.id > *after)
        };
        let payments = self.payments.lock().expect("no panic");
        Ok(payments.iter().filter(wanted).take(query.limit as usize).cloned().collect())
    }

    async fn charge(&self, _: &Charge) -> Result<Charged, ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn refund(&self, _: &Due) -> Result<Undo, ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn open_deposit(&self, _: &Due) -> Result<(), ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn close_deposit(&self, _: &Due) -> Result<Undo, ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn confirm_deposit(&self, _: &Due) -> Result<(), ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn return_deposit(&self, _: &Due) -> Result<Undo, ProviderError> {
        unimplemented!("a proof only reads")
    }

    async fn payments(&self, _: &Listing) -> Result<Vec<Payment>, ProviderError> {
        unimplemented!("a proof trusts no payment to be readable")
    }
}
