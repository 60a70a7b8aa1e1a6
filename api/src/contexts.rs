//! `/v1/payments`, `/v1/deliveries` and `/v1/coupons`: the contexts' own data, through the gateway. A context that is
//! down is down here only.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use workflows::delivery::{self, Deliveries};
use workflows::payment::{self, LedgerEntry, Payments};
use workflows::promotion::{self, Promotions};
use workflows::provider::Listing;
use workflows::{Context, CouponId, DeliveryId, MerchantId, OrderId, PaymentId};

use crate::access::Caller;
use crate::ask::ask;
use crate::json::{
    CouponKindName, CouponStateName, DeliveryStateName, EntryKindName, List, Money, PaymentMethodName, PaymentStateName,
};
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, Limit};

pub(crate) struct ContextsApi {
    pub payments: Arc<dyn Payments>,
    pub deliveries: Arc<dyn Deliveries>,
    pub promotions: Arc<dyn Promotions>,
}

refusals! {
    ListPayments: InvalidRequest, Forbidden, UpstreamUnavailable;
    ListDeliveries: InvalidRequest, Forbidden, UpstreamUnavailable;
    ListCoupons: InvalidRequest, Forbidden, UpstreamUnavailable;
}

/// A payment, as the payment context knows it.
#[derive(Object)]
struct Payment {
    /// The payment's id.
    id: Checked<PaymentId>,
    /// The order that it is for.
    order_id: Checked<OrderId>,
    /// Who is paid.
    merchant_id: Checked<MerchantId>,
    /// How it is paid.
    method: PaymentMethodName,
    /// Where the money is.
    state: PaymentStateName,
    /// How much.
    amount: Money,
    /// Why it was declined.
    #[oai(nullable)]
    reason: Option<String>,
    /// When it was first heard of.
    created_at: Checked<DateTime<Utc>>,
    /// When it last changed.
    updated_at: Checked<DateTime<Utc>>,
    /// Its entries in the ledger, oldest first.
    entries: Vec<Entry>,
}

/// A movement of money: an entry of the double-entry ledger, whose postings sum to zero.
#[derive(Object)]
#[oai(rename = "LedgerEntry")]
struct Entry {
    /// What moved the money.
    kind: EntryKindName,
    /// When.
    at: Checked<DateTime<Utc>>,
    /// Where from and where to.
    postings: Vec<Posting>,
}

/// One side of an entry.
#[derive(Object)]
struct Posting {
    /// The account.
    account: String,
    /// How much: debits are positive, credits negative.
    amount: Money,
}

/// A delivery, as the delivery context knows it.
#[derive(Object)]
struct Delivery {
    /// The delivery's id.
    id: Checked<DeliveryId>,
    /// The order that it is for.
    order_id: Checked<OrderId>,
    /// Who sends it.
    merchant_id: Checked<MerchantId>,
    /// Who receives it.
    recipient: String,
    /// How to reach them on the way.
    phone: String,
    /// Where to bring it.
    address: String,
    /// How far it is.
    state: DeliveryStateName,
    /// When it was requested.
    created_at: Checked<DateTime<Utc>>,
    /// When it last changed.
    updated_at: Checked<DateTime<Utc>>,
}

/// A coupon, as the promotion context knows it.
#[derive(Object)]
struct Coupon {
    /// The coupon's id.
    id: Checked<CouponId>,
    /// The order that it came with.
    order_id: Checked<OrderId>,
    /// Who gives it.
    merchant_id: Checked<MerchantId>,
    /// When it was issued.
    kind: CouponKindName,
    /// Whether it can be used.
    state: CouponStateName,
    /// When it was first heard of.
    created_at: Checked<DateTime<Utc>>,
    /// When it last changed.
    updated_at: Checked<DateTime<Utc>>,
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Contexts")]
impl ContextsApi {
    /// List payments
    ///
    /// Newest first, with their ledger entries.
    #[oai(path = "/payments", method = "get", operation_id = "list_payments")]
    async fn payments(
        &self,
        caller: Caller,
        /// Only the payment of this order.
        order_id: Query<Option<Checked<OrderId>>>,
        /// How many at most.
        #[oai(default = "Limit::of_50")]
        limit: Query<Checked<Limit>>,
    ) -> Result<Json<List<Payment>>, Refused<ListPayments>> {
        let listing = listing(&caller, order_id, limit)?;
        let payments = self.payments.payments(&listing);
        let payments = ask("payment.list", payments).await.map_err(|unanswered| unanswered.by(Context::Payment))?;
        Ok(Json(payments.into_iter().map(Payment::from).collect()))
    }

