//! How commands reach a running order. What passes a gate is brought to its run by an awakeable; the run decides, in the order of
//! its journal, so that exactly one of those who compete wins, and whoever commands reads what became of it. A cancel is a promise
//! of its own, which is resolved once, and interrupts the run, which answers by another one.
//!
//! Of orders that were placed up to 0.1.0-rc.4 each gate is a promise, too: each side resolves it, and then reads what came of that.

use std::time::Duration;

use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use serde::{Deserialize, Serialize};

use super::{Actor, Command, Gate, Order, OrderBook, Role};
use crate::{OrderId, Step, durable};

/// A command, with who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRequest {
    pub command: Command,
    pub by: Actor,
    pub reason: Option<String>,
    /// Whoever asks follows the order's events, and so sees the effect. Otherwise they are answered once it is there, as
    /// they were up to 0.1.0-rc.1.
    #[serde(default)]
    pub follows: bool,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Accepted,
    NotAllowed,
}

/// What passed a gate: exactly one of them does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    By {
        command: Command,
        by: Actor,
        reason: Option<String>,
    },
    /// Nobody came in time.
    Deadline,
    /// A cancel came first: nobody passes.
    Shut,
}

/// What the n-th cancel promise holds. A cancel can be refused and a later one allowed, so they are numbered: the n-th
/// gets its verdict before the one after it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelSlot {
    Asked {
        by: Actor,
        reason: Option<String>,
        /// The invocation that asks, so that it knows its own request again.
        from: String,
    },
    /// No cancel is heard any more, of an order of up to 0.1.0-rc.3.
    Closed,
}

/// What the n-th cancel is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelVerdict {
    Accepted,
    NotAllowed,
    /// Nor is any that comes after it, which nobody hears.
    NoMore,
}

/// How long a command waits for its effect before it is answered all the same.
const EFFECT_WAIT: Duration = Duration::from_secs(2);
/// How long a cancel waits for its verdict before it looks whether the order has ended meanwhile; twice as long each time.
const LOOK_AFTER: Duration = Duration::from_millis(250);
/// How long a cancel waits for its verdict. The request stands all the same; asking again asks for the same verdict.
const VERDICT_WAIT: Duration = Duration::from_secs(12);

/// Tries to pass the gate of an order that was placed up to 0.1.0-rc.4. The caller has seen that it is open; whether this command
/// is the first is decided here.
pub(super) async fn pass_gate(
    ctx: &SharedWorkflowContext<'_>,
    gate: Gate,
    request: CommandRequest,
) -> HandlerResult<Verdict> {
    let CommandRequest { command: asked, by: who, reason, follows } = request;
    ctx.resolve_promise(gate.as_str(), Json(Passed::By { command: asked, by: who.clone(), reason }));
    let Json(passed) = ctx.promise::<Json<Passed>>(gate.as_str()).await?;
    match passed {
        // Of two couriers who take the same goods, one has them. Elsewhere it is all the same who said it first.
        Passed::By { command, by, .. } if command == asked && (by == who || who.role != Role::Courier) => {}
        _ => return Ok(Verdict::NotAllowed),
    }
    if follows {
        return Ok(Verdict::Accepted);
    }
    let carried_out = carried_out(gate);
    restate_sdk::select! {
        _ = ctx.promise::<bool>(&carried_out) => {},
        _ = ctx.sleep(EFFECT_WAIT) => {}
    }
    Ok(Verdict::Accepted)
}

/// Asks the workflow to cancel, and returns its verdict.
pub(super) async fn ask_cancel(
    ctx: &SharedWorkflowContext<'_>,
    orders: &dyn OrderBook,
    request: CommandRequest,
) -> HandlerResult<Verdict> {
    let run = ctx.get::<String>(RUN).await?.ok_or_else(|| TerminalError::new("there is no such order"))?;
    let mut number = ctx.get::<u32>(CANCELS).await?.unwrap_or(0);
    let mine = CancelSlot::Asked { by: request.by, reason: request.reason, from: ctx.invocation_id().to_owned() };
    loop {
        let first = fill_slot(ctx, &cancel_slot(number), &mine).await;
        if first == CancelSlot::Closed {
            return Ok(Verdict::NotAllowed);
        }
        if first == mine {
            // Exactly one interruption for each request. A step that is in the middle of an attempt, or waits for the
            // next one, hears it when that has ended.
            ctx.invocation_handle(run.clone()).cancel();
        }
        let name = cancel_verdict(number);
        let (mut waited, mut patience) = (Duration::ZERO, LOOK_AFTER);
        let verdict = loop {
            restate_sdk::select! {
                verdict = ctx.promise::<Json<CancelVerdict>>(&name) => break verdict?.0,
                _ = ctx.sleep(patience) => {}
            }
            waited += patience;
            if let Some(verdict) = at_its_end(ctx, orders).await? {
                return Ok(verdict);
            }
            if waited >= VERDICT_WAIT {
                return Err(TerminalError::new("no verdict yet").into());
            }
            patience = (patience * 2).min(VERDICT_WAIT.saturating_sub(waited));
        };
        match verdict {
            CancelVerdict::Accepted => return Ok(Verdict::Accepted),
            CancelVerdict::NoMore => return Ok(Verdict::NotAllowed),
            CancelVerdict::NotAllowed if first == mine => return Ok(Verdict::NotAllowed),
            CancelVerdict::NotAllowed => number += 1,
        }
    }
}

/// What a cancel is answered where the order has come to its end, and so hears nobody; `None` where it has not.
async fn at_its_end(ctx: &SharedWorkflowContext<'_>, orders: &dyn OrderBook) -> HandlerResult<Option<Verdict>> {
    let id: OrderId = ctx.key().parse().map_err(|e| TerminalError::new(format!("workflow key: {e}")))?;
    let policy = Step::OrderPlace.default_policy();
    let verdict = ctx.run(move || async move {
        let read = tokio::time::timeout(policy.attempt_timeout(), orders.order(&id));
        let order = read.await??.filter(|order| order.status.is_final());
        let carried_out = |order: Order| order.carried_out.contains(&Command::Cancel);
        Ok(Json(order.map(|order| if carried_out(order) { Verdict::Accepted } else { Verdict::NotAllowed })))
    });
    let Json(verdict) = verdict.name("order.look").retry_policy(durable::retries(&policy)).await?;
    Ok(verdict)
}

/// Fills the slot, unless it is filled, and tells what it holds. Deaf to a cancel of this invocation: a filled slot must
/// not be left without its interruption.
async fn fill_slot(ctx: &SharedWorkflowContext<'_>, slot: &str, mine: &CancelSlot) -> CancelSlot {
    ctx.resolve_promise(slot, Json(mine.clone()));
    loop {
        if let Ok(Json(first)) = ctx.promise::<Json<CancelSlot>>(slot).await {
            return first;
        }
    }
}

/// State of the workflow: the invocation that runs the order, which a cancel interrupts.
pub(super) const RUN: &str = "run";
/// State of the workflow: how many cancels were refused.
pub(super) const CANCELS: &str = "cancels";

pub(super) fn carried_out(gate: Gate) -> String {
    format!("{}.carried_out", gate.as_str())
}

pub(super) fn cancel_slot(number: u32) -> String {
    format!("cancel.{number}")
}

pub(super) fn cancel_verdict(number: u32) -> String {
    format!("cancel.{number}.verdict")
}
