//! The book of orders: numbered events and, in the same transaction, the order that they make, its place in the feed of
//! all events, who asked for them, and the tallies behind the dashboard. Decides nothing about an order.

mod audit;
pub mod examination;
pub mod rebuild;
mod tally;
mod turns;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, DurationRound, SubsecRound, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use workflows::audit::AuditEntry;
use workflows::order::{
    Dashboard, DashboardQuery, Entry, Event, Filed, Gate, OrderBook, OrderFilter, Positioned, Reach, Recorded, Trouble,
};
use workflows::{Order, OrderId, ProviderError, Step};

use crate::store::{Answers, Database, StoreError, Variables, records};
use crate::text::{Text, members, read, text};
use crate::together::{self, Together};
use tally::Changes;
use writer::{Append, NotAppended, Writer};

// `place` sorts orders by time. `for_courier` is there for orders that a courier sees: who took it, or nobody yet. `moving_since` is there while an order waits for nobody and is not at its end;
// `still_since` is when it should have gone on: that, to the second, or else when its step began to fail. `awakeable` is there while
// the order waits at a gate.
const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS events SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS orders SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS counters SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS feed SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS tallies SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS takings SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS turns SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_place ON orders FIELDS place;
    DEFINE INDEX IF NOT EXISTS by_status ON orders FIELDS status, place;
    DEFINE INDEX IF NOT EXISTS by_merchant ON orders FIELDS merchant_id, place;
    DEFINE INDEX IF NOT EXISTS by_customer ON orders FIELDS customer_id, place;
    DEFINE INDEX IF NOT EXISTS by_courier ON orders FIELDS for_courier, place;
    DEFINE INDEX IF NOT EXISTS by_stillness ON orders FIELDS still_since;
";

const NOTE_FAILURE: &str = "
    UPDATE type::record('orders', $id) SET
        still_since = IF moving_since OR trouble.step = $step THEN still_since ELSE $since END,
        trouble = {
            step: $step,
            since: IF trouble.step = $step THEN trouble.since ELSE $at END,
            failures: (IF trouble.step = $step THEN trouble.failures ELSE 0 END) + 1,
            at: $at,
            why: $why
        }
    RETURN NONE
";

const FORGET_FAILURES: &str = "
    UPDATE type::record('orders', $id) SET
        trouble = NONE,
        still_since = IF moving_since THEN still_since END
    WHERE trouble != NONE RETURN NONE
";

/// Still since before a time. What is not still has no time, which sorts before every text.
const IS_STUCK: &str = "still_since > '' AND still_since < $stuck";
const IS_NOT_STUCK: &str = "(still_since ?? '~') >= $stuck";

const BY_STILLNESS: &str = "WITH INDEX by_stillness";

/// How much of a failure's text is kept, in characters.
const LONGEST_WHY: usize = 500;

pub struct Orders {
    database: Database,
    rows: Together<String, Option<(Value, Reach)>>,
    writer: Writer,
}

/// A row of the feed: what one transaction wrote.
#[derive(Deserialize)]
struct Written {
    /// The position of the last of the events.
    last: u64,
    events: Vec<Span>,
}

/// Events of one order that were written together, and are one row.
#[derive(Deserialize)]
#[serde(from = "Named")]
struct Span {
    order_id: OrderId,
    first: u32,
    last: u32,
}

/// A span as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Together(OrderId, u32, u32),
    /// Up to 0.1.0-rc.3: each event had a row.
    One(OrderId, u32),
}

impl From<Named> for Span {
    fn from(named: Named) -> Self {
        match named {
            Named::Together(order_id, first, last) => Self { order_id, first, last },
            Named::One(order_id, number) => Self { order_id, first: number, last: number },
        }
    }
}

impl Span {
    /// What the row is called.
    fn key(&self) -> Value {
        json!([self.order_id, self.last])
    }

    fn len(&self) -> u64 {
        u64::from(self.last.saturating_sub(self.first)) + 1
    }
}

/// The events of a row: one, where a build up to 0.1.0-rc.3 wrote it.
fn events(document: Value) -> Result<Vec<Event>, StoreError> {
    match document {
        Value::String(text) if text.starts_with('[') => Ok(serde_json::from_str(&text)?),
        one => Ok(vec![read(one)?]),
    }
}

/// Whether the events of a row are what it is called after: that order's, up to the last of them.
fn are_of(events: &[Event], order_id: &str, last: u32) -> bool {
    let is_of = |(event, back): (&Event, u32)| {
        event.order_id.as_str() == order_id && last.checked_sub(back) == Some(event.number)
    };
    !events.is_empty() && events.iter().rev().zip(0..).all(is_of)
}

