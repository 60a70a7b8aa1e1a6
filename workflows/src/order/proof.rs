//! The money proof: every entry of the ledger sums to zero, every payment is booked as its state says, and every order's
//! payment is where the order's status says that it must be. `judge` says what is right; `prove` goes through all orders
//! and all payments side by side, page by page, and trusts no sum and no flag that is stored.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Filed, Gate, Order, OrderBook, Status};
use crate::payment::{AuditQuery, Audited, Claim, EntryKind, LedgerEntry, Payments};
use crate::{Currency, OrderId, PaymentId, PaymentMethod, PaymentState, ProviderError};

/// How many orders, and how many payments, are read at once.
const PAGE: u32 = 250;
/// How many orders may wait to be looked at again.
const SUSPECTS: usize = 256;
/// How often a suspect is looked at again, with a pause before each look, before its money is called wrong.
const LOOKS: u32 = 6;
/// How many findings of a kind are told one by one; more are only counted.
const TOLD: usize = 100;
/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the books say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// When it was begun.
    pub taken_at: DateTime<Utc>,
    /// How many orders were looked at.
    pub orders: u64,
    /// How many payments.
    pub payments: u64,
    /// How many entries of the ledger.
    pub entries: u64,
    /// The sums of all postings, by the currencies' codes.
    pub currencies: Vec<Sums>,
    /// Entries that do not sum to zero.
    pub unbalanced: Found<Unbalanced>,
    /// Orders and payments that do not fit together.
    pub disagreements: Found<Disagreement>,
}

/// The sums of all postings in one currency, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub currency: Currency,
    /// How many postings.
    pub postings: u64,
    pub debits: i128,
    /// Zero or less.
    pub credits: i128,
}

impl Sums {
    /// Zero, if no money was made or lost.
    #[must_use]
    pub const fn total(&self) -> i128 {
        self.debits + self.credits
    }
}

/// What was found of one kind: all of it counted, the first of it told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found<T> {
    pub count: u64,
    pub first: Vec<T>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T> Found<T> {
    fn add(&mut self, found: T) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(found);
        }
    }
}

/// An entry that does not sum to zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbalanced {
    pub payment_id: String,
    pub kind: EntryKind,
    pub currency: Currency,
    /// What it sums to, in minor units.
    pub sum: i128,
}

/// How an order and its payment do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mismatch {
    /// The order's status demands a payment, and there is none.
    PaymentMissing,
    /// A payment whose order does not exist.
    OrderMissing,
    /// The payment is in a state that the order's status excludes.
    State,
    /// The payment is of another amount, method, merchant or order.
    Terms,
    /// What is booked is not what the payment's state says.
    Ledger,
    /// A record cannot be read.
    Unreadable,
}

impl Mismatch {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentMissing => "payment_missing",
            Self::OrderMissing => "order_missing",
            Self::State => "state",
            Self::Terms => "terms",
            Self::Ledger => "ledger",
            Self::Unreadable => "unreadable",
        }
    }
}

/// An order and a payment that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    pub mismatch: Mismatch,
    /// As it is written, or as it follows from the payment's id.
    pub order_id: String,
    /// `None` where there is no such order, or it cannot be read.
    pub status: Option<Status>,
    /// [`PaymentState::None`] where there is no payment, or it cannot be read.
    pub payment_state: PaymentState,
    pub expected: String,
    pub found: String,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.status.map_or("not to be found", Status::as_str);
        write!(f, "{} is {status}: expected {}, found {}", self.order_id, self.expected, self.found)
    }
}

impl Proof {
    fn begin(taken_at: DateTime<Utc>) -> Self {
        Self {
            taken_at,
            orders: 0,
            payments: 0,
            entries: 0,
            currencies: Vec::new(),
            unbalanced: Found::default(),
            disagreements: Found::default(),
        }
    }

