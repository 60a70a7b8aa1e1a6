//! The trail of who did what, beside the orders: what was asked of an order is written in the transaction with its events.

use async_trait::async_trait;
use serde_json::{Value, json};
use workflows::audit::{Act, Audit, AuditEntry, End, TrailQuery};
use workflows::order::OrderBook;
use workflows::{AuditId, ProviderError};

use super::{Orders, padded};
use crate::text::text;

// `place` sorts entries by time. Roles have no index: whoever asks for one names a time, or something else, too.
pub(super) const TABLE: &str = "
    DEFINE TABLE IF NOT EXISTS audit SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_place ON audit FIELDS place;
    DEFINE INDEX IF NOT EXISTS by_order ON audit FIELDS order_id, place;
    DEFINE INDEX IF NOT EXISTS by_subject ON audit FIELDS subject, place;
    DEFINE INDEX IF NOT EXISTS by_merchant ON audit FIELDS merchant_id, place;
    DEFINE INDEX IF NOT EXISTS by_action ON audit FIELDS action, place;
";

#[async_trait]
impl Audit for Orders {
    async fn begin(&self, act: &Act) -> Result<AuditId, ProviderError> {
        let id = AuditId::from_bits(rand::random());
        let entry = AuditEntry { id: id.clone(), at: self.now(), act: act.clone(), end: None };
        self.database.run("INSERT INTO audit $entry RETURN NONE", &json!({ "entry": row(&entry) })).await?;
        Ok(id)
    }

    async fn end(&self, id: &AuditId, end: &End) -> Result<(), ProviderError> {
        let statement = "UPDATE type::record('audit', $id) SET doc.end = $end RETURN NONE";
        self.database.run(statement, &json!({ "id": id, "end": end })).await?;
        Ok(())
    }

    async fn entries(&self, query: &TrailQuery) -> Result<Vec<AuditEntry>, ProviderError> {
        let (index, condition, variables) = matching(query);
        let statement = format!(
            "SELECT VALUE doc FROM audit WITH INDEX {index} WHERE {condition} ORDER BY place DESC LIMIT $limit"
        );
        Ok(self.database.run(&statement, &variables).await?.read_texts(0)?)
    }
}

/// An entry's row, with its id.
pub(super) fn row(entry: &AuditEntry) -> Value {
    let act = &entry.act;
    // Into one that has begun its end will be written.
    let document = if entry.end.is_some() { text(entry) } else { json!(entry) };
    json!({
        "id": entry.id,
        "place": place(entry),
        "subject": act.by.subject,
        "role": act.by.role,
        "action": act.action,
        "order_id": act.order_id,
        "merchant_id": act.merchant_id,
        "doc": document,
    })
}

/// Where an entry stands in a listing by time: sorts as text, and no two entries share one.
fn place(entry: &AuditEntry) -> String {
    format!("{}-{}", padded(entry.at), entry.id)
}

/// The index that is the short way, the condition of a query, and its variables.
fn matching(query: &TrailQuery) -> (&'static str, String, Value) {
    let TrailQuery { subject, role, action, order_id, merchant_id, after, before, beyond, limit } = query;
    // From the one that leaves the fewest to the one that leaves all.
    let equal = [
        ("by_order", "order_id", json!(order_id)),
        ("by_subject", "subject", json!(subject)),
        ("by_action", "action", json!(action)),
        ("by_merchant", "merchant_id", json!(merchant_id)),
        ("by_place", "role", json!(role)),
    ];
    // A place starts with the time, padded; '~' sorts after every character of a place.
    let bounds = [
        ("place > $after", "after", after.map(|after| format!("{}~", padded(after)))),
        ("place < $before", "before", before.map(padded)),
        ("place < $beyond", "beyond", beyond.as_ref().map(|(at, id)| format!("{}-{id}", padded(*at)))),
    ];
    let mut index = "by_place";
    let mut conditions = vec!["place > ''".to_owned()];
    let mut variables = json!({ "limit": limit });
    for (way, name, value) in equal.into_iter().rev().filter(|(_, _, value)| !value.is_null()) {
        index = way;
        conditions.push(format!("{name} = ${name}"));
        variables[name] = value;
    }
    for (condition, name, value) in bounds {
        if let Some(value) = value {
            conditions.push(condition.to_owned());
            variables[name] = json!(value);
        }
    }
    (index, conditions.join(" AND "), variables)
}

#[cfg(test)]
#[path = "audit_test.rs"]
mod tests;
