//! Merchants: who sells, in which currency, and how their orders live.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Currency, Lifecycle, MerchantId, ProviderError};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merchant {
    pub id: MerchantId,
    pub name: String,
    pub currency: Currency,
    /// The lifecycle of orders placed from now on. An order keeps the one it was placed under.
    pub lifecycle: Lifecycle,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What is said of a merchant when it is put.
#[derive(Clone, Debug)]
pub struct MerchantPut {
    pub id: MerchantId,
    pub name: String,
    pub currency: Currency,
    pub lifecycle: Lifecycle,
}

#[async_trait]
pub trait Merchants: Send + Sync {
    /// Creates or replaces; `true` beside the merchant where it is new.
    async fn put(&self, merchant: &MerchantPut) -> Result<(Merchant, bool), ProviderError>;
    async fn get(&self, id: &MerchantId) -> Result<Option<Merchant>, ProviderError>;
    /// All merchants by id.
    async fn list(&self) -> Result<Vec<Merchant>, ProviderError>;
}