    /// List deliveries
    ///
    /// Newest first.
    #[oai(path = "/deliveries", method = "get", operation_id = "list_deliveries")]
    async fn deliveries(
        &self,
        caller: Caller,
        /// Only the delivery of this order.
        order_id: Query<Option<Checked<OrderId>>>,
        /// How many at most.
        #[oai(default = "Limit::of_50")]
        limit: Query<Checked<Limit>>,
    ) -> Result<Json<List<Delivery>>, Refused<ListDeliveries>> {
        let listing = listing(&caller, order_id, limit)?;
        let deliveries = self.deliveries.deliveries(&listing);
        let deliveries =
            ask("delivery.list", deliveries).await.map_err(|unanswered| unanswered.by(Context::Delivery))?;
        Ok(Json(deliveries.into_iter().map(Delivery::from).collect()))
    }

    /// List coupons
    ///
    /// Newest first.
    #[oai(path = "/coupons", method = "get", operation_id = "list_coupons")]
    async fn coupons(
        &self,
        caller: Caller,
        /// Only the coupon of this order.
        order_id: Query<Option<Checked<OrderId>>>,
        /// How many at most.
        #[oai(default = "Limit::of_50")]
        limit: Query<Checked<Limit>>,
    ) -> Result<Json<List<Coupon>>, Refused<ListCoupons>> {
        let listing = listing(&caller, order_id, limit)?;
        let coupons = self.promotions.coupons(&listing);
        let coupons = ask("promotion.list", coupons).await.map_err(|unanswered| unanswered.by(Context::Promotion))?;
        Ok(Json(coupons.into_iter().map(Coupon::from).collect()))
    }
}

/// What the caller wants listed; a merchant has its own only.
#[allow(clippy::needless_pass_by_value, reason = "the framework hands both over by value")]
pub(crate) fn listing(
    caller: &Caller,
    order_id: Query<Option<Checked<OrderId>>>,
    limit: Query<Checked<Limit>>,
) -> Result<Listing, Problem> {
    let Checked(Limit(limit)) = limit.0;
    Ok(Listing { order_id: order_id.0.map(|Checked(id)| id), merchant_id: caller.narrowed(None)?, limit })
}

impl From<payment::Payment> for Payment {
    fn from(payment: payment::Payment) -> Self {
        Self {
            id: Checked(payment.id),
            order_id: Checked(payment.order_id),
            merchant_id: Checked(payment.merchant_id),
            method: payment.method.into(),
            state: payment.state.into(),
            amount: payment.amount.into(),
            reason: payment.reason,
            created_at: Checked(payment.created_at),
            updated_at: Checked(payment.updated_at),
            entries: payment.entries.into_iter().map(Entry::from).collect(),
        }
    }
}

impl From<LedgerEntry> for Entry {
    fn from(entry: LedgerEntry) -> Self {
        let postings = entry.postings.into_iter();
        Self {
            kind: entry.kind.into(),
            at: Checked(entry.at),
            postings: postings
                .map(|posting| Posting { account: posting.account, amount: posting.amount.into() })
                .collect(),
        }
    }
}

impl From<promotion::Coupon> for Coupon {
    fn from(coupon: promotion::Coupon) -> Self {
        Self {
            id: Checked(coupon.id),
            order_id: Checked(coupon.order_id),
            merchant_id: Checked(coupon.merchant_id),
            kind: coupon.kind.into(),
            state: coupon.state.into(),
            created_at: Checked(coupon.created_at),
            updated_at: Checked(coupon.updated_at),
        }
    }
}

impl From<delivery::Delivery> for Delivery {
    fn from(delivery: delivery::Delivery) -> Self {
        Self {
            id: Checked(delivery.id),
            order_id: Checked(delivery.order_id),
            merchant_id: Checked(delivery.merchant_id),
            recipient: delivery.recipient,
            phone: delivery.phone,
            address: delivery.address,
            state: delivery.state.into(),
            created_at: Checked(delivery.created_at),
            updated_at: Checked(delivery.updated_at),
        }
    }
}
