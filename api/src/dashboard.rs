//! `/v1/dashboard`: how the orders stand, from the read model alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use workflows::order::{self, DashboardQuery, OrderBook, Tally};
use workflows::{Currency, DeliveryState, MerchantId, PaymentState, Status, Step};

use crate::access::Caller;
use crate::ask::ask;
use crate::headers::AcceptLanguage;
use crate::json::{DeliveryStateName, Money, PaymentStateName, StatusName};
use crate::kind::Kind;
use crate::orders::language_or_default;
use crate::pressure::{BreakerState, PaymentBreaker};
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::Checked;

/// How far back takings are told, in days: the hours of all merchants are read at once.
const LONGEST_LOOK_BACK: TimeDelta = TimeDelta::days(31);

pub(crate) struct DashboardApi {
    pub orders: Arc<dyn OrderBook>,
    /// For how long an order has to be without progress to count as stuck.
    pub stuck_after: Duration,
    pub breaker: Arc<PaymentBreaker>,
}

refusals! {
    GetDashboard: InvalidRequest, Forbidden, TryAgainLater;
}

/// How the orders stand.
#[derive(Object)]
struct Dashboard {
    /// How many orders are at each status; statuses without orders are left out.
    statuses: Vec<StatusTally>,
    /// The same by the state of the payment.
    payments: Vec<PaymentTally>,
    /// The same by the state of the delivery; orders without one are left out.
    deliveries: Vec<DeliveryTally>,
    /// How many orders are stuck: `GET /v1/orders?stuck=true` lists them.
    stuck: u64,
    /// The same by the step that fails, the most first.
    stuck_at: Vec<StuckAt>,
    /// The breaker on card payments, as this instance has it.
    breaker: BreakerName,
    /// What was taken since `since`, by currency.
    today: Vec<Takings>,
    /// The same by hour, oldest first; hours that took nothing are left out.
    hours: Vec<HourlyTakings>,
    /// From when on takings are counted: a whole hour.
    since: Checked<DateTime<Utc>>,
}

/// The orders that are stuck at a step.
#[derive(Object)]
struct StuckAt {
    /// The step that fails; null where none is known to fail, though nothing goes on.
    #[oai(nullable)]
    step: Option<Checked<Step>>,
    /// How many there are.
    orders: u64,
}

/// Whether card orders are taken: yes (`closed`), not for a while because payments fail or are slow (`open`), or a few,
/// to find out (`half_open`).
#[derive(Enum)]
#[oai(rename = "Breaker", rename_all = "snake_case")]
enum BreakerName {
    Closed,
    Open,
    HalfOpen,
}

