//! The money book on SurrealDB.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use workflows::payment::{AuditQuery, Audited, LedgerEntry, Payment};
use workflows::provider::Listing;
use workflows::{OrderId, PaymentId, ProviderError};

use super::book::{Attempts, Book, Opening, Standing, State, audited, now};
use crate::store::{Database, StoreError, Variables};
use crate::together::Together;

const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS payments SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_time ON payments FIELDS created_at;
    DEFINE INDEX IF NOT EXISTS by_merchant ON payments FIELDS merchant_id, created_at;
    DEFINE TABLE IF NOT EXISTS ledger SCHEMALESS;
    DEFINE TABLE IF NOT EXISTS attempts SCHEMALESS;
";

/// More entries than a payment can have, of which an audit reads so many for each.
const MOST_ENTRIES: u64 = 4;

struct Surreal {
    database: Database,
    openings: Together<Opened, ()>,
}

/// A payment and its first entry, as they are written.
struct Opened {
    payment: Value,
    entry: Option<Value>,
}

/// Opens the book, defining what is missing.
pub async fn open(database: Database) -> Result<Arc<dyn Book>, StoreError> {
    database.define(TABLES).await?;
    let to = database.clone();
    let insert = move |all: &[Opened]| {
        let payments: Vec<_> = all.iter().map(|opened| opened.payment.clone()).collect();
        let entries: Vec<_> = all.iter().filter_map(|opened| opened.entry.clone()).collect();
        let booked = if entries.is_empty() { "" } else { "INSERT INTO ledger $entries RETURN NONE;" };
        let statements = format!("BEGIN; INSERT INTO payments $payments RETURN NONE; {booked} COMMIT;");
        let variables = Variables::default().with("payments", payments).with("entries", entries);
        let (to, count) = (to.clone(), all.len());
        async move { to.run(&statements, variables).await.map(|_| vec![(); count]) }
    };
    Ok(Arc::new(Surreal { openings: Together::start(insert), database }))
}

/// What an audit reads: records as they are written.
#[derive(Deserialize)]
struct Page {
    payments: Vec<Value>,
    booked: Vec<Value>,
}

impl Page {
    fn audited(self, query: &AuditQuery) -> Vec<Audited> {
        let mut by_id = BTreeMap::<String, (Option<Value>, Vec<Value>)>::new();
        for payment in self.payments {
            let id = key(&payment["id"]);
            by_id.entry(id).or_default().0 = Some(payment);
        }
        let is_cut = self.booked.len() as u64 >= u64::from(query.limit) * MOST_ENTRIES;
        let cut = self.booked.last().filter(|_| is_cut).map(|last| key(&last["id"][0]));
        for entry in self.booked {
            let id = key(&entry["id"][0]);
            if query.after.as_ref().is_none_or(|after| id > *after) {
                by_id.entry(id).or_default().1.push(entry);
            }
        }
        // What comes after the cut is not all here: it is for the next page, unless that would begin with it again.
        if let Some(cut) = cut.filter(|cut| by_id.keys().next().is_some_and(|first| first < cut)) {
            by_id.split_off(&cut);
        }
        by_id.into_iter().map(|(id, (payment, entries))| audited(id, payment, entries)).collect()
    }
}

