//! Delivery: the vocabulary and the port. The adapter is in `activities/src/delivery/`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::provider::{Listing, OrderRef, Undo};
use crate::{DeliveryId, MerchantId, OrderId, ProviderError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Requested,
    InDelivery,
    Delivered,
    Cancelled,
}

/// A delivery as the delivery context knows it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    pub id: DeliveryId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub recipient: String,
    pub phone: String,
    pub address: String,
    pub state: DeliveryState,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What is to be brought where.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryRequest {
    pub delivery_id: DeliveryId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub recipient: String,
    pub phone: String,
    pub address: String,
}

/// What the order workflow and the API ask of the delivery context. Every call is idempotent by order.
#[async_trait]
pub trait Deliveries: Send + Sync {
    async fn request(&self, request: &DeliveryRequest) -> Result<(), ProviderError>;
    async fn start(&self, order: &OrderRef) -> Result<(), ProviderError>;
    async fn complete(&self, order: &OrderRef) -> Result<(), ProviderError>;

    /// Calls the delivery off, or makes sure that none begins.
    async fn cancel(&self, order: &OrderRef) -> Result<Undo, ProviderError>;

    /// Deliveries, newest first.
    async fn deliveries(&self, listing: &Listing) -> Result<Vec<Delivery>, ProviderError>;
}
