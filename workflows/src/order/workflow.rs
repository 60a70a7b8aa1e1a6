//! The durable life of an order. `Run::live` is the story; everything else says what happens when the story is cut
//! short. Every step is one awaited durable entry, and its undo is registered before it is tried.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use serde::{Deserialize, Serialize};
use tracing::{Instrument, error, info, warn};

use super::{
    Command, Entry, Event, Fact, Gate, Order, Outcome, Placement, Ports, Rejection, Role, Status, rules, steps,
};
use crate::payment::CardToken;
use crate::{OrderId, ProviderError, Step, StepPolicy};

/// What starts an order's workflow, whose key is the order's id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlaceOrder {
    pub placement: Placement,
    pub card_token: CardToken,
}

/// A command, with who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRequest {
    pub command: Command,
    pub by: Role,
    pub reason: Option<String>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Accepted,
    NotAllowed,
}

/// What passed a gate. The promise is resolved once, so exactly one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    By(Command),
    /// A cancel came first: nobody passes.
    Shut,
}

/// One numbered letter to the workflow. Letter n is answered before letter n + 1 is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Letter {
    Cancel {
        by: Role,
        reason: Option<String>,
        /// The invocation that wrote it, so that its writer knows it again.
        from: String,
    },
    /// The order ended; nothing is read any more.
    Closed,
}

/// A step's journal entry: the provider's answer, and the events that it led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    pub outcome: Outcome,
    pub events: Vec<Event>,
}

const PLACEMENT: &str = "placement";
/// How long a command waits for its effect to be seen before it is answered all the same.
const EFFECT_WAIT: Duration = Duration::from_secs(2);

pub struct OrderWorkflow {
    pub ports: Ports,
}

#[restate_sdk::workflow(
    name = "order",
    // An order is never given up by the engine: the server's default would pause it after 70 attempts.
    invocation_retry_policy(
        initial_interval = "100ms",
        factor = 2.0,
        max_interval = "3s",
        max_attempts = 1_000_000_000,
        on_max_attempts = "pause"
    )
)]
impl OrderWorkflow {
    /// The life of one order, from its placement to its end.
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, input: Json<PlaceOrder>) -> HandlerResult<Json<Status>> {
        let Json(input) = input;
        let mut run = Run::place(&ctx, &self.ports, &input).await?;
        match run.live().await {
            Ok(()) => run.read_no_more_letters().await,
            Err(Stop::Cancelled(cancel)) => run.cancel(cancel).await,
            Err(Stop::Refused(rejection)) => run.reject(rejection).await,
            Err(Stop::GaveUp(step)) => run.give_up(step).await,
        }
        Ok(Json(run.order.status))
    }

    /// Returns when it is decided whether the order stands.
    #[handler]
    async fn placement(&self, ctx: SharedWorkflowContext<'_>) -> HandlerResult<()> {
        ctx.promise::<bool>(PLACEMENT).await?;
        Ok(())
    }

    /// Carries a command to the workflow. The caller has checked that the order takes it now; whether it is first is
    /// decided here.
    #[handler]
    async fn command(
        &self,
        ctx: SharedWorkflowContext<'_>,
        request: Json<CommandRequest>,
    ) -> HandlerResult<Json<Verdict>> {
        let Json(request) = request;
        let verdict = match Gate::of(request.command) {
            Some(gate) => pass_gate(&ctx, gate, request.command).await?,
            None => send_cancel(&ctx, request).await?,
        };
        Ok(Json(verdict))
    }
}

async fn pass_gate(ctx: &SharedWorkflowContext<'_>, gate: Gate, command: Command) -> HandlerResult<Verdict> {
    ctx.resolve_promise(gate.as_str(), Json(Passed::By(command)));
    let Json(passed) = ctx.promise::<Json<Passed>>(gate.as_str()).await?;
    if passed != Passed::By(command) {
        return Ok(Verdict::NotAllowed);
    }
    let carried_out = carried_out(gate);
    restate_sdk::select! {
        _ = ctx.promise::<bool>(&carried_out) => {},
        _ = ctx.sleep(EFFECT_WAIT) => {}
    }
    Ok(Verdict::Accepted)
}

