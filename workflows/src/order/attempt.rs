//! One durable step: the provider's answer and the record of what it made true, in one journal entry. What nobody sees is only
//! journaled, and recorded along with the step after it: see [`rules::is_recorded_along`].

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, Either, FutureExt, select};
use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use serde::{Deserialize, Serialize};
use tracing::{Instrument, info_span, warn};

use super::news::News;
use super::telling::Telling;
use super::{Actor, Entry, Event, Fact, Order, Outcome, PlaceOrder, Ports, Reach, rules, steps};
use crate::durable::{self, Failed};
use crate::{Capacity, MessageId, OrderId, PaymentState, ProviderError, Step, StepPolicy};

/// How long noting a failed attempt may take; the time in which a step gives up has no more to spare.
const NOTE_TIMEOUT: Duration = Duration::from_millis(250);
/// How long what is recorded along with a step waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// A step's journal entry: the provider's answer, and the events that it led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    pub outcome: Outcome,
    pub events: Vec<Event>,
    /// When it was heard, which can be long after its events: deadlines count from them.
    pub at: DateTime<Utc>,
    /// What is to be sent of what was made known along with it; `None` where that is still to be made known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Vec<MessageId>>,
    /// Whether its events are still to be recorded, along with what comes next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unrecorded: bool,
    /// Said by the step that places the order, in 0.1.0-rc.4: once no cancel is heard any more, the next one's verdict says so. Up
    /// to 0.1.0-rc.3 its slot was closed instead; an order that decides leaves one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves_verdict: bool,
    /// Said by the step that places the order: see [`PlaceOrder::decides`]. Who placed it may have asked for that when the order began
    /// on a version that did not know it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decides: bool,
}

/// An order as it was recorded, and what has become true of it since.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) recorded: Arc<Order>,
    pub(super) since: Vec<Event>,
}

impl Known {
    pub(super) fn order(&self) -> Arc<Order> {
        if self.since.is_empty() {
            self.recorded.clone()
        } else {
            Arc::new(Order::clone(&self.recorded).after_all(&self.since))
        }
    }
}

/// Why a step brought no answer.
pub(super) enum Unheard {
    /// Somebody cancelled the invocation. The step may or may not have taken effect.
    Interrupted,
    GaveUp,
}

/// One durable step: the activity and the record of it.
pub(super) struct Attempt<'a> {
    pub(super) ports: &'a Ports,
    pub(super) capacity: &'a Capacity,
    pub(super) input: &'a PlaceOrder,
    pub(super) order_id: OrderId,
    /// How the order stands; `None` for the step that places it.
    pub(super) before: Option<Known>,
    pub(super) step: Step,
    /// Who asked for it.
    pub(super) by: Option<Actor>,
    /// The facts of a step of the order itself; others have theirs from the provider's answer.
    pub(super) facts: Vec<Fact>,
    /// How whoever commands the order reaches it.
    pub(super) reach: Reach,
    /// Makes known what becomes true, where that may be done along with recording it.
    pub(super) telling: Option<TellAlong<'a>>,
}

/// What an attempt has to know to make its events known.
pub(super) struct TellAlong<'a> {
    pub(super) telling: &'a Telling,
    /// The order as it is known, and what nobody was told of yet.
    pub(super) known: Option<(Arc<Order>, News)>,
}

