//! The money book on PostgreSQL. What must never be is refused by the schema (`migrations/`): this file only asks for
//! what may be. No error tells the URL, which may hold a password.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::Value;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, PgConnection, Row, SqlSafeStr};
use tokio::time::timeout;
use workflows::payment::{AuditQuery, Audited, LedgerEntry, Payment};
use workflows::provider::Listing;
use workflows::{MerchantId, OrderId, PaymentId, ProviderError};

use super::book::{Attempts, Book, Opening, Standing, State, audited, now};

/// The schema's history, by version: nothing that a database may have is ever changed here. Not by `sqlx::migrate!`, whose crate
/// of macros would have all of sqlx built twice.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "ledger", include_str!("migrations/0001_ledger.sql")),
    (2, "by merchant", include_str!("migrations/0002_by_merchant.sql")),
];

const MAX_CONNECTIONS: u32 = 10;
/// How long a call waits for a connection, a new one included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the schema may take to be brought up to date, the wait for other processes that do so included.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a call may take, for a server that has fallen silent ends no statement.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// What the server ends by itself: a statement that runs or waits too long, and a transaction whose client has gone.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "5s"), ("lock_timeout", "2s"), ("idle_in_transaction_session_timeout", "5s")];

/// Why the book could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("not the URL of a PostgreSQL database: {0}")]
    Url(#[source] sqlx::Error),
    #[error("PostgreSQL at {place} cannot be used: {cause}")]
    Unreachable {
        place: String,
        #[source]
        cause: sqlx::Error,
    },
    #[error("PostgreSQL at {place} does not answer")]
    Silent { place: String },
    #[error("the ledger's schema at {place} cannot be brought up to date: {cause}")]
    Schema {
        place: String,
        #[source]
        cause: MigrateError,
    },
}

struct Postgres {
    pool: PgPool,
}

/// Opens the book at `url` (`postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`), bringing its schema up to date.
/// The server has to be there for that; afterwards it may go and come back.
///
/// # Errors
/// Where the server cannot be reached, lets nobody in, or refuses the schema.
pub async fn open(url: &str) -> Result<Arc<dyn Book>, PostgresError> {
    let options: PgConnectOptions = url.parse().map_err(PostgresError::Url)?;
    migrate(&options).await?;
    Ok(Arc::new(Postgres::new(options)))
}

async fn migrate(options: &PgConnectOptions) -> Result<(), PostgresError> {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
    // A pool tries until it gives up, and does not say why: so it is not the first to try.
    match timeout(ACQUIRE_TIMEOUT, async { options.connect().await?.close().await }).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => return Err(PostgresError::Unreachable { place, cause }),
        Err(_) => return Err(PostgresError::Silent { place }),
    }
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let migrated = async {
        let migrated = migrator().run(&pool).await;
        pool.close().await;
        migrated
    };
    match timeout(MIGRATION_TIMEOUT, migrated).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(cause)) => Err(PostgresError::Schema { place, cause }),
        Err(_) => Err(PostgresError::Silent { place }),
    }
}

