//! Stock, built in: products, and one hold for each order. A hold's state says what an order took, so that every
//! call can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surrealdb::types::{RecordId, RecordIdKey, SurrealValue};
use workflows::provider::{OrderRef, Undo};
use workflows::stock::{Product, ProductPut, ProductQuery, Reservation, Reserved, Stock, Wanted};
use workflows::{Context, MerchantId, OrderId, ProviderError, Sku};

use crate::Modes;
use crate::store::{Database, StoreError, Variables, record, records};
use crate::together::Together;

const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS products SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS holds SCHEMALESS;
";

/// What is taken of one product, by all orders together. `on_hand` is absent (NONE) where the merchant does not track stock; such
/// products are not asked for.
const TAKE: &str = "
    UPDATE $product_{n} SET reserved = IF on_hand - reserved >= $taken_{n} { reserved + $taken_{n} } ELSE {
        THROW sku + ' ' + <string>(on_hand - reserved)
    } RETURN NONE;
";

const HOLD: &str = "INSERT INTO holds $held RETURN NONE;";

/// What is sold of one product, by all orders together.
const SELL: &str = "
    UPDATE $from_{n} SET reserved -= $sold_{n}, on_hand = IF on_hand != NONE { on_hand - $sold_{n} } RETURN NONE;
";

const COMMIT: &str =
    "UPDATE $committed SET state = IF state = 'held' { 'committed' } ELSE { THROW 'moved' } RETURN NONE;";

/// What `COMMIT` throws where somebody else moved a hold since it was read.
const MOVED: &str = "moved";
/// How often moves are made again because of that.
const MOST_MOVED: usize = 8;

// Each of these moves all holds that are named by its variable, which is rare.
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
#[derive(Clone)]
enum Move {
    Reserve(Reservation),
    Release(OrderId),
    Commit(OrderId),
    Restock(OrderId),
}

impl Move {
    fn order_id(&self) -> &OrderId {
        match self {
            Self::Reserve(reservation) => &reservation.order_id,
            Self::Release(id) | Self::Commit(id) | Self::Restock(id) => id,
        }
    }
}

/// What an order took of a product.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
struct Taken {
    product: RecordId,
    quantity: i64,
}

/// A hold as it lies there.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
struct Held {
    id: RecordId,
    state: String,
    lines: Value,
    taken: Option<Vec<Taken>>,
}

/// What is taken by a hold.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
struct Sale {
    id: RecordId,
    taken: Option<Vec<Taken>>,
}

/// What becomes of holds, by their orders.
type States = BTreeMap<String, HoldState>;

/// Many moves in one transaction.
#[derive(Default)]
struct Script {
    statements: String,
    count: usize,
    variables: Variables,
}

impl Script {
    fn add(&mut self, statement: &str) {
        self.statements += statement;
        self.count += 1;
    }

    fn name(&mut self, name: impl Into<String>, value: impl SurrealValue) {
        self.variables.set(name, value);
    }

    /// Takes from what is tracked, which is read before: whoever changes that meanwhile comes after these. Tells what is held if
    /// this is made.
    async fn reserve(&mut self, database: &Database, reservations: &[&Reservation]) -> Result<States, StoreError> {
        let product = |of: &Reservation, line: &Wanted| (of.merchant_id.clone(), line.sku.clone());
        let lines =
            || reservations.iter().flat_map(|of| of.lines.iter().map(|line| (product(of, line), line.quantity)));
        let wanted: BTreeSet<_> = lines().map(|(product, _)| product).collect();
        let named = Variables::default().with("products", records("products", wanted.iter().map(|id| json!(id))));
        let statement = "SELECT VALUE record::id(id) FROM $products WHERE on_hand != NONE";
        let tracked: BTreeSet<(MerchantId, Sku)> = database.run(statement, named).await?.read(0)?;
        // In the order of their lines, so that the first that is short is told.
        let mut sums: Vec<i64> = Vec::new();
        let mut places = BTreeMap::new();
        for (product, quantity) in lines().filter(|(product, _)| tracked.contains(product)) {
            let n = *places.entry(product).or_insert(sums.len());
            sums.resize(sums.len().max(n + 1), 0);
            sums[n] += i64::from(quantity);
        }
        for (product, n) in places {
            self.name(format!("product_{n}"), record("products", json!(product)));
        }
        for (n, sum) in sums.into_iter().enumerate() {
            self.name(format!("taken_{n}"), sum);
            self.add(&TAKE.replace("{n}", &n.to_string()));
        }
        let held = reservations.iter().map(|of| {
            let taken = of.lines.iter().filter(|line| tracked.contains(&product(of, line))).map(|line| Taken {
                product: record("products", json!(product(of, line))),
                quantity: line.quantity.into(),
            });
            let taken: Vec<_> = taken.collect();
            Held {
                id: record("holds", json!(of.order_id)),
                state: "held".to_owned(),
                lines: json!(of.lines),
                taken: (!taken.is_empty()).then_some(taken),
            }
        });
        self.name("held", held.collect::<Vec<_>>());
        self.add(HOLD);
        Ok(reservations.iter().map(|of| (of.order_id.to_string(), HoldState::Held)).collect())
    }

