//! Merchants, kept beside the orders: who may sell is the order side's business, not a provider's.

use async_trait::async_trait;
use chrono::{SubsecRound, Utc};
use serde_json::{Value, json};
use workflows::merchant::{Merchant, MerchantPut, Merchants};
use workflows::{MerchantId, ProviderError};

use crate::cache::Cache;
use crate::store::{Database, StoreError};
use crate::text::{read, text};
use crate::together::{self, Together};

pub struct MerchantBook {
    database: Database,
    documents: Together<String, Option<Value>>,
    /// Every order asks for its merchant.
    known: Cache<MerchantId, Option<Merchant>>,
}

impl MerchantBook {
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        database.define("DEFINE TABLE IF NOT EXISTS merchants SCHEMALESS").await?;
        Ok(Self {
            documents: together::documents(database.clone(), "merchants"),
            known: Cache::of(&database),
            database,
        })
    }
}

impl MerchantBook {
    async fn read(&self, id: &MerchantId) -> Result<Option<Merchant>, StoreError> {
        let document = self.documents.run(id.to_string()).await?;
        document.map(read).transpose()
    }
}

#[async_trait]
impl Merchants for MerchantBook {
    async fn put(&self, put: &MerchantPut) -> Result<(Merchant, bool), ProviderError> {
        let now = Utc::now().trunc_subsecs(6);
        let before = self.read(&put.id).await?;
        let _changing = self.known.changing(put.id.clone());
        let merchant = Merchant {
            id: put.id.clone(),
            name: put.name.clone(),
            currency: put.currency,
            lifecycle: put.lifecycle.clone(),
            created_at: before.as_ref().map_or(now, |merchant| merchant.created_at),
            updated_at: now,
        };
        self.database
            .run(
                "UPSERT type::record('merchants', $id) CONTENT { doc: $merchant }",
                &json!({ "id": put.id, "merchant": text(&merchant) }),
            )
            .await?;
        Ok((merchant, before.is_none()))
    }

    async fn get(&self, id: &MerchantId) -> Result<Option<Merchant>, ProviderError> {
        if let Some(known) = self.known.get(id) {
            return Ok(known);
        }
        let since = self.known.since();
        let merchant = self.read(id).await?;
        self.known.keep(since, id.clone(), merchant.clone());
        Ok(merchant)
    }

    async fn list(&self) -> Result<Vec<Merchant>, ProviderError> {
        Ok(self.database.run("SELECT VALUE doc FROM merchants ORDER BY id", &Value::Null).await?.read_texts(0)?)
    }
}
