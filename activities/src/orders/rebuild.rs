//! Makes what the book of orders derives from its events once more: each order's row, and the tallies behind the
//! dashboard. Only for a store that nobody writes to meanwhile. What is in memory at a time is one batch of orders and
//! the tallies, which grow with merchants and hours but not with orders. It may be interrupted and run again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use workflows::Order;
use workflows::order::{Event, Reach, Trouble};

use super::tally::Changes;
use super::{TABLES, are_of, events, padded, row, with_members};
use crate::store::{Database, Store, StoreError};

/// How many rows of events are read at a time: few in this crate's tests, so that orders lie across pages.
const PAGE: usize = if cfg!(test) { 5 } else { 1_000 };
/// How many orders that are different are named.
const EXAMPLES: usize = 20;

const EVENTS: &str = "SELECT record::id(id) AS key, doc, run, awakeable FROM events:[$id, $number].. LIMIT $limit";

const REPLACE: &str = "
    BEGIN;
    FOR $row IN $rows { UPSERT type::record('orders', $row.id) CONTENT $row.content RETURN NONE; };
    FOR $id IN $strays { DELETE type::record('orders', $id) RETURN NONE; };
    COMMIT;
";

/// What is different from what the events tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// How many orders there are, by their events, and how many events.
    pub orders: u64,
    pub events: u64,
    /// Orders whose row was there, and was different.
    pub different: u64,
    /// Orders that had no row.
    pub missing: u64,
    /// Rows of orders that have no events.
    pub strays: u64,
    /// Rows of the tallies that were different: of how many orders stand where, and of what each hour took.
    pub tallies: u64,
    pub takings: u64,
    /// Some of the orders that were different or missing, and of those that have no events.
    pub examples: Vec<String>,
    /// Orders whose events cannot be read, have gaps, or do not begin with a placement. Their rows are left alone, and so
    /// are then all tallies.
    pub unreadable: Vec<String>,
}

impl Rebuilt {
    /// Whether everything was as the events tell.
    #[must_use]
    pub fn is_same(&self) -> bool {
        let Self { different, missing, strays, tallies, takings, unreadable, .. } = self;
        [different, missing, strays, tallies, takings].into_iter().all(|count| *count == 0) && unreadable.is_empty()
    }

    fn name(&mut self, id: &str) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(id.to_owned());
        }
    }
}

/// What becomes of what is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is only reported.
    Report,
    /// It is replaced by what the events tell.
    Replace,
}

/// Compares what is derived from events with what they tell, and replaces it where that is wanted.
///
/// # Errors
/// Where the store cannot be read or written.
pub async fn rebuild(store: &Store, difference: Difference) -> Result<Rebuilt, StoreError> {
    let database = store.database("orders").await?;
    database.define(TABLES).await?;
    let mut rebuild =
        Rebuild { database, difference, rebuilt: Rebuilt::default(), changes: Changes::default(), done_to: None };
    let mut tale: Option<Tale> = None;
    let (mut next, mut told) = ((String::new(), 0), Vec::new());
    loop {
        let rows = rebuild.events_from(&next).await?;
        let is_last = rows.len() < PAGE;
        for Row { key: (id, last), doc, reach } in rows {
            next = (id.clone(), last.saturating_add(1));
            if tale.as_ref().is_some_and(|tale| tale.id != id) {
                told.extend(tale.take());
            }
            tale.get_or_insert_with(|| Tale::new(id)).hear(last, doc, reach);
        }
        if is_last {
            told.extend(tale.take());
        }
        rebuild.compare(std::mem::take(&mut told), is_last).await?;
        if is_last {
            break;
        }
    }
    let Rebuild { database, mut rebuilt, changes, .. } = rebuild;
    if rebuilt.unreadable.is_empty() {
        let replaced = changes.replace(&database, difference == Difference::Replace).await?;
        (rebuilt.tallies, rebuilt.takings) = replaced;
    }
    Ok(rebuilt)
}

#[derive(Deserialize)]
struct Row {
    key: (String, u32),
    doc: Value,
    #[serde(flatten)]
    reach: Reach,
}

/// All events of one order.
struct Tale {
    id: String,
    events: Vec<Event>,
    reach: Reach,
    /// Whether each could be read, and none is missing.
    is_whole: bool,
}

impl Tale {
    fn new(id: String) -> Self {
        Self { id, events: Vec::new(), reach: Reach::default(), is_whole: true }
    }

    /// One row, called after the last of its events.
    fn hear(&mut self, last: u32, doc: Value, reach: Reach) {
        self.reach.run = self.reach.run.take().or(reach.run);
        self.reach.awakeable = reach.awakeable;
        let events = events(doc).unwrap_or_default();
        let is_next = |first: &Event| first.number as usize == self.events.len() + 1;
        self.is_whole &= are_of(&events, &self.id, last) && events.first().is_some_and(is_next);
        self.events.extend(events);
    }