impl<'a> Attempt<'a> {
    /// Apart from the order's own future: one that waits at a gate for days is not to keep room for it.
    pub(super) fn run(self, ctx: &'a WorkflowContext<'a>) -> BoxFuture<'a, Result<Heard, Unheard>> {
        let policy = self.input.placement.lifecycle.policy(self.step);
        let (step, order_id) = (self.step, self.order_id.clone());
        let heard = ctx.run(move || self.once(policy)).name(step.name()).retry_policy(durable::retries(&policy));
        let heard = async move {
            match heard.await {
                Ok(Json(heard)) => Ok(heard),
                Err(error) if error.code() == 409 => Err(Unheard::Interrupted),
                Err(error) => {
                    warn!(%order_id, step = step.name(), error = error.message(), "step gave up");
                    Err(Unheard::GaveUp)
                }
            }
        };
        heard.boxed()
    }

    /// Whether nobody waits for it: neither who placed the order and is to know whether it stands, and where to pay, nor who
    /// commanded it.
    fn can_wait(&self) -> bool {
        self.by.is_none() && self.before.as_ref().is_some_and(|before| is_settled(&before.recorded))
    }

    /// One attempt. What went wrong with it is told to the book of orders, which may be out of reach itself.
    async fn once(self, policy: StepPolicy) -> HandlerResult<Json<Heard>> {
        if self.can_wait() {
            self.capacity.gather().await;
        }
        let caught_up = AtomicBool::new(false);
        let acting = durable::attempt(self.capacity, self.step, policy.attempt_timeout(), self.act(&caught_up));
        let heard = match select(pin!(acting), pin!(self.catch_up_if_slow(&caught_up))).await {
            Either::Left((heard, _)) => heard,
            Either::Right(((), acting)) => acting.await,
        };
        if let Err(failed) = &heard {
            let note = async {
                self.catch_up(&caught_up).await;
                self.ports.orders.note_failure(&self.order_id, self.step, &failed.why).await
            };
            if !matches!(tokio::time::timeout(NOTE_TIMEOUT, note).await, Ok(Ok(()))) {
                warn!(failure = failed.why, "a failed attempt was not noted");
            }
        }
        let (outcome, events, unrecorded) = heard.map_err(Failed::into_error)?;
        let told = self.tell(&events).await;
        // After telling, which takes its time: a deadline that begins to be waited for now is none the later for it.
        let at = self.ports.orders.now();
        let decides = self.step == Step::OrderPlace && self.input.decides;
        Ok(Json(Heard { outcome, events, at, told, unrecorded, leaves_verdict: false, decides }))
    }

    /// Makes known what has become true, if it has come to where it is made known. Not in the time of the step.
    async fn tell(&self, events: &[Event]) -> Option<Vec<MessageId>> {
        let TellAlong { telling, known } = self.telling.as_ref()?;
        let before = known.as_ref().map(|(order, _)| &**order);
        let (mut after, mut news) = match known {
            Some((order, news)) => (Order::clone(order), news.clone()),
            None => Order::from_events(events).map(|order| (order.clone(), News::of(&order)))?,
        };
        news.learn(&mut after, events);
        if !rules::is_made_known(before, &after) {
            return None;
        }
        let notice = news.take(&after)?;
        // What has become true is recorded already, and nobody is to come to a gate that is not open yet.
        if is_settled(&after) && after.gate.is_none() {
            self.capacity.gather().await;
        }
        telling.tell(self.capacity, || self.ports.orders.now(), self.ports.notifications.send(&notice)).await
    }

    /// The answer, the events that it led to, and whether these are still to be recorded.
    async fn act(&self, caught_up: &AtomicBool) -> Result<(Outcome, Vec<Event>, bool), ProviderError> {
        let before = self.before.as_ref().map(Known::order);
        let (outcome, facts) = match (&before, self.step.context()) {
            (Some(order), Some(context)) => {
                let span =
                    info_span!("provider", "otel.name" = self.step.name(), "otel.kind" = "client", context = %context);
                let outcome = steps::perform(self.ports, self.step, order, self.input).instrument(span).await?;
                let facts = rules::facts(self.step, &outcome, order);
                (outcome, facts)
            }
            _ => (Outcome::Done, self.facts.clone()),
        };
        let orders = &self.ports.orders;
        if facts.is_empty() {
            self.record_since(caught_up).await?;
            orders.forget_failures(&self.order_id).await?;
            return Ok((outcome, Vec::new(), false));
        }
        let (recorded, since) = match &self.before {
            Some(known) if !caught_up.load(Ordering::Relaxed) => (Some(&*known.recorded), &known.since[..]),
            _ => (before.as_deref(), &[][..]),
        };
        let entry = self.entry(recorded, since, &facts);
        if let Some(before) = &before {
            let events = entry.events(before.version, orders.now());
            if rules::is_recorded_along(self.step, &outcome, before, &Order::clone(before).after_all(&events)) {
                return Ok((outcome, events, true));
            }
        }
        let span = info_span!("record", "otel.name" = "orders.record", "otel.kind" = "client");
        let events = orders.record(entry).instrument(span).await?.events;
        Ok((outcome, events, false))
    }

    fn entry<'e>(&'e self, before: Option<&'e Order>, since: &'e [Event], facts: &'e [Fact]) -> Entry<'e> {
        let (by, reach) = (self.by.as_ref(), Some(&self.reach));
        Entry { order_id: &self.order_id, step: self.step, before, since, by, facts, reach }
    }

    /// What has become true already is to be seen soon, however long the step takes.
    async fn catch_up_if_slow(&self, caught_up: &AtomicBool) {
        let _ = tokio::time::timeout(PATIENCE, std::future::pending::<()>()).await;
        self.catch_up(caught_up).await;
    }

    async fn catch_up(&self, caught_up: &AtomicBool) {
        if let Err(error) = self.record_since(caught_up).await {
            warn!(order_id = %self.order_id, %error, "what has become true is seen late");
        }
    }

    /// Records what is not recorded yet; says so in `caught_up`.
    async fn record_since(&self, caught_up: &AtomicBool) -> Result<(), ProviderError> {
        let Some(Known { recorded, since }) = &self.before else { return Ok(()) };
        let Some(last) = since.last().filter(|_| !caught_up.load(Ordering::Relaxed)) else { return Ok(()) };
        let orders = &self.ports.orders;
        // An attempt before this one may have done it, if only in part.
        if orders.events(&self.order_id, last.number - 1, 1).await?.is_empty() {
            orders.record(self.entry(Some(recorded), since, &[])).await?;
        }
        caught_up.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether it is decided that the order stands, and its payment has begun.
fn is_settled(order: &Order) -> bool {
    order.decided && order.payment.state != PaymentState::None
}
