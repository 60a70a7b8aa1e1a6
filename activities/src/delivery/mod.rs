//! Delivery, built in: one delivery for each order, moved by its own state alone.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use workflows::delivery::{Deliveries, Delivery, DeliveryRequest};
use workflows::provider::{Listing, OrderRef, Undo};
use workflows::{Context, OrderId, ProviderError};

use crate::Modes;
use crate::progress::Progress;
use crate::store::{Database, StoreError};

/// A delivery's state in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Requested,
    InDelivery,
    Delivered,
    Cancelled,
    /// Called off before it was requested: a request that comes later is refused.
    Void,
}

pub struct BuiltIn {
    deliveries: Progress,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub async fn open(database: Database, modes: Arc<Modes>) -> Result<Self, StoreError> {
        Ok(Self { deliveries: Progress::open(database, "deliveries").await?, modes })
    }

    async fn advance(
        &self,
        order_id: &OrderId,
        from: &'static [&'static str],
        to: &'static str,
    ) -> Result<Option<State>, StoreError> {
        self.deliveries.advance(order_id.delivery().as_str(), from, to).await
    }

    async fn create(&self, order_id: &OrderId, record: Value) -> Result<bool, StoreError> {
        self.deliveries.create(order_id.delivery().as_str(), record).await
    }
}

#[async_trait]
impl Deliveries for BuiltIn {
    async fn request(&self, request: &DeliveryRequest) -> Result<(), ProviderError> {
        self.modes.pass(Context::Delivery).await?;
        let record = json!({
            "order_id": request.order_id, "merchant_id": request.merchant_id, "recipient": request.recipient,
            "phone": request.phone, "address": request.address, "state": "requested",
        });
        if self.create(&request.order_id, record).await? {
            return Ok(());
        }
        match self.advance(&request.order_id, &[], "requested").await? {
            Some(State::Requested | State::InDelivery | State::Delivered) => Ok(()),
            state => Err(contradiction(&request.order_id, "requested", state)),
        }
    }

    async fn start(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<(), ProviderError> {
        self.modes.pass(Context::Delivery).await?;
        match self.advance(order_id, &["requested"], "in_delivery").await? {
            Some(State::InDelivery | State::Delivered) => Ok(()),
            state => Err(contradiction(order_id, "started", state)),
        }
    }

    async fn complete(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<(), ProviderError> {
        self.modes.pass(Context::Delivery).await?;
        match self.advance(order_id, &["in_delivery"], "delivered").await? {
            Some(State::Delivered) => Ok(()),
            state => Err(contradiction(order_id, "completed", state)),
        }
    }

    async fn cancel(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        self.modes.pass(Context::Delivery).await?;
        self.create(order_id, json!({ "state": "void" })).await?;
        match self.advance(order_id, &["requested", "in_delivery"], "cancelled").await? {
            Some(State::Cancelled) => Ok(Undo::Undone),
            Some(State::Void) => Ok(Undo::Nothing),
            state => Err(contradiction(order_id, "cancelled", state)),
        }
    }

    async fn deliveries(&self, listing: &Listing) -> Result<Vec<Delivery>, ProviderError> {
        self.modes.pass(Context::Delivery).await?;
        let id = listing.order_id.as_ref().map(|id| id.delivery().to_string());
        Ok(self.deliveries.list(id, listing.merchant_id.as_ref(), listing.limit).await?)
    }
}

fn contradiction(order_id: &OrderId, wanted: &str, state: Option<State>) -> ProviderError {
    ProviderError::impossible(format!("the delivery of {order_id} cannot be {wanted}: it is {state:?}"))
}

#[cfg(test)]
#[path = "delivery_test.rs"]
mod tests;