    /// Whether the money is all there, and where it belongs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unbalanced.count == 0
            && self.disagreements.count == 0
            && self.currencies.iter().all(|sums| sums.total() == 0)
    }

    /// Adds up what is booked under a payment's id.
    fn add(&mut self, audited: &Audited) {
        self.payments += u64::from(audited.payment.is_some());
        for entry in &audited.entries {
            self.entries += 1;
            for posting in &entry.postings {
                let sums = self.sums(posting.amount.currency);
                sums.postings += 1;
                match i128::from(posting.amount.amount) {
                    debit @ 0.. => sums.debits += debit,
                    credit => sums.credits += credit,
                }
            }
            for (currency, sum) in sums_of(entry).into_iter().filter(|(_, sum)| *sum != 0) {
                let payment_id = audited.id.clone();
                self.unbalanced.add(Unbalanced { payment_id, kind: entry.kind, currency, sum });
            }
        }
    }

    fn sums(&mut self, currency: Currency) -> &mut Sums {
        let place = self.currencies.binary_search_by_key(&currency.code(), |sums| sums.currency.code());
        let place = place.unwrap_or_else(|place| {
            self.currencies.insert(place, Sums { currency, postings: 0, debits: 0, credits: 0 });
            place
        });
        &mut self.currencies[place]
    }
}

/// What an entry sums to, by currency.
fn sums_of(entry: &LedgerEntry) -> Vec<(Currency, i128)> {
    let mut sums: Vec<(Currency, i128)> = Vec::new();
    for posting in &entry.postings {
        let amount = i128::from(posting.amount.amount);
        match sums.iter_mut().find(|(currency, _)| *currency == posting.amount.currency) {
            Some((_, sum)) => *sum += amount,
            None => sums.push((posting.amount.currency, amount)),
        }
    }
    sums
}

/// The states in which an order's payment may be, by everything that is written of the order. A step takes effect before
/// it is recorded, and a crash can come between the two, so an order on its way allows what its next step does as well.
/// Empty: no order is ever like that.
#[must_use]
#[allow(clippy::match_same_arms, reason = "each says why")]
pub fn allowed(order: &Order) -> &'static [PaymentState] {
    use PaymentState::{Approved, Cancelled, Declined, None, Pending, Refunded};
    // While the merchant has not answered, a rejection may be giving the money back. It is recorded last.
    let may_be_rejecting = order.status == Status::Paid && order.gate == Some(Gate::Acceptance);
    match (order.payment.method, order.status, order.payment.state) {
        (PaymentMethod::Card, Status::Placed, None) => &[None, Approved, Declined],
        (PaymentMethod::Deposit, Status::Placed, None) => &[None, Pending],
        (PaymentMethod::Deposit, Status::AwaitingDeposit, Pending) => &[Pending, Approved],

        (_, Status::Paid, Approved) if may_be_rejecting => &[Approved, Refunded],
        (PaymentMethod::Card, Status::Paid, Refunded) if may_be_rejecting => &[Refunded],
        (PaymentMethod::Deposit, Status::Paid, Cancelled) if may_be_rejecting => &[Refunded],
        (
            _,
            Status::Paid
            | Status::Accepted
            | Status::InProduction
            | Status::Ready
            | Status::InDelivery
            | Status::Delivered
            | Status::Closed,
            Approved,
        ) => &[Approved],

        // A cancel is recorded before anything is undone, and whatever was tried may have taken effect.
        (PaymentMethod::Card, Status::Cancelling, None) => &[None, Approved, Declined, Cancelled, Refunded],
        (PaymentMethod::Deposit, Status::Cancelling, None) => &[None, Pending, Cancelled],
        (PaymentMethod::Deposit, Status::Cancelling, Pending) => &[Pending, Approved, Cancelled, Refunded],
        (_, Status::Cancelling, Approved) => &[Approved, Refunded],

        // Before the charge: it was never tried. A deposit may have been closed before it was opened.
        (PaymentMethod::Card, Status::Cancelled, None) | (_, Status::Rejected, None) => &[None],
        (PaymentMethod::Deposit, Status::Cancelled, None) => &[None, Cancelled],

        // The charge had no answer in time; it is undone after the order was rejected.
        (PaymentMethod::Card, Status::Rejected, Pending) => &[None, Approved, Declined, Cancelled, Refunded],

        (PaymentMethod::Card, Status::Placed | Status::Cancelling | Status::Cancelled | Status::Rejected, Declined) => {
            &[Declined]
        }
        // Nothing was taken: it was declined before, or never will be.
        (PaymentMethod::Card, Status::Cancelling | Status::Cancelled | Status::Rejected, Cancelled) => {
            &[Cancelled, Declined]
        }
        (PaymentMethod::Card, Status::Cancelling | Status::Cancelled | Status::Rejected, Refunded) => &[Refunded],
        // A deposit is called off as a whole, however far it has come; a transfer that comes late goes back.
        (PaymentMethod::Deposit, Status::Cancelling | Status::Cancelled, Cancelled) => &[Cancelled, Refunded],
        (PaymentMethod::Deposit, Status::Rejected, Cancelled) => &[Refunded],
        _ => &[],
    }
}

