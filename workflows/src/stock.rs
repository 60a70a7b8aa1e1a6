//! Stock: the vocabulary and the port. The adapter is in `activities/src/stock/`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::provider::{OrderRef, Undo};
use crate::{MerchantId, Money, OrderId, ProviderError, Sku};

/// A merchant's product and how much of it there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    pub merchant_id: MerchantId,
    pub sku: Sku,
    pub name: String,
    pub unit_price: Money,
    /// Pieces in the house; `None` where the merchant does not track stock.
    pub on_hand: Option<i64>,
    /// Pieces of `on_hand` that are held for open orders.
    pub reserved: i64,
}

impl Product {
    /// Pieces that can still be ordered; `None` where stock is not tracked.
    #[must_use]
    pub fn available(&self) -> Option<i64> {
        self.on_hand.map(|on_hand| on_hand - self.reserved)
    }
}

/// Pieces of one product that an order wants. An order names each SKU at most once here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    pub sku: Sku,
    pub quantity: u32,
}

/// What is to be held for an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reservation {
    pub order_id: OrderId,
    pub merchant_id: MerchantId,
    pub lines: Vec<Wanted>,
}

/// Which of a merchant's products are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProductQuery {
    pub merchant_id: MerchantId,
    /// Only those named; all, where it is empty.
    #[serde(default)]
    pub skus: Vec<Sku>,
}

/// How a reservation went. A refusal is an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Reserved {
    Held,
    OutOfStock { sku: Sku, available: i64 },
}

/// What became of a product that was put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ProductPut {
    Saved(Product),
    /// `on_hand` is less than what open orders hold; nothing was changed.
    BelowReserved {
        reserved: i64,
    },
}

/// What the order workflow and the API ask of the stock context.
#[async_trait]
pub trait Stock: Send + Sync {
    /// Holds all lines or none, and never more than there is. Idempotent by order.
    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, ProviderError>;

    /// Gives a hold back. Idempotent; a hold that comes later is refused.
    async fn release(&self, order: &OrderRef) -> Result<Undo, ProviderError>;

    /// Turns a hold into a sale: the pieces leave the house. Idempotent.
    async fn commit(&self, order: &OrderRef) -> Result<(), ProviderError>;

    /// Takes a sale back into the house. Idempotent.
    async fn restock(&self, order: &OrderRef) -> Result<Undo, ProviderError>;

    /// Creates or replaces a product; what is held for open orders stays held.
    async fn put_product(&self, product: &Product) -> Result<ProductPut, ProviderError>;

    /// A merchant's products by SKU.
    async fn products(&self, query: &ProductQuery) -> Result<Vec<Product>, ProviderError>;
}
