//! What becomes of holds, and of the stock with them. A flash sale is many orders that take from one product: their moves are made
//! together, and not against each other. What they are made from is read first, and written only if it is still so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;
use serde_json::json;
use surrealdb::types::{Object, SurrealValue};
use workflows::stock::Reservation;
use workflows::{MerchantId, OrderId, Sku};

use super::HoldState;
use crate::store::{Database, StoreError, Variables, record, records};

/// How often what was read may be another one by the time that it is written.
const MOST_CHANGES: u32 = 50;

// `on_hand` is absent (NONE) where the merchant does not track stock; such lines take nothing.
const READ: &str = "
    SELECT record::id(id) AS key, on_hand, reserved FROM $products;
    SELECT record::id(id) AS order_id, state, sku, available,
        (taken ?? []).map(|$line| [record::id($line.product), $line.quantity]) AS taken FROM $holds;
";

/// What is to become of a hold.
#[derive(Clone)]
pub enum Move {
    Reserve(Reservation),
    Release(OrderId),
    Commit(OrderId),
    Restock(OrderId),
}

impl Move {
    pub fn order_id(&self) -> &OrderId {
        match self {
            Self::Reserve(Reservation { order_id, .. })
            | Self::Release(order_id)
            | Self::Commit(order_id)
            | Self::Restock(order_id) => order_id,
        }
    }
}

/// What a product's record is called.
type Key = (MerchantId, Sku);

/// What an order took of the stock.
#[derive(Clone, Debug, Deserialize)]
pub struct Hold {
    pub state: HoldState,
    /// Of a hold that was refused: what was short, and how much of it there was.
    pub sku: Option<Sku>,
    pub available: Option<i64>,
    /// How many pieces of which products, where their stock is tracked.
    #[serde(default)]
    taken: Vec<(Key, i64)>,
}

impl Hold {
    fn of(state: HoldState) -> Self {
        Self { state, sku: None, available: None, taken: Vec::new() }
    }
}

/// How a product's stock changes.
#[derive(Clone, Copy, Default)]
struct Change {
    on_hand: i64,
    reserved: i64,
    /// Whether something is held of it that was not.
    is_taken: bool,
}

/// Holds and products as they were read, and as the moves make them.
struct Shop {
    read: BTreeMap<OrderId, HoldState>,
    holds: BTreeMap<OrderId, Hold>,
    /// Pieces that can still be taken, of products whose stock is tracked.
    available: BTreeMap<Key, i64>,
    reservations: BTreeMap<OrderId, Reservation>,
    changes: BTreeMap<Key, Change>,
}

