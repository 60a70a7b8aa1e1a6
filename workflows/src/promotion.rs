//! Promotion: the vocabulary and the port. The adapter is in `activities/src/promotion/`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lifecycle::CouponRule;
use crate::provider::{Listing, OrderRef, Undo};
use crate::{CouponId, MerchantId, OrderId, ProviderError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CouponState {
    Issued,
    Cancelled,
}

/// A coupon as the promotion context knows it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Coupon {
    pub id: CouponId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub kind: CouponRule,
    pub state: CouponState,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A coupon that is to be issued.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CouponRequest {
    pub coupon_id: CouponId,
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub kind: CouponRule,
}

/// What the order workflow and the API ask of the promotion context. Every call is idempotent by order.
#[async_trait]
pub trait Promotions: Send + Sync {
    async fn issue(&self, request: &CouponRequest) -> Result<(), ProviderError>;

    /// Makes the coupon worthless, or makes sure that none is issued.
    async fn revoke(&self, order: &OrderRef) -> Result<Undo, ProviderError>;

    /// Coupons, newest first.
    async fn coupons(&self, listing: &Listing) -> Result<Vec<Coupon>, ProviderError>;
}
