//! Payment, built in: a sandbox provider that understands test cards, over a double-entry ledger.

mod card;
mod ledger;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};
use workflows::payment::{Charge, Charged, Due, EntryKind, LedgerEntry, Payment, Payments};
use workflows::provider::Undo;
use workflows::{Context, OrderId, PaymentId, PaymentMethod, PaymentState, ProviderError};

use self::card::TestCard;
use crate::Modes;
use crate::store::{Database, StoreError};

const TABLES: &str = "
    DEFINE TABLE IF NOT EXISTS payments SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_time ON payments FIELDS created_at;
    DEFINE TABLE IF NOT EXISTS ledger SCHEMALESS;
    DEFINE INDEX IF NOT EXISTS by_payment ON ledger FIELDS payment_id;
    DEFINE TABLE IF NOT EXISTS attempts SCHEMALESS;
";

pub struct BuiltIn {
    database: Database,
    modes: Arc<Modes>,
}

impl BuiltIn {
    pub async fn open(database: Database, modes: Arc<Modes>) -> Result<Self, StoreError> {
        database.define(TABLES).await?;
        Ok(Self { database, modes })
    }

    async fn state(&self, id: &PaymentId) -> Result<Option<(PaymentState, Option<String>)>, StoreError> {
        #[derive(serde::Deserialize)]
        struct Row {
            state: PaymentState,
            reason: Option<String>,
        }
        let statement = "SELECT state, reason FROM ONLY type::record('payments', $id)";
        let row: Option<Row> = self.database.run(statement, &json!({ "id": id })).await?.read(0)?;
        Ok(row.map(|row| (row.state, row.reason)))
    }