/// What does not fit between an order and what is written under its payment's id; `None` where all does.
#[must_use]
pub fn judge(order: Option<&Filed>, audited: Option<&Audited>) -> Option<Disagreement> {
    let readable = order.and_then(|filed| filed.order.as_deref());
    let claim = audited.and_then(|audited| audited.payment.as_ref());
    let order_id = match (order, audited) {
        (Some(filed), _) => filed.id.clone(),
        (None, Some(audited)) => order_of(&audited.id).map_or_else(|| audited.id.clone(), String::from),
        (None, None) => return None,
    };
    let disagree = |mismatch, expected: String, found: String| {
        let status = readable.map(|order| order.status);
        let payment_state = claim.map_or(PaymentState::None, |claim| claim.state);
        Some(Disagreement { mismatch, order_id: order_id.clone(), status, payment_state, expected, found })
    };
    if order.is_some() && readable.is_none() {
        return disagree(Mismatch::Unreadable, "an order".to_owned(), "a record that is none".to_owned());
    }
    if let Some(audited) = audited.filter(|audited| audited.unreadable > 0) {
        let found = format!("{} records of the payment that cannot be read", audited.unreadable);
        return disagree(Mismatch::Unreadable, "payments and entries".to_owned(), found);
    }
    let Some(order) = readable else {
        return disagree(Mismatch::OrderMissing, "an order".to_owned(), told(claim, audited));
    };
    let allowed = allowed(order);
    let expected = || {
        if allowed.is_empty() {
            let (status, seen) = (order.status.as_str(), state_name(order.payment.state));
            return format!("no order that is {status} and takes its payment for {seen}");
        }
        let states: Vec<_> = allowed.iter().map(|state| state_name(*state)).collect();
        format!("a payment of {} that is {}", order.total, states.join(" or "))
    };
    let Some(claim) = claim else {
        let without = audited.is_none() && allowed.contains(&PaymentState::None);
        return (!without).then(|| disagree(Mismatch::PaymentMissing, expected(), told(None, audited))).flatten();
    };
    let due = super::due(order);
    let as_due = Claim {
        order_id: due.order_id,
        merchant_id: due.merchant_id,
        method: due.method,
        amount: due.amount,
        state: claim.state,
    };
    if *claim != as_due {
        let terms = |claim: &Claim| {
            let Claim { order_id, merchant_id, method, amount, .. } = claim;
            format!("{amount} by {} to {merchant_id} for {order_id}", method_name(*method))
        };
        return disagree(Mismatch::Terms, terms(&as_due), terms(claim));
    }
    if !allowed.contains(&claim.state) {
        return disagree(Mismatch::State, expected(), told(Some(claim), audited));
    }
    let entries = audited.map(|audited| &audited.entries[..]).unwrap_or_default();
    if !is_booked(claim, entries) {
        let kinds = booked_as(claim).into_iter();
        let expected = kinds.map(|kind| format!("a {} of {}", kind.as_str(), claim.amount));
        let expected = expected.collect::<Vec<_>>().join(" and ");
        let expected = if expected.is_empty() { "nothing booked".to_owned() } else { expected };
        return disagree(Mismatch::Ledger, expected, told(Some(claim), audited));
    }
    None
}

/// The entries that a payment in that state has.
fn booked_as(claim: &Claim) -> Vec<EntryKind> {
    let first = match claim.method {
        PaymentMethod::Card => EntryKind::Charge,
        PaymentMethod::Deposit => EntryKind::Deposit,
    };
    match claim.state {
        PaymentState::Approved => vec![first],
        PaymentState::Refunded => vec![first, EntryKind::Refund],
        PaymentState::None | PaymentState::Pending | PaymentState::Declined | PaymentState::Cancelled => Vec::new(),
    }
}