impl Orders {
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        database.define(TABLES).await?;
        database.define(audit::TABLE).await?;
        database.define(writer::FUNCTIONS).await?;
        Ok(Self {
            rows: together::rows(database.clone(), "orders", "[doc, { awakeable: awakeable, run: run }]"),
            writer: Writer::start(database.clone()),
            database,
        })
    }

    /// Each row has one event at least, so `limit` rows are enough.
    async fn events_after(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, StoreError> {
        let statement = "SELECT VALUE doc FROM events:[$id, $first]..=[$id, $last] LIMIT $limit";
        let variables = json!({ "id": id, "first": u64::from(after) + 1, "last": u32::MAX, "limit": limit });
        let rows: Vec<Value> = self.database.run(statement, &variables).await?.read(0)?;
        let rows: Vec<_> = rows.into_iter().map(events).collect::<Result<_, _>>()?;
        let events = rows.into_iter().flatten().filter(|event| event.number > after);
        Ok(events.take(limit as usize).collect())
    }

    /// That value of every order that matches, newest first.
    async fn select(&self, what: &str, filter: &OrderFilter) -> Result<Answers, StoreError> {
        let (condition, mut variables) = matching(filter);
        variables["limit"] = json!(filter.limit);
        // Few are stuck at any time, so that index is the short way; the store would not always take it by itself.
        let way = if filter.stuck.is_some_and(|stuck| stuck.are) { BY_STILLNESS } else { "" };
        let statement =
            format!("SELECT VALUE {what} FROM orders {way} WHERE {condition} ORDER BY place DESC LIMIT $limit");
        self.database.run(&statement, &variables).await
    }

    /// Each row of the feed, and each that it names, has one event at least, so `limit` of them are enough.
    async fn feed_after(&self, after: u64, limit: u32) -> Result<Vec<Positioned>, StoreError> {
        let statement = "SELECT record::id(id)[0] AS last, events FROM feed:[$first].. LIMIT $limit";
        let variables = json!({ "first": after.saturating_add(1), "limit": limit });
        let written: Vec<Written> = self.database.run(statement, &variables).await?.read(0)?;
        let mut spans = Vec::new();
        for Written { last, events } in written {
            let mut end = last.saturating_sub(events.iter().map(Span::len).sum());
            for span in events {
                let first = end + 1;
                end += span.len();
                if end > after && spans.len() < limit as usize {
                    spans.push((first, span));
                }
            }
        }
        if spans.is_empty() {
            return Ok(Vec::new());
        }
        let named = Variables::default().with("ids", records("events", spans.iter().map(|(_, span)| span.key())));
        let rows: Vec<Value> = self.database.run("SELECT VALUE doc FROM $ids", named).await?.read(0)?;
        let rows: Vec<_> = rows.into_iter().map(events).collect::<Result<_, _>>()?;
        let positioned = spans.into_iter().zip(rows).flat_map(|((first, _), events)| (first..).zip(events));
        let new = positioned.filter(|(position, _)| *position > after).take(limit as usize);
        Ok(new.map(|(position, event)| Positioned { position, event }).collect())
    }
}

/// What an order's row says besides the order itself. Made anew by every append, which so ends the order's trouble.
fn row(order: &Order, reach: Option<&Reach>) -> Value {
    let moves = !order.status.is_final() && order.gate.is_none();
    let since = moves.then_some(order.updated_at);
    json!({
        "id": order.id,
        "place": place(order.placed_at, &order.id),
        "version": order.version,
        "status": order.status,
        "merchant_id": order.merchant_id,
        "customer_id": order.customer_id,
        "for_courier": for_courier(order),
        "moving_since": since.map(padded),
        "still_since": since.map(|since| padded(whole_second(since))),
        "awakeable": reach.and_then(|reach| reach.awakeable.as_deref()).filter(|_| order.gate.is_some()),
        "run": reach.and_then(|reach| reach.run.as_deref()),
        "doc": text(order),
    })
}

/// The gate that an order has left, and how long it stood there.
fn waited_at(before: &Order, after: &Order) -> Option<(Gate, Duration)> {
    let gate = before.gate.filter(|gate| after.gate != Some(*gate))?;
    Some((gate, (after.updated_at - before.updated_at).to_std().unwrap_or_default()))
}

/// The courier who took the order; empty while it waits for any.
fn for_courier(order: &Order) -> Option<&str> {
    let waits = || order.gate.is_some_and(Gate::is_couriers).then_some("");
    order.courier.as_deref().or_else(waits)
}