    fn order(&self) -> Option<Order> {
        if self.is_whole { Order::from_events(&self.events) } else { None }
    }
}

struct Rebuild {
    database: Database,
    difference: Difference,
    rebuilt: Rebuilt,
    changes: Changes,
    /// The last order that was compared.
    done_to: Option<String>,
}

impl Rebuild {
    async fn events_from(&self, (id, number): &(String, u32)) -> Result<Vec<Row>, StoreError> {
        let variables = json!({ "id": id, "number": number, "limit": PAGE });
        self.database.run(EVENTS, &variables).await?.read(0)
    }

    /// Compares the rows of these orders, which follow those that were compared before, and of all that are between
    /// them; the last ones also with those that come after them.
    async fn compare(&mut self, told: Vec<Tale>, are_last: bool) -> Result<(), StoreError> {
        let to = told.last().map(|tale| tale.id.clone());
        if to.is_none() && !are_last {
            return Ok(());
        }
        let mut stored = self.stored(to.as_deref().filter(|_| !are_last)).await?;
        let mut rows = Vec::new();
        for tale in told {
            self.rebuilt.orders += 1;
            self.rebuilt.events += tale.events.len() as u64;
            let stored = stored.remove(&tale.id);
            let Some(order) = tale.order() else {
                self.rebuilt.unreadable.push(tale.id);
                continue;
            };
            self.changes.add(&Changes::between(None, &order, &tale.events));
            let content = content(&order, &tale.reach, stored.as_ref());
            match stored {
                Some(stored) if is_same(&order, &content, &stored) => continue,
                Some(_) => self.rebuilt.different += 1,
                None => self.rebuilt.missing += 1,
            }
            self.rebuilt.name(&tale.id);
            rows.push(json!({ "id": tale.id, "content": content }));
        }
        let strays: Vec<String> = stored.into_keys().collect();
        self.rebuilt.strays += strays.len() as u64;
        for id in &strays {
            self.rebuilt.name(id);
        }
        if self.difference == Difference::Replace && !(rows.is_empty() && strays.is_empty()) {
            self.database.run(REPLACE, &json!({ "rows": rows, "strays": strays })).await?;
        }
        self.done_to = to.or(self.done_to.take());
        Ok(())
    }

    /// The rows after those that were compared, up to `to`, by order.
    async fn stored(&self, to: Option<&str>) -> Result<BTreeMap<String, Value>, StoreError> {
        let from = self.done_to.as_deref().map(|id| format!("{}>", quoted(id))).unwrap_or_default();
        let to = to.map(|id| format!("={}", quoted(id))).unwrap_or_default();
        let range = if from.is_empty() && to.is_empty() { String::new() } else { format!(":{from}..{to}") };
        let statement = format!("SELECT *, record::id(id) AS id FROM orders{range}");
        let rows: Vec<Value> = self.database.run(&statement, &Value::Null).await?.read(0)?;
        Ok(rows.into_iter().map(|row| (name(&row["id"]), with_members(row))).collect())
    }
}

/// As part of a statement.
fn quoted(id: &str) -> String {
    format!("`{}`", id.replace('\\', "\\\\").replace('`', "\\`"))
}

fn name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The order's row without its id. What keeps the order from going on is in no event; it is kept as long as nothing has
/// happened to the order since, and otherwise noted again by the next attempt that fails. So is how the order is reached, of which
/// its events know the most.
fn content(order: &Order, reach: &Reach, stored: Option<&Value>) -> Value {
    let mut content = row(order, Some(reach));
    if let Some(members) = content.as_object_mut() {
        members.remove("id");
    }
    let is_of_now = |stored: &&Value| stored["doc"]["version"] == json!(order.version);
    let stored = stored.filter(is_of_now);
    for column in ["awakeable", "run"] {
        if let Some(stored) = stored.map(|stored| &stored[column]).filter(|stored| !stored.is_null()) {
            content[column] = stored.clone();
        }
    }
    let trouble = stored.and_then(|stored| Trouble::deserialize(&stored["trouble"]).ok());
    if let Some(trouble) = trouble {
        if content["still_since"].is_null() {
            content["still_since"] = json!(padded(trouble.since));
        }
        content["trouble"] = json!(trouble);
    }
    content
}

/// Absent and null are the same, and builds up to 0.1.0-rc.3 left the version to the document.
fn is_same(order: &Order, content: &Value, stored: &Value) -> bool {
    let keys =
        ["place", "status", "merchant_id", "customer_id", "moving_since", "still_since", "trouble", "awakeable", "run"];
    keys.iter().all(|key| content[key] == stored[key])
        && (content["version"] == stored["version"] || stored["version"].is_null())
        && Order::deserialize(&stored["doc"]).is_ok_and(|stored| stored == *order)
}

#[cfg(test)]
#[path = "rebuild_test.rs"]
mod tests;
