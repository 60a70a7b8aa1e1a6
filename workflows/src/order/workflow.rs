//! The durable life of an order. `Run::live` is the story; everything else says what happens when the story is cut
//! short. Every step is one awaited durable entry, and its undo is registered before it is tried.

mod promises;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use restate_sdk::context::DurableFuture;
use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use tracing::{Instrument, info, warn};

use super::attempt::{Attempt, Known, TellAlong, Unheard};
use super::command::{
    CANCELS, CancelSlot, CancelVerdict, CommandRequest, Passed, RUN, Verdict, ask_cancel, cancel_slot, cancel_verdict,
    carried_out, pass_gate,
};
use super::late::LateDepositClient;
use super::news::News;
use super::telling::Telling;
use super::{
    Actor, Command, Event, Fact, Gate, Order, Outcome, PlaceOrder, Ports, Reach, Rejection, Role, Status, due, rules,
};
use crate::PaymentMethod;
use crate::lifecycle::{
    AcceptanceRule, AcceptanceTimeout, CouponRule, DeliveryRule, DeliveryStart, ProductionFinish, ProductionRule,
    StockTake,
};
use crate::notification::workflow::{NotificationQueueClient, deliver};
use crate::trace::{self, Within};
use crate::{Capacity, MessageId, OrderId, Step, durable};

/// The promise that is resolved when it is decided whether an order stands that nobody follows.
const PLACEMENT: &str = "placement";
/// State of the workflow of an order that was placed up to 0.1.0-rc.4, for people who look at the engine.
const STATUS: &str = "status";

/// The workflow of one order. Its key is the order's id.
pub struct OrderWorkflow {
    pub ports: Ports,
    pub capacity: Capacity,
    pub telling: Telling,
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
        let span = trace::handling("order.run", ctx.key(), ctx.headers());
        Ok(Json(self.fulfil(&ctx, &input).instrument(span).await?))
    }

    /// Returns when it is decided whether the order stands, for an API of up to 0.1.0-rc.1: of an order that is followed, never.
    #[handler]
    async fn placement(&self, ctx: SharedWorkflowContext<'_>) -> HandlerResult<()> {
        ctx.promise::<bool>(PLACEMENT).await?;
        Ok(())
    }

    /// Carries a command to the workflow: a cancel, or what passes a gate of an order that was placed up to 0.1.0-rc.4. The
    /// caller has checked that the order takes it now; whether it is first is decided here.
    #[handler]
    async fn command(
        &self,
        ctx: SharedWorkflowContext<'_>,
        request: Json<CommandRequest>,
    ) -> HandlerResult<Json<Verdict>> {
        let Json(request) = request;
        let span = trace::handling("order.command", ctx.key(), ctx.headers());
        let verdict = async {
            match (Gate::of(request.command), request.command) {
                (Some(gate), _) => pass_gate(&ctx, gate, request).await,
                (None, Command::Cancel) => ask_cancel(&ctx, &*self.ports.orders, request).await,
                (None, _) => Ok(Verdict::NotAllowed),
            }
        };
        Ok(Json(verdict.instrument(span).await?))
    }
}

impl OrderWorkflow {
    async fn fulfil(&self, ctx: &WorkflowContext<'_>, input: &PlaceOrder) -> HandlerResult<Status> {
        let mut run = Run::place(ctx, self, input).await?;
        match run.live().await {
            Ok(()) => run.has_ended().await,
            Err(Stop::Cancelled(cancel)) => run.cancel(cancel).await,
            // What is refused to an order that stands cannot be a reason to have refused the order.
            Err(Stop::Refused(rejection)) if run.order.decided && rejection.is_of_placement() => {
                run.cancel(Cancellation::impossible(rejection.to_string())).await;
            }
            Err(Stop::Refused(rejection)) => run.reject(rejection).await,
            Err(Stop::Expired) => {
                run.hear_no_more_cancels().await;
                run.call_off(Step::OrderExpire, None, Fact::DepositExpired).await;
            }
            Err(Stop::GaveUp(step)) => run.give_up(step).await,
        }
        run.make_known();
        debug_assert!(run.unrecorded.is_none(), "nothing comes that it would be recorded along with");
        Ok(run.order.status)
    }
}

