//! Whose turn it is to write a batch, where several processes write to one store. All of them count on the same counter, so of
//! batches that are written at the same time only one can be committed, and the others were for nothing. Nothing depends on it
//! that turns are kept: whoever does not get one writes all the same, and the store sees to it that what comes of it is right.

use std::time::Duration;

use rand::Rng;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::store::{Database, Variables};

/// For how long a turn is somebody's who does not give it back, and how long it is waited for.
const TURN: Duration = Duration::from_secs(1);
/// How often those who wait ask, in microseconds: at random, so that they do not ask together.
const ASK_EVERY_MICROS: std::ops::Range<u64> = 2_000..6_000;
/// How long whoever has waited lets others go first, afterwards.
const LET_OTHERS: Duration = Duration::from_millis(6);

// By the clock of the store, which is the same for all.
const TAKE: &str = "
    BEGIN;
    LET $until = (SELECT VALUE until FROM ONLY turns:orders) ?? 0;
    LET $now = time::millis();
    IF $until < $now { UPSERT turns:orders SET until = $now + $turn, by = $me RETURN NONE };
    RETURN $until < $now;
    COMMIT;
";
const GIVE: &str = "UPDATE turns:orders SET until = 0 WHERE by = $me RETURN NONE;";

/// This process among those that write to the store.
pub(super) struct Turns {
    /// Absent: nobody else can.
    store: Option<Database>,
    me: String,
}

/// How a turn was come by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    AtOnce,
    /// Others write, too.
    Waited,
    /// Nobody gave it.
    Without,
}

impl Turns {
    pub(super) fn new(store: &Database) -> Self {
        Self { store: store.is_shared().then(|| store.clone()), me: format!("{:032x}", rand::random::<u128>()) }
    }

    /// Waits for a turn, but not for long.
    pub(super) async fn take(&self) -> Turn {
        let Some(store) = &self.store else { return Turn::Without };
        let variables = json!({ "me": self.me, "turn": u64::try_from(TURN.as_millis()).unwrap_or_default() });
        let (began, mut turn) = (Instant::now(), Turn::AtOnce);
        while began.elapsed() < TURN {
            let asked = tokio::time::timeout(TURN, store.run(TAKE, &variables)).await;
            // A store that does not answer will say so of the batch, too.
            let Ok(Ok(mut answers)) = asked else { break };
            if matches!(answers.read(4), Ok(true)) {
                return turn;
            }
            turn = Turn::Waited;
            let pause = rand::rng().random_range(ASK_EVERY_MICROS);
            sleep(Duration::from_micros(pause)).await;
        }
        Turn::Without
    }

    /// The statement that gives it back, for the transaction that it was taken for; its variable is added to `variables`.
    pub(super) fn giving(&self, turn: Turn, variables: &mut Variables) -> &'static str {
        if turn == Turn::Without {
            return "";
        }
        variables.set("me", self.me.clone());
        GIVE
    }

    /// Ends a turn: gives it back, unless a transaction `gave` it.
    pub(super) async fn end(&self, turn: Turn, gave: bool) {
        let Some(store) = self.store.as_ref().filter(|_| turn != Turn::Without) else { return };
        if !gave {
            // It is over by itself soon, if this fails.
            let _ = tokio::time::timeout(TURN, store.run(GIVE, &json!({ "me": self.me }))).await;
        }
        if turn == Turn::Waited {
            sleep(LET_OTHERS).await;
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;
    use crate::store::Store;

    async fn store() -> Database {
        let store = Store::open("mem://").await.expect("opens");
        let database = store.database("orders").await.expect("a session");
        database.define("DEFINE TABLE turns SCHEMALESS").await.expect("defines");
        database
    }

    /// As if others could write to it, too.
    fn among(store: &Database) -> Turns {
        Turns { store: Some(store.clone()), ..Turns::new(store) }
    }

    #[tokio::test]
    async fn a_turn_is_nobody_elses_until_it_is_given_back() {
        let store = store().await;
        let (first, second) = (among(&store), among(&store));
        let turn = first.take().await;
        assert!(turn == Turn::AtOnce);
        assert!(tokio::time::timeout(TURN / 4, second.take()).await.is_err(), "it is the first one's");
        // Of somebody else's turn there is nothing to give back.
        second.end(Turn::AtOnce, false).await;
        assert!(tokio::time::timeout(TURN / 4, second.take()).await.is_err(), "it still is");
        first.end(turn, false).await;
        assert!(second.take().await == Turn::AtOnce);
    }

    #[tokio::test]
    async fn a_transaction_gives_the_turn_back_only_if_it_is_committed() {
        let store = store().await;
        let (first, second) = (among(&store), among(&store));
        let (turn, mut variables) = (first.take().await, Variables::default());
        let giving = first.giving(turn, &mut variables);
        let refused = store.run(&format!("BEGIN; {giving} THROW 'no'; COMMIT;"), variables.clone()).await;
        assert!(refused.is_err());
        assert!(tokio::time::timeout(TURN / 4, second.take()).await.is_err(), "it is still the first one's");
        store.run(&format!("BEGIN; {giving} COMMIT;"), variables.clone()).await.expect("commits");
        assert!(second.take().await == Turn::AtOnce);
        assert!(first.giving(Turn::Without, &mut variables).is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_one_who_has_died() {
        let store = store().await;
        let (dead, other) = (among(&store), among(&store));
        dead.take().await;
        drop(dead);
        let turn = tokio::time::timeout(2 * TURN, other.take()).await.expect("it goes on without a turn, if need be");
        other.end(turn, false).await;
        // By now the dead one's turn is over.
        assert!(among(&store).take().await != Turn::Without);
    }

    #[tokio::test]
    async fn whoever_is_alone_waits_for_nothing() {
        let store = store().await;
        assert!(Turns::new(&store).take().await == Turn::Without);
    }
}