async fn send_cancel(ctx: &SharedWorkflowContext<'_>, request: CommandRequest) -> HandlerResult<Verdict> {
    let run = ctx.get::<String>("run").await?.ok_or("the order has not begun")?;
    let mut number = ctx.get::<u32>("letters").await?.unwrap_or(0);
    let mine = Letter::Cancel { by: request.by, reason: request.reason, from: ctx.invocation_id().to_owned() };
    loop {
        let (letter, answer) = (letter(number), answer(number));
        ctx.resolve_promise(&letter, Json(mine.clone()));
        let Json(sent) = ctx.promise::<Json<Letter>>(&letter).await?;
        if sent == Letter::Closed {
            return Ok(Verdict::NotAllowed);
        }
        if sent == mine {
            // One interruption for each letter: it also wakes a step that waits for its next attempt.
            ctx.invocation_handle(run).cancel();
            let Json(verdict) = ctx.promise::<Json<Verdict>>(&answer).await?;
            return Ok(verdict);
        }
        let Json(verdict) = ctx.promise::<Json<Verdict>>(&answer).await?;
        if verdict == Verdict::Accepted {
            return Ok(verdict);
        }
        number += 1;
    }
}

fn carried_out(gate: Gate) -> String {
    format!("{}.carried_out", gate.as_str())
}

fn letter(number: u32) -> String {
    format!("letter.{number}")
}

fn answer(number: u32) -> String {
    format!("letter.{number}.answer")
}

/// Why the story was cut short.
enum Stop {
    Cancelled(Cancellation),
    Refused(Rejection),
    /// The step never got an answer, or an impossible one: whether it took effect is unknown.
    GaveUp(Step),
}

struct Cancellation {
    by: Role,
    reason: Option<String>,
}

/// Why a step brought no answer.
enum Unheard {
    /// Somebody cancelled the invocation. The step may or may not have taken effect.
    Interrupted,
    GaveUp,
}

struct Run<'a> {
    ctx: &'a WorkflowContext<'a>,
    ports: &'a Ports,
    input: &'a PlaceOrder,
    order: Order,
    /// Steps whose effect may have happened, in the order of doing.
    tried: Vec<Step>,
    /// What the order is sure to become, once a gate was passed.
    ahead: Option<Status>,
    /// Letters that were answered.
    letters: u32,
    interrupted: bool,
}

impl<'a> Run<'a> {
    async fn live(&mut self) -> Result<(), Stop> {
        self.take(Step::StockReserve).await?;
        self.take(Step::PaymentCharge).await?;
        self.decide_placement();
        self.take(Step::StockCommit).await?;
        self.take(Step::DeliveryRequest).await?;
        self.take(Step::DeliveryStart).await?;
        self.pass(Gate::Handover).await?;
        self.take(Step::DeliveryComplete).await?;
        self.ctx.resolve_promise(&carried_out(Gate::Handover), true);
        Ok(())
    }

    /// Records the order, which cannot be interrupted: a cancel that arrives now is heard right after.
    async fn place(ctx: &'a WorkflowContext<'a>, ports: &'a Ports, input: &'a PlaceOrder) -> HandlerResult<Self> {
        let order_id: OrderId = ctx.key().parse().map_err(|e| TerminalError::new(format!("workflow key: {e}")))?;
        ctx.set("run", ctx.invocation_id().to_owned());
        let mut interrupted = false;
        let facts = vec![Fact::OrderPlaced(Box::new(input.placement.clone()))];
        let order = loop {
            let attempt = Attempt {
                ports,
                input,
                order_id: order_id.clone(),
                before: None,
                step: Step::OrderPlace,
                facts: facts.clone(),
            };
            match attempt.run(ctx).await {
                Ok(heard) => {
                    break Order::from_events(&heard.events)
                        .ok_or_else(|| TerminalError::new("the first event of an order places it"))?;
                }
                Err(_) => interrupted = true,
            }
        };
        ctx.set("status", order.status.as_str().to_owned());
        Ok(Self { ctx, ports, input, order, tried: Vec::new(), ahead: None, letters: 0, interrupted })
    }

    /// Takes a step forward. Its undo counts from before it is tried until it is known to have been refused.
    async fn take(&mut self, step: Step) -> Result<(), Stop> {
        self.hear(None).await?;
        self.tried.push(step);
        loop {
            match self.attempt(step, Vec::new()).await {
                Ok(outcome) => {
                    let Some(rejection) = rules::refusal(&outcome) else { return Ok(()) };
                    self.tried.pop();
                    return Err(Stop::Refused(rejection));
                }
                Err(Unheard::Interrupted) => self.hear(None).await?,
                Err(Unheard::GaveUp) => return Err(Stop::GaveUp(step)),
            }
        }
    }

