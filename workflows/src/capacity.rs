//! How many attempts at steps one worker makes at once. Each context has a bound of its own, and so have orders themselves
//! and the messages that go out: where a provider is slow, whoever waits for it takes no place from anybody else.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::measures::Waiting;
use crate::{Context, Step};

/// Beside the contexts: orders themselves, and what strangers may take their time to receive.
const ORDERS: usize = Context::ALL.len();
const MESSAGES: usize = ORDERS + 1;

/// Places for attempts. Clones share them.
#[derive(Clone, Debug)]
pub struct Capacity(Arc<[Semaphore; MESSAGES + 1]>);

impl Capacity {
    /// So many for each context unless it is said otherwise: more than a worker that is well ever uses.
    pub const DEFAULT: u32 = 256;

    /// So many places for each context.
    #[must_use]
    pub fn new(at_once: u32) -> Self {
        let places = usize::try_from(at_once).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self(Arc::new([(); MESSAGES + 1].map(|()| Semaphore::new(places))))
    }

    /// A place for an attempt at `step`, for as long as the answer is kept. Who came first is served first.
    pub(crate) async fn place(&self, step: Step) -> SemaphorePermit<'_> {
        let index = match (step, step.context()) {
            (Step::NotificationDeliver, _) => MESSAGES,
            (_, Some(context)) => context as usize,
            (_, None) => ORDERS,
        };
        let _waiting = Waiting::begin();
        self.0[index].acquire().await.expect("nobody closes it")
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}
