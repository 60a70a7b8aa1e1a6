//! The history: which events were told, by which messages, and how every attempt at them went. What is told of an event
//! is decided once and kept; nothing is ever taken out.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use workflows::notification::{
    Message, MessageAttempt, MessageState, MessageSummary, Notice, NoticedEvent, Notification,
};
use workflows::provider::Listing;
use workflows::{MessageId, OrderId};

use super::webhook::{self, Addressees};
use super::{letters, now};
use crate::setup::NotificationSettings;
use crate::store::{Database, StoreError, Variables};
use crate::together::Together;

/// A notice is a row of `notifications`, named after its first event that changed the status, with those that come after it in
/// `also`; and one of `told`, named after its first event, with those before the change, where it does not begin with one. So
/// every event is in one of them, also where nobody had to be told of it: a webhook that comes later is not told either. Notices
/// that make known the same event begin with the same one, so their rows cannot both be inserted; what is left of one that was
/// recorded in part is recorded as if it were one. Up to 0.1.0-rc.3 each event had a row of its own.
const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS told SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS notifications SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_place ON notifications FIELDS place;
    DEFINE INDEX IF NOT EXISTS by_merchant ON notifications FIELDS notification.merchant_id, place;
    DEFINE TABLE IF NOT EXISTS messages SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_webhook ON messages FIELDS webhook, place;
";
/// So many attempts of a message are kept, the latest.
pub const ATTEMPTS: u32 = 50;

/// A message, and what is in it.
#[derive(Serialize, Deserialize)]
pub struct Letter {
    pub message: Message,
    /// The key of the webhook that it goes to.
    pub webhook: Option<String>,
    /// It never changes, so that every attempt sends the same.
    pub body: String,
}

/// By which messages each event is made known, by its number.
type Told = BTreeMap<u32, Vec<MessageId>>;

/// An event that is in the row of one before it.
#[derive(Serialize, Deserialize)]
struct Also {
    number: u32,
    messages: Vec<MessageId>,
    /// Where it changed the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notification: Option<Notification>,
}

pub struct History {
    database: Database,
    records: Together<Notice, Told>,
}

impl History {
    pub async fn open(
        database: Database,
        addressees: Arc<Addressees>,
        settings: Arc<NotificationSettings>,
    ) -> Result<Self, StoreError> {
        database.define(TABLES).await?;
        let to = database.clone();
        let make = move |notices: &[Notice]| {
            let (to, addressees, settings) = (to.clone(), addressees.clone(), settings.clone());
            let notices = notices.to_vec();
            async move { record(&to, &addressees, &settings, &notices).await }
        };
        Ok(Self { records: Together::start(make), database })
    }

    /// Records what is made known, all of it or nothing: [`StoreError::Exists`] where one of its rows or messages is there already,
    /// as is that of the event which it begins with, if any of it was recorded before.
    pub async fn record(&self, notice: Notice) -> Result<Told, StoreError> {
        self.records.run(notice).await
    }

    /// The messages of those of the notice's events that were recorded before, by the event's number.
    pub async fn told(&self, notice: &Notice) -> Result<Told, StoreError> {
        #[derive(Deserialize)]
        struct Row {
            number: u32,
            messages: Vec<MessageId>,
            also: Vec<Also>,
        }
        // From the first, since the row that an event is in may be that of any before it.
        let statement = "
            SELECT record::id(id)[1] AS number, messages, also ?? [] AS also
            FROM told:[$order_id, 0]..=[$order_id, $last], notifications:[$order_id, 0]..=[$order_id, $last]
        ";
        let last = notice.events.iter().map(|event| event.number).max();
        let variables = json!({ "order_id": notice.order_id, "last": last });
        let rows: Vec<Row> = self.database.run(statement, &variables).await?.read(0)?;
        let told = |Row { number, messages, also }| {
            let also = also.into_iter().map(|also| (also.number, also.messages));
            std::iter::once((number, messages)).chain(also)
        };
        Ok(rows.into_iter().flat_map(told).collect())
    }