/// What is written beside the order, for those who command it.
fn reach(ctx: &WorkflowContext<'_>, awakeable: &Awakeable<'_>, decides: bool) -> Reach {
    let run = decides.then(|| ctx.invocation_id().to_owned());
    Reach { awakeable: Some(awakeable.id.clone()), run }
}

/// Why the story was cut short.
enum Stop {
    Cancelled(Cancellation),
    Refused(Rejection),
    /// Nobody paid in time.
    Expired,
    /// The step never got an answer, or an impossible one: whether it took effect is unknown.
    GaveUp(Step),
}

struct Cancellation {
    /// Nobody: the order cannot go on.
    role: Option<Role>,
    /// Who it was, where that is known.
    by: Option<Actor>,
    reason: Option<String>,
}

impl Cancellation {
    fn impossible(reason: String) -> Self {
        Self { role: None, by: None, reason: Some(reason) }
    }
}

/// What passes the order's next gate for whoever knows its id, which is written beside the order while it waits there: a record
/// in the engine's log instead of an invocation of `command`.
struct Awakeable<'a> {
    id: String,
    brings: Brings<'a>,
}

type Brings<'a> = Pin<Box<dyn DurableFuture<Output = Result<Json<Passed>, TerminalError>> + Send + 'a>>;

impl<'a> Awakeable<'a> {
    fn of(ctx: &WorkflowContext<'a>) -> Self {
        let (id, brings) = ctx.awakeable();
        Self { id, brings: Box::pin(brings) }
    }
}

/// Who decides who passes a gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arbiter {
    /// The run alone: see [`PlaceOrder::decides`].
    Run,
    Promises,
}

/// Whether cancels are heard, and how the late ones are answered once they are not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// They are; then the next one's slot is closed: see [`super::attempt::Heard::leaves_verdict`].
    ClosesSlot,
    /// They are; then the next one's verdict says so.
    LeavesVerdict,
    /// They are not, and the verdict has said so.
    Deaf,
}

struct Run<'a> {
    ctx: &'a WorkflowContext<'a>,
    ports: &'a Ports,
    capacity: &'a Capacity,
    input: &'a PlaceOrder,
    order: Arc<Order>,
    /// Where what has become true last is recorded along with what comes next.
    unrecorded: Option<Known>,
    /// Steps whose effect may have happened, in the order of doing.
    tried: Vec<Step>,
    /// What the order is sure to become, from when a gate was passed until that is recorded.
    ahead: Option<Status>,
    /// Who asked for what is done next.
    by: Option<Actor>,
    /// The latest time that is journaled.
    now: DateTime<Utc>,
    /// Cancels that were refused, which is the number of the slot to look at next.
    cancels: u32,
    interrupted: bool,
    /// Who decides who passes a gate.
    arbiter: Arbiter,
    hearing: Hearing,
    /// What has passed the order's gate, until that is recorded.
    passed: Option<Passed>,
    /// What may still be brought to the deposit's gate, though nobody waits for it there.
    late: Option<Brings<'a>>,
    /// Of the gate at which the order waits, or of the one after this.
    awakeable: Awakeable<'a>,
    /// Whether the merchant has confirmed a deposit.
    deposit_arrived: bool,
    /// What has become true and is not made known yet.
    news: News,
    telling: &'a Telling,
    /// Whether something was left to the queue of notifications: all that comes after it has to wait there, too.
    queues: bool,
}

impl<'a> Run<'a> {
    async fn live(&mut self) -> Result<(), Stop> {
        let lifecycle = &self.input.placement.lifecycle;
        if lifecycle.stock.take == StockTake::OnPlacement {
            self.take(Step::StockReserve).await?;
        }
        match lifecycle.payment.method {
            PaymentMethod::Card => {
                self.take(Step::PaymentCharge).await?;
                self.decide_placement();
            }
            PaymentMethod::Deposit => {
                self.decide_placement();
                self.wait_for_deposit().await?;
            }
        }
        if lifecycle.stock.take == StockTake::OnPayment {
            self.take(Step::StockReserve).await?;
        }
        if lifecycle.stock.take != StockTake::None {
            self.take(Step::StockCommit).await?;
        }
        if let Some(acceptance) = lifecycle.acceptance {
            self.offer(acceptance).await?;
        }
        if let Some(production) = lifecycle.production {
            self.produce(production).await?;
        }
        if lifecycle.coupon == Some(CouponRule::BeforeDelivery) {
            self.take(Step::PromotionIssue).await?;
        }
        match lifecycle.delivery {
            Some(delivery) => self.deliver(delivery).await,
            None => self.hand_out().await,
        }
    }

