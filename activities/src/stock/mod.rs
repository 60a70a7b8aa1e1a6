//! Stock, built in: products, and one hold for each order. A hold's state says what an order took, so that every
//! call can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use workflows::provider::{OrderRef, Undo};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock};
use workflows::{Context, MerchantId, OrderId, ProviderError, Sku};

use crate::Modes;
use crate::store::{Database, StoreError, Variables, records};
use crate::together::Together;

const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS products SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS holds SCHEMALESS;
";

// Each of these moves all holds that are named by its variable. `on_hand` is absent (NONE) where the merchant does not track
// stock; such lines take nothing.
const RESERVE: &str = "
    FOR $reservation IN $reserve {
        LET $hold = type::record('holds', $reservation.order_id);
        CREATE $hold CONTENT { state: 'held', lines: $reservation.lines } RETURN NONE;
        FOR $line IN $reservation.lines {
            LET $product = type::record('products', [$reservation.merchant_id, $line.sku]);
            LET $now = (SELECT on_hand, reserved FROM ONLY $product);
            IF $now.on_hand != NONE {
                IF $now.on_hand - $now.reserved < $line.quantity {
                    THROW $line.sku + ' ' + <string>($now.on_hand - $now.reserved);
                };
                UPDATE $product SET reserved += $line.quantity RETURN NONE;
                UPDATE $hold SET taken += { product: $product, quantity: $line.quantity } RETURN NONE;
            };
        };
    };
";

const RELEASE: &str = "
    FOR $order IN $release {
        LET $record = type::record('holds', $order);
        LET $hold = (SELECT * FROM ONLY $record);
        IF $hold = NONE {
            CREATE $record CONTENT { state: 'void' } RETURN NONE;
        } ELSE IF $hold.state = 'held' {
            FOR $line IN $hold.taken ?? [] { UPDATE $line.product SET reserved -= $line.quantity RETURN NONE; };
            UPDATE $record SET state = 'released' RETURN NONE;
        } ELSE IF $hold.state = 'committed' {
            FOR $line IN $hold.taken ?? [] {
                UPDATE $line.product SET on_hand += $line.quantity WHERE on_hand != NONE RETURN NONE;
            };
            UPDATE $record SET state = 'released' RETURN NONE;
        };
    };
";

const COMMIT: &str = "
    FOR $order IN $commit {
        LET $record = type::record('holds', $order);
        LET $hold = (SELECT * FROM ONLY $record);
        IF $hold.state = 'held' {
            FOR $line IN $hold.taken ?? [] {
                UPDATE $line.product SET
                    reserved -= $line.quantity,
                    on_hand = IF on_hand != NONE { on_hand - $line.quantity }
                    RETURN NONE;
            };
            UPDATE $record SET state = 'committed' RETURN NONE;
        };
    };
";

const RESTOCK: &str = "
    FOR $order IN $restock {
        LET $record = type::record('holds', $order);
        LET $hold = (SELECT * FROM ONLY $record);
        IF $hold.state = 'committed' {
            FOR $line IN $hold.taken ?? [] {
                UPDATE $line.product SET on_hand += $line.quantity WHERE on_hand != NONE RETURN NONE;
            };
            UPDATE $record SET state = 'restocked' RETURN NONE;
        };
    };
";

const STATES: &str = "SELECT VALUE [record::id(id), state] FROM $holds;";

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

/// What is to become of a hold. A flash sale is many orders that take from one product: moves are made together, and not against
/// each other.
enum Move {
    /// With what it takes, as JSON.
    Reserve(OrderId, Value),
    Release(OrderId),
    Commit(OrderId),
    Restock(OrderId),
}

impl Move {
    fn order_id(&self) -> &OrderId {
        let (Self::Reserve(id, _) | Self::Release(id) | Self::Commit(id) | Self::Restock(id)) = self;
        id
    }
}

/// Many moves in one transaction.
struct Script {
    statements: String,
    variables: Variables,
    /// Whose holds those are.
    orders: Vec<OrderId>,
    /// Which statement tells their states.
    answer: usize,
}

impl Script {
    fn of(moves: &[Move]) -> Self {
        let (mut reserve, mut release, mut commit, mut restock) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for one in moves {
            match one {
                Move::Reserve(_, reservation) => reserve.push(reservation),
                Move::Release(id) => release.push(id),
                Move::Commit(id) => commit.push(id),
                Move::Restock(id) => restock.push(id),
            }
        }
        let orders: Vec<_> = moves.iter().map(|one| one.order_id().clone()).collect();
        let loops = [
            (reserve.is_empty(), RESERVE),
            (release.is_empty(), RELEASE),
            (commit.is_empty(), COMMIT),
            (restock.is_empty(), RESTOCK),
        ];
        let loops: Vec<&str> = loops.into_iter().filter(|(is_empty, _)| !is_empty).map(|(_, made)| made).collect();
        // `BEGIN` is the first.
        let answer = 1 + loops.len();
        let statements = format!("BEGIN; {} {STATES} COMMIT;", loops.concat());
        let made = json!({ "reserve": reserve, "release": release, "commit": commit, "restock": restock });
        let holds = records("holds", orders.iter().map(|id| json!(id)));
        let variables = Variables::from(made).with("holds", holds);
        Self { statements, variables, orders, answer }
    }

    /// The state that each hold has then.
    async fn run(self, database: &Database) -> Result<Vec<Option<HoldState>>, StoreError> {
        let states: Vec<(OrderId, HoldState)> =
            database.run(&self.statements, self.variables).await?.read(self.answer)?;
        let states: BTreeMap<_, _> = states.into_iter().collect();
        Ok(self.orders.iter().map(|id| states.get(id).copied()).collect())
    }
}

pub struct BuiltIn {
    database: Database,
    moves: Together<Move, Option<HoldState>>,
    /// Reads products by their SKUs.
    found: Together<ProductQuery, Vec<Product>>,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub async fn open(database: Database, modes: Arc<Modes>) -> Result<Self, StoreError> {
        database.define(TABLES).await?;
        let to = database.clone();
        let make = move |moves: &[Move]| {
            let (to, script) = (to.clone(), Script::of(moves));
            async move { script.run(&to).await }
        };
        let from = database.clone();
        let find = move |queries: &[ProductQuery]| {
            let (from, queries) = (from.clone(), queries.to_vec());
            async move { find(&from, &queries).await }
        };
        Ok(Self { moves: Together::start(make), found: Together::start(find), database, modes })
    }

    async fn hold(&self, order_id: &OrderId) -> Result<Option<Hold>, StoreError> {
        let statement = "SELECT state, sku, available FROM ONLY type::record('holds', $order)";
        self.database.run(statement, &json!({ "order": order_id })).await?.read(0)
    }

    /// Makes a move, and tells the state that the hold has then.
    async fn make(&self, one: Move) -> Result<HoldState, ProviderError> {
        self.modes.pass(Context::Stock).await?;
        let nothing = format!("nothing is held for {}", one.order_id());
        self.moves.run(one).await?.ok_or_else(|| ProviderError::impossible(nothing))
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
        let order_id = &reservation.order_id;
        match self.moves.run(Move::Reserve(order_id.clone(), json!(reservation))).await {
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
