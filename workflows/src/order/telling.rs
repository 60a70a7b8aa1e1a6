//! Making known what has become true of an order right after it is recorded, so that the engine need not keep what is done
//! anyway. That is never in the order's way: what does not go at once is left to the order's queue of notifications, which
//! keeps trying, and for a while nothing is tried here.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::timeout;
use tracing::debug;

use crate::durable::Failed;

/// How the orders of one worker make themselves known.
#[derive(Debug)]
pub struct Telling {
    /// How long an order waits for it at most.
    patience: Duration,
    /// How long it is not tried after it has failed.
    left_alone: TimeDelta,
    failed: Mutex<Option<DateTime<Utc>>>,
}

impl Default for Telling {
    fn default() -> Self {
        Self { patience: Duration::from_millis(500), left_alone: TimeDelta::seconds(10), failed: Mutex::default() }
    }
}

impl Telling {
    /// The answer to what is asked of notifications; `None` where it does not come at once. It may be known all the same,
    /// and is not made known twice. `now` tells the time.
    pub(super) async fn tell<T>(
        &self,
        now: impl Fn() -> DateTime<Utc>,
        asked: impl Future<Output = Result<T, Failed>>,
    ) -> Option<T> {
        let failed = *self.failed.lock().expect("no panic");
        if failed.is_some_and(|failed| now() < failed + self.left_alone) {
            return None;
        }
        let why = match timeout(self.patience, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(failed)) => failed.why,
            Err(_) => format!("not done within {} ms", self.patience.as_millis()),
        };
        debug!(why, "left to the queues of notifications");
        *self.failed.lock().expect("no panic") = Some(now());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_come_at_once_is_not_waited_for_and_left_alone_for_a_while() {
        let at = |seconds| move || DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let answer = async || Ok::<_, Failed>(1);
        let telling = Telling { patience: Duration::from_millis(10), ..Telling::default() };
        assert_eq!(telling.tell(at(0), answer()).await, Some(1));
        assert_eq!(telling.tell(at(1), std::future::pending::<Result<u8, _>>()).await, None);
        assert_eq!(telling.tell(at(10), answer()).await, None);
        assert_eq!(telling.tell(at(11), answer()).await, Some(1));
        let failed = Failed { why: "it is down".to_owned(), terminal: false };
        assert_eq!(telling.tell(at(12), async { Err::<u8, _>(failed) }).await, None);
        assert_eq!(telling.tell(at(21), answer()).await, None);
        assert_eq!(telling.tell(at(22), answer()).await, Some(1));
    }
}
