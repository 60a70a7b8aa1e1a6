//! The one writer of this process. Every append takes the next positions in the feed from one counter, so appends that
//! ran side by side would only conflict and run again; here those that come together are written together.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, broadcast, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{error, warn};
use workflows::order::{Event, Positioned};

use super::tally::Changes;
use super::turns::{Turn, Turns};
use crate::store::{Database, StoreError, Variables, record, records};
use crate::text::text;
use crate::together::{more, others_first};

/// How many appends are written together at most.
const LARGEST_BATCH: usize = 64;
/// How many may wait to be written.
const QUEUE: usize = 1024;
/// How many transactions may be told of before who listens to them has taken notice.
const BACKLOG: usize = 64;
/// How long one transaction may take; the steps that wait for it have about as long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

// The counter is read and written in the transaction, so positions have no gaps and follow the order of commit.
const COUNT: &str = "
    BEGIN;
    LET $last = (UPSERT ONLY counters:feed SET last += $count RETURN VALUE last);
    INSERT INTO events $events RETURN NONE;
    CREATE type::record('feed', [$last]) SET events = $spans RETURN NONE;
    $last;
";
/// Which answer is `$last`, by which it is told where the events stand in the feed.
const LAST: usize = 4;

/// The same behind a position that is known: less for the store to compute, as long as nobody else counts.
const COUNT_ON: &str = "
    BEGIN;
    UPDATE counters:feed SET last = IF last = $known { $last } ELSE { THROW 'counted' } RETURN NONE;
    INSERT INTO events $events RETURN NONE;
    INSERT INTO feed $feed RETURN NONE;
";
/// What `COUNT_ON` throws where somebody else did.
const COUNTED: &str = "counted";
/// What `fn::follows` throws where an order has another version than the one that events follow.
const OVERTAKEN: &str = "overtaken";
/// The version of an order, by its row, where it may be of a build up to 0.1.0-rc.3, which had it in the document only; and whether
/// that is the one that events follow.
pub(super) const FUNCTIONS: &str = "
    DEFINE FUNCTION IF NOT EXISTS fn::version($version: any, $doc: any) {
        RETURN $version ?? $doc.version ?? encoding::json::decode($doc).version;
    };
    DEFINE FUNCTION IF NOT EXISTS fn::follows($version: any, $doc: any, $before: int) {
        IF fn::version($version, $doc) != $before { THROW 'overtaken' };
        RETURN true;
    };
";

/// Events of one order, and what they make of it.
pub(super) struct Append {
    pub events: Arc<[Event]>,
    /// The order's row, with its id.
    pub order: Value,
    /// The order's version before it, by which it is told whether others have written to it; 0 where there was no order.
    pub before: u32,
    pub changes: Changes,
    /// The row of the audit trail, with its id, where somebody asked for it.
    pub audit: Option<Value>,
}

impl Append {
    fn is_new(&self) -> bool {
        self.before == 0
    }

    /// What the order's record is called.
    fn order_id(&self) -> &Value {
        &self.order["id"]
    }

    /// The row of its events, called after the order and the last of them: as many as are written together. It also has what
    /// reaches the order from then on, which nothing else could tell if the order's row were lost.
    fn row_of_events(&self) -> Value {
        let mut row = json!({ "id": [self.order["id"], self.order["version"]], "doc": text(&self.events) });
        if self.is_new() {
            row["run"] = self.order["run"].clone();
        }
        if !self.order["awakeable"].is_null() {
            row["awakeable"] = self.order["awakeable"].clone();
        }
        row
    }

    /// Where its events are, for the feed: the order, the first number and the last.
    fn span(&self) -> Value {
        json!([self.order["id"], self.before + 1, self.order["version"]])
    }
}