/// Where an order stands in a listing by time: sorts as text, and no two orders share one.
fn place(placed_at: DateTime<Utc>, id: &OrderId) -> String {
    format!("{}-{id}", padded(placed_at))
}

/// The whole second: what changes less often than the order does has its index changed less often.
fn whole_second(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(at)
}

/// What `still_since` is compared with, so that an order counts as stuck up to a second late, and never early.
fn still_before(since_before: DateTime<Utc>) -> Value {
    json!(padded(whole_second(since_before)))
}

/// Sorts as text as the time does, for any time that a caller can name.
fn padded(at: DateTime<Utc>) -> String {
    format!("{:020}", at.timestamp_micros().max(0))
}

#[async_trait]
impl OrderBook for Orders {
    async fn record(&self, entry: Entry<'_>) -> Result<Recorded, ProviderError> {
        let mut order = entry.before.cloned();
        // The number of the last event that the workflow knows.
        let known = entry.since.last().map_or(0, |event| event.number);
        let is_news = |event: &Event| event.number > known;
        let mut heard: Vec<Event> = Vec::new();
        loop {
            let version = order.as_ref().map_or(0, |order| order.version);
            let mut events: Vec<Event> = entry.since.iter().filter(|event| event.number > version).cloned().collect();
            events.extend(entry.events(known.max(version), self.now()));
            if events.is_empty() {
                return Ok(Recorded { events: heard });
            }
            let after = events.iter().fold(order.clone(), Order::after);
            let after = after.ok_or_else(|| ProviderError::impossible("an order begins with its placement"))?;
            let events: Arc<[Event]> = events.into();
            let append = Append {
                events: events.clone(),
                order: row(&after, entry.reach),
                before: version,
                changes: Changes::between(order.as_ref(), &after, &events),
                audit: AuditEntry::of(&events, &after).as_ref().map(audit::row),
            };
            match self.writer.append(append).await {
                Ok(()) => {
                    if let Some((gate, waited)) = order.as_ref().and_then(|before| waited_at(before, &after)) {
                        workflows::left_gate(gate, waited);
                    }
                    heard.extend(events.iter().filter(|event| is_news(event)).cloned());
                    return Ok(Recorded { events: heard });
                }
                // An earlier attempt, of this step or of one that was interrupted, wrote without being heard.
                Err(NotAppended::Overtaken) => {
                    let missed = self.events_after(entry.order_id, version, u32::MAX).await?;
                    if missed.is_empty() {
                        return Err(ProviderError::unavailable(
                            "its row is there without its events: see `jumun rebuild`",
                        ));
                    }
                    order = missed.iter().fold(order, Order::after);
                    heard.extend(missed.into_iter().filter(is_news));
                    if entry.facts.is_empty() {
                        continue;
                    }
                    if let Some(own) = heard.iter().rposition(|event| event.step == entry.step) {
                        // What comes after it is for whoever has gone on.
                        heard.truncate(own + 1);
                        // That it was not heard was noted as a failure after it was written.
                        self.forget_failures(entry.order_id).await?;
                        return Ok(Recorded { events: heard });
                    }
                    // An attempt that was left for dead comes back: others have ended the order meanwhile.
                    let over = order
                        .as_ref()
                        .is_some_and(|order| order.status.is_final() || order.status == workflows::Status::Cancelling);
                    if over && (entry.step.undo().is_some() || entry.step == Step::DeliveryComplete) {
                        return Err(ProviderError::unavailable("the order has ended meanwhile"));
                    }
                }
                Err(error) => return Err(ProviderError::unavailable(error)),
            }
        }
    }

