//! The money book: payments, each with its entries in the ledger. Every call is one transaction, and moves a payment by
//! the state that it is in and by nothing else. It knows no cards, and decides nothing.

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflows::payment::{AuditQuery, Audited, Due, LedgerEntry, Payment};
use workflows::provider::Listing;
use workflows::{PaymentId, ProviderError};

/// A payment's state in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Pending,
    Approved,
    Declined,
    Cancelled,
    Refunded,
    /// The money came when it was expected no more, and went back. Listed as refunded, but no refund was ever asked for,
    /// and a repeated one must answer what it answered before the money came.
    Returned,
}

/// Where a payment stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Standing {
    pub state: State,
    /// It was called off before it was opened.
    pub void: bool,
    /// Why it was declined.
    pub reason: Option<String>,
}

/// A payment as it is first written.
pub struct Opening<'a> {
    pub due: &'a Due,
    pub state: State,
    pub void: bool,
    pub reason: Option<&'a str>,
}

/// How often a charge was tried, and when it was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Attempts {
    pub count: u32,
    pub first_at: DateTime<Utc>,
}

/// Where payments and their ledger are kept.
#[async_trait]
pub trait Book: Send + Sync {
    async fn find(&self, id: &PaymentId) -> Result<Option<Standing>, ProviderError>;

    /// Writes a payment with its first entry; `false` where there is one already, which then stays as it is.
    async fn create(&self, opening: &Opening<'_>, entry: Option<&LedgerEntry>) -> Result<bool, ProviderError>;

    /// Moves a payment together with the entries of the move, where it is in `from`. Answers where it stands then.
    async fn advance(
        &self,
        id: &PaymentId,
        from: State,
        to: State,
        entries: &[LedgerEntry],
    ) -> Result<Option<Standing>, ProviderError>;

    /// Counts one more attempt at a charge.
    async fn attempt(&self, id: &PaymentId) -> Result<Attempts, ProviderError>;

    /// Payments, newest first.
    async fn list(&self, listing: &Listing) -> Result<Vec<Payment>, ProviderError>;

    /// Payments and what is booked, by payment id, ascending, as they are written.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError>;
}

/// What is written under a payment's id, as far as it can be read.
pub fn audited(id: String, payment: Option<Value>, entries: impl IntoIterator<Item = Value>) -> Audited {
    let mut unreadable = 0;
    let mut read = Audited { id, payment: None, entries: Vec::new(), unreadable };
    read.payment = payment.and_then(|payment| serde_json::from_value(payment).map_err(|_| unreadable += 1).ok());
    for entry in entries {
        match serde_json::from_value(entry) {
            Ok(entry) => read.entries.push(entry),
            Err(_) => unreadable += 1,
        }
    }
    Audited { unreadable, ..read }
}

/// The time, as exactly as every store keeps it.
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