    /// Waits until somebody passes the gate.
    async fn pass(&mut self, gate: Gate) -> Result<(), Stop> {
        loop {
            self.hear(Some(gate)).await?;
            match self.ctx.promise::<Json<Passed>>(gate.as_str()).await {
                Ok(Json(passed)) => {
                    self.see_passed(gate, passed);
                    return Ok(());
                }
                Err(_) => self.interrupted = true,
            }
        }
    }

    fn see_passed(&mut self, gate: Gate, passed: Passed) {
        if let Passed::By(command) = passed {
            self.ahead = rules::beyond(gate, command);
        }
    }

    /// Answers what interrupted the order. An interruption without a letter came through the engine's own cancel
    /// button, which only operators can reach. Where a cancel is not allowed, the order goes on.
    async fn hear(&mut self, gate: Option<Gate>) -> Result<(), Stop> {
        while std::mem::take(&mut self.interrupted) {
            // The interrupted step may have taken effect without being heard: look before judging.
            self.review().await;
            let letter = match self.next_letter().await {
                Some(Letter::Cancel { by, reason, .. }) => Some(Cancellation { by, reason }),
                Some(Letter::Closed) | None => None,
            };
            let written = letter.is_some();
            let cancel = letter.unwrap_or_else(|| Cancellation {
                by: Role::Operator,
                reason: Some("cancelled in the engine".to_owned()),
            });
            if self.takes_cancel(cancel.by) && self.shut(gate).await && self.takes_cancel(cancel.by) {
                return Err(Stop::Cancelled(cancel));
            }
            info!(order_id = %self.order.id, by = ?cancel.by, status = %self.order.status.as_str(), "cancel refused");
            if written {
                self.answer_letter(Verdict::NotAllowed);
            }
        }
        Ok(())
    }

    fn takes_cancel(&self, by: Role) -> bool {
        rules::may_cancel(&self.order.cancellation, self.ahead.unwrap_or(self.order.status), by)
    }

    /// Closes the gate for good; `false` where somebody has passed it before.
    async fn shut(&mut self, gate: Option<Gate>) -> bool {
        let Some(gate) = gate else { return true };
        self.ctx.resolve_promise(gate.as_str(), Json(Passed::Shut));
        loop {
            match self.ctx.promise::<Json<Passed>>(gate.as_str()).await {
                Ok(Json(passed)) => {
                    self.see_passed(gate, passed);
                    return passed == Passed::Shut;
                }
                Err(_) => self.interrupted = true,
            }
        }
    }

    async fn next_letter(&mut self) -> Option<Letter> {
        let name = letter(self.letters);
        let ctx = self.ctx;
        loop {
            match ctx.peek_promise::<Json<Letter>>(&name).await {
                Ok(letter) => return letter.map(|Json(letter)| letter),
                Err(_) => self.interrupted = true,
            }
        }
    }

    fn answer_letter(&mut self, verdict: Verdict) {
        self.ctx.resolve_promise(&answer(self.letters), Json(verdict));
        if verdict == Verdict::NotAllowed {
            self.letters += 1;
            self.ctx.set("letters", self.letters);
        }
    }

    /// From here on a late cancel is answered by the promise alone.
    async fn read_no_more_letters(&mut self) {
        loop {
            let name = letter(self.letters);
            self.ctx.resolve_promise(&name, Json(Letter::Closed));
            match self.ctx.promise::<Json<Letter>>(&name).await {
                Ok(Json(Letter::Closed)) => return,
                Ok(Json(Letter::Cancel { .. })) => self.answer_letter(Verdict::NotAllowed),
                Err(_) => {}
            }
        }
    }

    fn decide_placement(&self) {
        self.ctx.resolve_promise(PLACEMENT, true);
    }

    /// The order was cancelled while it could be: everything is undone.
    async fn cancel(&mut self, cancel: Cancellation) {
        let fact = Fact::CancellationRequested { by: cancel.by, reason: cancel.reason };
        self.certainly(Step::OrderRequestCancellation, vec![fact]).await;
        self.answer_letter(Verdict::Accepted);
        self.decide_placement();
        let tried = std::mem::take(&mut self.tried);
        self.unwind(&tried).await;
        self.certainly(Step::OrderCancel, vec![Fact::OrderCancelled]).await;
    }

