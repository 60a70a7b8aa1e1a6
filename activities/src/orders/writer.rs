//! The one writer of this process. Every append takes the next positions in the feed from one counter, so appends that
//! ran side by side would only conflict and run again; here those that come together are written together.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::error;
use workflows::OrderId;

use super::tally::Changes;
use crate::store::{Database, StoreError};

/// How many appends are written together at most.
const LARGEST_BATCH: usize = 64;
/// How many may wait to be written.
const QUEUE: usize = 1024;
/// How long one transaction may take; the steps that wait for it have about as long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

// The counter is read and written in the transaction, so positions have no gaps and follow the order of commit.
const APPEND: &str = "
    BEGIN;
    LET $last = (UPSERT ONLY counters:feed SET last += $count RETURN VALUE last);
    INSERT INTO events $events RETURN NONE;
    CREATE type::record('feed', [$last]) SET events = $ids RETURN NONE;
    INSERT INTO orders $orders ON DUPLICATE KEY UPDATE
        status = $input.status,
        for_courier = $input.for_courier,
        moving_since = $input.moving_since,
        still_since = $input.still_since,
        trouble = NONE,
        doc = $input.doc
    RETURN NONE;
";

/// Events of one order, and what they make of it.
pub(super) struct Append {
    /// Each event's order and number, and the event.
    pub events: Vec<(OrderId, u32, Value)>,
    /// The order's row, with its id.
    pub order: Value,
    pub changes: Changes,
    /// The row of the audit trail, with its id, where somebody asked for it.
    pub audit: Option<Value>,
}

/// Why an append was not made, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAppended {
    /// An event of that number is there already.
    #[error("the event exists")]
    Exists,
    #[error(transparent)]
    Store(StoreError),
    #[error("the store did not answer in time")]
    NoAnswer,
}

struct Waiting {
    append: Append,
    done: oneshot::Sender<Result<(), NotAppended>>,
}

pub(super) struct Writer {
    queue: mpsc::Sender<Waiting>,
    written: watch::Receiver<u64>,
}

impl Writer {
    /// Starts writing; ends when this is dropped.
    pub(super) fn start(database: Database) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (writes, written) = watch::channel(0);
        tokio::spawn(write(database, waiting, writes));
        Self { queue, written }
    }

    /// Returns when the append is written, or is not.
    pub(super) async fn append(&self, append: Append) -> Result<(), NotAppended> {
        let (done, outcome) = oneshot::channel();
        // Where the writer is gone in the middle of it, nobody can tell whether it was written.
        self.queue.send(Waiting { append, done }).await.map_err(|_| NotAppended::NoAnswer)?;
        outcome.await.unwrap_or(Err(NotAppended::NoAnswer))
    }

    /// Changes after every write.
    pub(super) fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }
}

async fn write(database: Database, mut queue: mpsc::Receiver<Waiting>, writes: watch::Sender<u64>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, LARGEST_BATCH).await > 0 {
        let batch = std::mem::take(&mut batch);
        // In a task of its own, so that a panic in the store ends this batch only.
        if let Err(error) = tokio::spawn(write_batch(database.clone(), batch, writes.clone())).await {
            error!(%error, "writing events panicked");
        }
    }
}

/// Writes them together, or else each by itself, so that one that cannot be written is in no other's way.
async fn write_batch(database: Database, mut batch: Vec<Waiting>, writes: watch::Sender<u64>) {
    // Whoever has stopped waiting asks again.
    batch.retain(|waiting| !waiting.done.is_closed());
    if batch.len() > 1 {
        match commit(&database, batch.iter().map(|waiting| &waiting.append)).await {
            Ok(()) => {
                writes.send_modify(|writes| *writes += 1);
                for waiting in batch {
                    let _ = waiting.done.send(Ok(()));
                }
                return;
            }
            // Nor would it answer all of them.
            Err(NotAppended::NoAnswer) => return,
            Err(_) => {}
        }
    }
    for Waiting { append, done } in batch {
        if done.is_closed() {
            continue;
        }
        let outcome = commit(&database, std::iter::once(&append)).await;
        if outcome.is_ok() {
            writes.send_modify(|writes| *writes += 1);
        }
        let _ = done.send(outcome);
    }
}

async fn commit<'a>(database: &Database, appends: impl Iterator<Item = &'a Append>) -> Result<(), NotAppended> {
    let (mut events, mut orders, mut audit, mut changes) = (Vec::new(), Vec::new(), Vec::new(), Changes::default());
    for append in appends {
        events.extend(append.events.iter().map(|(id, number, event)| json!({ "id": [id, number], "doc": event })));
        orders.push(&append.order);
        audit.extend(&append.audit);
        changes.add(&append.changes);
    }
    let ids: Vec<_> = events.iter().map(|event| event["id"].clone()).collect();
    let asked_for = if audit.is_empty() { "" } else { "INSERT INTO audit $audit RETURN NONE;" };
    let mut variables =
        json!({ "count": events.len(), "events": events, "ids": ids, "orders": orders, "audit": audit });
    let statements = format!("{APPEND}{asked_for}{}COMMIT;", changes.statements(&mut variables));
    match timeout(WRITE_TIMEOUT, database.run(&statements, &variables)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(StoreError::Exists)) => Err(NotAppended::Exists),
        Ok(Err(error)) => Err(NotAppended::Store(error)),
        Err(_) => Err(NotAppended::NoAnswer),
    }
}
