//! Stock: the vocabulary and the port. The adapter is in `activities/src/stock/`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{MerchantId, Money, OrderId, ProviderError, Sku, provider::Undo};

/// A merchant's product and how much of it there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub sku: Sku,
    pub quantity: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    Held,
    OutOfStock { sku: Sku, available: i64 },
}

/// What became of a product that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    async fn reserve(
        &self,
        order_id: &OrderId,
        merchant_id: &MerchantId,
        wanted: &[Wanted],
    ) -> Result<Reserved, ProviderError>;

    /// Gives a hold back. Idempotent; a hold that comes later is refused.
    async fn release(&self, order_id: &OrderId) -> Result<Undo, ProviderError>;

    /// Turns a hold into a sale: the pieces leave the house. Idempotent.
    async fn commit(&self, order_id: &OrderId) -> Result<(), ProviderError>;

    /// Takes a sale back into the house. Idempotent.
    async fn restock(&self, order_id: &OrderId) -> Result<Undo, ProviderError>;

    /// Creates or replaces a product; what is held for open orders stays held.
    async fn put_product(&self, product: &Product) -> Result<ProductPut, ProviderError>;

    /// A merchant's products by SKU; only those named, where `skus` is not empty.
    async fn products(&self, merchant_id: &MerchantId, skus: &[Sku]) -> Result<Vec<Product>, ProviderError>;
}