    /// Notifications with the states of their messages.
    pub async fn notifications(&self, listing: &Listing) -> Result<Vec<Notification>, StoreError> {
        #[derive(Deserialize)]
        struct Row {
            notification: Notification,
            messages: Vec<MessageId>,
            also: Vec<Also>,
        }
        let of_merchant =
            if listing.merchant_id.is_some() { "WHERE notification.merchant_id = $merchant_id" } else { "" };
        let (from, order) = match listing.order_id {
            Some(_) => ("notifications:[$order_id, 0]..=[$order_id, $last]", ""),
            None => ("notifications", "ORDER BY place DESC"),
        };
        let variables = json!({
            "order_id": listing.order_id,
            "last": u32::MAX,
            "merchant_id": listing.merchant_id,
            "limit": listing.limit,
        });
        // The place is there to sort by.
        let what = "place, notification, messages, also ?? [] AS also";
        let statement = format!("SELECT {what} FROM {from} {of_merchant} {order} LIMIT $limit");
        let rows: Vec<Row> = self.database.run(&statement, &variables).await?.read(0)?;
        let of_row = |Row { notification, messages, also }| {
            let also = also.into_iter().filter_map(|also| Some((also.notification?, also.messages)));
            let mut all: Vec<_> = std::iter::once((notification, messages)).chain(also).collect();
            if listing.order_id.is_none() {
                all.reverse();
            }
            all
        };
        let found: Vec<(Notification, Vec<MessageId>)> =
            rows.into_iter().flat_map(of_row).take(listing.limit as usize).collect();

        let ids: Vec<&MessageId> = found.iter().flat_map(|(_, messages)| messages).collect();
        let statement = "
            SELECT VALUE { id: message.id, channel: message.channel, state: message.state }
            FROM array::map($ids, |$id| type::record('messages', $id))
        ";
        let summaries: Vec<MessageSummary> = self.database.run(statement, &json!({ "ids": ids })).await?.read(0)?;
        let mut summaries: BTreeMap<MessageId, MessageSummary> =
            summaries.into_iter().map(|summary| (summary.id.clone(), summary)).collect();
        let with_messages = |(notification, messages): (Notification, Vec<MessageId>)| Notification {
            messages: messages.iter().filter_map(|id| summaries.remove(id)).collect(),
            ..notification
        };
        Ok(found.into_iter().map(with_messages).collect())
    }

    pub async fn letter(&self, id: &MessageId) -> Result<Option<Letter>, StoreError> {
        let statement = "SELECT message, webhook, body FROM ONLY type::record('messages', $id)";
        self.database.run(statement, &json!({ "id": id })).await?.read(0)
    }