    async fn deliver(&mut self, delivery: DeliveryRule) -> Result<(), Stop> {
        self.take(Step::DeliveryRequest).await?;
        if delivery.start == DeliveryStart::Courier {
            self.pass(Gate::Dispatch).await?;
        }
        self.take(Step::DeliveryStart).await?;
        self.pass(Gate::Handover).await?;
        self.take(Step::DeliveryComplete).await?;
        if rules::ends_with_delivery(&self.input.placement.lifecycle) { Ok(()) } else { self.follow_up().await }
    }

    /// Nothing is delivered: until the customer has it, it can be cancelled.
    async fn hand_out(&mut self) -> Result<(), Stop> {
        let mut facts = vec![Fact::OrderClosed];
        if self.input.placement.lifecycle.receipt.is_some() {
            self.pass(Gate::Receipt).await?;
            facts.insert(0, Fact::ReceiptConfirmed);
        }
        self.hear().await?;
        self.certainly(Step::OrderClose, facts).await;
        Ok(())
    }

    /// What was delivered stays delivered: nothing that comes after it can be cut short.
    async fn follow_up(&mut self) -> Result<(), Stop> {
        self.hear_no_more_cancels().await;
        let lifecycle = &self.input.placement.lifecycle;
        if lifecycle.coupon == Some(CouponRule::AfterDelivery) {
            self.certainly(Step::PromotionIssue, Vec::new()).await;
        }
        let mut facts = vec![Fact::OrderClosed];
        if lifecycle.receipt.is_some() {
            self.pass(Gate::Receipt).await?;
            facts.insert(0, Fact::ReceiptConfirmed);
        }
        self.certainly(Step::OrderClose, facts).await;
        Ok(())
    }

    async fn wait_for_deposit(&mut self) -> Result<(), Stop> {
        self.take(Step::PaymentOpenDeposit).await?;
        if self.pass(Gate::Deposit).await? == Passed::Deadline {
            return Err(Stop::Expired);
        }
        self.take(Step::PaymentConfirmDeposit).await
    }

    async fn offer(&mut self, acceptance: AcceptanceRule) -> Result<(), Stop> {
        self.take(Step::KitchenOffer).await?;
        match self.pass(Gate::Acceptance).await? {
            Passed::By { command: Command::Reject, reason, .. } => Err(Stop::Refused(Rejection::ByMerchant { reason })),
            Passed::Deadline if acceptance.on_timeout == AcceptanceTimeout::Reject => {
                Err(Stop::Refused(Rejection::NotAccepted))
            }
            _ => {
                self.certainly(Step::OrderAccept, vec![Fact::OrderAccepted]).await;
                Ok(())
            }
        }
    }

    async fn produce(&mut self, production: ProductionRule) -> Result<(), Stop> {
        self.pass(Gate::ProductionStart).await?;
        self.take(Step::KitchenStart).await?;
        if production.finish == ProductionFinish::Merchant {
            self.pass(Gate::ProductionFinish).await?;
            self.take(Step::KitchenFinish).await?;
        }
        Ok(())
    }

