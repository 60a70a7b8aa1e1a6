//! Kitchen: the vocabulary and the port. The adapter is in `activities/src/kitchen/`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stock::Wanted;
use crate::{
    MerchantId, OrderId, ProviderError,
    provider::{OrderRef, Undo},
};

/// What the merchant is to make.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub lines: Vec<Wanted>,
    pub note: Option<String>,
}

/// What the order workflow asks of the merchant's kitchen. Every call is idempotent by order.
#[async_trait]
pub trait Kitchen: Send + Sync {
    /// Puts the order before the merchant, who has not accepted it yet.
    async fn offer(&self, ticket: &Ticket) -> Result<(), ProviderError>;

    /// Takes the offer back, or makes sure that none comes.
    async fn withdraw(&self, order: &OrderRef) -> Result<Undo, ProviderError>;

    /// The merchant begins to make it, whether or not it was offered before.
    async fn start(&self, ticket: &Ticket) -> Result<(), ProviderError>;

    async fn finish(&self, order: &OrderRef) -> Result<(), ProviderError>;

    /// Stops what was begun, or makes sure that nothing begins.
    async fn stop(&self, order: &OrderRef) -> Result<Undo, ProviderError>;
}
