//! Looks whether the book of orders is in order: every view is what its events tell, nothing is missing in between, and
//! the tallies are what a recount finds. Only reads, and is meant for a store that nobody writes to meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use workflows::order::Event;
use workflows::{Order, OrderId};

use super::tally::{Changes, parts_of_takings};
use super::{Span, are_of, events, row, with_members};
use crate::store::{Database, StoreError, Variables, records};

/// How many records are read at once.
const PAGE: u32 = 500;
/// How many faults are told one by one; more are only counted.
const TOLD: usize = 1_000;

/// What was found in the book of orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// How many orders were looked at.
    pub orders: u64,
    /// How many events.
    pub events: u64,
    /// How many things are wrong.
    pub wrong: u64,
    /// The first of them.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The order that it is about, as it is written; `None` where it is about no single one.
    pub order_id: Option<String>,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.order_id {
            Some(order_id) => write!(f, "{order_id}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl Examination {
    fn fault(&mut self, order_id: Option<&str>, what: impl Into<String>) {
        self.wrong += 1;
        if self.faults.len() < TOLD {
            self.faults.push(Fault { order_id: order_id.map(str::to_owned), what: what.into() });
        }
    }
}

/// A row of events.
#[derive(Deserialize)]
struct EventRow {
    /// Their order, and the number of the last.
    id: (String, u32),
    /// Absent where they cannot be read.
    #[serde(rename = "doc", deserialize_with = "readable")]
    events: Option<Vec<Event>>,
}

fn readable<'de, D: Deserializer<'de>>(document: D) -> Result<Option<Vec<Event>>, D::Error> {
    Value::deserialize(document).map(|document| events(document).ok())
}

pub async fn examine(database: &Database) -> Result<Examination, StoreError> {
    let mut found = Examination::default();
    let changes = orders(database, &mut found).await?;
    feed(database, &mut found).await?;
    tallies(database, &changes, &mut found).await?;
    Ok(found)
}

/// Goes through all orders and all events side by side; what the tallies must be.
async fn orders(database: &Database, found: &mut Examination) -> Result<Changes, StoreError> {
    let mut changes = Changes::default();
    let mut events = Events::default();
    let mut after = String::new();
    loop {
        let statement = "SELECT *, record::id(id) AS id FROM type::record('orders', $after>..) LIMIT $limit";
        let rows: Vec<Value> = database.run(statement, &json!({ "after": after, "limit": PAGE })).await?.read(0)?;
        let Some(last) = rows.last() else { break };
        after = text(&last["id"]);
        for stored in rows {
            let (id, stored) = (text(&stored["id"]), with_members(stored));
            while let Some((other, _)) = events.next_before(database, &id).await? {
                found.fault(Some(&other), "it has events, and there is no such order");
            }
            let told = events.of(database, &id).await?;
            found.orders += 1;
            order(&id, &stored, &told, &mut changes, found);
        }
    }
    while let Some((other, _)) = events.next_before(database, "~").await? {
        found.fault(Some(&other), "it has events, and there is no such order");
    }
    found.events = events.read;
    Ok(changes)
}

/// One order against its events.
fn order(id: &str, stored: &Value, told: &[EventRow], changes: &mut Changes, found: &mut Examination) {
    let mut events: Vec<Event> = Vec::new();
    for EventRow { id: (_, last), events: row } in told {
        let number = events.len() + 1;
        let fault = match row {
            None => format!("its event {last} cannot be read"),
            Some(row) if !are_of(row, id, *last) => format!("its event {last} is that of another place"),
            Some(row) if row[0].number as usize != number => format!("its event {number} is missing"),
            Some(row) => {
                events.extend(row.iter().cloned());
                continue;
            }
        };
        found.fault(Some(id), fault);
        return;
    }
    let Some(expected) = Order::from_events(&events) else {
        found.fault(Some(id), "its events do not begin with its placement");
        return;
    };
    changes.add(&Changes::between(None, &expected, &events));
    let row = with_members(row(&expected, None));
    // What comes of failures is told by no event.
    for column in ["place", "status", "merchant_id", "customer_id", "moving_since"] {
        if stored[column] != row[column] {
            found.fault(Some(id), differs(&format!("the column {column}"), &stored[column], &row[column]));
        }
    }
    // Compared as orders, so that it makes no difference how they are written down.
    if serde_json::from_value::<Order>(stored["doc"].clone()).is_ok_and(|order| order == expected) {
        return;
    }
    let members = row["doc"].as_object().into_iter().flatten().map(|(name, _)| name);
    let mut differing = members.filter(|name| stored["doc"][name.as_str()] != row["doc"][name.as_str()]).peekable();
    if differing.peek().is_none() {
        found.fault(Some(id), "the view cannot be read");
    }
    for name in differing {
        found.fault(Some(id), differs(&format!("the view's {name}"), &stored["doc"][name], &row["doc"][name]));
    }
}

fn differs(what: &str, is: &Value, told: &Value) -> String {
    format!("{what} is {is}, and its events tell {told}")
}

/// All events, grouped by order, one page at a time.
#[derive(Default)]
struct Events {
    page: std::collections::VecDeque<EventRow>,
    last: Option<(String, u32)>,
    ended: bool,
    read: u64,
}

impl Events {
    async fn peek(&mut self, database: &Database) -> Result<Option<&str>, StoreError> {
        if self.page.is_empty() && !self.ended {
            let (order_id, number) = self.last.clone().unwrap_or_default();
            let statement = "SELECT record::id(id) AS id, doc FROM events:[$order_id, $number]>.. LIMIT $limit";
            let variables = json!({ "order_id": order_id, "number": number, "limit": PAGE });
            let page: Vec<EventRow> = database.run(statement, &variables).await?.read(0)?;
            self.last = page.last().map(|row| row.id.clone()).or_else(|| self.last.take());
            self.ended = page.is_empty();
            self.read += page.iter().map(|row| row.events.as_ref().map_or(1, Vec::len) as u64).sum::<u64>();
            self.page = page.into();
        }
        Ok(self.page.front().map(|row| row.id.0.as_str()))
    }

    /// All events of that order.
    async fn of(&mut self, database: &Database, id: &str) -> Result<Vec<EventRow>, StoreError> {
        let mut rows = Vec::new();
        while self.peek(database).await?.is_some_and(|order_id| order_id == id) {
            rows.extend(self.page.pop_front());
        }
        Ok(rows)
    }

    /// The events of the next order, where it comes before that one.
    async fn next_before(
        &mut self,
        database: &Database,
        id: &str,
    ) -> Result<Option<(String, Vec<EventRow>)>, StoreError> {
        let Some(order_id) = self.peek(database).await?.filter(|order_id| *order_id < id).map(str::to_owned) else {
            return Ok(None);
        };
        let rows = self.of(database, &order_id).await?;
        Ok(Some((order_id, rows)))
    }
}

/// The feed of all events: without a gap from the first position to the last, each event once.
async fn feed(database: &Database, found: &mut Examination) -> Result<(), StoreError> {
    let (mut position, mut after) = (0_u64, 0_u64);
    loop {
        let statement = "SELECT record::id(id)[0] AS last, events FROM feed:[$after]>.. LIMIT $limit";
        let rows: Vec<Value> = database.run(statement, &json!({ "after": after, "limit": PAGE })).await?.read(0)?;
        let Some(end) = rows.last() else { break };
        after = end["last"].as_u64().unwrap_or(u64::MAX);
        let mut spans = Vec::new();
        for row in rows {
            let last = row["last"].as_u64().unwrap_or_default();
            let named: Vec<Span> = serde_json::from_value(row["events"].clone()).unwrap_or_default();
            let count: u64 = named.iter().map(Span::len).sum();
            if last != position + count {
                found.fault(None, format!("the feed goes from position {position} to {last} with {count} events"));
            }
            position = last;
            spans.extend(named);
        }
        let named = Variables::default().with("ids", records("events", spans.iter().map(Span::key)));
        let there: BTreeSet<(OrderId, u32)> = database
            .run("SELECT VALUE record::id(id) FROM $ids", named)
            .await?
            .read::<Vec<_>>(0)?
            .into_iter()
            .collect();
        for Span { order_id, last, .. } in
            spans.iter().filter(|span| !there.contains(&(span.order_id.clone(), span.last)))
        {
            found.fault(Some(order_id.as_str()), format!("its event {last} is in the feed, and does not exist"));
        }
    }
    let statement = "RETURN (SELECT VALUE last FROM ONLY counters:feed) ?? 0";
    let counted: u64 = database.run(statement, &Value::Null).await?.read(0)?;
    if (position, position) != (counted, found.events) {
        let what =
            format!("the feed ends at position {position}, its counter at {counted}, of {} events", found.events);
        found.fault(None, what);
    }
    Ok(())
}

/// What is tallied, against a recount.
async fn tallies(database: &Database, changes: &Changes, found: &mut Examination) -> Result<(), StoreError> {
    let mut answers = database
        .run("SELECT *, record::id(id) AS id FROM tallies; SELECT *, record::id(id) AS id FROM takings", &Value::Null)
        .await?;
    let mut stored = BTreeMap::<String, i64>::new();
    for row in answers.read::<Vec<Value>>(0)? {
        for group in ["statuses", "payments", "deliveries", "standings"] {
            for (name, sum) in row[group].as_object().into_iter().flatten() {
                for part in ["orders", "value"] {
                    let tally = format!("{} {}: {part} of {group}.{name}", text(&row["id"][0]), text(&row["id"][1]));
                    stored.insert(tally, sum[part].as_i64().unwrap_or(i64::MIN));
                }
            }
        }
    }
    for row in answers.read::<Vec<Value>>(1)? {
        let [hour, merchant_id, currency] = [0, 1, 2].map(|part| text(&row["id"][part]));
        for part in parts_of_takings() {
            let tally = format!("{merchant_id} {currency}: {part} in the hour of {hour}");
            stored.insert(tally, row[part].as_i64().unwrap_or(i64::MIN));
        }
    }
    let recount = changes.recount();
    let names = stored.keys().chain(recount.keys()).collect::<std::collections::BTreeSet<_>>();
    for name in names {
        let count = |tallies: &BTreeMap<String, i64>| tallies.get(name).copied().unwrap_or_default();
        let (is, should) = (count(&stored), count(&recount));
        if is != should {
            found.fault(None, format!("the tally of {name} is {is}, and the orders make {should}"));
        }
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
#[path = "examination_test.rs"]
mod tests;