impl From<BreakerState> for BreakerName {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::Open => Self::Open,
            BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

/// The orders at a status.
#[derive(Object)]
struct StatusTally {
    /// The status.
    status: StatusName,
    /// The status for people, in the language of `Accept-Language` (`ko` or `en`).
    label: String,
    /// The currency of these orders.
    currency: Checked<Currency>,
    /// How many there are.
    orders: i64,
    /// The sum of their totals.
    value: Money,
}

/// The orders whose payment is in a state.
#[derive(Object)]
struct PaymentTally {
    /// The state.
    state: PaymentStateName,
    /// The currency of these orders.
    currency: Checked<Currency>,
    /// How many there are.
    orders: i64,
    /// The sum of their totals.
    value: Money,
}

/// The orders whose delivery is in a state.
#[derive(Object)]
struct DeliveryTally {
    /// The state.
    state: DeliveryStateName,
    /// The currency of these orders.
    currency: Checked<Currency>,
    /// How many there are.
    orders: i64,
    /// The sum of their totals.
    value: Money,
}

/// What was taken in one currency.
#[derive(Object)]
struct Takings {
    /// The currency.
    currency: Checked<Currency>,
    /// Orders that were placed, whatever became of them.
    placed: i64,
    /// Money that was charged or confirmed.
    revenue: Money,
    /// Money that was given back.
    refunds: Money,
    /// Orders whose payment was approved, or whose deposit was confirmed.
    paid: i64,
    /// How long that took from their placement, on average, in milliseconds; null where there are none.
    #[oai(nullable)]
    time_to_paid_ms: Option<i64>,
    /// Orders that were delivered.
    delivered: i64,
    /// How long that took from their placement, on average, in milliseconds; null where there are none.
    #[oai(nullable)]
    time_to_delivered_ms: Option<i64>,
}

/// What was taken in one hour, in one currency.
#[derive(Object)]
struct HourlyTakings {
    /// When the hour begins.
    hour: Checked<DateTime<Utc>>,
    #[oai(flatten)]
    takings: Takings,
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Dashboard")]
impl DashboardApi {
    /// Read the dashboard
    ///
    /// How many orders are at each status and what they are worth, how many are stuck, and what was taken today. It asks
    /// no context, and works whatever else is down.
    #[oai(path = "/dashboard", method = "get", operation_id = "get_dashboard")]
    async fn get(
        &self,
        caller: Caller,
        /// Only orders of this merchant.
        merchant_id: Query<Option<Checked<MerchantId>>>,
        /// Takings since this time, which is brought down to the whole hour; at most 31 days ago. Absent: since
        /// midnight, UTC.
        since: Query<Option<Checked<DateTime<Utc>>>>,
        /// The language of `label`: `ko` or `en`.
        #[oai(name = "Accept-Language")]
        language: Header<Option<Checked<AcceptLanguage>>>,
    ) -> Result<Json<Dashboard>, Refused<GetDashboard>> {
        let merchant_id = caller.narrowed(merchant_id.0.map(|Checked(id)| id))?;
        let now = self.orders.now();
        let since = since
            .0
            .map_or(now.duration_trunc(TimeDelta::days(1)), |Checked(since)| since.duration_trunc(TimeDelta::hours(1)));
        let since = since.ok().filter(|since| *since > now - LONGEST_LOOK_BACK).ok_or_else(too_long_ago)?;
        let query =
            DashboardQuery { merchant_id, since, stuck_since_before: stuck_since_before(now, self.stuck_after) };
        let dashboard = ask("orders.dashboard", self.orders.dashboard(&query)).await?;
        let language = language_or_default(language.0);
        let labelled = |tally| StatusTally::new(tally, tally.what.label(language));
        Ok(Json(Dashboard {
            statuses: dashboard.statuses.into_iter().map(labelled).collect(),
            payments: dashboard.payments.into_iter().map(PaymentTally::from).collect(),
            deliveries: dashboard.deliveries.into_iter().map(DeliveryTally::from).collect(),
            stuck: dashboard.stuck,
            stuck_at: dashboard.stuck_at.into_iter().map(StuckAt::from).collect(),
            breaker: self.breaker.state().into(),
            today: summed(&dashboard.hours),
            hours: dashboard.hours.iter().map(HourlyTakings::from).collect(),
            since: Checked(since),
        }))
    }
}

/// Since before when an order has to be without progress to count as stuck.
pub(crate) fn stuck_since_before(now: DateTime<Utc>, stuck_after: Duration) -> DateTime<Utc> {
    let longest = DateTime::<Utc>::MIN_UTC;
    TimeDelta::from_std(stuck_after).ok().and_then(|after| now.checked_sub_signed(after)).unwrap_or(longest)
}

fn too_long_ago() -> Problem {
    Problem::new(
        Kind::InvalidRequest,
        format!(
            "Parameter `since` is not as documented: expected a time of the last {} days.",
            LONGEST_LOOK_BACK.num_days()
        ),
    )
}

/// By currency, in the order of the currencies' codes.
fn summed(hours: &[order::Takings]) -> Vec<Takings> {
    let mut sums: Vec<order::Takings> = Vec::new();
    for hour in hours {
        match sums.iter_mut().find(|sum| sum.currency == hour.currency) {
            Some(sum) => {
                sum.placed += hour.placed;
                sum.revenue += hour.revenue;
                sum.refunds += hour.refunds;
                sum.paid += hour.paid;
                sum.paid_ms += hour.paid_ms;
                sum.delivered += hour.delivered;
                sum.delivered_ms += hour.delivered_ms;
            }
            None => sums.push(*hour),
        }
    }
    sums.sort_by_key(|sum| sum.currency.code());
    sums.iter().map(Takings::from).collect()
}

fn money(amount: i64, currency: Currency) -> Money {
    Money { amount, currency: Checked(currency) }
}

impl StatusTally {
    fn new(tally: Tally<Status>, label: &str) -> Self {
        let Tally { what, currency, orders, value } = tally;
        let value = money(value, currency);
        Self { status: what.into(), label: label.to_owned(), currency: Checked(currency), orders, value }
    }
}

impl From<Tally<PaymentState>> for PaymentTally {
    fn from(tally: Tally<PaymentState>) -> Self {
        let Tally { what, currency, orders, value } = tally;
        Self { state: what.into(), currency: Checked(currency), orders, value: money(value, currency) }
    }
}

impl From<Tally<DeliveryState>> for DeliveryTally {
    fn from(tally: Tally<DeliveryState>) -> Self {
        let Tally { what, currency, orders, value } = tally;
        Self { state: what.into(), currency: Checked(currency), orders, value: money(value, currency) }
    }
}

impl From<order::StuckAt> for StuckAt {
    fn from(at: order::StuckAt) -> Self {
        Self { step: at.step.map(Checked), orders: at.orders }
    }
}

impl From<&order::Takings> for Takings {
    fn from(takings: &order::Takings) -> Self {
        let order::Takings { currency, placed, revenue, refunds, paid, paid_ms, delivered, delivered_ms, .. } =
            *takings;
        Self {
            currency: Checked(currency),
            placed,
            revenue: money(revenue, currency),
            refunds: money(refunds, currency),
            paid,
            time_to_paid_ms: paid_ms.checked_div(paid),
            delivered,
            time_to_delivered_ms: delivered_ms.checked_div(delivered),
        }
    }
}

impl From<&order::Takings> for HourlyTakings {
    fn from(takings: &order::Takings) -> Self {
        Self { hour: Checked(takings.hour), takings: takings.into() }
    }
}
