//! How many attempts at steps one worker makes at once. Each context has a bound of its own, and so have orders themselves:
//! where a provider is slow, whoever waits for it takes no place from anybody else. Steps that a customer waits for have places
//! of their own, so that those that were left behind are not before them. Messages to strangers, who may take their time, have no
//! bound: one merchant's would hold up all others'. What orders themselves write is written together, so that fewer at once would
//! only be more transactions: they have as many places as by default at least.

use std::array;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Sleep;

use crate::measures::{self, Waiting};
use crate::{Context, Step};

/// Beside the contexts: orders themselves, and again each context for steps that a customer waits for.
const ORDERS: usize = Context::ALL.len();
const AWAITED: usize = ORDERS + 1;
const KINDS: usize = AWAITED + Context::ALL.len();

/// How long those that nobody waits for wait for each other: long enough for a few of a hundred orders a second to meet, and short
/// beside anything that an order waits for.
const GATHER: Duration = Duration::from_millis(20);

type Gathering = Shared<Pin<Box<Sleep>>>;

/// Places for attempts. Clones share them.
#[derive(Clone, Debug)]
pub struct Capacity(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    places: [Semaphore; KINDS],
    /// Ends when those who wait for it go.
    gathering: Mutex<Option<Gathering>>,
}

impl Capacity {
    /// So many for each context unless it is said otherwise: more than a worker that is well ever uses.
    pub const DEFAULT: u32 = 256;

    /// So many places for each context; for orders themselves not fewer than by default.
    #[must_use]
    pub fn new(at_once: u32) -> Self {
        let places = |at_once| usize::try_from(at_once).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        measures::worker_is_there();
        let of_kind = |kind| if kind == ORDERS { at_once.max(Self::DEFAULT) } else { at_once };
        let places = array::from_fn(|kind| Semaphore::new(places(of_kind(kind))));
        Self(Arc::new(Shares { places, gathering: Mutex::default() }))
    }

    /// Waits for others that nobody waits for, either, so that they ask together what costs little more together than by itself,
    /// and meanwhile leave the processors to those that somebody waits for.
    pub(crate) async fn gather(&self) {
        self.gathering().await;
    }

    /// What whoever gathers now waits for: the same for all of them, until it ends.
    #[expect(clippy::disallowed_methods, reason = "within an attempt, which is made anew after a crash")]
    fn gathering(&self) -> Gathering {
        let mut last = self.0.gathering.lock().expect("no panic");
        match &*last {
            Some(gathering) if gathering.peek().is_none() => gathering.clone(),
            _ => last.insert(Box::pin(tokio::time::sleep(GATHER)).shared()).clone(),
        }
    }

    /// A place for an attempt at `step`, if it needs one, for as long as the answer is kept. Who came first is served first.
    pub(crate) async fn place(&self, step: Step) -> Option<SemaphorePermit<'_>> {
        let places = self.places(step)?;
        let _waiting = Waiting::begin();
        Some(places.acquire().await.expect("nobody closes it"))
    }

    fn places(&self, step: Step) -> Option<&Semaphore> {
        let index = match step.context() {
            _ if step == Step::NotificationDeliver => return None,
            Some(context) if step.may_give_up() => AWAITED + context as usize,
            Some(context) => context as usize,
            None => ORDERS,
        };
        Some(&self.0.places[index])
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_gathers_goes_together_and_who_comes_then_waits_for_the_next() {
        let capacity = Capacity::default();
        let (first, second) = (capacity.gathering(), capacity.gathering());
        assert!(first.ptr_eq(&second));
        first.await;
        let third = capacity.gathering();
        assert!(!third.ptr_eq(&second));
        third.await;
    }
}
