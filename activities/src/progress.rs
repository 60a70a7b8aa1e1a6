//! One record for each order that moves from state to state, by its own state alone: what contexts without stock or
//! money have in common. A move that was made before is not made again, so every call can be repeated.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workflows::MerchantId;

use crate::store::{Database, StoreError};
use crate::together::Together;

pub struct Progress {
    database: Database,
    table: &'static str,
    moves: Together<Move, Option<String>>,
}

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
            let (to, script) = (to.clone(), Script::of(table, moves));
            async move { script.run(&to).await }
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

/// The statements that carry out many moves: one for each kind of change, and one for all records that are created. One statement
/// is a transaction by itself.
struct Script {
    statements: String,
    variables: Value,
    /// Where the answer to each move is found: in which statement's, and by which id.
    answers: Vec<Option<(usize, String)>>,
}

impl Script {
    fn of(table: &str, moves: &[Move]) -> Self {
        let (mut records, mut changes) = (Vec::new(), BTreeMap::<Change, Vec<&str>>::new());
        for one in moves {
            match one {
                Move::Create(record) => records.push(record),
                Move::Advance(id, change) => changes.entry(*change).or_default().push(id),
            }
        }
        let (mut statements, mut variables) = (Vec::new(), json!({ "now": now(), "records": records }));
        for (n, (Change { from, to }, ids)) in changes.iter().enumerate() {
            statements.push(format!(
                "UPDATE $ids_{n}.map(|$id| type::record('{table}', $id)) SET
                     updated_at = IF state IN $from_{n} {{ $now }} ELSE {{ updated_at }},
                     state = IF state IN $from_{n} {{ $to_{n} }} ELSE {{ state }}
                 RETURN record::id(id) AS id, state;"
            ));
            variables[format!("ids_{n}")] = json!(ids);
            variables[format!("from_{n}")] = json!(from);
            variables[format!("to_{n}")] = json!(to);
        }
        if !records.is_empty() {
            statements.push(format!("INSERT INTO {table} $records RETURN NONE;"));
        }
        let is_one = statements.len() == 1;
        let first = usize::from(!is_one);
        let answer = |one: &Move| match one {
            Move::Create(_) => None,
            Move::Advance(id, change) => Some((first + changes.range(..change).count(), id.clone())),
        };
        let answers = moves.iter().map(answer).collect();
        let statements = statements.concat();
        let statements = if is_one { statements } else { format!("BEGIN; {statements} COMMIT;") };
        Self { statements, variables, answers }
    }

    /// The state that each record has then, where it was to be advanced and is there.
    async fn run(self, database: &Database) -> Result<Vec<Option<String>>, StoreError> {
        #[derive(Deserialize)]
        struct Row {
            id: String,
            state: String,
        }
        let mut answers = database.run(&self.statements, &self.variables).await?;
        let mut states = BTreeMap::<usize, BTreeMap<String, String>>::new();
        for (statement, _) in self.answers.iter().flatten() {
            if !states.contains_key(statement) {
                let rows: Vec<Row> = answers.read(*statement)?;
                states.insert(*statement, rows.into_iter().map(|row| (row.id, row.state)).collect());
            }
        }
        let state = |(statement, id): (usize, String)| states[&statement].get(&id).cloned();
        Ok(self.answers.into_iter().map(|answer| answer.and_then(state)).collect())
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