    /// Records the order, which cannot be interrupted: a cancel that arrives now is heard right after.
    async fn place(
        ctx: &'a WorkflowContext<'a>,
        workflow: &'a OrderWorkflow,
        input: &'a PlaceOrder,
    ) -> HandlerResult<Self> {
        let OrderWorkflow { ports, capacity, telling } = workflow;
        let order_id: OrderId = ctx.key().parse().map_err(|e| TerminalError::new(format!("workflow key: {e}")))?;
        ctx.set(RUN, ctx.invocation_id().to_owned());
        let awakeable = Awakeable::of(ctx);
        let mut interrupted = false;
        let facts = vec![Fact::OrderPlaced(Box::new(input.placement.clone()))];
        let heard = loop {
            let attempt = Attempt {
                ports,
                capacity,
                input,
                order_id: order_id.clone(),
                before: None,
                step: Step::OrderPlace,
                by: input.by.clone(),
                facts: facts.clone(),
                reach: reach(ctx, &awakeable, input.decides),
                telling: Some(TellAlong { telling, known: None }),
            };
            match attempt.run(ctx).await {
                Ok(heard) => break heard,
                Err(_) => interrupted = true,
            }
        };
        let order = Order::from_events(&heard.events)
            .ok_or_else(|| TerminalError::new("the first event of an order places it"))?;
        if !input.followed {
            ctx.set(STATUS, order.status.as_str().to_owned());
        }
        let news = News::of(&order);
        let order = Arc::new(order);
        let mut run = Self {
            ctx,
            ports,
            capacity,
            input,
            order,
            unrecorded: None,
            now: heard.at,
            tried: Vec::new(),
            ahead: None,
            by: None,
            cancels: 0,
            interrupted,
            arbiter: if heard.decides { Arbiter::Run } else { Arbiter::Promises },
            hearing: if heard.decides || heard.leaves_verdict { Hearing::LeavesVerdict } else { Hearing::ClosesSlot },
            passed: None,
            late: None,
            awakeable,
            deposit_arrived: false,
            news,
            telling,
            queues: false,
        };
        if let Some(messages) = &heard.told {
            run.send(messages);
        }
        Ok(run)
    }

    /// Takes a step forward. Its undo counts from before it is tried until it is known to have been refused.
    async fn take(&mut self, step: Step) -> Result<(), Stop> {
        self.hear().await?;
        self.tried.push(step);
        // Every attempt starts from the same order, also when a review has seen what an interrupted one recorded: only
        // so is a repeated record known to be one.
        let before = self.known();
        let outcome = loop {
            match self.attempt(step, before.clone(), Vec::new()).await {
                Ok(outcome) => break outcome,
                Err(Unheard::Interrupted) => self.hear().await?,
                Err(Unheard::GaveUp) => {
                    // Its answers may all have been lost on the way back, after it was done and recorded.
                    // An earlier review may have heard them, too.
                    let events = self.review(before.order().version).await;
                    break rules::recorded(step, &events).ok_or(Stop::GaveUp(step))?;
                }
            }
        };
        let Some(rejection) = rules::refusal(&outcome) else { return Ok(()) };
        self.tried.pop();
        Err(Stop::Refused(rejection))
    }

    /// Waits until somebody passes the gate, or its time is over.
    async fn pass(&mut self, gate: Gate) -> Result<Passed, Stop> {
        debug_assert!(self.unrecorded.is_none(), "nobody comes to a gate that is not recorded");
        loop {
            self.hear().await?;
            self.make_known();
            let passed = match self.arbiter {
                Arbiter::Run => self.brought().await,
                Arbiter::Promises => self.promised(gate).await,
            };
            if let Some(passed) = passed {
                self.see_passed(gate, &passed);
                return Ok(passed);
            }
        }
    }

    /// What the awakeable brings, or that the time is over, whichever comes first; `None` where it is neither.
    async fn brought(&mut self) -> Option<Passed> {
        let ctx = self.ctx;
        let brought = match self.order.deadline {
            None => restate_sdk::select! {
                brought = &mut self.awakeable.brings => Some(brought),
                on_cancel => None
            },
            Some(deadline) => {
                let left = self.left_until(deadline);
                restate_sdk::select! {
                    brought = &mut self.awakeable.brings => Some(brought),
                    _ = ctx.sleep(left) => Some(Ok(Json(Passed::Deadline))),
                    on_cancel => None
                }
            }
        };
        match brought {
            Some(Ok(Json(passed))) => Some(passed),
            // Nobody of ours rejects it.
            Some(Err(error)) => {
                warn!(order_id = %self.order.id, %error, "what passes a gate was rejected");
                self.awakeable = Awakeable::of(ctx);
                self.write_awakeable().await;
                None
            }
            None => {
                self.interrupted = true;
                None
            }
        }
    }

    fn left_until(&self, deadline: DateTime<Utc>) -> Duration {
        (deadline - self.now).to_std().unwrap_or_default()
    }