/// Why an append was not made, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAppended {
    /// Others have written events of that order meanwhile.
    #[error("the order has other events already")]
    Overtaken,
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
    written: broadcast::Sender<Arc<[Positioned]>>,
    /// Whose turn it is to write orders' rows: one batch's, or everybody's who writes a single row beside it.
    turn: Arc<RwLock<()>>,
}

impl Writer {
    /// Starts writing; ends when this is dropped.
    pub(super) fn start(database: Database) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let written = broadcast::Sender::new(BACKLOG);
        let turn = Arc::<RwLock<()>>::default();
        tokio::spawn(write(database, waiting, written.clone(), turn.clone()));
        Self { queue, written, turn }
    }

    /// Keeps batches from writing until dropped. A row that is written beside a batch would make all of it conflict and run
    /// again; many such rows, again and again.
    pub(super) async fn beside(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().await
    }

    /// Returns when the append is written, or is not.
    pub(super) async fn append(&self, append: Append) -> Result<(), NotAppended> {
        let (done, outcome) = oneshot::channel();
        // Where the writer is gone in the middle of it, nobody can tell whether it was written.
        self.queue.send(Waiting { append, done }).await.map_err(|_| NotAppended::NoAnswer)?;
        outcome.await.unwrap_or(Err(NotAppended::NoAnswer))
    }

    /// What each transaction wrote, from now on.
    pub(super) fn written(&self) -> broadcast::Receiver<Arc<[Positioned]>> {
        self.written.subscribe()
    }
}

async fn write(
    database: Database,
    mut queue: mpsc::Receiver<Waiting>,
    written: broadcast::Sender<Arc<[Positioned]>>,
    turn: Arc<RwLock<()>>,
) {
    let (mut batch, mut at_once) = (Vec::new(), AtOnce(LARGEST_BATCH));
    let (turns, position) = (Arc::new(Turns::new(&database)), Arc::new(Position::of(&database)));
    while queue.recv_many(&mut batch, at_once.0).await > 0 {
        others_first().await;
        more(&mut queue, &mut batch, at_once.0);
        let batch = std::mem::take(&mut batch);
        let _turn = turn.write().await;
        let among = turns.take().await;
        let committer = Committer {
            database: database.clone(),
            turns: turns.clone(),
            turn: among,
            position: position.clone(),
            written: written.clone(),
        };
        // In a task of its own, so that a panic in the store ends this batch only.
        let gave = match tokio::spawn(write_batch(committer, batch)).await {
            Ok((pace, gave)) => {
                at_once.suit(pace);
                gave
            }
            Err(error) => {
                error!(%error, "writing events panicked");
                false
            }
        };
        turns.end(among, gave).await;
    }
}

/// How many appends are written together.
struct AtOnce(usize);

impl AtOnce {
    /// What was too much at once is asked again by all who waited for it, and would be too much again, for ever.
    fn suit(&mut self, pace: Pace) {
        match pace {
            Pace::Quick => self.0 = (self.0 * 2).min(LARGEST_BATCH),
            Pace::Steady => {}
            Pace::TooSlow => {
                self.0 = (self.0 / 2).max(1);
                warn!(at_once = self.0, "the store is slow: less is written at once");
            }
        }
    }
}

/// How a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// In so little time that more can be written at once.
    Quick,
    Steady,
    /// It was not answered in time.
    TooSlow,
}

impl Pace {
    fn of(took: Duration) -> Self {
        if took < WRITE_TIMEOUT / 4 { Self::Quick } else { Self::Steady }
    }
}

