//! Who did what. What people ask of an order is written down together with what it made true; acts of administration are
//! written down before they are done, and what came of them afterwards, so that nothing is done without a trace.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::order::{Actor, Event, Fact, Rejection};
use crate::{AuditId, MerchantId, Order, OrderId, ProviderError, Role};

/// What somebody sets out to do. Holds no secret, and of what was sent only what is named here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    pub by: Actor,
    /// The operation, as the API's document calls it; or the event that it led to, where it was asked of an order.
    pub action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant_id: Option<MerchantId>,
    /// What else it is done to, as the path of a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What else there is to know: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl Act {
    #[must_use]
    pub fn new(by: Actor, action: &'static str) -> Self {
        Self {
            by,
            action: action.to_owned(),
            order_id: None,
            merchant_id: None,
            target: None,
            reason: None,
            details: None,
        }
    }
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub outcome: Outcome,
    /// The type of the problem with which it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// How many came to which end, where it was done to many: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// Nothing was done: it was not possible.
    Refused,
    /// It was tried, and there was no answer: whether it was done is not known.
    Unanswered,
}

/// An act, as it was written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub id: AuditId,
    pub at: DateTime<Utc>,
    #[serde(flatten)]
    pub act: Act,
    /// What came of it. Nothing: it is being done, or whoever did it has died over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

impl AuditEntry {
    /// The entry about what made `events` true of an order, which are those of one step; none where nobody asked for it.
    #[must_use]
    pub fn of(events: &[Event], order: &Order) -> Option<Self> {
        let event = events.iter().find(|event| event.by.is_some())?;
        let act = Act {
            by: event.by.clone()?,
            action: event.fact.name().to_owned(),
            order_id: Some(event.order_id.clone()),
            merchant_id: Some(order.merchant_id.clone()),
            target: None,
            reason: reason(&event.fact),
            details: None,
        };
        let end = End { outcome: Outcome::Done, problem: None, counts: None };
        Some(Self { id: event.order_id.audit(event.number), at: event.at, act, end: Some(end) })
    }
}

fn reason(fact: &Fact) -> Option<String> {
    match fact {
        Fact::CancellationRequested { reason, .. }
        | Fact::OrderRejected { rejection: Rejection::ByMerchant { reason } } => reason.clone(),
        _ => None,
    }
}

/// Which entries; an absent part matches all.
#[derive(Clone, Debug, Default)]
pub struct TrailQuery {
    pub subject: Option<String>,
    pub role: Option<Role>,
    pub action: Option<String>,
    pub order_id: Option<OrderId>,
    pub merchant_id: Option<MerchantId>,
    pub after: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
    /// Only entries after this one in the listing (older).
    pub beyond: Option<(DateTime<Utc>, AuditId)>,
    pub limit: u32,
}

/// Where it is kept who did what. Entries of orders are made by their book, in its own transactions.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Writes down what somebody is about to do.
    async fn begin(&self, act: &Act) -> Result<AuditId, ProviderError>;

    /// Adds what came of it.
    async fn end(&self, id: &AuditId, end: &End) -> Result<(), ProviderError>;

    /// Entries that match, newest first.
    async fn entries(&self, query: &TrailQuery) -> Result<Vec<AuditEntry>, ProviderError>;
}
