//! Promotion, built in: one coupon for each order.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use workflows::promotion::{Coupon, CouponRequest, Promotions};
use workflows::provider::{Listing, OrderRef, Undo};
use workflows::{Context, OrderId, ProviderError};

use crate::Modes;
use crate::progress::Progress;
use crate::store::{Database, StoreError};

/// A coupon's state in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Issued,
    Cancelled,
    /// Revoked before it was issued: an issue that comes later is refused.
    Void,
}

pub struct BuiltIn {
    coupons: Progress,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub async fn open(database: Database, modes: Arc<Modes>) -> Result<Self, StoreError> {
        Ok(Self { coupons: Progress::open(database, "coupons").await?, modes })
    }

    async fn advance(
        &self,
        order_id: &OrderId,
        from: &'static [&'static str],
        to: &'static str,
    ) -> Result<Option<State>, StoreError> {
        self.coupons.advance(order_id.coupon().as_str(), from, to).await
    }
}

#[async_trait]
impl Promotions for BuiltIn {
    async fn issue(&self, request: &CouponRequest) -> Result<(), ProviderError> {
        self.modes.pass(Context::Promotion).await?;
        let record = json!({
            "order_id": request.order_id, "merchant_id": request.merchant_id, "kind": request.kind, "state": "issued",
        });
        if self.coupons.create(request.coupon_id.as_str(), record).await? {
            return Ok(());
        }
        match self.advance(&request.order_id, &[], "issued").await? {
            Some(State::Issued) => Ok(()),
            state => Err(contradiction(&request.order_id, "issued", state)),
        }
    }

    async fn revoke(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        self.modes.pass(Context::Promotion).await?;
        self.coupons.create(order_id.coupon().as_str(), json!({ "state": "void" })).await?;
        match self.advance(order_id, &["issued"], "cancelled").await? {
            Some(State::Cancelled) => Ok(Undo::Undone),
            Some(State::Void) => Ok(Undo::Nothing),
            state => Err(contradiction(order_id, "revoked", state)),
        }
    }

    async fn coupons(&self, listing: &Listing) -> Result<Vec<Coupon>, ProviderError> {
        self.modes.pass(Context::Promotion).await?;
        let id = listing.order_id.as_ref().map(|id| id.coupon().to_string());
        Ok(self.coupons.list(id, listing.merchant_id.as_ref(), listing.limit).await?)
    }
}

fn contradiction(order_id: &OrderId, wanted: &str, state: Option<State>) -> ProviderError {
    ProviderError::impossible(format!("the coupon of {order_id} cannot be {wanted}: it is {state:?}"))
}

#[cfg(test)]
#[path = "promotion_test.rs"]
mod tests;
