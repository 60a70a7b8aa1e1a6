//! Payment: the vocabulary and the port. The adapters are in `activities/src/payment/`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::provider::{Listing, Undo};
use crate::{MerchantId, Money, OrderId, PaymentId, ProviderError};

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    /// Charged before the order stands.
    Card,
    /// Transferred to the merchant, who confirms it.
    Deposit,
}

/// Where an order's money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Nothing was asked of the payment provider.
    None,
    /// Asked, and the outcome is not known yet.
    Pending,
    Approved,
    Declined,
    /// Called off before money moved.
    Cancelled,
    /// Money moved, and moved back.
    Refunded,
}

/// A provider's token for a card. Never logged: its `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CardToken(pub String);

impl std::fmt::Debug for CardToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CardToken(…)")
    }
}

/// One charge. `payment_id` makes it idempotent: the same id is charged at most once, ever.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Charge {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub amount: Money,
    pub card_token: CardToken,
}

/// A payment that is not a new charge: a deposit to be opened, confirmed or closed, or money to be given back, whether
/// or not it ever arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Due {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub method: PaymentMethod,
    pub amount: Money,
}

/// How a charge went. A refusal is an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Charged {
    Approved,
    Declined { reason: String },
}

/// A payment with its ledger entries, as the payment context knows it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Payment {
    pub id: PaymentId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub method: PaymentMethod,
    pub state: PaymentState,
    pub amount: Money,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub entries: Vec<LedgerEntry>,
}

/// One balanced entry of the double-entry ledger: its postings sum to zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerEntry {
    pub kind: EntryKind,
    pub at: DateTime<Utc>,
    pub postings: Vec<Posting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Charge,
    Deposit,
    Refund,
}

/// One side of an entry. Debits are positive, credits negative, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Posting {
    pub account: String,
    pub amount: Money,
}

/// What the order workflow and the API ask of the payment context.
#[async_trait]
pub trait Payments: Send + Sync {
    /// Takes the money. Repeating it answers as the first time did, without taking more.
    async fn charge(&self, charge: &Charge) -> Result<Charged, ProviderError>;

    /// Gives the money back, or makes sure that it is never taken. Idempotent.
    async fn refund(&self, due: &Due) -> Result<Undo, ProviderError>;

    /// Expects a bank transfer. Idempotent.
    async fn open_deposit(&self, due: &Due) -> Result<(), ProviderError>;

    /// Expects it no more, or makes sure that none is expected. What was confirmed before stays. Idempotent.
    async fn close_deposit(&self, due: &Due) -> Result<Undo, ProviderError>;

    /// The transfer has arrived. Idempotent.
    async fn confirm_deposit(&self, due: &Due) -> Result<(), ProviderError>;

    /// A transfer has arrived for a deposit that is expected no more: it is booked, and goes back at once. Nothing where
    /// the deposit was confirmed in time; unavailable as long as it is still expected. Idempotent.
    async fn return_deposit(&self, due: &Due) -> Result<Undo, ProviderError>;

    /// Payments, newest first.
    async fn payments(&self, listing: &Listing) -> Result<Vec<Payment>, ProviderError>;
}
