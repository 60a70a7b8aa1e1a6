//! One record for each order that moves from state to state, by its own state alone: what contexts without stock or
//! money have in common. A move that was made before is not made again, so every call can be repeated.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use surrealdb::types::RecordId;
use workflows::MerchantId;

use crate::store::{Database, StoreError, Variables, records};
use crate::together::Together;

pub struct Progress {
    database: Database,
    table: &'static str,
    moves: Together<Move, Option<String>>,
}

#[derive(Clone)]
enum Move {
    /// Creates the record, which has its id.
    Create(Value),
    Advance(String, Change),
}

/// From any of these states to that one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    from: &'static [&'static str],
    to: &'static str,
}

impl Progress {
    pub async fn open(database: Database, table: &'static str) -> Result<Self, StoreError> {
        let tables = format!(
            "DEFINE TABLE IF NOT EXISTS {table} SCHEMALESS;
             DEFINE INDEX IF NOT EXISTS by_time ON {table} FIELDS created_at;
             DEFINE INDEX IF NOT EXISTS by_merchant ON {table} FIELDS merchant_id, created_at;"
        );
        database.define(&tables).await?;
        let to = database.clone();
        let carry_out = move |moves: &[Move]| {
            let (to, moves) = (to.clone(), moves.to_vec());
            async move { carry_out(&to, table, &moves).await }
        };
        Ok(Self { database, table, moves: Together::start(carry_out) })
    }

    /// Creates the record unless there is one: whether there was none.
    pub async fn create(&self, id: &str, mut record: Value) -> Result<bool, StoreError> {
        (record["id"], record["created_at"], record["updated_at"]) = (json!(id), json!(now()), json!(now()));
        match self.moves.run(Move::Create(record)).await {
            Ok(_) => Ok(true),
            Err(StoreError::Exists) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves the record to `to` where it is in one of `from`, and tells the state that it has then.
    pub async fn advance<S: DeserializeOwned>(
        &self,
        id: &str,
        from: &'static [&'static str],
        to: &'static str,
    ) -> Result<Option<S>, StoreError> {
        let state = self.moves.run(Move::Advance(id.to_owned(), Change { from, to })).await?;
        Ok(state.map(|state| serde_json::from_value(Value::String(state))).transpose()?)
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

/// Carries out many moves in one run: one statement for each kind of change, and one for all records that are created.
async fn carry_out(database: &Database, table: &str, moves: &[Move]) -> Result<Vec<Option<String>>, StoreError> {
    let (mut created, mut changes) = (Vec::new(), BTreeMap::<Change, Vec<&str>>::new());
    for one in moves {
        match one {
            Move::Create(record) => created.push(record.clone()),
            Move::Advance(id, change) => changes.entry(*change).or_default().push(id),
        }
    }
    let (mut statements, mut variables) = (Vec::new(), Variables::default());
    for (n, (change, ids)) in changes.iter().enumerate() {
        // Where it is, and how it is to be changed, is told as it is kept: the store has nothing to compute.
        statements.push(format!("UPDATE $ids_{n} MERGE $to_{n} WHERE state IN $from_{n} RETURN VALUE record::id(id);"));
        variables.set(format!("ids_{n}"), records(table, ids.iter().map(|id| json!(id))));
        variables.set(format!("from_{n}"), json!(change.from));
        variables.set(format!("to_{n}"), json!({ "state": change.to, "updated_at": now() }));
    }
    if !created.is_empty() {
        statements.push(format!("INSERT INTO {table} $created RETURN NONE;"));
        variables.set("created", created);
    }
    // One statement is a transaction by itself.
    let is_one = statements.len() == 1;
    let statements = if is_one { statements.concat() } else { format!("BEGIN; {} COMMIT;", statements.concat()) };
    let mut answers = database.run(&statements, variables).await?;
    let mut states = BTreeMap::new();
    for (n, change) in changes.keys().enumerate() {
        let ids: Vec<String> = answers.read(n + usize::from(!is_one))?;
        states.extend(ids.into_iter().map(|id| ((*change, id), change.to.to_owned())));
    }
    for (change, ids) in &mut changes {
        ids.retain(|id| !states.contains_key(&(*change, (*id).to_owned())));
    }
    for (change, ids) in changes.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        let found = advance(database, records(table, ids.iter().map(|id| json!(id))), change).await?;
        states.extend(found.into_iter().map(|(id, state)| ((change, id), state)));
    }
    let state = |one: &Move| match one {
        Move::Create(_) => None,
        Move::Advance(id, change) => states.get(&(*change, id.clone())).cloned(),
    };
    Ok(moves.iter().map(state).collect())
}

/// Moves records that have not been where they are moved from, those that are there by now, and tells the states of all. If it
/// fails, what it was asked along with is done all the same: every move may be asked for again.
async fn advance(database: &Database, all: Vec<RecordId>, change: Change) -> Result<Vec<(String, String)>, StoreError> {
    let statement = "
        UPDATE $all SET
            updated_at = IF state IN $from { $now } ELSE { updated_at },
            state = IF state IN $from { $to } ELSE { state }
        RETURN VALUE [record::id(id), state]
    ";
    let variables = Variables::from(json!({ "from": change.from, "to": change.to, "now": now() })).with("all", all);
    database.run(statement, variables).await?.read(0)
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