/// Writes them together, or else each by itself, so that one that cannot be written is in no other's way. Also tells whether the
/// turn was given back with them.
async fn write_batch(committer: Committer, mut batch: Vec<Waiting>) -> (Pace, bool) {
    let began = Instant::now();
    // Whoever has stopped waiting asks again.
    batch.retain(|waiting| !waiting.done.is_closed());
    while batch.len() > 1 {
        match committer.commit(batch.iter().map(|waiting| &waiting.append), true).await {
            Ok(()) => {
                for waiting in batch {
                    let _ = waiting.done.send(Ok(()));
                }
                return (Pace::of(began.elapsed()), true);
            }
            // Nor would it answer all of them.
            Err(NotAppended::NoAnswer) => return (Pace::TooSlow, false),
            // Where a store is slow, steps are tried again that it has written meanwhile. If each of those took a batch apart, it
            // would be slower still.
            Err(NotAppended::Overtaken) => match take_overtaken(&committer.database, &mut batch).await {
                Ok(overtaken) if !overtaken.is_empty() => {
                    for waiting in overtaken {
                        let _ = waiting.done.send(Err(NotAppended::Overtaken));
                    }
                }
                _ => break,
            },
            Err(_) => break,
        }
    }
    let (last, mut gave) = (batch.len().saturating_sub(1), false);
    for (n, Waiting { append, done }) in batch.into_iter().enumerate() {
        if done.is_closed() {
            continue;
        }
        let outcome = committer.commit(std::iter::once(&append), n == last).await;
        gave = n == last && outcome.is_ok();
        let _ = done.send(outcome);
    }
    (Pace::of(began.elapsed()), gave)
}

/// Takes those out of the batch whose order has another version than the one that they follow.
async fn take_overtaken(database: &Database, batch: &mut Vec<Waiting>) -> Result<Vec<Waiting>, NotAppended> {
    let orders = records("orders", batch.iter().map(|waiting| waiting.append.order_id().clone()));
    let named = Variables::default().with("orders", orders);
    let statement = "SELECT VALUE [record::id(id), fn::version(version, doc)] FROM $orders";
    let read = async { database.run(statement, named).await?.read::<Vec<(String, u32)>>(0) };
    let versions =
        timeout(WRITE_TIMEOUT, read).await.map_err(|_| NotAppended::NoAnswer)?.map_err(NotAppended::Store)?;
    let versions: BTreeMap<_, _> = versions.into_iter().collect();
    let is_overtaken = |waiting: &mut Waiting| {
        let order = waiting.append.order_id().as_str();
        order.and_then(|order| versions.get(order)).is_some_and(|version| *version != waiting.append.before)
    };
    Ok(batch.extract_if(.., is_overtaken).collect())
}

/// Commits appends in somebody's turn, and tells of them.
struct Committer {
    database: Database,
    turns: Arc<Turns>,
    turn: Turn,
    position: Arc<Position>,
    written: broadcast::Sender<Arc<[Positioned]>>,
}

/// The last position of the feed, where it is known. In a store that others write to, it would mostly be wrong.
struct Position {
    last: Mutex<Option<u64>>,
    is_shared: bool,
}

impl Position {
    fn of(database: &Database) -> Self {
        Self { last: Mutex::default(), is_shared: database.is_shared() }
    }

    fn take(&self) -> Option<u64> {
        self.last.lock().expect("not poisoned").take()
    }

    fn keep(&self, last: u64) {
        *self.last.lock().expect("not poisoned") = Some(last).filter(|_| !self.is_shared);
    }
}