    /// Tells who comes to the gate of another awakeable than the one that is written beside the order.
    async fn write_awakeable(&mut self) {
        let policy = Step::OrderPlace.default_policy();
        let orders = &self.ports.orders;
        loop {
            let id = self.order.id.clone();
            let (version, awakeable) = (self.order.version, self.awakeable.id.clone());
            let written = self
                .ctx
                .run(move || async move {
                    tokio::time::timeout(policy.attempt_timeout(), orders.note_awakeable(&id, version, &awakeable))
                        .await??;
                    Ok(())
                })
                .name("order.awakeable")
                .retry_policy(durable::retries(&policy))
                .await;
            match written {
                Ok(()) => return,
                Err(_) => self.interrupted = true,
            }
        }
    }

    fn see_passed(&mut self, gate: Gate, passed: &Passed) {
        let before = std::mem::replace(&mut self.awakeable, Awakeable::of(self.ctx));
        if self.arbiter == Arbiter::Run && gate == Gate::Deposit && matches!(passed, Passed::Deadline | Passed::Shut) {
            self.late = Some(before.brings);
        }
        self.passed = Some(passed.clone());
        self.deposit_arrived |= matches!(passed, Passed::By { command: Command::ConfirmDeposit, .. });
        self.by = match passed {
            Passed::By { by, .. } => Some(by.clone()),
            Passed::Deadline | Passed::Shut => None,
        };
        self.ahead = match passed {
            Passed::By { command, .. } => rules::beyond(gate, *command),
            Passed::Deadline => rules::beyond_deadline(&self.order.lifecycle, gate),
            Passed::Shut => None,
        };
    }

    /// Answers what interrupted the order. An interruption without a request came through the engine's own cancel
    /// button, which only operators can reach. Where a cancel is not allowed, or not heard any more, the order goes on.
    async fn hear(&mut self) -> Result<(), Stop> {
        while std::mem::take(&mut self.interrupted) {
            // The interrupted step may have taken effect without being heard: look before judging.
            self.review(self.order.version).await;
            if self.hearing == Hearing::Deaf {
                continue;
            }
            let asked = self.asked_cancel().await;
            let by_request = asked.is_some();
            let cancel = asked.unwrap_or_else(|| Cancellation {
                role: Some(Role::Operator),
                by: None,
                reason: Some("cancelled in the engine".to_owned()),
            });
            // Who has passed the gate first decides what the order is sure to become, and so whether it takes the cancel.
            if self.takes_cancel(cancel.role) && (self.shut_gate().await || self.takes_cancel(cancel.role)) {
                return Err(Stop::Cancelled(cancel));
            }
            info!(order_id = %self.order.id, by = ?cancel.role, status = %self.order.status.as_str(), "cancel refused");
            if by_request {
                self.answer_cancel(CancelVerdict::NotAllowed);
            }
        }
        Ok(())
    }

    fn takes_cancel(&self, by: Option<Role>) -> bool {
        let Some(by) = by else { return false };
        rules::may_cancel(&self.order.lifecycle.cancellation, self.ahead.unwrap_or(self.order.status), by)
    }

    /// Closes the gate that is open, if one is, for good; `false` where somebody has passed it before. A gate is open
    /// as soon as people can see it, which may be before the story has come to it.
    async fn shut_gate(&mut self) -> bool {
        let Some(gate) = self.order.gate else { return true };
        if self.arbiter == Arbiter::Promises {
            return self.shut_promised(gate).await;
        }
        if self.passed.is_none() {
            self.see_passed(gate, &Passed::Shut);
        }
        self.passed == Some(Passed::Shut)
    }

    /// The request in the next slot, if there is one.
    async fn asked_cancel(&mut self) -> Option<Cancellation> {
        let slot = cancel_slot(self.cancels);
        let ctx = self.ctx;
        loop {
            match ctx.peek_promise::<Json<CancelSlot>>(&slot).await {
                Ok(Some(Json(CancelSlot::Asked { by, reason, .. }))) => {
                    return Some(Cancellation { role: Some(by.role), by: Some(by), reason });
                }
                Ok(Some(Json(CancelSlot::Closed)) | None) => return None,
                Err(_) => self.interrupted = true,
            }
        }
    }

    fn answer_cancel(&mut self, verdict: CancelVerdict) {
        self.ctx.resolve_promise(&cancel_verdict(self.cancels), Json(verdict));
        if verdict == CancelVerdict::NotAllowed {
            self.cancels += 1;
            self.ctx.set(CANCELS, self.cancels);
        }
    }

