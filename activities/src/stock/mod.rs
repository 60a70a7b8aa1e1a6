//! Stock, built in: products, and one hold for each order. A hold's state says what an order took, so that every
//! call can be repeated.

mod moves;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use workflows::provider::{OrderRef, Undo};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock};
use workflows::{Context, MerchantId, ProviderError, Sku};

use self::moves::{Hold, Move};

use crate::Modes;
use crate::store::{Database, StoreError, Variables, records};
use crate::together::Together;

const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS products SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS holds SCHEMALESS;
";

const PUT_PRODUCT: &str = "
    BEGIN;
    LET $product = type::record('products', [$merchant, $sku]);
    LET $reserved = (SELECT VALUE reserved FROM ONLY $product) ?? 0;
    IF $on_hand != NONE AND $on_hand < $reserved { THROW <string>$reserved; };
    UPSERT $product CONTENT {
        merchant_id: $merchant, sku: $sku, name: $name, unit_price: $unit_price,
        on_hand: $on_hand, reserved: $reserved
    };
    SELECT * FROM ONLY $product;
    COMMIT;
";

/// What became of what an order wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HoldState {
    Held,
    Refused,
    Committed,
    Released,
    Restocked,
    /// Released before it was ever held: a hold that comes later is refused.
    Void,
}

pub struct BuiltIn {
    database: Database,
    moves: Together<Move, Option<Hold>>,
    /// Reads products by their SKUs.
    found: Together<ProductQuery, Vec<Product>>,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub async fn open(database: Database, modes: Arc<Modes>) -> Result<Self, StoreError> {
        database.define(TABLES).await?;
        let to = database.clone();
        let make = move |all: &[Move]| {
            let (to, all) = (to.clone(), all.to_vec());
            async move { moves::make(&to, &all).await }
        };
        let from = database.clone();
        let find = move |queries: &[ProductQuery]| {
            let (from, queries) = (from.clone(), queries.to_vec());
            async move { find(&from, &queries).await }
        };
        Ok(Self { moves: Together::start(make), found: Together::start(find), database, modes })
    }

    /// Makes a move, and tells the state that the hold has then.
    async fn make(&self, one: Move) -> Result<HoldState, ProviderError> {
        self.modes.pass(Context::Stock).await?;
        let nothing = format!("nothing is held for {}", one.order_id());
        let hold = self.moves.run(one).await?.ok_or_else(|| ProviderError::impossible(nothing))?;
        Ok(hold.state)
    }
}

#[async_trait]
impl Stock for BuiltIn {
    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, ProviderError> {
        self.modes.pass(Context::Stock).await?;
        match self.moves.run(Move::Reserve(reservation.clone())).await? {
            Some(Hold { state: HoldState::Held | HoldState::Committed, .. }) => Ok(Reserved::Held),
            Some(Hold { state: HoldState::Refused, sku: Some(sku), available, .. }) => {
                Ok(Reserved::OutOfStock { sku, available: available.unwrap_or(0) })
            }
            _ => Err(ProviderError::impossible(format!("the hold for {} was released before", reservation.order_id))),
        }
    }

    async fn release(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(match self.make(Move::Release(order_id.clone())).await? {
            HoldState::Released => Undo::Undone,
            _ => Undo::Nothing,
        })
    }

    async fn commit(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<(), ProviderError> {
        match self.make(Move::Commit(order_id.clone())).await? {
            HoldState::Committed => Ok(()),
            state => Err(ProviderError::impossible(format!("the hold for {order_id} is {state:?}"))),
        }
    }

    async fn restock(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(match self.make(Move::Restock(order_id.clone())).await? {
            HoldState::Restocked => Undo::Undone,
            _ => Undo::Nothing,
        })
    }

    async fn put_product(&self, product: &Product) -> Result<ProductPut, ProviderError> {
        self.modes.pass(Context::Stock).await?;
        let mut variables = json!({
            "merchant": product.merchant_id, "sku": product.sku, "name": product.name,
            "unit_price": product.unit_price,
        });
        if let Some(on_hand) = product.on_hand {
            variables["on_hand"] = json!(on_hand);
        }
        match self.database.run(PUT_PRODUCT, &variables).await {
            Ok(mut answers) => Ok(ProductPut::Saved(answers.read(5)?)),
            Err(StoreError::Thrown(reserved)) => Ok(ProductPut::BelowReserved { reserved: number(&reserved)? }),
            Err(error) => Err(error.into()),
        }
    }

    async fn products(&self, query: &ProductQuery) -> Result<Vec<Product>, ProviderError> {
        self.modes.pass(Context::Stock).await?;
        if !query.skus.is_empty() {
            return Ok(self.found.run(query.clone()).await?);
        }
        let statement = "SELECT * FROM products:[$merchant, NONE]..[$merchant, []] ORDER BY sku";
        Ok(self.database.run(statement, &json!({ "merchant": query.merchant_id })).await?.read(0)?)
    }
}

/// What each query is for, by SKU.
async fn find(database: &Database, queries: &[ProductQuery]) -> Result<Vec<Vec<Product>>, StoreError> {
    let ids: BTreeSet<(&MerchantId, &Sku)> =
        queries.iter().flat_map(|query| query.skus.iter().map(|sku| (&query.merchant_id, sku))).collect();
    let named = Variables::default().with("ids", records("products", ids.into_iter().map(|id| json!(id))));
    let found: Vec<Product> = database.run("SELECT * FROM $ids ORDER BY sku", named).await?.read(0)?;
    let is_named = |query: &ProductQuery, product: &Product| {
        product.merchant_id == query.merchant_id && query.skus.contains(&product.sku)
    };
    let answer = |query| found.iter().filter(|product| is_named(query, product)).cloned().collect();
    Ok(queries.iter().map(answer).collect())
}

fn number(thrown: &str) -> Result<i64, ProviderError> {
    thrown
        .rsplit(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ProviderError::impossible(format!("thrown: {thrown}")))
}

#[cfg(test)]
#[path = "stock_test.rs"]
mod tests;