    /// Messages to the webhook of that key, newest first; one where it is named.
    pub async fn messages(
        &self,
        webhook: &str,
        id: Option<&MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, StoreError> {
        #[derive(Deserialize)]
        struct Row {
            message: Message,
        }
        let from = if id.is_some() { "type::record('messages', $id)" } else { "messages" };
        let statement =
            format!("SELECT place, message FROM {from} WHERE webhook = $webhook ORDER BY place DESC LIMIT $limit");
        let variables = json!({ "webhook": webhook, "id": id, "limit": limit });
        let rows: Vec<Row> = self.database.run(&statement, &variables).await?.read(0)?;
        Ok(rows.into_iter().map(|row| row.message).collect())
    }

    /// Keeps how an attempt went and the state that it brought about, if it did, and tells the state that the message has
    /// then. Nothing changes what is delivered.
    pub async fn settle(
        &self,
        id: &MessageId,
        attempt: Option<&MessageAttempt>,
        state: Option<MessageState>,
    ) -> Result<MessageState, StoreError> {
        let statements = "
            BEGIN;
            LET $record = type::record('messages', $id);
            LET $kept = array::append((SELECT VALUE message.attempts FROM ONLY $record), $attempt)[WHERE $this != NULL];
            UPDATE $record SET
                message.attempts = array::slice($kept, math::max([array::len($kept) - $most, 0])),
                message.state = IF message.state = 'delivered' { 'delivered' } ELSE { $state ?? message.state },
                message.updated_at = $now
                RETURN NONE;
            SELECT VALUE message.state FROM ONLY $record;
            COMMIT;
        ";
        let variables = json!({ "id": id, "attempt": attempt, "state": state, "most": ATTEMPTS, "now": now() });
        self.database.run(statements, &variables).await?.read(4)
    }
}

/// Whom notices are for is read with all of them, right before they are recorded.
async fn record(
    database: &Database,
    addressees: &Addressees,
    settings: &NotificationSettings,
    notices: &[Notice],
) -> Result<Vec<Told>, StoreError> {
    let merchants = notices.iter().map(|notice| &notice.merchant_id).collect();
    let webhooks = webhook::registered(database, addressees, merchants).await?;
    let (mut rows, mut answers, at) = (Rows::default(), Vec::new(), now());
    for notice in notices {
        let (mut answer, mut before) = (Told::new(), None);
        for event in &notice.events {
            let letters = letters(settings, notice, event, &webhooks[&notice.merchant_id], at);
            let messages: Vec<_> = letters.iter().map(|letter| letter.message.id.clone()).collect();
            let in_table = rows.add(notice, event, &letters, &messages, before, at);
            before = Some(in_table);
            answer.insert(event.number, messages);
        }
        answers.push(answer);
    }
    rows.insert(database).await?;
    Ok(answers)
}

#[derive(Default)]
struct Rows {
    told: Vec<Value>,
    notifications: Vec<Value>,
    messages: Vec<Value>,
}

/// The table whose last row an event is in.
#[derive(Clone, Copy)]
enum Table {
    Told,
    Notifications,
}

impl Rows {
    /// Adds an event, and tells the table that has it; `before` is the one that has the event before it in the notice.
    fn add(
        &mut self,
        notice: &Notice,
        event: &NoticedEvent,
        letters: &[Letter],
        messages: &[MessageId],
        before: Option<Table>,
        at: DateTime<Utc>,
    ) -> Table {
        let id = json!([notice.order_id, event.number]);
        let place = place(at, &notice.order_id, event.number);
        self.messages.extend(letters.iter().map(|letter| {
            let mut row = json!(letter);
            row["id"] = json!(letter.message.id);
            row["place"] = json!(place);
            row
        }));
        let notification = event.status_changed.then(|| Notification {
            id: notice.order_id.notification(event.number),
            order_id: notice.order_id.clone(),
            merchant_id: notice.merchant_id.clone(),
            number: event.number,
            kind: event.kind.clone(),
            status: event.status,
            status_label: event.status_label.clone(),
            at: event.at,
            created_at: at,
            messages: Vec::new(),
        });
        let with_it = |table: &Table| notification.is_none() || matches!(table, Table::Notifications);
        if let Some(table) = before.filter(with_it) {
            let rows = match table {
                Table::Told => &mut self.told,
                Table::Notifications => &mut self.notifications,
            };
            let also = rows.last_mut().and_then(|row| row["also"].as_array_mut()).expect("the row of the event before");
            also.push(json!(Also { number: event.number, messages: messages.to_vec(), notification }));
            return table;
        }
        if let Some(notification) = notification {
            self.notifications.push(json!({
                "id": id, "place": place, "notification": notification, "messages": messages, "also": [],
            }));
            Table::Notifications
        } else {
            self.told.push(json!({ "id": id, "messages": messages, "also": [] }));
            Table::Told
        }
    }

    async fn insert(self, database: &Database) -> Result<(), StoreError> {
        // Most orders have nobody to send a message to, and a statement costs the same where it has nothing to do.
        let tables = [("told", self.told), ("notifications", self.notifications), ("messages", self.messages)];
        let (mut inserts, mut variables, mut count) = (String::new(), Variables::default(), 0);
        for (table, rows) in tables.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            write!(inserts, "INSERT INTO {table} ${table} RETURN NONE; ").expect("a string takes everything");
            variables.set(table, rows);
            count += 1;
        }
        // One statement is a transaction by itself.
        let statements = if count == 1 { inserts } else { format!("BEGIN; {inserts}COMMIT;") };
        database.run(&statements, variables).await.map(drop)
    }
}

/// Where a record stands in a listing by time: sorts as text, an order's events by their number.
fn place(at: DateTime<Utc>, order_id: &OrderId, number: u32) -> String {
    format!("{:020}-{order_id}-{number:010}", at.timestamp_micros())
}
