//! The tallies behind the dashboard: how many orders stand where, and what each hour took. Changed with every append, in
//! its transaction, so that they are as exact as the events, and reading them scans no orders.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use workflows::order::{Dashboard, DashboardQuery, Event, Fact, Standing, StuckAt, Tally};
use workflows::{Currency, DeliveryState, Lifecycle, MerchantId, Order, PaymentState, Status};

use super::{BY_STILLNESS, IS_STUCK, still_before};
use crate::store::{Database, StoreError, Variables, record};

/// Stands for all lifecycles that are no presets.
const OWN: &str = "own";

/// How many rows are replaced in one transaction.
const REPLACED_AT_A_TIME: usize = 500;

/// What appends add to the tallies; negative where orders are no more.
#[derive(Default)]
pub(super) struct Changes {
    /// By merchant and currency, by what is counted: how many orders, and their value.
    tallies: BTreeMap<(MerchantId, &'static str), BTreeMap<String, Sum>>,
    /// By hour, merchant and currency.
    takings: BTreeMap<(DateTime<Utc>, MerchantId, &'static str), Taken>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    orders: i64,
    value: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Taken {
    placed: i64,
    revenue: i64,
    refunds: i64,
    paid: i64,
    paid_ms: i64,
    delivered: i64,
    delivered_ms: i64,
}

impl Changes {
    /// What becomes of the tallies when an order becomes `after` by `events`.
    pub(super) fn between(before: Option<&Order>, after: &Order, events: &[Event]) -> Self {
        let mut changes = Self::default();
        let key = (after.merchant_id.clone(), after.total.currency.code());
        let mut count = |place: String, orders: i64| {
            let sum = changes.tallies.entry(key.clone()).or_default().entry(place).or_default();
            sum.orders += orders;
            sum.value += orders * after.total.amount;
        };
        if let Some(before) = before {
            places(before).into_iter().flatten().for_each(|place| count(place, -1));
        }
        places(after).into_iter().flatten().for_each(|place| count(place, 1));
        let mut order = before.cloned();
        for event in events {
            let taken = Taken::by(event, after.total.amount, order.as_ref());
            order = Order::after(order, event);
            if taken != Taken::default() {
                let (merchant_id, currency) = key.clone();
                changes.takings.entry((hour(event.at), merchant_id, currency)).or_default().add(&taken);
            }
        }
        changes
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (key, places) in &other.tallies {
            let here = self.tallies.entry(key.clone()).or_default();
            for (place, sum) in places {
                let known = here.entry(place.clone()).or_default();
                known.orders += sum.orders;
                known.value += sum.value;
            }
        }
        for (key, taken) in &other.takings {
            self.takings.entry(key.clone()).or_default().add(taken);
        }
    }

    /// All of it by name, as an examination names it: nothing that is zero.
    pub(super) fn recount(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for ((merchant_id, currency), places) in &self.tallies {
            for (place, Sum { orders, value }) in places {
                for (part, count) in [("orders", orders), ("value", value)] {
                    counts.insert(format!("{merchant_id} {currency}: {part} of {place}"), *count);
                }
            }
        }
        for ((hour, merchant_id, currency), taken) in &self.takings {
            let hour = name(hour);
            for (part, count) in taken.parts() {
                counts.insert(format!("{merchant_id} {currency}: {part} in the hour of {hour}"), count);
            }
        }
        counts.retain(|_, count| *count != 0);
        counts
    }

    /// Makes the stored tallies what these are, which must be the changes by all events of all orders; with `write` false,
    /// only compares them. How many rows were different: of the tallies, and of the takings.
    pub(super) async fn replace(&self, database: &Database, write: bool) -> Result<(u64, u64), StoreError> {
        let tallies = self.tallies.iter().filter_map(|((merchant_id, currency), places)| {
            let moved: BTreeMap<_, _> = places.iter().filter(|(_, sum)| **sum != Sum::default()).collect();
            let mut content = json!({ "currency": currency });
            for (place, sum) in &moved {
                let (kind, what) = place.split_once('.').expect("a place is a path of two parts");
                content[kind][what] = json!(sum);
            }
            (!moved.is_empty()).then(|| (json!([merchant_id, currency]).to_string(), content))
        });
        let takings = self.takings.iter().map(|((hour, merchant_id, currency), taken)| {
            let mut content = json!(taken);
            content["hour"] = json!(hour);
            content["merchant_id"] = json!(merchant_id);
            content["currency"] = json!(currency);
            (json!([hour, merchant_id, currency]).to_string(), content)
        });
        Ok((
            replace_rows(database, "tallies", tallies.collect(), write).await?,
            replace_rows(database, "takings", takings.collect(), write).await?,
        ))
    }

    /// Adds the statements that make the changes, and what they name.
    pub(super) fn put(&self, statements: &mut String, variables: &mut Variables) {
        for (n, ((merchant_id, currency), places)) in self.tallies.iter().enumerate() {
            let moved = places.iter().filter(|(_, sum)| **sum != Sum::default());
            let sums = moved.fold(String::new(), |sums, (place, Sum { orders, value })| {
                sums + &format!(", {place}.orders += {orders}, {place}.value += {value}")
            });
            if !sums.is_empty() {
                write!(statements, "UPSERT $tally_{n} SET currency = '{currency}'{sums} RETURN NONE;")
                    .expect("a string takes everything");
                variables.set(format!("tally_{n}"), record("tallies", json!([merchant_id, currency])));
            }
        }
        for (n, ((hour, merchant_id, currency), taken)) in self.takings.iter().enumerate() {
            let sums = taken.parts().map(|(part, sum)| format!(", {part} += {sum}")).concat();
            write!(
                statements,
                "UPSERT $taking_{n} SET hour = $hour_{n}, merchant_id = $merchant_{n}, currency = '{currency}'{sums} \
                 RETURN NONE;"
            )
            .expect("a string takes everything");
            variables.set(format!("taking_{n}"), record("takings", json!([hour, merchant_id, currency])));
            variables.set(format!("hour_{n}"), json!(hour));
            variables.set(format!("merchant_{n}"), json!(merchant_id));
        }
    }
}

impl Taken {
    /// `order`: as it was before the event.
    fn by(event: &Event, total: i64, order: Option<&Order>) -> Self {
        let took = || order.map_or(0, |order| (event.at - order.placed_at).num_milliseconds());
        match &event.fact {
            Fact::OrderPlaced(_) => Self { placed: 1, ..Self::default() },
            Fact::PaymentApproved { .. } | Fact::DepositConfirmed { .. } => {
                Self { revenue: total, paid: 1, paid_ms: took(), ..Self::default() }
            }
            Fact::DeliveryCompleted => Self { delivered: 1, delivered_ms: took(), ..Self::default() },
            Fact::PaymentCancelled { refunded: true } => {
                // Money that comes back although it is not known to have come came unheard.
                let came = order.is_some_and(|order| order.payment.state == PaymentState::Approved);
                let revenue = if came { 0 } else { total };
                Self { revenue, refunds: total, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// All of it, by the columns' names.
    fn parts(&self) -> [(&'static str, i64); 7] {
        let Self { placed, revenue, refunds, paid, paid_ms, delivered, delivered_ms } = *self;
        [
            ("placed", placed),
            ("revenue", revenue),
            ("refunds", refunds),
            ("paid", paid),
            ("paid_ms", paid_ms),
            ("delivered", delivered),
            ("delivered_ms", delivered_ms),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.placed += other.placed;
        self.revenue += other.revenue;
        self.refunds += other.refunds;
        self.paid += other.paid;
        self.paid_ms += other.paid_ms;
        self.delivered += other.delivered;
        self.delivered_ms += other.delivered_ms;
    }
}

/// The columns of takings that count something.
pub(super) fn parts_of_takings() -> [&'static str; 7] {
    Taken::default().parts().map(|(part, _)| part)
}

/// Makes the rows of `table` those of `right`, by the JSON of their ids. How many were different.
async fn replace_rows(
    database: &Database,
    table: &'static str,
    mut right: BTreeMap<String, Value>,
    write: bool,
) -> Result<u64, StoreError> {
    let statement = format!("SELECT *, record::id(id) AS id FROM {table}");
    let stored: Vec<Value> = database.run(&statement, &Value::Null).await?.read(0)?;
    let mut changed = Vec::new();
    for mut row in stored {
        let id = row.as_object_mut().and_then(|row| row.remove("id")).unwrap_or_default();
        let right = right.remove(&id.to_string());
        if right.as_ref().map_or_else(|| is_empty(&row), |right| without_zeros(right) == without_zeros(&row)) {
            continue;
        }
        changed.push(json!({ "id": id, "content": right }));
    }
    for (id, content) in right {
        let id: Value = serde_json::from_str(&id)?;
        changed.push(json!({ "id": id, "content": content }));
    }
    if write {
        let statements = format!(
            "BEGIN;
             FOR $row IN $rows {{
                 DELETE type::record('{table}', $row.id) RETURN NONE;
                 IF $row.content != NULL AND $row.content != NONE {{
                     CREATE type::record('{table}', $row.id) CONTENT $row.content RETURN NONE;
                 }};
             }};
             COMMIT;"
        );
        for rows in changed.chunks(REPLACED_AT_A_TIME) {
            database.run(&statements, &json!({ "rows": rows })).await?;
        }
    }
    Ok(changed.len() as u64)
}

/// Whether a row of tallies counts nothing.
fn is_empty(row: &Value) -> bool {
    let Some(row) = row.as_object() else { return false };
    row.values().all(|member| member.is_string() || without_zeros(member).is_null() || *member == json!(0))
}

/// The same without orders and sums of which there are none: they are where orders have been.
pub(super) fn without_zeros(value: &Value) -> Value {
    let Some(members) = value.as_object() else { return value.clone() };
    let members = members.iter().map(|(name, member)| (name.clone(), without_zeros(member)));
    let members: serde_json::Map<_, _> =
        members.filter(|(_, member)| !member.is_null() && *member != json!(0)).collect();
    if members.is_empty() { Value::Null } else { Value::Object(members) }
}

/// Where an order is counted, as paths in the row of its merchant and currency.
fn places(order: &Order) -> [Option<String>; 4] {
    let delivery = order.delivery.as_ref().map(|delivery| delivery.state);
    let lifecycle = Lifecycle::preset(&order.lifecycle.name).map_or(OWN, |preset| &preset.name).replace('-', "_");
    [
        Some(format!("standings.{lifecycle}__{}", name(order.status))),
        Some(format!("statuses.{}", name(order.status))),
        Some(format!("payments.{}", name(order.payment.state))),
        delivery.map(|state| format!("deliveries.{}", name(state))),
    ]
}

/// A value of a closed set, or a time, as it is written in JSON.
fn name(value: impl Serialize) -> String {
    match json!(value) {
        Value::String(name) => name,
        other => unreachable!("a closed set is written as names, not as {other}"),
    }
}

fn hour(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::hours(1)).expect("every time that a clock can show has an hour")
}

/// All tallies of one merchant and currency.
#[derive(Deserialize)]
struct Row {
    currency: Currency,
    #[serde(default)]
    statuses: BTreeMap<String, Sum>,
    #[serde(default)]
    payments: BTreeMap<String, Sum>,
    #[serde(default)]
    deliveries: BTreeMap<String, Sum>,
    #[serde(default)]
    standings: BTreeMap<String, Sum>,
}

pub(super) async fn dashboard(database: &Database, query: &DashboardQuery) -> Result<Dashboard, StoreError> {
    let (tallies, theirs) = match &query.merchant_id {
        Some(_) => ("tallies:[$merchant_id, NONE]..[$merchant_id, []]", "merchant_id = $merchant_id"),
        None => ("tallies", "true"),
    };
    let sums = parts_of_takings().map(|part| format!("math::sum({part}) AS {part}")).join(", ");
    // One transaction, so that the parts fit together.
    let statements = format!(
        "BEGIN;
         SELECT * FROM {tallies};
         SELECT hour, currency, {sums}
             FROM takings:[$since].. WHERE {theirs} GROUP BY hour, currency ORDER BY hour, currency;
         SELECT trouble.step AS step, count() AS orders
             FROM orders {BY_STILLNESS} WHERE {IS_STUCK} AND {theirs} GROUP BY step ORDER BY orders DESC, step;
         SELECT VALUE since FROM (SELECT trouble.since AS since
             FROM orders {BY_STILLNESS} WHERE still_since > '' AND trouble != NONE AND {theirs} ORDER BY since LIMIT 1);
         COMMIT;"
    );
    let variables = json!({
        "merchant_id": query.merchant_id,
        "since": hour(query.since),
        "stuck": still_before(query.stuck_since_before),
    });
    let mut answers = database.run(&statements, &variables).await?;
    let rows: Vec<Row> = answers.read(1)?;
    let stuck_at: Vec<StuckAt> = answers.read(3)?;
    let failing_since: Vec<DateTime<Utc>> = answers.read(4)?;
    Ok(Dashboard {
        statuses: summed(rows.iter().map(|row| (row.currency, &row.statuses)), |status: &Status| *status as u8)?,
        payments: summed(rows.iter().map(|row| (row.currency, &row.payments)), |state: &PaymentState| *state as u8)?,
        deliveries: summed(rows.iter().map(|row| (row.currency, &row.deliveries)), |state: &DeliveryState| {
            *state as u8
        })?,
        standings: standings(&rows)?,
        hours: answers.read(2)?,
        stuck: stuck_at.iter().map(|at| at.orders).sum(),
        stuck_at,
        failing_since: failing_since.first().copied(),
    })
}

fn standings(rows: &[Row]) -> Result<Vec<Standing>, StoreError> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (place, sum) in rows.iter().flat_map(|row| &row.standings) {
        *sums.entry(place).or_default() += sum.orders;
    }
    let standing = |(place, orders): (&str, i64)| {
        let (lifecycle, status) = place.split_once("__").unwrap_or((OWN, place));
        let lifecycle = (lifecycle != OWN).then(|| lifecycle.replace('_', "-"));
        Ok(Standing { lifecycle, status: serde_json::from_value(json!(status))?, orders })
    };
    sums.into_iter().filter(|(_, orders)| *orders != 0).map(standing).collect()
}

/// The sums over all rows, in the order of the closed set; without those that have no orders.
fn summed<'a, T: DeserializeOwned>(
    rows: impl Iterator<Item = (Currency, &'a BTreeMap<String, Sum>)>,
    rank: impl Fn(&T) -> u8,
) -> Result<Vec<Tally<T>>, StoreError> {
    let mut sums: BTreeMap<(&str, &str), Tally<T>> = BTreeMap::new();
    for (currency, places) in rows {
        for (place, Sum { orders, value }) in places {
            let known = match sums.entry((currency.code(), place)) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let what = serde_json::from_value(json!(place))?;
                    new.insert(Tally { what, currency, orders: 0, value: 0 })
                }
            };
            known.orders += orders;
            known.value += value;
        }
    }
    let mut tallies: Vec<_> = sums.into_values().filter(|tally| tally.orders != 0).collect();
    // By currency already, and this keeps the order of equals.
    tallies.sort_by_key(|tally| rank(&tally.what));
    Ok(tallies)
}