    /// A provider said no, and nothing else is left to undo afterwards.
    async fn reject(&mut self, rejection: Rejection) {
        let tried = std::mem::take(&mut self.tried);
        self.unwind(&tried).await;
        self.certainly(Step::OrderReject, vec![Fact::OrderRejected { rejection }]).await;
        self.decide_placement();
        self.read_no_more_letters().await;
    }

    /// A step never got an answer. Before the order stands it is rejected, and the step that gave up is undone last
    /// and afterwards: its provider has just proved out of reach, and what the others hold must not wait for it.
    /// An order that stands is cancelled.
    async fn give_up(&mut self, step: Step) {
        match step.context() {
            Some(context) if self.order.status == Status::Placed => {
                self.tried.retain(|tried| *tried != step);
                self.reject(Rejection::Unavailable { context }).await;
                self.unwind(&[step]).await;
            }
            _ => {
                let reason = Some(format!("{step} is impossible"));
                self.cancel(Cancellation { by: Role::Operator, reason }).await;
            }
        }
    }

    async fn unwind(&mut self, tried: &[Step]) {
        for undo in rules::unwind(&self.input.placement.lifecycle, tried) {
            self.certainly(undo, Vec::new()).await;
        }
    }

    /// Repeats a step until it has reported done, deaf to every interruption. An interruption can come *instead of* an
    /// attempt, so one that is taken for an answer would lose the undo.
    async fn certainly(&mut self, step: Step, facts: Vec<Fact>) {
        while self.attempt(step, facts.clone()).await.is_err() {}
    }

    /// Asks the book of orders what has become true without being heard.
    async fn review(&mut self) {
        let policy = Step::OrderPlace.default_policy();
        let (orders, after) = (&self.ports.orders, self.order.version);
        loop {
            let id = self.order.id.clone();
            let missed = self
                .ctx
                .run(move || async move {
                    let events = orders.events(&id, after, u32::MAX);
                    Ok(Json(tokio::time::timeout(policy.attempt_timeout(), events).await??))
                })
                .name("order.review")
                .retry_policy(engine_policy(&policy))
                .await;
            match missed {
                Ok(Json(events)) => {
                    self.learn(&events);
                    return;
                }
                Err(_) => self.interrupted = true,
            }
        }
    }

    async fn attempt(&mut self, step: Step, facts: Vec<Fact>) -> Result<Outcome, Unheard> {
        let attempt = Attempt {
            ports: self.ports,
            input: self.input,
            order_id: self.order.id.clone(),
            before: Some(self.order.clone()),
            step,
            facts,
        };
        match attempt.run(self.ctx).await {
            Ok(heard) => {
                self.learn(&heard.events);
                Ok(heard.outcome)
            }
            Err(unheard) => {
                self.interrupted |= matches!(unheard, Unheard::Interrupted);
                Err(unheard)
            }
        }
    }

    fn learn(&mut self, events: &[Event]) {
        let before = self.order.status;
        for event in events {
            if event.number > self.order.version {
                self.order.learn(event);
            }
        }
        if self.order.status != before {
            self.ctx.set("status", self.order.status.as_str().to_owned());
        }
    }
}

/// One durable step: the activity and the record of it.
struct Attempt<'a> {
    ports: &'a Ports,
    input: &'a PlaceOrder,
    order_id: OrderId,
    before: Option<Order>,
    step: Step,
    /// The facts of a step of the order itself; others have theirs from the provider's answer.
    facts: Vec<Fact>,
}

impl<'a> Attempt<'a> {
    async fn run(self, ctx: &'a WorkflowContext<'a>) -> Result<Heard, Unheard> {
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
                let outcome = steps::perform(self.ports, self.step, order, &self.input.card_token).await?;
                let facts = rules::facts(self.step, &outcome, order);
                (outcome, facts)
            }
            _ => (Outcome::Done, self.facts.clone()),
        };
        let entry = Entry { order_id: &self.order_id, step: self.step, before: self.before.as_ref(), facts: &facts };
        let events = if facts.is_empty() { Vec::new() } else { self.ports.orders.record(entry).await?.events };
        Ok(Heard { outcome, events })
    }
}

fn engine_policy(policy: &StepPolicy) -> RunRetryPolicy {
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

#[cfg(test)]
#[path = "journal_test.rs"]
mod tests;