/// Makes all moves, in one transaction, and tells the hold that there is then for each.
pub async fn make(database: &Database, moves: &[Move]) -> Result<Vec<Option<Hold>>, StoreError> {
    for _ in 0..MOST_CHANGES {
        let mut shop = Shop::read(database, moves).await?;
        for one in moves {
            shop.make(one);
        }
        match shop.write(database).await {
            Ok(()) => return Ok(moves.iter().map(|one| shop.holds.get(one.order_id()).cloned()).collect()),
            // Somebody else has made a move meanwhile.
            Err(StoreError::Exists | StoreError::Thrown(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflicts)
}

impl Shop {
    async fn read(database: &Database, moves: &[Move]) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Shelf {
            key: Key,
            on_hand: Option<i64>,
            reserved: i64,
        }
        #[derive(Deserialize)]
        struct Row {
            order_id: OrderId,
            #[serde(flatten)]
            hold: Hold,
        }
        let reservations = moves.iter().filter_map(|one| match one {
            Move::Reserve(reservation) => Some(reservation),
            _ => None,
        });
        let wanted: BTreeSet<(&MerchantId, &Sku)> = reservations
            .flat_map(|reservation| reservation.lines.iter().map(|line| (&reservation.merchant_id, &line.sku)))
            .collect();
        let orders: BTreeSet<&OrderId> = moves.iter().map(Move::order_id).collect();
        let variables = Variables::default()
            .with("products", records("products", wanted.into_iter().map(|key| json!(key))))
            .with("holds", records("holds", orders.into_iter().map(|id| json!(id))));
        let mut answers = database.run(READ, variables).await?;
        let (shelves, rows): (Vec<Shelf>, Vec<Row>) = (answers.read(0)?, answers.read(1)?);
        let tracked = |shelf: Shelf| shelf.on_hand.map(|on_hand| (shelf.key, on_hand - shelf.reserved));
        let holds: BTreeMap<_, _> = rows.into_iter().map(|row| (row.order_id, row.hold)).collect();
        Ok(Self {
            read: holds.iter().map(|(id, hold)| (id.clone(), hold.state)).collect(),
            holds,
            available: shelves.into_iter().filter_map(tracked).collect(),
            reservations: BTreeMap::new(),
            changes: BTreeMap::new(),
        })
    }

    fn make(&mut self, one: &Move) {
        use HoldState::{Committed, Held, Released, Restocked, Void};
        let id = one.order_id();
        let Some(hold) = self.holds.get_mut(id) else {
            let hold = match one {
                Move::Reserve(reservation) => {
                    self.reservations.insert(id.clone(), reservation.clone());
                    self.reserve(reservation)
                }
                // Nothing was held, and nothing will be.
                Move::Release(_) => Hold::of(Void),
                Move::Commit(_) | Move::Restock(_) => return,
            };
            self.holds.insert(id.clone(), hold);
            return;
        };
        let (state, on_hand, reserved) = match (one, hold.state) {
            (Move::Release(_), Held) => (Released, 0, -1),
            (Move::Release(_), Committed) => (Released, 1, 0),
            (Move::Commit(_), Held) => (Committed, -1, -1),
            (Move::Restock(_), Committed) => (Restocked, 1, 0),
            _ => return,
        };
        hold.state = state;
        for (key, quantity) in &hold.taken {
            let change = self.changes.entry(key.clone()).or_default();
            change.on_hand += on_hand * quantity;
            change.reserved += reserved * quantity;
        }
    }

    /// All lines or none.
    fn reserve(&mut self, reservation: &Reservation) -> Hold {
        let mut taken = Vec::new();
        for line in &reservation.lines {
            let key = (reservation.merchant_id.clone(), line.sku.clone());
            let quantity = i64::from(line.quantity);
            match self.available.get(&key) {
                None => {}
                Some(available) if *available < quantity => {
                    let (sku, available) = (Some(key.1), Some(*available));
                    return Hold { sku, available, ..Hold::of(HoldState::Refused) };
                }
                Some(_) => taken.push((key, quantity)),
            }
        }
        for (key, quantity) in &taken {
            *self.available.entry(key.clone()).or_default() -= quantity;
            let change = self.changes.entry(key.clone()).or_default();
            change.reserved += quantity;
            change.is_taken = true;
        }
        Hold { taken, ..Hold::of(HoldState::Held) }
    }

    /// Writes what has changed; [`StoreError::Exists`] or [`StoreError::Thrown`] where it is not as it was read.
    async fn write(&self, database: &Database) -> Result<(), StoreError> {
        let (mut new, mut moved) = (Vec::new(), BTreeMap::<(HoldState, HoldState), Vec<&OrderId>>::new());
        for (id, hold) in &self.holds {
            match self.read.get(id) {
                None => new.push(self.row(id, hold)),
                Some(state) if *state != hold.state => moved.entry((*state, hold.state)).or_default().push(id),
                Some(_) => {}
            }
        }
        if new.is_empty() && moved.is_empty() {
            return Ok(());
        }
        let (mut statements, mut variables) = (String::from("BEGIN;"), Variables::default());
        let mut taken = Vec::new();
        for (n, (key, change)) in self.changes.iter().enumerate() {
            let product = record("products", json!(key));
            let on_hand = match change.on_hand {
                0 => String::new(),
                pieces => format!(", on_hand = IF on_hand != NONE {{ on_hand + {pieces} }}"),
            };
            write!(statements, "UPDATE $product_{n} SET reserved += {}{on_hand} RETURN NONE;", change.reserved)
                .expect("a string takes everything");
            if change.is_taken {
                taken.push(product.clone());
            }
            variables.set(format!("product_{n}"), product);
        }
        if !taken.is_empty() {
            statements += "IF (SELECT VALUE id FROM $taken WHERE on_hand != NONE AND reserved > on_hand) != [] { THROW 'short' };";
            variables.set("taken", taken);
        }
        if !new.is_empty() {
            statements += "INSERT INTO holds $new RETURN NONE;";
            variables.set("new", new);
        }
        for (n, ((from, to), ids)) in moved.iter().enumerate() {
            write!(
                statements,
                "LET $moved_{n} = (UPDATE $holds_{n} SET state = $to_{n} WHERE state = $from_{n} RETURN VALUE id);
                 IF array::len($moved_{n}) != {} {{ THROW 'moved' }};",
                ids.len()
            )
            .expect("a string takes everything");
            variables.set(format!("holds_{n}"), records("holds", ids.iter().map(|id| json!(id))));
            variables.set(format!("from_{n}"), json!(from));
            variables.set(format!("to_{n}"), json!(to));
        }
        statements += "COMMIT;";
        database.run(&statements, variables).await.map(drop)
    }

    /// A hold that is new, with its id.
    fn row(&self, id: &OrderId, hold: &Hold) -> Object {
        let mut row = Object::default();
        row.insert("id".to_owned(), json!(id).into_value());
        row.insert("state".to_owned(), json!(hold.state).into_value());
        if let Some(reservation) = self.reservations.get(id) {
            row.insert("lines".to_owned(), json!(reservation.lines).into_value());
        }
        if hold.state == HoldState::Refused {
            row.insert("sku".to_owned(), json!(hold.sku).into_value());
            row.insert("available".to_owned(), json!(hold.available).into_value());
        }
        if !hold.taken.is_empty() {
            let line = |(key, quantity): &(Key, i64)| {
                let mut line = Object::default();
                line.insert("product".to_owned(), record("products", json!(key)).into_value());
                line.insert("quantity".to_owned(), quantity.into_value());
                line
            };
            row.insert("taken".to_owned(), hold.taken.iter().map(line).collect::<Vec<_>>().into_value());
        }
        row
    }
}