fn key(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

#[async_trait]
impl Book for Surreal {
    async fn find(&self, id: &PaymentId) -> Result<Option<Standing>, ProviderError> {
        let statement = "SELECT state, void = true AS void, reason FROM ONLY type::record('payments', $id)";
        Ok(self.database.run(statement, &json!({ "id": id })).await?.read(0)?)
    }

    async fn create(&self, opening: &Opening<'_>, entry: Option<&LedgerEntry>) -> Result<bool, ProviderError> {
        let Opening { due, state, void, reason } = opening;
        let at = now();
        let payment = json!({
            "id": due.payment_id, "order_id": due.order_id, "merchant_id": due.merchant_id, "method": due.method,
            "amount": due.amount, "state": state, "void": void, "reason": reason, "created_at": at, "updated_at": at,
        });
        let entry = entry.map(|entry| {
            let mut row = json!(entry);
            row["id"] = json!([due.payment_id, entry.kind]);
            row["payment_id"] = json!(due.payment_id);
            row
        });
        match self.openings.run(Opened { payment, entry }).await {
            Ok(()) => Ok(true),
            Err(StoreError::Exists) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn advance(
        &self,
        id: &PaymentId,
        from: State,
        to: State,
        entries: &[LedgerEntry],
    ) -> Result<Option<Standing>, ProviderError> {
        let statements = "
            BEGIN;
            LET $payment = type::record('payments', $id);
            LET $moved = (UPDATE $payment SET state = $to, updated_at = $now WHERE state = $from);
            IF array::len($moved) > 0 {
                FOR $entry IN $entries {
                    CREATE type::record('ledger', [$id, $entry.kind])
                        CONTENT object::extend($entry, { payment_id: $id });
                };
            };
            SELECT state, void = true AS void, reason FROM ONLY $payment;
            COMMIT;
        ";
        let variables = json!({ "id": id, "from": from, "to": to, "entries": entries, "now": now() });
        Ok(self.database.run(statements, &variables).await?.read(4)?)
    }

    async fn attempt(&self, id: &PaymentId) -> Result<Attempts, ProviderError> {
        let statement = "
            UPSERT ONLY type::record('attempts', $id) SET count = (count ?? 0) + 1, first_at = first_at ?? $now
        ";
        Ok(self.database.run(statement, &json!({ "id": id, "now": now() })).await?.read(0)?)
    }

    async fn list(&self, listing: &Listing) -> Result<Vec<Payment>, ProviderError> {
        let from = if listing.order_id.is_some() { "type::record('payments', $id)" } else { "payments" };
        let of_merchant = if listing.merchant_id.is_some() { "WHERE merchant_id = $merchant_id" } else { "" };
        // By their kinds where two are of one time: money comes before it goes back, in the alphabet as well.
        let statement = format!(
            "SELECT *, record::id(id) AS id, IF state = 'returned' {{ 'refunded' }} ELSE {{ state }} AS state, (
                 SELECT kind, at, postings
                 FROM type::record('ledger', [record::id($parent.id), NONE]..[record::id($parent.id), []])
                 ORDER BY at, kind
             ) AS entries
             FROM {from} {of_merchant} ORDER BY created_at DESC LIMIT $limit"
        );
        let variables = json!({
            "id": listing.order_id.as_ref().map(OrderId::payment),
            "merchant_id": listing.merchant_id,
            "limit": listing.limit,
        });
        Ok(self.database.run(&statement, &variables).await?.read(0)?)
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError> {
        let ids = match query.only {
            Some(_) => "$only..=$only",
            None => "$after>..",
        };
        // What is booked is looked up by the ids of its records, up to the last payment of the page: it is found even
        // where its payment is gone. All in one transaction, so that payments and entries fit together.
        let statements = format!(
            "BEGIN;
             LET $payments = (
                 SELECT *, record::id(id) AS id, IF state = 'returned' {{ 'refunded' }} ELSE {{ state }} AS state
                 FROM type::record('payments', {ids}) LIMIT $limit
             );
             LET $first = IF $only THEN [$only, NONE] ELSE [$after, []] END;
             LET $last = $only ?? (IF array::len($payments) < $limit THEN NONE ELSE array::last($payments).id END);
             LET $booked = IF $last = NONE
                 THEN (SELECT *, record::id(id) AS id FROM type::record('ledger', $first..) LIMIT $most)
                 ELSE (SELECT *, record::id(id) AS id FROM type::record('ledger', $first..=[$last, []]) LIMIT $most)
             END;
             RETURN {{ payments: $payments, booked: $booked }};
             COMMIT;"
        );
        let variables = json!({
            "only": query.only,
            "after": query.after.as_deref().unwrap_or_default(),
            "limit": query.limit,
            "most": u64::from(query.limit) * MOST_ENTRIES,
        });
        let mut answers = self.database.run(&statements, &variables).await?;
        let page: Page = answers.read(5)?;
        Ok(page.audited(query))
    }
}
