//! How many attempts at steps one worker makes at once. Each context has a bound of its own, and so have orders themselves:
//! where a provider is slow, whoever waits for it takes no place from anybody else. Steps that a customer waits for have places
//! of their own, so that those that were left behind are not before them. Messages to strangers, who may take their time, have no
//! bound: one merchant's would hold up all others'. What orders themselves write is written together, so that fewer at once would
//! only be more transactions: they have as many places as by default at least.

use std::array;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::measures::{self, Waiting};
use crate::{Context, Step};

/// Beside the contexts: orders themselves, and again each context for steps that a customer waits for.
const ORDERS: usize = Context::ALL.len();
const AWAITED: usize = ORDERS + 1;
const KINDS: usize = AWAITED + Context::ALL.len();

/// Places for attempts. Clones share them.
#[derive(Clone, Debug)]
pub struct Capacity(Arc<[Semaphore; KINDS]>);

impl Capacity {
    /// So many for each context unless it is said otherwise: more than a worker that is well ever uses.
    pub const DEFAULT: u32 = 256;

    /// So many places for each context; for orders themselves not fewer than by default.
    #[must_use]
    pub fn new(at_once: u32) -> Self {
        let places = |at_once| usize::try_from(at_once).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        measures::worker_is_there();
        let of_kind = |kind| if kind == ORDERS { at_once.max(Self::DEFAULT) } else { at_once };
        Self(Arc::new(array::from_fn(|kind| Semaphore::new(places(of_kind(kind))))))
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
        Some(&self.0[index])
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}
