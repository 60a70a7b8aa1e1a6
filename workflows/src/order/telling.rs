//! Making known what has become true of an order right after it is recorded, so that the engine need not keep what is done
//! anyway. That is never in the order's way for long: what does not go soon is left to the order's queue of notifications, which
//! keeps trying, and where notifications failed nothing is tried here for a while. Where a worker is at its bound, waiting for a
//! place for a moment costs less than an invocation of the queue, which would wait for the same place.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::debug;

use crate::{Capacity, ProviderError, Step, durable};

/// How the orders of one worker make themselves known.
#[derive(Debug)]
pub struct Telling {
    /// How long an order waits for a place at most, and then for the answer.
    patience: Duration,
    /// How long it is not tried after it has failed, and after there was no place for it.
    left_alone: TimeDelta,
    no_place: TimeDelta,
    /// Until when it is not tried.
    until: Mutex<DateTime<Utc>>,
}

impl Default for Telling {
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(500),
            left_alone: TimeDelta::seconds(10),
            no_place: TimeDelta::seconds(1),
            until: Mutex::new(DateTime::UNIX_EPOCH),
        }
    }
}

impl Telling {
    /// The answer to what is asked of notifications; `None` where it does not come soon. It may be known all the same,
    /// and is not made known twice. `now` tells the time.
    pub(super) async fn tell<T>(
        &self,
        capacity: &Capacity,
        now: impl Fn() -> DateTime<Utc>,
        asked: impl Future<Output = Result<T, ProviderError>>,
    ) -> Option<T> {
        if now() < *self.until.lock().expect("no panic") {
            return None;
        }
        let left_alone = match durable::attempt_soon(capacity, Step::NotificationSend, self.patience, asked).await {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(failed)) => {
                debug!(why = failed.why, "left to the queues of notifications");
                self.left_alone
            }
            None => self.no_place,
        };
        // Others may have found out worse meanwhile.
        let mut until = self.until.lock().expect("no panic");
        *until = (*until).max(now() + left_alone);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_come_at_once_is_not_waited_for_and_left_alone_for_a_while() {
        let at = |seconds| move || DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let (capacity, answer) = (Capacity::new(1), async || Ok::<_, ProviderError>(1));
        let telling = Telling { patience: Duration::from_millis(10), ..Telling::default() };
        assert_eq!(telling.tell(&capacity, at(0), answer()).await, Some(1));
        assert_eq!(telling.tell(&capacity, at(1), std::future::pending::<Result<u8, _>>()).await, None);
        assert_eq!(telling.tell(&capacity, at(10), answer()).await, None);
        assert_eq!(telling.tell(&capacity, at(11), answer()).await, Some(1));
        let down = ProviderError::unavailable("it is down");
        assert_eq!(telling.tell(&capacity, at(12), async { Err::<u8, _>(down) }).await, None);
        assert_eq!(telling.tell(&capacity, at(21), answer()).await, None);
        assert_eq!(telling.tell(&capacity, at(22), answer()).await, Some(1));
        let place = capacity.place(Step::NotificationSend).await;
        assert_eq!(telling.tell(&capacity, at(23), answer()).await, None);
        drop(place);
        assert_eq!(telling.tell(&capacity, at(23), answer()).await, None);
        assert_eq!(telling.tell(&capacity, at(24), answer()).await, Some(1));
    }
}
