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

/// A card's token as it may lie in journals: without the key nobody reads it, and it opens for its own order only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCard {
    /// The id of the key that opens it.
    pub key: String,
    /// Nonce and ciphertext, in base64.
    pub sealed: String,
}

/// Why something that was sealed cannot be opened, or compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaysSealed {
    /// It may come yet: keys are handed out one process after another.
    #[error("the card key {0} is not among those of this process; add it to `payment.card_key`")]
    UnknownKey(String),
    #[error("it was altered, or sealed for another order")]
    Altered,
}

/// Keeps cards out of everything that lasts: journals, events, views. The only one who knows the keys.
pub trait Vault: Send + Sync {
    fn seal(&self, order_id: &OrderId, token: &CardToken) -> SealedCard;

    /// # Errors
    /// Where the key is not here, or what was sealed is not what was asked for.
    fn open(&self, order_id: &OrderId, card: &SealedCard) -> Result<CardToken, StaysSealed>;

    /// A digest of a request that may name a card. Nobody without the key can find out the request by trying.
    fn digest(&self, order_id: &OrderId, request: &str) -> String;

    /// Whether `digest` is that of the order's request.
    ///
    /// # Errors
    /// Where the key with which it was made is not here.
    fn is_digest_of(&self, digest: &str, order_id: &OrderId, request: &str) -> Result<bool, StaysSealed>;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Charge,
    Deposit,
    Refund,
}

impl EntryKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Deposit => "deposit",
            Self::Refund => "refund",
        }
    }
}

/// One side of an entry. Debits are positive, credits negative, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Posting {
    pub account: String,
    pub amount: Money,
}

/// Which payments are to be audited: all of them, page by page, or one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditQuery {
    /// Only the payment of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<PaymentId>,
    /// Only those whose ids come after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// Everything that is written under a payment's id, whether or not it makes sense: for those who prove that it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audited {
    /// As it is written.
    pub id: String,
    /// Absent where there is none to what is booked, or none that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Claim>,
    /// What is booked, in any order. Nobody has looked whether it balances.
    pub entries: Vec<LedgerEntry>,
    /// How many records of this id cannot be read.
    #[serde(default)]
    pub unreadable: u32,
}

/// What a payment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub method: PaymentMethod,
    pub state: PaymentState,
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

    /// Payments and what is booked, by payment id, ascending. After the last one none; a page may be short of its limit
    /// before that.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError>;
}
