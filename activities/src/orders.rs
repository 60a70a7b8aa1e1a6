//! The book of orders: numbered events and, in the same transaction, the order that they make.

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};
use workflows::order::{Entry, Event, OrderBook, OrderFilter, Recorded};
use workflows::{Order, OrderId, ProviderError};

use crate::store::{Database, StoreError};

const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS events SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS orders SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_place ON orders FIELDS place;
    DEFINE INDEX IF NOT EXISTS by_status ON orders FIELDS status, place;
    DEFINE INDEX IF NOT EXISTS by_merchant ON orders FIELDS merchant_id, place;
    DEFINE INDEX IF NOT EXISTS by_customer ON orders FIELDS customer_id, place;
";

pub struct Orders {
    database: Database,
}

impl Orders {
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        database.define(TABLES).await?;
        Ok(Self { database })
    }

    async fn events_after(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, StoreError> {
        let last = after.saturating_add(limit);
        let mut answers = self
            .database
            .run(
                "SELECT VALUE doc FROM events:[$id, $first]..=[$id, $last]",
                &json!({ "id": id, "first": u64::from(after) + 1, "last": last }),
            )
            .await?;
        answers.read(0)
    }

    async fn append(&self, order: &Order, events: &[Event]) -> Result<(), StoreError> {
        let rows: Vec<Value> =
            events.iter().map(|event| json!({ "id": [event.order_id, event.number], "doc": event })).collect();
        self.database
            .run(
                "BEGIN;
                 INSERT INTO events $events;
                 UPSERT type::record('orders', $id) CONTENT $order;
                 COMMIT;",
                &json!({
                    "id": order.id,
                    "events": rows,
                    "order": {
                        "place": place(order.placed_at, &order.id),
                        "status": order.status,
                        "merchant_id": order.merchant_id,
                        "customer_id": order.customer_id,
                        "doc": order,
                    },
                }),
            )
            .await
            .map(drop)
    }
}

/// Where an order stands in a listing by time: sorts as text, and no two orders share one.
fn place(placed_at: DateTime<Utc>, id: &OrderId) -> String {
    format!("{}-{id}", padded(placed_at))
}

/// Sorts as text as the time does, for any time that a caller can name.
fn padded(at: DateTime<Utc>) -> String {
    format!("{:020}", at.timestamp_micros().max(0))
}

#[async_trait]
impl OrderBook for Orders {
    async fn record(&self, entry: Entry<'_>) -> Result<Recorded, ProviderError> {
        let mut order = entry.before.cloned();
        let mut heard: Vec<Event> = Vec::new();
        loop {
            let at = self.now();
            let first = order.as_ref().map_or(0, |order| order.version) + 1;
            let events: Vec<Event> = (first..)
                .zip(entry.facts)
                .map(|(number, fact)| Event {
                    order_id: entry.order_id.clone(),
                    number,
                    at,
                    step: entry.step,
                    fact: fact.clone(),
                })
                .collect();
            let after = events.iter().fold(order.clone(), Order::after);
            let after = after.ok_or_else(|| ProviderError::impossible("an order begins with its placement"))?;
            match self.append(&after, &events).await {
                Ok(()) => {
                    heard.extend(events);
                    return Ok(Recorded { events: heard });
                }
                // An earlier attempt, of this step or of one that was interrupted, wrote without being heard.
                Err(StoreError::Exists) => {
                    let missed = self.events_after(entry.order_id, first - 1, u32::MAX).await?;
                    order = missed.iter().fold(order, Order::after);
                    let recorded = missed.iter().any(|event| event.step == entry.step);
                    heard.extend(missed);
                    if recorded {
                        return Ok(Recorded { events: heard });
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    async fn events(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, ProviderError> {
        Ok(self.events_after(id, after, limit).await?)
    }

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError> {
        let mut answers =
            self.database.run("SELECT VALUE doc FROM ONLY type::record('orders', $id)", &json!({ "id": id })).await?;
        Ok(answers.read(0)?)
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, ProviderError> {
        let mut conditions = Vec::new();
        let mut variables = json!({ "limit": filter.limit });
        let mut require = |condition: &'static str, name: &str, value: Value| {
            conditions.push(condition);
            variables[name] = value;
        };
        if let Some(status) = filter.status {
            require("status = $status", "status", json!(status));
        }
        if let Some(merchant_id) = &filter.merchant_id {
            require("merchant_id = $merchant_id", "merchant_id", json!(merchant_id));
        }
        if let Some(customer_id) = &filter.customer_id {
            require("customer_id = $customer_id", "customer_id", json!(customer_id));
        }
        // A place starts with the time, padded; '~' sorts after every character of a place.
        if let Some(after) = filter.placed_after {
            require("place > $after", "after", json!(format!("{}~", padded(after))));
        }
        if let Some(before) = filter.placed_before {
            require("place < $before", "before", json!(padded(before)));
        }
        if let Some((placed_at, id)) = &filter.beyond {
            require("place < $beyond", "beyond", json!(place(*placed_at, id)));
        }
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let statement = format!("SELECT VALUE doc FROM orders WHERE {conditions} ORDER BY place DESC LIMIT $limit");
        Ok(self.database.run(&statement, &variables).await?.read(0)?)
    }
}

#[cfg(test)]
#[path = "orders_test.rs"]
mod tests;