    /// From here on a late cancel is answered by a promise alone.
    async fn hear_no_more_cancels(&mut self) {
        match self.hearing {
            Hearing::Deaf => {}
            Hearing::LeavesVerdict => {
                self.hearing = Hearing::Deaf;
                self.answer_cancel(CancelVerdict::NoMore);
            }
            Hearing::ClosesSlot => self.close_slot().await,
        }
    }

    /// The order has come to its end. A late cancel finds that out by itself.
    async fn has_ended(&mut self) {
        if self.arbiter == Arbiter::Promises {
            self.hear_no_more_cancels().await;
        }
    }

    fn decide_placement(&mut self) {
        if !self.input.followed {
            self.ctx.resolve_promise(PLACEMENT, true);
        }
        self.make_known();
    }

    /// The order was cancelled while it could be: everything is undone.
    async fn cancel(&mut self, cancel: Cancellation) {
        let Cancellation { role, by, reason } = cancel;
        self.call_off(Step::OrderRequestCancellation, by, Fact::CancellationRequested { by: role, reason }).await;
    }

    /// Undoes everything, once it is recorded why.
    async fn call_off(&mut self, why: Step, by: Option<Actor>, fact: Fact) {
        self.shut_gate().await;
        self.by = by;
        self.certainly(why, vec![fact]).await;
        self.by = None;
        if self.hearing != Hearing::Deaf {
            self.answer_cancel(CancelVerdict::Accepted);
        }
        self.decide_placement();
        let tried = std::mem::take(&mut self.tried);
        self.unwind(&tried).await;
        self.certainly(Step::OrderCancel, vec![Fact::OrderCancelled]).await;
        self.hear_late_deposit().await;
        self.give_back_late_deposit();
    }

    /// Whether the merchant has said that the money has come, after nobody waited for that any more: whoever said it gives it back,
    /// unless they are gone.
    async fn hear_late_deposit(&mut self) {
        let (ctx, Some(mut late)) = (self.ctx, self.late.take()) else { return };
        loop {
            restate_sdk::select! {
                brought = &mut late => {
                    self.deposit_arrived |= brought.is_ok();
                    return;
                },
                _ = ctx.sleep(Duration::ZERO) => return,
                on_cancel => {}
            }
        }
    }

    /// The merchant said that the money has come, and the cancel overtook what would have recorded it.
    fn give_back_late_deposit(&self) {
        if self.deposit_arrived && !self.order.carried_out.contains(&Command::ConfirmDeposit) {
            let late = self.ctx.object_client::<LateDepositClient>(self.order.id.as_str());
            late.give_back(Json(due(&self.order))).within(self.ctx.headers()).send();
        }
    }

    /// A provider said no, and nothing else is left to undo afterwards.
    async fn reject(&mut self, rejection: Rejection) {
        // The merchant's word stands; before the order stands, its caller is still to be answered.
        if !rejection.is_of_placement() {
            self.hear_no_more_cancels().await;
        }
        let tried = std::mem::take(&mut self.tried);
        self.unwind(&tried).await;
        self.certainly(Step::OrderReject, vec![Fact::OrderRejected { rejection }]).await;
        self.decide_placement();
        self.has_ended().await;
    }

    /// A step never got an answer. Before the order stands it is rejected, and the step that gave up is undone last
    /// and afterwards: its provider has just proved out of reach, and what the others hold must not wait for it.
    /// An order that stands is cancelled.
    async fn give_up(&mut self, step: Step) {
        match step.context() {
            Some(context) if !self.order.decided => {
                self.tried.retain(|tried| *tried != step);
                self.reject(Rejection::Unavailable { context }).await;
                self.unwind(&[step]).await;
            }
            _ => {
                self.cancel(Cancellation::impossible(format!("{step} is impossible"))).await;
            }
        }
    }

    /// What is undone follows from what somebody asked, and is asked by nobody itself.
    async fn unwind(&mut self, tried: &[Step]) {
        let by = self.by.take();
        for undo in rules::unwind(&self.input.placement.lifecycle, tried) {
            self.certainly(undo, Vec::new()).await;
        }
        self.by = by;
    }