impl Committer {
    /// One transaction, which gives the turn back where it is the `last`.
    async fn commit<'a>(
        &self,
        appends: impl Iterator<Item = &'a Append> + Clone,
        last: bool,
    ) -> Result<(), NotAppended> {
        let events = || appends.clone().flat_map(|append| append.events.iter());
        loop {
            // Until this is written, nobody knows.
            let known = self.position.take();
            let (statements, variables) = self.script(appends.clone(), known, last);
            match timeout(WRITE_TIMEOUT, self.database.run(&statements, variables)).await {
                Ok(Ok(mut answers)) => {
                    let last = match known {
                        Some(known) => Some(known + events().count() as u64),
                        // What is not told of is read.
                        None => answers.read(LAST).ok(),
                    };
                    if let Some(last) = last {
                        self.position.keep(last);
                        self.tell(events(), last);
                    }
                    return Ok(());
                }
                Ok(Err(StoreError::Thrown(why))) if known.is_some() && why.ends_with(COUNTED) => {}
                Ok(Err(StoreError::Thrown(why))) if why.ends_with(OVERTAKEN) => return Err(NotAppended::Overtaken),
                Ok(Err(StoreError::Exists)) => return Err(NotAppended::Overtaken),
                Ok(Err(error)) => return Err(NotAppended::Store(error)),
                Err(_) => return Err(NotAppended::NoAnswer),
            }
        }
    }

    /// The statements of one transaction, which begins behind the position that is `known`, and what they name.
    fn script<'a>(
        &self,
        appends: impl Iterator<Item = &'a Append> + Clone,
        known: Option<u64>,
        last: bool,
    ) -> (String, Variables) {
        let count: usize = appends.clone().map(|append| append.events.len()).sum();
        let rows: Vec<_> = appends.clone().map(Append::row_of_events).collect();
        let spans: Vec<_> = appends.clone().map(Append::span).collect();
        let mut variables = Variables::default().with("events", rows);
        let mut statements = if let Some(known) = known {
            let last = known + count as u64;
            variables.set("known", json!(known));
            variables.set("last", json!(last));
            variables.set("feed", json!([{ "id": [last], "events": spans }]));
            COUNT_ON.to_owned()
        } else {
            variables.set("count", count);
            variables.set("spans", spans);
            COUNT.to_owned()
        };
        let placed: Vec<_> =
            appends.clone().filter(|append| append.is_new()).map(|append| append.order.clone()).collect();
        if !placed.is_empty() {
            statements += "INSERT INTO orders $placed RETURN NONE;";
            variables.set("placed", placed);
        }
        for (n, append) in appends.clone().filter(|append| !append.is_new()).enumerate() {
            write!(
                statements,
                "UPSERT $order_{n} CONTENT $row_{n}
                WHERE version = $before_{n} OR fn::follows(version, doc, $before_{n}) RETURN NONE;"
            )
            .expect("a string takes everything");
            variables.set(format!("order_{n}"), record("orders", append.order_id().clone()));
            variables.set(format!("row_{n}"), append.order.clone());
            variables.set(format!("before_{n}"), json!(append.before));
        }
        let audit: Vec<_> = appends.clone().filter_map(|append| append.audit.clone()).collect();
        if !audit.is_empty() {
            statements += "INSERT INTO audit $audit RETURN NONE;";
            variables.set("audit", audit);
        }
        let mut changes = Changes::default();
        appends.for_each(|append| changes.add(&append.changes));
        changes.put(&mut statements, &mut variables);
        if last {
            statements += self.turns.giving(self.turn, &mut variables);
        }
        statements += "COMMIT;";
        (statements, variables)
    }

    /// Tells of events, the last of which has that position.
    fn tell<'a>(&self, events: impl Iterator<Item = &'a Event>, last: u64) {
        if self.written.receiver_count() == 0 {
            return;
        }
        let events: Vec<_> = events.cloned().collect();
        let positions = last + 1 - events.len() as u64..;
        let written = positions.zip(events).map(|(position, event)| Positioned { position, event }).collect();
        // They may have gone at this moment.
        let _ = self.written.send(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_halved_down_to_one_and_grows_again() {
        let mut at_once = AtOnce(LARGEST_BATCH);
        let mut sizes = |pace: Pace, times: usize| -> Vec<usize> {
            let size = |_| {
                at_once.suit(pace);
                at_once.0
            };
            (0..times).map(size).collect()
        };
        assert_eq!(sizes(Pace::TooSlow, 7), [32, 16, 8, 4, 2, 1, 1]);
        assert_eq!(sizes(Pace::Steady, 2), [1, 1]);
        assert_eq!(sizes(Pace::Quick, 7), [2, 4, 8, 16, 32, 64, 64]);
    }
}
