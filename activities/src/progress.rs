//! One record for each order that moves from state to state, by its own state alone: what contexts without stock or
//! money have in common. A move that was made before is not made again, so every call can be repeated.

use chrono::{DateTime, SubsecRound, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workflows::MerchantId;

use crate::store::{Database, StoreError};

pub struct Progress {
    database: Database,
    table: &'static str,
}

impl Progress {
    pub async fn open(database: Database, table: &'static str) -> Result<Self, StoreError> {
        let tables = format!(
            "DEFINE TABLE IF NOT EXISTS {table} SCHEMALESS;
             DEFINE INDEX IF NOT EXISTS by_time ON {table} FIELDS created_at;
             DEFINE INDEX IF NOT EXISTS by_merchant ON {table} FIELDS merchant_id, created_at;"
        );
        database.define(&tables).await?;
        Ok(Self { database, table })
    }

    /// Creates the record unless there is one: whether there was none.
    pub async fn create(&self, id: &str, mut record: Value) -> Result<bool, StoreError> {
        (record["created_at"], record["updated_at"]) = (json!(now()), json!(now()));
        let statement = "CREATE type::record($table, $id) CONTENT $record RETURN NONE";
        match self.database.run(statement, &json!({ "table": self.table, "id": id, "record": record })).await {
            Ok(_) => Ok(true),
            Err(StoreError::Exists) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves the record to `to` where it is in one of `from`, and tells the state that it has then.
    pub async fn advance<S: DeserializeOwned>(
        &self,
        id: &str,
        from: &[&str],
        to: &str,
    ) -> Result<Option<S>, StoreError> {
        // One statement, so a transaction by itself.
        let statement = "
            UPDATE type::record($table, $id) SET
                updated_at = IF state IN $from { $now } ELSE { updated_at },
                state = IF state IN $from { $to } ELSE { state }
            RETURN VALUE state
        ";
        let variables = json!({ "table": self.table, "id": id, "from": from, "to": to, "now": now() });
        let states: Vec<S> = self.database.run(statement, &variables).await?.read(0)?;
        Ok(states.into_iter().next())
    }

    /// The records, newest first; one where it is named; those of one merchant where that is. What only keeps something
    /// out is not listed.
    pub async fn list<T: DeserializeOwned>(
        &self,
        id: Option<String>,
        merchant_id: Option<&MerchantId>,
        limit: u32,
    ) -> Result<Vec<T>, StoreError> {
        let table = self.table;
        let from = if id.is_some() { format!("type::record('{table}', $id)") } else { table.to_owned() };
        let of_merchant = if merchant_id.is_some() { "merchant_id = $merchant_id AND" } else { "" };
        let statement = format!(
            "SELECT *, record::id(id) AS id FROM {from} WHERE {of_merchant} state != 'void'
             ORDER BY created_at DESC LIMIT $limit"
        );
        let variables = json!({ "id": id, "merchant_id": merchant_id, "limit": limit });
        self.database.run(&statement, &variables).await?.read(0)
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
