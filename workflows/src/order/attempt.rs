//! One durable step: the provider's answer and the record of what it made true, in one journal entry.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use serde::{Deserialize, Serialize};
use tracing::{Instrument, error, warn};

use super::{Entry, Event, Fact, Order, Outcome, PlaceOrder, Ports, rules, steps};
use crate::{OrderId, ProviderError, Step, StepPolicy};

/// A step's journal entry: the provider's answer, and the events that it led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    pub outcome: Outcome,
    pub events: Vec<Event>,
    /// When it was heard, which can be long after its events: deadlines count from them.
    pub at: DateTime<Utc>,
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
    pub(super) input: &'a PlaceOrder,
    pub(super) order_id: OrderId,
    /// The order so far; `None` for the step that places it.
    pub(super) before: Option<Order>,
    pub(super) step: Step,
    /// The facts of a step of the order itself; others have theirs from the provider's answer.
    pub(super) facts: Vec<Fact>,
}

impl<'a> Attempt<'a> {
    pub(super) async fn run(self, ctx: &'a WorkflowContext<'a>) -> Result<Heard, Unheard> {
        let policy = self.input.placement.lifecycle.policy(self.step);
        let (step, order_id) = (self.step, self.order_id.clone());
        let span = tracing::info_span!("step", "otel.name" = step.name(), step = step.name(), %order_id);
        let heard = ctx
            .run(move || self.once(policy).instrument(span))
            .name(step.name())
            .retry_policy(engine_policy(&policy))
            .await;
        match heard {
            Ok(Json(heard)) => Ok(heard),
            Err(error) if error.code() == 409 => Err(Unheard::Interrupted),
            Err(error) => {
                warn!(%order_id, step = step.name(), error = error.message(), "step gave up");
                Err(Unheard::GaveUp)
            }
        }
    }

    /// One attempt. A panic is a failed attempt like any other: the engine tries again.
    async fn once(self, policy: StepPolicy) -> HandlerResult<Json<Heard>> {
        let work = AssertUnwindSafe(self.act()).catch_unwind();
        match tokio::time::timeout(policy.attempt_timeout(), work).await {
            Err(_) => Err(format!("no answer within {} ms", policy.attempt_timeout_ms).into()),
            Ok(Err(panic)) => {
                let what = panic_message(panic.as_ref());
                error!(panic = what, "step panicked");
                Err(format!("panicked: {what}").into())
            }
            Ok(Ok(Ok(heard))) => Ok(Json(heard)),
            Ok(Ok(Err(ProviderError::Impossible(cause)))) => {
                error!(%cause, "step is impossible");
                if self.step.may_be_impossible() {
                    return Err(TerminalError::new(format!("impossible: {cause}")).into());
                }
                Err(format!("impossible: {cause}").into())
            }
            Ok(Ok(Err(unavailable))) => Err(unavailable.into()),
        }
    }

    async fn act(&self) -> Result<Heard, ProviderError> {
        let (outcome, facts) = match &self.before {
            Some(order) if self.step.context().is_some() => {
                let outcome = steps::perform(self.ports, self.step, order, self.input.card_token.as_ref()).await?;
                let facts = rules::facts(self.step, &outcome, order);
                (outcome, facts)
            }
            _ => (Outcome::Done, self.facts.clone()),
        };
        let entry = Entry { order_id: &self.order_id, step: self.step, before: self.before.as_ref(), facts: &facts };
        let events = if facts.is_empty() { Vec::new() } else { self.ports.orders.record(entry).await?.events };
        Ok(Heard { outcome, events, at: self.ports.orders.now() })
    }
}

pub(super) fn engine_policy(policy: &StepPolicy) -> RunRetryPolicy {
    let engine = RunRetryPolicy::new()
        .initial_delay(Duration::from_millis(policy.first_delay_ms.into()))
        .exponentiation_factor(policy.factor)
        .max_delay(Duration::from_millis(policy.longest_delay_ms.into()));
    match policy.retry_for() {
        Some(duration) => engine.max_duration(duration),
        None => engine,
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