    /// Writes the payment's first and only settlement with its ledger entry; `false` where it was settled before.
    async fn settle(&self, payment: &Value, id: &PaymentId, entry: Option<&LedgerEntry>) -> Result<bool, StoreError> {
        let statements = "
            BEGIN;
            CREATE type::record('payments', $id) CONTENT $payment;
            IF $entry != NULL { CREATE type::record('ledger', [$id, 'charge']) CONTENT object::extend($entry, { payment_id: $id }); };
            COMMIT;
        ";
        let variables = json!({ "id": id, "payment": payment, "entry": entry });
        match self.database.run(statements, &variables).await {
            Ok(_) => Ok(true),
            Err(StoreError::Exists) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves a payment from one state to another together with the ledger entry of the move, and tells the state that
    /// it has then.
    async fn book(&self, due: &Due, kind: EntryKind, from: &str, to: &str) -> Result<Option<PaymentState>, StoreError> {
        let entry = ledger::entry(kind, due.method, &due.merchant_id, due.amount, now());
        let statements = "
            BEGIN;
            LET $payment = type::record('payments', $id);
            LET $moved = (UPDATE $payment SET state = $to, updated_at = $now WHERE state = $from);
            IF array::len($moved) > 0 {
                CREATE type::record('ledger', [$id, $kind]) CONTENT object::extend($entry, { payment_id: $id });
            };
            SELECT VALUE state FROM ONLY $payment;
            COMMIT;
        ";
        let variables = json!({
            "id": due.payment_id, "kind": kind, "entry": entry, "from": from, "to": to, "now": now(),
        });
        self.database.run(statements, &variables).await?.read(4)
    }

    /// A deposit that was not confirmed cannot be any more.
    async fn cancel_pending(&self, due: &Due) -> Result<(), StoreError> {
        let statement = "
            UPDATE type::record('payments', $id) SET state = 'cancelled', updated_at = $now WHERE state = 'pending'
        ";
        self.database.run(statement, &json!({ "id": due.payment_id, "now": now() })).await.map(drop)
    }

    /// Whether the card lets the charge through now. `Err` is what a provider out of order looks like.
    async fn try_card(&self, card: &TestCard, id: &PaymentId) -> Result<(), ProviderError> {
        match card {
            TestCard::Flaky { failures } => {
                let (attempt, _) = self.count_attempt(id).await?;
                if attempt <= *failures {
                    return Err(ProviderError::unavailable(format!("the provider failed (attempt {attempt})")));
                }
            }
            TestCard::Slow { delay } => {
                let (_, first_at) = self.count_attempt(id).await?;
                let passed = (Utc::now() - first_at).to_std().unwrap_or_default();
                tokio::time::sleep(delay.saturating_sub(passed)).await;
            }
            TestCard::Ok | TestCard::LostReply | TestCard::Declined { .. } => {}
        }
        Ok(())
    }

    /// How often this charge was tried, this time included, and when it was first.
    async fn count_attempt(&self, id: &PaymentId) -> Result<(u32, DateTime<Utc>), StoreError> {
        #[derive(serde::Deserialize)]
        struct Row {
            count: u32,
            first_at: DateTime<Utc>,
        }
        let statement = "
            UPSERT ONLY type::record('attempts', $id) SET count = (count ?? 0) + 1, first_at = first_at ?? $now
        ";
        let row: Row = self.database.run(statement, &json!({ "id": id, "now": now() })).await?.read(0)?;
        Ok((row.count, row.first_at))
    }
}

#[async_trait]
impl Payments for BuiltIn {
    async fn charge(&self, charge: &Charge) -> Result<Charged, ProviderError> {
        self.modes.pass(Context::Payment).await?;
        let card = TestCard::read(&charge.card_token.0);
        let id = &charge.payment_id;
        if self.state(id).await?.is_none() {
            self.try_card(&card, id).await?;
            let (state, reason, entry) = if let TestCard::Declined { reason } = card {
                (PaymentState::Declined, Some(reason), None)
            } else {
                let entry =
                    ledger::entry(EntryKind::Charge, PaymentMethod::Card, &charge.merchant_id, charge.amount, now());
                (PaymentState::Approved, None, Some(entry))
            };
            let payment = record(&due_of(charge), state, reason);
            let first = self.settle(&payment, id, entry.as_ref()).await?;
            if first && card == TestCard::LostReply {
                return Err(ProviderError::unavailable("the provider's reply was lost"));
            }
        }
        match self.state(id).await? {
            Some((PaymentState::Approved, _)) => Ok(Charged::Approved),
            Some((PaymentState::Declined, reason)) => {
                Ok(Charged::Declined { reason: reason.unwrap_or_else(|| "declined".to_owned()) })
            }
            state => Err(ProviderError::impossible(format!("{id} cannot be charged any more: {state:?}"))),
        }
    }

    async fn refund(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.modes.pass(Context::Payment).await?;
        // What is cancelled before it was charged or confirmed is kept: the charge, or its confirmation, may still be on
        // its way.
        match due.method {
            PaymentMethod::Card => {
                self.settle(&record(due, PaymentState::Cancelled, None), &due.payment_id, None).await?;
            }
            PaymentMethod::Deposit => self.cancel_pending(due).await?,
        }
        Ok(match self.book(due, EntryKind::Refund, "approved", "refunded").await? {
            Some(PaymentState::Refunded) => Undo::Undone,
            _ => Undo::Nothing,
        })
    }

    async fn open_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.modes.pass(Context::Payment).await?;
        self.settle(&record(due, PaymentState::Pending, None), &due.payment_id, None).await?;
        match self.state(&due.payment_id).await? {
            Some((PaymentState::Pending | PaymentState::Approved, _)) => Ok(()),
            state => Err(ProviderError::impossible(format!("{} cannot be opened: {state:?}", due.payment_id))),
        }
    }

    async fn close_deposit(&self, due: &Due) -> Result<Undo, ProviderError> {
        self.modes.pass(Context::Payment).await?;
        let mut void = record(due, PaymentState::Cancelled, None);
        void["void"] = json!(true);
        self.settle(&void, &due.payment_id, None).await?;
        self.cancel_pending(due).await?;
        let statement = "SELECT VALUE state = 'cancelled' AND void != true FROM ONLY type::record('payments', $id)";
        let mut answers = self.database.run(statement, &json!({ "id": due.payment_id })).await?;
        Ok(if answers.read::<bool>(0)? { Undo::Undone } else { Undo::Nothing })
    }

    async fn confirm_deposit(&self, due: &Due) -> Result<(), ProviderError> {
        self.modes.pass(Context::Payment).await?;
        match self.book(due, EntryKind::Deposit, "pending", "approved").await? {
            Some(PaymentState::Approved) => Ok(()),
            state => Err(ProviderError::impossible(format!("{} cannot be confirmed: {state:?}", due.payment_id))),
        }
    }

    async fn payments(&self, order_id: Option<&OrderId>, limit: u32) -> Result<Vec<Payment>, ProviderError> {
        self.modes.pass(Context::Payment).await?;
        let from = if order_id.is_some() { "type::record('payments', $id)" } else { "payments" };
        let statement = format!(
            "SELECT *, record::id(id) AS id, (
                 SELECT kind, at, postings FROM ledger WHERE payment_id = record::id($parent.id) ORDER BY at
             ) AS entries
             FROM {from} ORDER BY created_at DESC LIMIT $limit"
        );
        let variables = json!({ "id": order_id.map(OrderId::payment), "limit": limit });
        Ok(self.database.run(&statement, &variables).await?.read(0)?)
    }
}

fn record(due: &Due, state: PaymentState, reason: Option<&str>) -> Value {
    let at = now();
    json!({
        "order_id": due.order_id, "merchant_id": due.merchant_id, "method": due.method, "state": state,
        "amount": due.amount, "reason": reason, "created_at": at, "updated_at": at,
    })
}

fn due_of(charge: &Charge) -> Due {
    Due {
        payment_id: charge.payment_id.clone(),
        order_id: charge.order_id.clone(),
        merchant_id: charge.merchant_id.clone(),
        method: PaymentMethod::Card,
        amount: charge.amount,
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

#[cfg(test)]
#[path = "payment_test.rs"]
mod tests;