    /// Sells what is held, which is read before: who moves it meanwhile is not overlooked. Tells what is sold if this is made.
    #[expect(clippy::mutable_key_type, reason = "nothing in a record's key is ever changed")]
    async fn commit(&mut self, database: &Database, orders: &BTreeSet<&OrderId>) -> Result<States, StoreError> {
        let named = Variables::default().with("holds", records("holds", orders.iter().map(|id| json!(id))));
        let statement = "SELECT id, taken FROM $holds WHERE state = 'held'";
        let held: Vec<Sale> = database.run(statement, named).await?.read_values(0)?;
        let mut states = States::new();
        if held.is_empty() {
            return Ok(states);
        }
        let mut sold = BTreeMap::<_, i64>::new();
        let mut committed = Vec::new();
        for Sale { id, taken } in held {
            if let RecordIdKey::String(order_id) = &id.key {
                states.insert(order_id.clone(), HoldState::Committed);
            }
            committed.push(id);
            for Taken { product, quantity } in taken.into_iter().flatten() {
                *sold.entry(product).or_default() += quantity;
            }
        }
        for (n, (product, sum)) in sold.into_iter().enumerate() {
            self.name(format!("from_{n}"), product);
            self.name(format!("sold_{n}"), sum);
            self.add(&SELL.replace("{n}", &n.to_string()));
        }
        self.name("committed", committed);
        self.add(COMMIT);
        Ok(states)
    }

    /// Moves holds one by one.
    fn each(&mut self, statement: &str, name: &str, orders: &BTreeSet<&OrderId>) {
        if !orders.is_empty() {
            self.name(name, json!(orders));
            self.add(statement);
        }
    }
}

/// Makes all moves or none, and tells the state that each hold has then.
async fn make_together(database: &Database, moves: &[Move]) -> Result<Vec<Option<HoldState>>, StoreError> {
    let (mut reserve, mut release, mut commit, mut restock) =
        (Vec::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for one in moves {
        match one {
            Move::Reserve(reservation) => reserve.push(reservation),
            Move::Release(id) => drop(release.insert(id)),
            Move::Commit(id) => drop(commit.insert(id)),
            Move::Restock(id) => drop(restock.insert(id)),
        }
    }
    let mut tries = 0;
    loop {
        let mut script = Script::default();
        script.add("BEGIN;");
        let mut states = States::new();
        if !reserve.is_empty() {
            states.extend(script.reserve(database, &reserve).await?);
        }
        script.each(RELEASE, "release", &release);
        if !commit.is_empty() {
            states.extend(script.commit(database, &commit).await?);
        }
        script.each(RESTOCK, "restock", &restock);
        let unknown = commit.iter().filter(|id| !states.contains_key(id.as_str()));
        let unknown: BTreeSet<_> = unknown.chain(&release).chain(&restock).collect();
        let answer = (!unknown.is_empty()).then_some(script.count);
        if answer.is_some() {
            script.name("holds", records("holds", unknown.iter().map(|id| json!(id))));
            script.add(STATES);
        }
        script.add("COMMIT;");
        match database.run(&script.statements, script.variables).await {
            Ok(mut answers) => {
                if let Some(answer) = answer {
                    states.extend(answers.read::<Vec<(String, HoldState)>>(answer)?);
                }
                return Ok(moves.iter().map(|one| states.get(one.order_id().as_str()).copied()).collect());
            }
            // Where there are others, it may be one of those that moved it, and each is made by itself.
            Err(StoreError::Thrown(why)) if why.ends_with(MOVED) && moves.len() == 1 => {
                tries += 1;
                if tries == MOST_MOVED {
                    return Err(StoreError::Conflicts);
                }
            }
            Err(error) => return Err(error),
        }
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
        let make = move |asked: &[Move]| {
            let (to, asked) = (to.clone(), asked.to_vec());
            async move { make_together(&to, &asked).await }
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
        match self.moves.run(Move::Reserve(reservation.clone())).await {
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
