//! Under pressure: who asks too often is told to slow down, what is too much for this instance is turned away at once, and
//! no card is charged at a provider that does not answer. What was acknowledged before goes on untouched.

mod breaker;
#[cfg(test)]
mod breaker_test;
mod connection;
mod rate;
mod shed;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use workflows::OrderId;

use crate::kind::Kind;
use crate::metrics::Metrics;
use crate::problem::Problem;

pub use breaker::BreakerLimits;
pub(crate) use breaker::{Asked, BreakerState, Outcome, PaymentBreaker};
pub(crate) use connection::Patient;
pub(crate) use rate::{Rates, limited, strangers};
pub(crate) use shed::shed;

/// How much this instance takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many requests a second each principal may send for long.
    pub requests_per_second: NonZeroU32,
    /// How many requests each principal may send at once, after a pause.
    pub burst: NonZeroU32,
    /// How many connections may be open. More are closed as soon as they are made.
    pub connections: u32,
    /// How many requests may be open. Streams are not counted once they have begun: they have a bound of their own.
    pub open_requests: u32,
    /// How many orders may be open of which it is not decided yet whether they stand. Fewer than requests, so that
    /// reading goes on while placing is turned away.
    pub open_placements: u32,
    /// How long the head of a request may take to arrive, once its first byte has.
    pub head_timeout: Duration,
    /// How long the body of a request may take to arrive, after its head.
    pub body_timeout: Duration,
    /// How long a connection may take nothing of an answer that is being sent.
    pub write_timeout: Duration,
    pub breaker: BreakerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: NonZeroU32::new(100).expect("is not zero"),
            burst: NonZeroU32::new(200).expect("is not zero"),
            connections: 4096,
            open_requests: 512,
            open_placements: 64,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            breaker: BreakerLimits::default(),
        }
    }
}

/// So many places are remembered, whether or not anybody has them; more only of orders that are being placed.
const FORGET_FROM: usize = 64;
/// One in so many open requests may be a stranger's.
const STRANGERS_SHARE: u32 = 8;

/// What is open in this process, and how much of it may be.
pub(crate) struct Pressure {
    pub limits: Limits,
    pub rates: Rates,
    pub breaker: Arc<PaymentBreaker>,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    /// Of these, for pages that nobody known asks for: who may take their time with a body.
    strangers: Arc<Semaphore>,
    placements: Arc<Semaphore>,
    /// The places of orders that are being placed, and of some that no longer are.
    placed: Mutex<HashMap<OrderId, Weak<OwnedSemaphorePermit>>>,
    metrics: Metrics,
}

/// A place of an order that is being placed, shared by all requests for it, until the last of them drops it.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

impl Pressure {
    pub(crate) fn new(limits: Limits, metrics: Metrics) -> Self {
        let slots = |count: u32| Arc::new(Semaphore::new(count as usize));
        Self {
            rates: Rates::new(limits),
            breaker: Arc::new(PaymentBreaker::new(limits.breaker, metrics.clone())),
            connections: slots(limits.connections),
            requests: slots(limits.open_requests),
            strangers: slots((limits.open_requests / STRANGERS_SHARE).max(1)),
            placements: slots(limits.open_placements),
            placed: Mutex::default(),
            limits,
            metrics,
        }
    }

    /// A place for a connection, until it is dropped.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.take(&self.connections, "connections")
    }

    /// A place for a request, until it is dropped.
    fn request(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.take(&self.requests, "requests").ok_or_else(too_many_requests)
    }

    /// A place for a page that nobody known asks for, until it is dropped.
    fn stranger(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.take(&self.strangers, "strangers").ok_or_else(too_many_requests)
    }

    /// A place for an order, until it is dropped: when it is decided whether the order stands, also if its caller does
    /// not wait for that. However often one order is asked for at the same time, it has one place.
    pub(crate) fn placement(&self, order_id: &OrderId) -> Result<Place, Problem> {
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = placed.get(order_id).and_then(Weak::upgrade) {
            return Ok(place);
        }
        let place = self.take(&self.placements, "placements").map(Arc::new).ok_or_else(|| {
            let detail = "Too many orders are being placed. This one was not, and no money moved: repeat the request \
                          after Retry-After.";
            Problem::new(Kind::TryAgainLater, detail)
        })?;
        if placed.len() > FORGET_FROM.max(2 * self.open_placements()) {
            placed.retain(|_, place| place.strong_count() > 0);
        }
        placed.insert(order_id.clone(), Arc::downgrade(&place));
        Ok(place)
    }

    fn take(&self, slots: &Arc<Semaphore>, what: &'static str) -> Option<OwnedSemaphorePermit> {
        let slot = slots.clone().try_acquire_owned().ok();
        if slot.is_none() {
            self.metrics.within(|| counter!("jumun_shed_total", "what" => what).increment(1));
        }
        slot
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.limits.connections as usize - self.connections.available_permits()
    }

    pub(crate) fn open_requests(&self) -> usize {
        self.limits.open_requests as usize - self.requests.available_permits()
    }

    pub(crate) fn open_placements(&self) -> usize {
        self.limits.open_placements as usize - self.placements.available_permits()
    }

    /// Forgets what no longer matters. To be called now and then.
    pub(crate) fn tidy(&self) {
        self.rates.forget_the_idle();
        self.metrics.sum_up();
    }
}

fn too_many_requests() -> Problem {
    Problem::new(Kind::TryAgainLater, "Too many requests are open. Nothing was done; repeat it after Retry-After.")
}