    async fn settled(&self) {
        drop(self.writer.beside().await);
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    async fn events(&self, id: &OrderId, after: u32, limit: u32) -> Result<Vec<Event>, ProviderError> {
        Ok(self.events_after(id, after, limit).await?)
    }

    async fn feed(&self, after: u64, limit: u32) -> Result<Vec<Positioned>, ProviderError> {
        Ok(self.feed_after(after, limit).await?)
    }

    async fn last_position(&self) -> Result<u64, ProviderError> {
        let mut answers = self.database.run("SELECT VALUE last FROM ONLY counters:feed", &json!({})).await?;
        Ok(answers.read::<Option<u64>>(0)?.unwrap_or_default())
    }

    fn written(&self) -> broadcast::Receiver<Arc<[Positioned]>> {
        self.writer.written()
    }

    async fn order(&self, id: &OrderId) -> Result<Option<Order>, ProviderError> {
        Ok(self.order_with_reach(id).await?.map(|(order, _)| order))
    }

    async fn order_with_reach(&self, id: &OrderId) -> Result<Option<(Order, Reach)>, ProviderError> {
        let row = self.rows.run(id.to_string()).await?;
        Ok(row.map(|(document, reach)| Ok::<_, StoreError>((read(document)?, reach))).transpose()?)
    }

    async fn note_awakeable(&self, id: &OrderId, version: u32, awakeable: &str) -> Result<(), ProviderError> {
        let _turn = self.writer.beside().await;
        let statement =
            "UPDATE type::record('orders', $id) SET awakeable = $awakeable WHERE version = $version RETURN NONE";
        self.database.run(statement, &json!({ "id": id, "version": version, "awakeable": awakeable })).await?;
        Ok(())
    }

    async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>, ProviderError> {
        Ok(self.select("doc", filter).await?.read_texts(0)?)
    }

    async fn order_ids(&self, filter: &OrderFilter) -> Result<Vec<OrderId>, ProviderError> {
        Ok(self.select("record::id(id)", filter).await?.read(0)?)
    }

    async fn filed(
        &self,
        only: Option<&OrderId>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Filed>, ProviderError> {
        // A range is read in the order of its ids.
        let ids = if only.is_some() { "$only..=$only" } else { "$after>.." };
        let statement = format!("SELECT record::id(id) AS id, doc FROM type::record('orders', {ids}) LIMIT $limit");
        let variables = json!({ "only": only, "after": after.unwrap_or_default(), "limit": limit });
        let rows: Vec<Value> = self.database.run(&statement, &variables).await?.read(0)?;
        Ok(rows.into_iter().map(filed).collect())
    }

    async fn note_failure(&self, id: &OrderId, step: Step, why: &str) -> Result<(), ProviderError> {
        let now = self.now();
        let why: String = why.chars().take(LONGEST_WHY).collect();
        let variables = json!({ "id": id, "step": step, "at": now, "since": padded(now), "why": why });
        let _turn = self.writer.beside().await;
        self.database.run(NOTE_FAILURE, &variables).await?;
        Ok(())
    }

    async fn forget_failures(&self, id: &OrderId) -> Result<(), ProviderError> {
        let _turn = self.writer.beside().await;
        self.database.run(FORGET_FAILURES, &json!({ "id": id })).await?;
        Ok(())
    }

    async fn trouble(&self, id: &OrderId) -> Result<Option<Trouble>, ProviderError> {
        let statement = "SELECT VALUE trouble FROM ONLY type::record('orders', $id)";
        Ok(self.database.run(statement, &json!({ "id": id })).await?.read(0)?)
    }

    async fn dashboard(&self, query: &DashboardQuery) -> Result<Dashboard, ProviderError> {
        Ok(tally::dashboard(&self.database, query).await?)
    }
}

/// A row with the members of its document, which are to be looked at one by one.
fn with_members(mut row: Value) -> Value {
    row["doc"] = members(row["doc"].take());
    row
}

/// A row as it lies there. An order that is not the one that the row is called after is none.
fn filed(mut row: Value) -> Filed {
    let id = row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned);
    let order = serde_json::from_value::<Text<Box<Order>>>(row["doc"].take()).ok();
    Filed { order: order.map(|Text(order)| order).filter(|order| order.id.as_str() == id), id }
}

/// The condition of a filter, and its variables.
fn matching(filter: &OrderFilter) -> (String, Value) {
    let mut conditions = Vec::new();
    let mut variables = json!({});
    let mut require = |condition: &'static str, name: &str, value: Value| {
        conditions.push(condition);
        variables[name] = value;
    };
    if let Some(status) = filter.status {
        require("status = $status", "status", json!(status));
    }
    if !filter.except.is_empty() {
        require("status NOT IN $except", "except", json!(filter.except));
    }
    if let Some(merchant_id) = &filter.merchant_id {
        require("merchant_id = $merchant_id", "merchant_id", json!(merchant_id));
    }
    if let Some(customer_id) = &filter.customer_id {
        require("customer_id = $customer_id", "customer_id", json!(customer_id));
    }
    if let Some(courier) = &filter.courier {
        require("for_courier IN $couriers", "couriers", json!(["", courier]));
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
    if let Some(stuck) = filter.stuck {
        let condition = if stuck.are { IS_STUCK } else { IS_NOT_STUCK };
        require(condition, "stuck", still_before(stuck.since_before));
    }
    if let Some(step) = filter.failing_step {
        require("trouble.step = $failing_step", "failing_step", json!(step));
    }
    let condition = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    (condition, variables)
}

#[cfg(test)]
#[path = "orders_test.rs"]
pub(super) mod tests;
