//! The book of orders: where the workflow writes and everybody reads.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::{Actor, Event, Fact, Order, Status};
use crate::{Currency, DeliveryState, MerchantId, OrderId, PaymentState, ProviderError, Step};

/// The facts that one step makes true of an order, to be written in one transaction with the order itself.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub order_id: &'a OrderId,
    pub step: Step,
    /// The order as the workflow knows that it was recorded; `None` for the step that places it.
    pub before: Option<&'a Order>,
    /// What has become true since, and is recorded along with the entry.
    pub since: &'a [Event],
    /// Who asked for it; nobody where it comes by itself.
    pub by: Option<&'a Actor>,
    pub facts: &'a [Fact],
    /// How the order is reached after it.
    pub reach: Option<&'a Reach>,
}

/// How whoever commands an order reaches it. Written beside the order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// What passes the gate at which it waits: an awakeable of its run, which takes a [`super::command::Passed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awakeable: Option<String>,
    /// The invocation that runs it, where that alone decides: see [`super::PlaceOrder::decides`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl Entry<'_> {
    /// The step's own events, where they follow the order's event of that number.
    #[must_use]
    pub fn events(&self, after: u32, at: DateTime<Utc>) -> Vec<Event> {
        let event = |(number, fact): (u32, &Fact)| Event {
            order_id: self.order_id.clone(),
            number,
            at,
            step: self.step,
            by: self.by.cloned(),
            fact: fact.clone(),
        };
        (after + 1..).zip(self.facts).map(event).collect()
    }
}

/// What the book of orders holds after an entry was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// All events after those that the workflow knew: the step's own, and before them any that an earlier attempt
    /// wrote without being heard.
    pub events: Vec<Event>,
}

/// An event with its place among the events of all orders: counted from 1 without gaps, in the order of writing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Positioned {
    pub position: u64,
    pub event: Event,
}

/// What keeps an order from going on: a step whose latest attempt has failed. The next one that succeeds ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub step: Step,
    /// When the step failed first.
    pub since: DateTime<Utc>,
    /// How many attempts have failed.
    pub failures: u32,
    /// When it failed last.
    pub at: DateTime<Utc>,
    /// How it failed last, for operators.
    pub why: String,
}

/// An order as it lies in the book.
#[derive(Clone, Debug, PartialEq)]
pub struct Filed {
    /// As it is written.
    pub id: String,
    /// `None`: it cannot be read, or is another one.
    pub order: Option<Box<Order>>,
}

#[async_trait]
pub trait OrderBook: Send + Sync {
    /// Appends the facts as numbered events and replaces the order, in one transaction. A step that was recorded
    /// before is not recorded again: its first events are returned. Ends the order's trouble.
    async fn record(&self, entry: Entry<'_>) -> Result<Recorded, ProviderError>;

    /// Returns when nothing that this process was asked to record before is on its way any more without anybody waiting for it:
    /// what is read then is what there is. What other processes were asked does not count here.
    async fn settled(&self) {}

    /// The time by which events are dated.
    fn now(&self) -> DateTime<Utc>;

    /// Events of an order after number `after`, in order, at most `limit`.
    async fn events(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, ProviderError>;

    /// Events of all orders after `after`, in order, at most `limit`.
    async fn feed(&self, after: u64, limit: u32) -> Result<Vec<Positioned>, ProviderError>;

    /// The position of the last event; 0 where there is none.
    async fn last_position(&self) -> Result<u64, ProviderError>;

    /// What this process writes from now on, as soon as it is written: what one transaction wrote each time, in the order of
    /// the feed, which has gaps here where other processes write, too.
    fn written(&self) -> broadcast::Receiver<Arc<[Positioned]>>;

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError>;

    /// The same, with how it is reached.
    async fn order_with_reach(&self, id: &OrderId) -> Result<Option<(Order, Reach)>, ProviderError>;

    /// Writes another awakeable beside an order of that version. Nothing where the order has gone on, or was never placed.
    async fn note_awakeable(&self, id: &OrderId, version: u32, awakeable: &str) -> Result<(), ProviderError>;

    /// Orders that match, newest first.
    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, ProviderError>;

    /// Orders as they lie in the book, by id, ascending: those after `after`, at most `limit`, or `only` one.
    async fn filed(&self, only: Option<&OrderId>, after: Option<&str>, limit: u32)
    -> Result<Vec<Filed>, ProviderError>;

    /// The ids of orders that match, newest first.
    async fn order_ids(&self, filter: &OrderFilter) -> Result<Vec<OrderId>, ProviderError>;

    /// Notes that an attempt at a step has failed. Nothing where the order was never placed.
    async fn note_failure(&self, id: &OrderId, step: Step, why: &str) -> Result<(), ProviderError>;

    /// Ends the order's trouble: a step that records nothing has succeeded.
    async fn forget_failures(&self, id: &OrderId) -> Result<(), ProviderError>;

    /// The order's trouble; `None` where it has none.
    async fn trouble(&self, id: &OrderId) -> Result<Option<Trouble>, ProviderError>;

    /// How the orders stand.
    async fn dashboard(&self, query: &DashboardQuery) -> Result<Dashboard, ProviderError>;
}

/// Which orders; an absent part matches all.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    pub status: Option<Status>,
    /// Only orders at none of these.
    pub except: Vec<Status>,
    pub merchant_id: Option<MerchantId>,
    pub customer_id: Option<String>,
    /// Only orders that wait for any courier, or that this one has taken.
    pub courier: Option<String>,
    pub placed_after: Option<DateTime<Utc>>,
    pub placed_before: Option<DateTime<Utc>>,
    pub stuck: Option<Stuck>,
    /// Only orders at whose step the latest attempt has failed.
    pub failing_step: Option<Step>,
    /// Only orders after this one in the listing (older).
    pub beyond: Option<(DateTime<Utc>, OrderId)>,
    pub limit: u32,
}

/// Whether orders are stuck: one is where a step of it has been failing since before a time, or where it waits for
/// nobody, is not at its end, and nothing has become true of it since before that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Those that are, or those that are not.
    pub are: bool,
    pub since_before: DateTime<Utc>,
}