/// Whether exactly what the payment's state says is booked: each entry once, of the whole amount, balanced; and after a
/// refund nothing is left on any account.
fn is_booked(claim: &Claim, entries: &[LedgerEntry]) -> bool {
    let mut kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    kinds.sort();
    let merchant = format!("merchant:{}", claim.merchant_id);
    let whole = |entry: &LedgerEntry| {
        let debits = entry.postings.iter().map(|posting| i128::from(posting.amount.amount.max(0)));
        let towards_merchant = entry.kind != EntryKind::Refund;
        entry.postings.len() >= 2
            && entry.postings.iter().all(|posting| posting.amount.currency == claim.amount.currency)
            && sums_of(entry).iter().all(|(_, sum)| *sum == 0)
            && debits.sum::<i128>() == i128::from(claim.amount.amount)
            // Credits are what a merchant gets.
            && entry.postings.iter().filter(|posting| posting.account == merchant).all(|posting| {
                posting.amount.amount == 0 || (posting.amount.amount < 0) == towards_merchant
            })
    };
    let mut accounts = BTreeMap::<&str, i128>::new();
    for posting in entries.iter().flat_map(|entry| &entry.postings) {
        *accounts.entry(&posting.account).or_default() += i128::from(posting.amount.amount);
    }
    let nothing_left = || accounts.values().all(|sum| *sum == 0);
    kinds == booked_as(claim) && entries.iter().all(whole) && (claim.state != PaymentState::Refunded || nothing_left())
}

/// What is written of a payment, for people.
fn told(claim: Option<&Claim>, audited: Option<&Audited>) -> String {
    let payment = match claim {
        Some(claim) => format!("a payment of {} that is {}", claim.amount, state_name(claim.state)),
        None => "no payment".to_owned(),
    };
    let entries = audited.into_iter().flat_map(|audited| &audited.entries).map(|entry| {
        let postings: Vec<_> =
            entry.postings.iter().map(|posting| format!("{} {}", posting.account, posting.amount)).collect();
        format!("{} ({})", entry.kind.as_str(), postings.join(", "))
    });
    let entries = entries.collect::<Vec<_>>().join(", ");
    let entries = if entries.is_empty() { "nothing booked".to_owned() } else { format!("booked: {entries}") };
    format!("{payment}, {entries}")
}

const fn state_name(state: PaymentState) -> &'static str {
    match state {
        PaymentState::None => "not there",
        PaymentState::Pending => "pending",
        PaymentState::Approved => "approved",
        PaymentState::Declined => "declined",
        PaymentState::Cancelled => "cancelled",
        PaymentState::Refunded => "refunded",
    }
}

const fn method_name(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::Card => "card",
        PaymentMethod::Deposit => "deposit",
    }
}

/// Whose books could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unproved {
    #[error("the orders cannot be read: {0}")]
    Orders(#[source] ProviderError),
    #[error("the payments cannot be read: {0}")]
    Payments(#[source] ProviderError),
}

/// Waits a moment. The caller has the clock.
pub type Pause<'a> = &'a (dyn Fn() -> Moment + Send + Sync);
pub type Moment = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Goes through all orders and all payments. An order may move while it is looked at, so what does not fit is looked at
/// again, after a pause, before it is called wrong.
///
/// # Errors
/// Where the orders or the payments cannot be read.
pub async fn prove(orders: &dyn OrderBook, payments: &dyn Payments, pause: Pause<'_>) -> Result<Proof, Unproved> {
    let books = Books { orders, payments };
    let mut proof = Proof::begin(orders.now());
    let mut suspects = Vec::new();
    let (mut filed, mut audited) = (Pages::default(), Pages::default());
    loop {
        if filed.is_dry() {
            filed.fill(books.orders(None, filed.last.as_deref(), PAGE).await?, |filed| &filed.id);
        }
        if audited.is_dry() {
            let query = AuditQuery { only: None, after: audited.last.clone(), limit: PAGE };
            audited.fill(books.payments(query).await?, |audited| &audited.id);
        }
        let (order, payment) = next(&mut filed, &mut audited);
        if order.is_none() && payment.is_none() {
            break;
        }
        proof.orders += u64::from(order.is_some());
        if let Some(payment) = &payment {
            proof.add(payment);
        }
        let Some(disagreement) = judge(order.as_ref(), payment.as_ref()) else { continue };
        match disagreement.order_id.parse::<OrderId>() {
            Ok(order_id) => suspects.push(order_id),
            // Nothing that jumun writes is called so.
            Err(_) => proof.disagreements.add(disagreement),
        }
        if suspects.len() == SUSPECTS {
            books.settle(&mut suspects, &mut proof, pause).await?;
        }
    }
    books.settle(&mut suspects, &mut proof, pause).await?;
    Ok(proof)
}

/// The next order with its payment, or one of them where the other is not there.
fn next(filed: &mut Pages<Filed>, audited: &mut Pages<Audited>) -> (Option<Filed>, Option<Audited>) {
    // What is called as nothing is that jumun writes stands anywhere in the order of ids, and beside nothing.
    if let Some(stray) = filed.take_if(|filed| filed.id.parse::<OrderId>().is_err()) {
        return (Some(stray), None);
    }
    if let Some(stray) = audited.take_if(|audited| order_of(&audited.id).is_none()) {
        return (None, Some(stray));
    }
    let of_order = filed.page.front().map(|filed| filed.id.clone());
    let of_payment = audited.page.front().and_then(|audited| order_of(&audited.id)).map(String::from);
    let first = [of_order, of_payment].into_iter().flatten().min();
    let is_first = |id: Option<String>| id == first;
    (
        filed.take_if(|filed| is_first(Some(filed.id.clone()))),
        audited.take_if(|audited| is_first(order_of(&audited.id).map(String::from))),
    )
}

fn order_of(payment_id: &str) -> Option<OrderId> {
    format!("ord_{}", payment_id.strip_prefix("pay_")?).parse().ok()
}

struct Books<'a> {
    orders: &'a dyn OrderBook,
    payments: &'a dyn Payments,
}

