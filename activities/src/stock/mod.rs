//! Stock, built in: products, and one hold for each order. A hold's state says what an order took, so that every
//! call can be repeated.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use workflows::provider::{OrderRef, Undo};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock};
use workflows::{Context, OrderId, ProviderError, Sku};

use crate::Modes;
use crate::store::{Database, StoreError};

const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS products SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS holds SCHEMALESS;
";

// `on_hand` is absent (NONE) where the merchant does not track stock; such lines take nothing.
const RESERVE: &str = "
    BEGIN;
    CREATE type::record('holds', $order) CONTENT { state: 'held', lines: $lines } RETURN NONE;
    FOR $line IN $lines {
        LET $product = type::record('products', [$merchant, $line.sku]);
        LET $now = (SELECT on_hand, reserved FROM ONLY $product);
        IF $now.on_hand != NONE {
            IF $now.on_hand - $now.reserved < $line.quantity {
                THROW $line.sku + ' ' + <string>($now.on_hand - $now.reserved);
            };
            UPDATE $product SET reserved += $line.quantity RETURN NONE;
            UPDATE type::record('holds', $order) SET taken += { product: $product, quantity: $line.quantity } RETURN NONE;
        };
    };
    COMMIT;
";

const RELEASE: &str = "
    BEGIN;
    LET $hold = (SELECT * FROM ONLY type::record('holds', $order));
    IF $hold = NONE {
        CREATE type::record('holds', $order) CONTENT { state: 'void' };
    } ELSE IF $hold.state = 'held' {
        FOR $line IN $hold.taken ?? [] { UPDATE $line.product SET reserved -= $line.quantity; };
        UPDATE type::record('holds', $order) SET state = 'released';
    } ELSE IF $hold.state = 'committed' {
        FOR $line IN $hold.taken ?? [] { UPDATE $line.product SET on_hand += $line.quantity WHERE on_hand != NONE; };
        UPDATE type::record('holds', $order) SET state = 'released';
    };
    SELECT VALUE state FROM ONLY type::record('holds', $order);
    COMMIT;
";

const COMMIT: &str = "
    BEGIN;
    LET $hold = (SELECT * FROM ONLY type::record('holds', $order));
    IF $hold.state = 'held' {
        FOR $line IN $hold.taken ?? [] {
            UPDATE $line.product SET
                reserved -= $line.quantity,
                on_hand = IF on_hand != NONE { on_hand - $line.quantity }
                RETURN NONE;
        };
        UPDATE type::record('holds', $order) SET state = 'committed' RETURN NONE;
    };
    SELECT VALUE state FROM ONLY type::record('holds', $order);
    COMMIT;
";

const RESTOCK: &str = "
    BEGIN;
    LET $hold = (SELECT * FROM ONLY type::record('holds', $order));
    IF $hold.state = 'committed' {
        FOR $line IN $hold.taken ?? [] { UPDATE $line.product SET on_hand += $line.quantity WHERE on_hand != NONE; };
        UPDATE type::record('holds', $order) SET state = 'restocked';
    };
    SELECT VALUE state FROM ONLY type::record('holds', $order);
    COMMIT;
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

/// What an order took of the stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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

#[derive(Deserialize)]
struct Hold {
    state: HoldState,
    sku: Option<Sku>,
    available: Option<i64>,
}

pub struct BuiltIn {
    database: Database,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub async fn open(database: Database, modes: Arc<Modes>) -> Result<Self, StoreError> {
        database.define(TABLES).await?;
        Ok(Self { database, modes })
    }

    async fn hold(&self, order_id: &OrderId) -> Result<Option<Hold>, StoreError> {
        let statement = "SELECT state, sku, available FROM ONLY type::record('holds', $order)";
        self.database.run(statement, &json!({ "order": order_id })).await?.read(0)
    }

    /// Moves a hold by one of the scripts above, and tells the state that it has then.
    async fn move_hold(&self, script: &str, order_id: &OrderId, answer: usize) -> Result<HoldState, ProviderError> {
        self.modes.pass(Context::Stock).await?;
        let mut answers = self.database.run(script, &json!({ "order": order_id })).await?;
        answers
            .read::<Option<HoldState>>(answer)?
            .ok_or_else(|| ProviderError::impossible(format!("nothing is held for {order_id}")))
    }

    /// Keeps a refusal, so that a repeated call is refused too.
    async fn refuse(&self, order_id: &OrderId, sku: &str, available: &str) -> Result<(), StoreError> {
        let refused = json!({ "state": "refused", "sku": sku, "available": available.parse::<i64>().unwrap_or(0) });
        let statement = "CREATE type::record('holds', $order) CONTENT $refused";
        match self.database.run(statement, &json!({ "order": order_id, "refused": refused })).await {
            Ok(_) | Err(StoreError::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Stock for BuiltIn {
    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, ProviderError> {
        self.modes.pass(Context::Stock).await?;
        let Reservation { order_id, merchant_id, lines } = reservation;
        let variables = json!({ "order": order_id, "merchant": merchant_id, "lines": lines });
        match self.database.run(RESERVE, &variables).await {
            Ok(_) => return Ok(Reserved::Held),
            Err(StoreError::Exists) => {}
            Err(StoreError::Thrown(short)) => {
                let (sku, available) = shortage(&short)?;
                self.refuse(order_id, sku, available).await?;
            }
            Err(error) => return Err(error.into()),
        }
        match self.hold(order_id).await? {
            Some(Hold { state: HoldState::Held | HoldState::Committed, .. }) => Ok(Reserved::Held),
            Some(Hold { state: HoldState::Refused, sku: Some(sku), available }) => {
                Ok(Reserved::OutOfStock { sku, available: available.unwrap_or(0) })
            }
            _ => Err(ProviderError::impossible(format!("the hold for {order_id} was released before"))),
        }
    }

    async fn release(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(match self.move_hold(RELEASE, order_id, 3).await? {
            HoldState::Released => Undo::Undone,
            _ => Undo::Nothing,
        })
    }

    async fn commit(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<(), ProviderError> {
        match self.move_hold(COMMIT, order_id, 3).await? {
            HoldState::Committed => Ok(()),
            state => Err(ProviderError::impossible(format!("the hold for {order_id} is {state:?}"))),
        }
    }

    async fn restock(&self, OrderRef { order_id, .. }: &OrderRef) -> Result<Undo, ProviderError> {
        Ok(match self.move_hold(RESTOCK, order_id, 3).await? {
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
        let ProductQuery { merchant_id, skus } = query;
        let ids: Vec<Value> = skus.iter().map(|sku| json!([merchant_id, sku])).collect();
        let statement = if skus.is_empty() {
            "SELECT * FROM products:[$merchant, NONE]..[$merchant, []] ORDER BY sku"
        } else {
            "SELECT * FROM $ids.map(|$id| type::record('products', $id)) ORDER BY sku"
        };
        let variables = json!({ "merchant": merchant_id, "ids": ids });
        Ok(self.database.run(statement, &variables).await?.read(0)?)
    }
}

/// Reads what `RESERVE` throws: the SKU that is short, and how much of it there is.
fn shortage(thrown: &str) -> Result<(&str, &str), ProviderError> {
    let (sku, available) =
        thrown.rsplit_once(' ').ok_or_else(|| ProviderError::impossible(format!("thrown: {thrown}")))?;
    Ok((sku.rsplit_once(' ').map_or(sku, |(_, sku)| sku), available))
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
