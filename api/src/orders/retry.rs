//! `POST /v1/orders/{order_id}/retry`: an order that is held up goes on at once. What is tried is what would have been
//! tried anyway, only sooner, so there is no order that it could harm.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use tracing::{info, warn};
use workflows::audit::Act;
use workflows::order::{OrderBook, Trouble};
use workflows::{Order, OrderId, Role, Step};

use super::read::find;
use crate::access::Caller;
use crate::ask::ask;
use crate::audit::Trail;
use crate::engine::{Engine, EngineError, Invocation};
use crate::kind::Kind;
use crate::problem::{Members, Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::Checked;

pub(crate) struct RetryOrders {
    pub retrying: Retrying,
    pub trail: Trail,
}

/// Drives orders on.
#[derive(Clone)]
pub(crate) struct Retrying {
    pub orders: Arc<dyn OrderBook>,
    pub engine: Engine,
}

refusals! {
    RetryOrder: Forbidden, NotFound, NothingToRetry, TryAgainLater;
}

/// How an order was driven on.
#[derive(Object)]
pub(super) struct Retry {
    /// The order.
    order_id: Checked<OrderId>,
    /// What was done for it.
    done: RetryDone,
    /// The step that kept failing, if one did.
    #[oai(nullable)]
    step: Option<Checked<Step>>,
}

/// What was done for an order that was held up: `triggered`, the next attempt is made now and not when its time has come;
/// `resumed`, its workflow was paused and goes on; `trying`, nothing had to be done, since an attempt is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum RetryDone {
    Triggered,
    Resumed,
    Trying,
}

#[derive(ApiResponse)]
enum Retried {
    /// The order is being tried. How that goes is told by `GET /v1/orders/{order_id}/workflow`.
    #[oai(status = 202)]
    Taken(Json<Retry>),
}

#[OpenApi(prefix_path = "/v1/orders", tag = "Tag::Operations")]
impl RetryOrders {
    /// Retry an order now
    ///
    /// Makes the next attempt at a step that keeps failing at once, and has a workflow go on that the engine has paused.
    /// An order that goes its way, or waits for a person, is left alone and answers 409. Asking twice does no harm.
    #[oai(path = "/:order_id/retry", method = "post", operation_id = "retry_order")]
    async fn retry(
        &self,
        caller: Caller,
        /// The order's id.
        order_id: Path<Checked<OrderId>>,
    ) -> Result<Retried, Refused<RetryOrder>> {
        caller.must_be(&[Role::Operator])?;
        let Checked(id) = order_id.0;
        let Retrying { orders, engine } = &self.retrying;
        let order = find(&**orders, &caller, &id).await?;
        let act = Act {
            order_id: Some(id.clone()),
            merchant_id: Some(order.merchant_id.clone()),
            ..Act::new(caller.actor(), "retry_order")
        };
        let driven = async {
            let invocation = engine.invocation(&id).await.map_err(|error| unanswered(&id, &error))?;
            self.retrying.drive_on(&order, invocation.as_ref()).await
        };
        Ok(Retried::Taken(Json(self.trail.of(act, driven).await?)))
    }
}

impl Retrying {
    /// Has the order tried now, of which the engine has just said what it does.
    pub(super) async fn drive_on(&self, order: &Order, invocation: Option<&Invocation>) -> Result<Retry, Problem> {
        let trouble = ask("orders.trouble", self.orders.trouble(&order.id)).await?;
        let held_up =
            invocation.and_then(|invocation| Some((invocation, needed(order, trouble.as_ref(), invocation)?)));
        let Some((invocation, done)) = held_up else { return Err(nothing_to_retry(order)) };
        if done != RetryDone::Trying {
            let resumed = self.engine.resume(invocation).await.map_err(|error| unanswered(&order.id, &error))?;
            if !resumed {
                return Err(nothing_to_retry(order));
            }
        }
        info!(order_id = %order.id, ?done, "retried by hand");
        let step = trouble.map(|trouble| Checked(trouble.step));
        Ok(Retry { order_id: Checked(order.id.clone()), done, step })
    }
}

/// What it takes to have the order tried; none where nothing holds it up.
fn needed(order: &Order, trouble: Option<&Trouble>, invocation: &Invocation) -> Option<RetryDone> {
    let waits = order.gate.is_some() || order.status.is_final();
    match invocation.status.as_str() {
        "paused" => Some(RetryDone::Resumed),
        "backing-off" => Some(RetryDone::Triggered),
        // Put aside in the middle of a step, which nobody but itself can end: an engine's mistake
        // (https://github.com/restatedev/restate/issues/5196).
        "suspended" if !waits => Some(RetryDone::Resumed),
        "running" if trouble.is_some() => Some(RetryDone::Trying),
        _ => None,
    }
}

fn nothing_to_retry(order: &Order) -> Problem {
    let detail = match (order.status.is_final(), order.gate) {
        (true, _) => "The order has ended.",
        (false, Some(_)) => "The order waits for a person, and nothing is wrong with it.",
        (false, None) => "The order is not held up: it goes its way.",
    };
    Problem::new(Kind::NothingToRetry, detail).with(Members {
        order_id: Some(Checked(order.id.clone())),
        status: Some(order.status.into()),
        ..Members::default()
    })
}

pub(super) fn unanswered(id: &OrderId, error: &EngineError) -> Problem {
    warn!(order_id = %id, %error, "retry not handed to the engine");
    Problem::new(
        Kind::TryAgainLater,
        "The engine does not answer right now. Asking again after Retry-After is safe; the order goes on by itself, too.",
    )
}