impl Books<'_> {
    async fn orders(&self, only: Option<&OrderId>, after: Option<&str>, limit: u32) -> Result<Vec<Filed>, Unproved> {
        let filed = timeout(PATIENCE, self.orders.filed(only, after, limit)).await;
        filed.unwrap_or_else(|late| Err(ProviderError::unavailable(late))).map_err(Unproved::Orders)
    }

    async fn payments(&self, query: AuditQuery) -> Result<Vec<Audited>, Unproved> {
        let audited = timeout(PATIENCE, self.payments.audit(&query)).await;
        audited.unwrap_or_else(|late| Err(ProviderError::unavailable(late))).map_err(Unproved::Payments)
    }

    /// Looks at the suspects again and again, and adds those to the proof with whom something is wrong every time.
    async fn settle(&self, suspects: &mut Vec<OrderId>, proof: &mut Proof, pause: Pause<'_>) -> Result<(), Unproved> {
        let mut suspects: Vec<_> = std::mem::take(suspects).into_iter().map(|id| (id, None)).collect();
        // Where so much is wrong already, the rest is counted without patience.
        let looks = if proof.disagreements.first.len() < TOLD { LOOKS } else { 1 };
        for _ in 0..looks {
            if suspects.is_empty() {
                return Ok(());
            }
            pause().await;
            let mut still = Vec::new();
            for (order_id, _) in suspects {
                if let Some(disagreement) = self.look(&order_id).await? {
                    still.push((order_id, Some(disagreement)));
                }
            }
            suspects = still;
        }
        suspects
            .into_iter()
            .filter_map(|(_, disagreement)| disagreement)
            .for_each(|found| proof.disagreements.add(found));
        Ok(())
    }

    /// What does not fit with an order that stands still; `None` where all does, or it moves.
    async fn look(&self, order_id: &OrderId) -> Result<Option<Disagreement>, Unproved> {
        let order = self.orders(Some(order_id), None, 1).await?;
        let only: PaymentId = order_id.payment();
        let payment = self.payments(AuditQuery { only: Some(only), after: None, limit: 1 }).await?;
        if self.orders(Some(order_id), None, 1).await? != order {
            return Ok(None);
        }
        Ok(judge(order.first(), payment.first()))
    }
}

/// Records in the order of their ids, of which one page at a time is there.
struct Pages<T> {
    page: VecDeque<T>,
    /// The id of the last one that was read.
    last: Option<String>,
    ended: bool,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { page: VecDeque::new(), last: None, ended: false }
    }
}

impl<T> Pages<T> {
    /// Whether the next page is to be read.
    fn is_dry(&self) -> bool {
        self.page.is_empty() && !self.ended
    }

    fn fill(&mut self, page: Vec<T>, id: impl Fn(&T) -> &String) {
        self.ended = page.is_empty();
        self.last = page.last().map(|last| id(last).clone());
        self.page = page.into();
    }

    fn take_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.page.front().is_some_and(wanted) { self.page.pop_front() } else { None }
    }
}

#[cfg(test)]
#[path = "proof_test.rs"]
mod tests;
