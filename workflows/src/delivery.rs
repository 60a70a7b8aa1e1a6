//! Delivery: the vocabulary and the port. The adapter is in `activities/src/delivery/`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{DeliveryId, MerchantId, OrderId, ProviderError, provider::Undo};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Requested,
    InDelivery,
    Delivered,
    Cancelled,
}

/// A delivery as the delivery context knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Debug)]
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
    async fn start(&self, order_id: &OrderId) -> Result<(), ProviderError>;
    async fn complete(&self, order_id: &OrderId) -> Result<(), ProviderError>;

    /// Calls the delivery off, or makes sure that none begins.
    async fn cancel(&self, order_id: &OrderId) -> Result<Undo, ProviderError>;

    /// Deliveries, newest first; that of one order where one is named.
    async fn deliveries(&self, order_id: Option<&OrderId>, limit: u32) -> Result<Vec<Delivery>, ProviderError>;
}