    /// Repeats a step until it has reported done, deaf to every interruption. An interruption can come *instead of* an
    /// attempt, so one that is taken for an answer would lose the undo.
    async fn certainly(&mut self, step: Step, facts: Vec<Fact>) {
        let before = self.known();
        while self.attempt(step, before.clone(), facts.clone()).await.is_err() {}
    }

    /// Asks the book of orders what has become true without being heard.
    async fn review(&mut self, after: u32) -> Vec<Event> {
        let policy = Step::OrderPlace.default_policy();
        let orders = &self.ports.orders;
        loop {
            let id = self.order.id.clone();
            let missed = self
                .ctx
                .run(move || async move {
                    // What an attempt has begun to write, that is given up by now, would come true behind our back.
                    let events = async {
                        orders.settled().await;
                        orders.events(&id, after, u32::MAX).await
                    };
                    Ok(Json((orders.now(), tokio::time::timeout(policy.attempt_timeout(), events).await??)))
                })
                .name("order.review")
                .retry_policy(durable::retries(&policy))
                .await;
            match missed {
                Ok(Json((now, events))) => {
                    self.now = self.now.max(now);
                    if !events.is_empty() {
                        self.unrecorded = None;
                    }
                    self.learn(&events, None);
                    return events;
                }
                Err(_) => self.interrupted = true,
            }
        }
    }

    /// What the next attempts start from.
    fn known(&self) -> Known {
        self.unrecorded.clone().unwrap_or_else(|| Known { recorded: self.order.clone(), since: Vec::new() })
    }

    async fn attempt(&mut self, step: Step, before: Known, facts: Vec<Fact>) -> Result<Outcome, Unheard> {
        let attempt = Attempt {
            ports: self.ports,
            capacity: self.capacity,
            input: self.input,
            order_id: self.order.id.clone(),
            before: Some(before),
            step,
            by: self.by.clone(),
            facts,
            reach: reach(self.ctx, &self.awakeable, self.arbiter == Arbiter::Run),
            telling: (!self.queues)
                .then(|| TellAlong { telling: self.telling, known: Some((self.order.clone(), self.news.clone())) }),
        };
        match attempt.run(self.ctx).await {
            Ok(heard) => {
                self.now = self.now.max(heard.at);
                let Known { recorded, mut since } = self.known();
                since.extend_from_slice(&heard.events);
                self.unrecorded = heard.unrecorded.then_some(Known { recorded, since });
                self.learn(&heard.events, heard.told.as_deref());
                Ok(heard.outcome)
            }
            Err(unheard) => {
                self.interrupted |= matches!(unheard, Unheard::Interrupted);
                Err(unheard)
            }
        }
    }

    /// Hands what has become true to the order's queue of notifications, which goes on beside it.
    fn make_known(&mut self) {
        if let Some(notice) = self.news.take(&self.order) {
            self.queues = true;
            let queue = self.ctx.object_client::<NotificationQueueClient>(self.order.id.as_str());
            queue.send(Json(notice)).within(self.ctx.headers()).send();
        }
    }

    /// Sends what is to be sent of what is known now.
    fn send(&mut self, messages: &[MessageId]) {
        self.news = News::default();
        deliver(self.ctx, self.ctx.headers(), messages);
    }

    /// What has become true, and what is to be sent of it where it was made known.
    fn learn(&mut self, events: &[Event], told: Option<&[MessageId]>) {
        let (before, gate) = (self.order.status, self.order.gate);
        self.news.learn(Arc::make_mut(&mut self.order), events);
        if let Some(messages) = told {
            self.send(messages);
        }
        self.now = self.now.max(self.order.updated_at);
        if self.order.status != before {
            // Otherwise the engine shows the steps, and up to 0.1.0-rc.4 also what an order was that waited.
            if !self.input.followed || self.arbiter == Arbiter::Promises && self.order.gate.is_some() {
                self.ctx.set(STATUS, self.order.status.as_str().to_owned());
            }
            self.make_known();
        }
        if let Some(gate) = gate.filter(|gate| self.order.gate != Some(*gate)) {
            self.ahead = None;
            self.by = None;
            self.passed = None;
            if !self.input.followed {
                self.ctx.resolve_promise(&carried_out(gate), true);
            }
        }
    }
}

#[cfg(test)]
#[path = "journal_test.rs"]
mod tests;