/// Which dashboard.
#[derive(Clone, Debug)]
pub struct DashboardQuery {
    /// Only orders of this merchant.
    pub merchant_id: Option<MerchantId>,
    /// From when on takings count; whole hours.
    pub since: DateTime<Utc>,
    /// Since before when an order has to be without progress to count as stuck.
    pub stuck_since_before: DateTime<Utc>,
}

/// How the orders stand, from what is written with every event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dashboard {
    /// How many orders are at each status, and what they are worth; statuses without orders are left out.
    pub statuses: Vec<Tally<Status>>,
    /// The same by the state of the payment.
    pub payments: Vec<Tally<PaymentState>>,
    /// The same by the state of the delivery; orders without one are left out.
    pub deliveries: Vec<Tally<DeliveryState>>,
    /// How many orders of each lifecycle are at each status, in their order; those without orders are left out.
    pub standings: Vec<Standing>,
    /// What was taken in each hour that saw any of it, oldest first.
    pub hours: Vec<Takings>,
    /// How many orders are stuck.
    pub stuck: u64,
    /// The same by the step that fails, the most first.
    pub stuck_at: Vec<StuckAt>,
    /// Since when the step has been failing that has been failing longest, if one is.
    pub failing_since: Option<DateTime<Utc>>,
}

/// How many orders of a lifecycle are at a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The name of a preset; `None` for all lifecycles that merchants have made themselves.
    pub lifecycle: Option<String>,
    pub status: Status,
    pub orders: i64,
}

/// How many orders are stuck at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckAt {
    /// The step that fails; `None` where none is known to fail, though nothing goes on.
    pub step: Option<Step>,
    pub orders: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally<T> {
    pub what: T,
    pub currency: Currency,
    pub orders: i64,
    /// The sum of their totals, in minor units.
    pub value: i64,
}

/// What one hour brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takings {
    /// When the hour begins.
    pub hour: DateTime<Utc>,
    pub currency: Currency,
    /// Orders that were placed.
    pub placed: i64,
    /// Money that was charged or confirmed, in minor units.
    pub revenue: i64,
    /// Money that was given back, in minor units.
    pub refunds: i64,
    /// Orders whose payment was approved or whose deposit was confirmed.
    pub paid: i64,
    /// How long that took from their placement, all of them together, in milliseconds.
    pub paid_ms: i64,
    /// Orders that were delivered.
    pub delivered: i64,
    /// How long that took from their placement, all of them together, in milliseconds.
    pub delivered_ms: i64,
}