fn migrator() -> Migrator {
    let migration = |(version, description, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}

impl Postgres {
    /// Connects when it is first asked.
    fn new(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
        Self { pool: pool.connect_lazy_with(options.options(LIMITS)) }
    }
}

#[async_trait]
impl Book for Postgres {
    async fn find(&self, id: &PaymentId) -> Result<Option<Standing>, ProviderError> {
        in_time(async {
            let mut connection = self.pool.acquire().await?;
            standing(&mut connection, id, "SELECT state, void, reason FROM payments WHERE id = $1").await
        })
        .await
    }

    async fn create(&self, opening: &Opening<'_>, entry: Option<&LedgerEntry>) -> Result<bool, ProviderError> {
        let Opening { due, state, void, reason } = opening;
        // Waits for whoever is writing the same payment, and then finds it there.
        let statement = "
            INSERT INTO payments
                (id, order_id, merchant_id, method, state, void, amount, currency, reason, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
            ON CONFLICT (id) DO NOTHING
        ";
        in_time(async {
            let mut transaction = self.pool.begin().await?;
            let created = sqlx::query(statement)
                .bind(due.payment_id.as_str())
                .bind(due.order_id.as_str())
                .bind(due.merchant_id.as_str())
                .bind(word(&due.method))
                .bind(word(state))
                .bind(void)
                .bind(due.amount.amount)
                .bind(due.amount.currency.code())
                .bind(reason)
                .bind(now())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            if created == 0 {
                transaction.rollback().await?;
                return Ok(false);
            }
            if let Some(entry) = entry {
                enter(&mut transaction, &due.payment_id, entry).await?;
            }
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn advance(
        &self,
        id: &PaymentId,
        from: State,
        to: State,
        entries: &[LedgerEntry],
    ) -> Result<Option<Standing>, ProviderError> {
        in_time(async {
            let mut transaction = self.pool.begin().await?;
            // Waits for whoever is moving the same payment; then nobody moves it until it is said where it stands.
            let locked = "SELECT state, void, reason FROM payments WHERE id = $1 FOR UPDATE";
            let mut standing = standing(&mut transaction, id, locked).await?;
            let moved = sqlx::query("UPDATE payments SET state = $3, updated_at = $4 WHERE id = $1 AND state = $2")
                .bind(id.as_str())
                .bind(word(&from))
                .bind(word(&to))
                .bind(now())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            if moved > 0 {
                for entry in entries {
                    enter(&mut transaction, id, entry).await?;
                }
                standing = standing.map(|standing| Standing { state: to, ..standing });
            }
            transaction.commit().await?;
            Ok(standing)
        })
        .await
    }

    async fn attempt(&self, id: &PaymentId) -> Result<Attempts, ProviderError> {
        let statement = "
            INSERT INTO attempts (payment_id, count, first_at) VALUES ($1, 1, $2)
            ON CONFLICT (payment_id) DO UPDATE SET count = attempts.count + 1
            RETURNING count, first_at
        ";
        in_time(async {
            let row = sqlx::query(statement).bind(id.as_str()).bind(now()).fetch_one(&self.pool).await?;
            let count: i32 = row.try_get("count")?;
            Ok(Attempts { count: count.unsigned_abs(), first_at: row.try_get("first_at")? })
        })
        .await
    }

    async fn list(&self, listing: &Listing) -> Result<Vec<Payment>, ProviderError> {
        let statement = "
            SELECT json_build_object(
                'id', id, 'order_id', order_id, 'merchant_id', merchant_id, 'method', method,
                'state', CASE state WHEN 'returned' THEN 'refunded' ELSE state END,
                'amount', json_build_object('amount', amount, 'currency', currency), 'reason', reason,
                'created_at', created_at, 'updated_at', updated_at,
                'entries', ARRAY(
                    SELECT json_build_object('kind', kind, 'at', at, 'postings', ARRAY(
                        SELECT json_build_object(
                            'account', account, 'amount', json_build_object('amount', amount, 'currency', currency)
                        )
                        FROM postings WHERE (payment_id, kind) = (entries.payment_id, entries.kind) ORDER BY number
                    ))
                    FROM entries WHERE payment_id = payments.id ORDER BY at, kind
                )
            )::text
            FROM payments WHERE ($1::text IS NULL OR id = $1) AND ($2::text IS NULL OR merchant_id = $2)
            ORDER BY created_at DESC LIMIT $3
        ";
        in_time(async {
            let rows: Vec<String> = sqlx::query_scalar(statement)
                .bind(listing.order_id.as_ref().map(OrderId::payment).map(String::from))
                .bind(listing.merchant_id.as_ref().map(MerchantId::as_str))
                .bind(i64::from(listing.limit))
                // The plan for one payment is not the plan for all.
                .persistent(false)
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(|row| serde_json::from_str(row).map_err(unreadable)).collect()
        })
        .await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<Audited>, ProviderError> {
        // One statement, so that payments and entries fit together. No entry is without its payment: the schema sees to
        // that, by hand too. What it says of each of them is not taken for granted.
        let statement = "
            SELECT id, json_build_object(
                'order_id', order_id, 'merchant_id', merchant_id, 'method', method,
                'state', CASE state WHEN 'returned' THEN 'refunded' ELSE state END,
                'amount', json_build_object('amount', amount, 'currency', currency)
            )::text,
            ARRAY(
                SELECT json_build_object('kind', kind, 'at', at, 'postings', ARRAY(
                    SELECT json_build_object(
                        'account', account, 'amount', json_build_object('amount', amount, 'currency', currency)
                    )
                    FROM postings WHERE (payment_id, kind) = (entries.payment_id, entries.kind) ORDER BY number
                ))::text
                FROM entries WHERE payment_id = payments.id ORDER BY at, kind
            )
            FROM payments
            WHERE ($1::text IS NULL OR id = $1) AND ($2::text IS NULL OR id > $2)
            ORDER BY id LIMIT $3
        ";
        in_time(async {
            let rows: Vec<(String, String, Vec<String>)> = sqlx::query_as(statement)
                .bind(query.only.clone().map(String::from))
                .bind(query.after.as_deref())
                .bind(i64::from(query.limit))
                // As above.
                .persistent(false)
                .fetch_all(&self.pool)
                .await?;
            let read = |text: &str| serde_json::from_str::<Value>(text).map_err(unreadable);
            rows.into_iter()
                .map(|(id, payment, entries)| {
                    let entries = entries.iter().map(|entry| read(entry)).collect::<Result<Vec<_>, _>>()?;
                    Ok(audited(id, Some(read(&payment)?), entries))
                })
                .collect()
        })
        .await
    }
}

async fn standing(
    connection: &mut PgConnection,
    id: &PaymentId,
    statement: &'static str,
) -> Result<Option<Standing>, sqlx::Error> {
    let read = |row: PgRow| {
        let state: String = row.try_get("state")?;
        Ok(Standing { state: read_word(&state)?, void: row.try_get("void")?, reason: row.try_get("reason")? })
    };
    sqlx::query(statement).bind(id.as_str()).fetch_optional(connection).await?.map(read).transpose()
}

/// Writes an entry with its postings.
async fn enter(connection: &mut PgConnection, id: &PaymentId, entry: &LedgerEntry) -> Result<(), sqlx::Error> {
    let accounts: Vec<&str> = entry.postings.iter().map(|posting| posting.account.as_str()).collect();
    let amounts: Vec<i64> = entry.postings.iter().map(|posting| posting.amount.amount).collect();
    let currencies: Vec<&str> = entry.postings.iter().map(|posting| posting.amount.currency.code()).collect();
    let statement = "
        WITH entry AS (INSERT INTO entries (payment_id, kind, at) VALUES ($1, $2, $3) RETURNING payment_id, kind)
        INSERT INTO postings (payment_id, kind, number, account, amount, currency)
        SELECT payment_id, kind, number, account, amount, currency
        FROM entry, unnest($4::text[], $5::bigint[], $6::text[])
            WITH ORDINALITY AS posting (account, amount, currency, number)
    ";
    sqlx::query(statement)
        .bind(id.as_str())
        .bind(word(&entry.kind))
        .bind(entry.at)
        .bind(accounts)
        .bind(amounts)
        .bind(currencies)
        .execute(connection)
        .await
        .map(drop)
}

/// Whatever goes wrong may go right later: no rule of the port is left to the schema.
async fn in_time<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ProviderError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(ProviderError::unavailable),
        Err(_) => Err(ProviderError::unavailable("PostgreSQL does not answer")),
    }
}

/// A value of a closed set as it is written, which is as in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => unreachable!("a value of a closed set is a string in JSON: {other:?}"),
    }
}

fn read_word<T: DeserializeOwned>(word: &str) -> Result<T, sqlx::Error> {
    T::deserialize(word.into_deserializer()).map_err(|error: serde::de::value::Error| unreadable(error))
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

#[cfg(test)]
#[path = "postgres_test.rs"]
pub mod tests;
