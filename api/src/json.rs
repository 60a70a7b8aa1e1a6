//! What several resources have in common in JSON: money, lists, and the closed sets of `workflows`.

use poem_openapi::types::{ParseFromJSON, ToJSON};
use poem_openapi::{Enum, Object};
use workflows::{Currency, payment};

use crate::value::{Checked, Price, Total};

/// An amount of money in the currency's minor units: won for KRW, cents for EUR.
#[derive(Clone, Debug, Object)]
pub(crate) struct Money {
    /// How many minor units.
    pub amount: i64,
    /// The currency's code in ISO 4217.
    pub currency: Checked<Currency>,
}

impl From<workflows::Money> for Money {
    fn from(money: workflows::Money) -> Self {
        Self { amount: money.amount, currency: Checked(money.currency) }
    }
}

/// What one piece of a product costs, in the currency's minor units.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields)]
pub(crate) struct UnitPrice {
    /// How many minor units.
    pub amount: Checked<Price>,
    /// The currency's code in ISO 4217; the merchant's.
    pub currency: Checked<Currency>,
}

impl From<&UnitPrice> for workflows::Money {
    fn from(price: &UnitPrice) -> Self {
        Self::new(price.amount.0.0, price.currency.0)
    }
}

/// What the caller expects an order to cost, in the currency's minor units.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields)]
pub(crate) struct ExpectedTotal {
    /// How many minor units.
    pub amount: Checked<Total>,
    /// The currency's code in ISO 4217.
    pub currency: Checked<Currency>,
}

impl From<&ExpectedTotal> for workflows::Money {
    fn from(total: &ExpectedTotal) -> Self {
        Self::new(total.amount.0.0, total.currency.0)
    }
}

/// A list.
#[derive(Object)]
pub(crate) struct List<T: ParseFromJSON + ToJSON> {
    /// What is in it.
    pub items: Vec<T>,
}

impl<T: ParseFromJSON + ToJSON> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self { items: items.into_iter().collect() }
    }
}

/// Where an order is in its life. `closed`, `cancelled` and `rejected` are final.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename = "Status", remote = "workflows::Status", rename_all = "snake_case")]
pub(crate) enum StatusName {
    Placed,
    AwaitingDeposit,
    Paid,
    Accepted,
    InProduction,
    Ready,
    InDelivery,
    Delivered,
    Closed,
    Cancelling,
    Cancelled,
    Rejected,
}

/// What a person may ask of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "Command", remote = "workflows::Command", rename_all = "kebab-case")]
pub(crate) enum CommandName {
    ConfirmDeposit,
    Accept,
    Reject,
    StartProduction,
    FinishProduction,
    StartDelivery,
    CompleteDelivery,
    ConfirmReceipt,
    Cancel,
}

/// A context with data of its own.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename = "Context", remote = "workflows::Context", rename_all = "snake_case")]
pub(crate) enum ContextName {
    Payment,
    Stock,
    Delivery,
    Kitchen,
    Promotion,
    Notification,
}

/// Who asks something of an order.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "Role", remote = "workflows::Role", rename_all = "snake_case")]
pub(crate) enum RoleName {
    Customer,
    Merchant,
    Courier,
    Operator,
}

/// A point where an order waits for a person.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "Gate", remote = "workflows::Gate", rename_all = "snake_case")]
pub(crate) enum GateName {
    Deposit,
    Acceptance,
    ProductionStart,
    ProductionFinish,
    Dispatch,
    Handover,
    Receipt,
}

/// How an order is paid.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "PaymentMethod", remote = "workflows::PaymentMethod", rename_all = "snake_case")]
pub(crate) enum PaymentMethodName {
    Card,
    Deposit,
}

/// Where an order's money is.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "PaymentState", remote = "workflows::PaymentState", rename_all = "snake_case")]
pub(crate) enum PaymentStateName {
    None,
    Pending,
    Approved,
    Declined,
    Cancelled,
    Refunded,
}

/// What moved money.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "EntryKind", remote = "payment::EntryKind", rename_all = "snake_case")]
pub(crate) enum EntryKindName {
    Charge,
    Deposit,
    Refund,
}

/// When a coupon is issued.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "CouponKind", remote = "workflows::lifecycle::CouponRule", rename_all = "snake_case")]
pub(crate) enum CouponKindName {
    BeforeDelivery,
    AfterDelivery,
}

/// Whether a coupon can be used.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "CouponState", remote = "workflows::promotion::CouponState", rename_all = "snake_case")]
pub(crate) enum CouponStateName {
    Issued,
    Cancelled,
}

/// How far a message is: `pending` is tried again, `failed` is not, unless it is replayed.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "MessageState", remote = "workflows::notification::MessageState", rename_all = "snake_case")]
pub(crate) enum MessageStateName {
    Pending,
    Delivered,
    Failed,
}

/// How far a delivery is.
#[derive(Clone, Copy, Enum)]
#[oai(rename = "DeliveryState", remote = "workflows::DeliveryState", rename_all = "snake_case")]
pub(crate) enum DeliveryStateName {
    Requested,
    InDelivery,
    Delivered,
    Cancelled,
}
