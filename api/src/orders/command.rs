//! Moving orders: a command is admitted by the rules, and decided by the order's workflow, where only one can win.

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use tokio::time::Instant;
use tracing::warn;
use workflows::order::command::{CommandRequest, Passed, Verdict};
use workflows::order::rules::{self, Admission};
use workflows::order::{self, Gate, OrderBook, Reach};
use workflows::{Command, OrderId, PaymentMethod, PaymentState, Role, Status};

use super::feed::{Feed, OfOrder};
use super::json::{Order, allowed_commands};
use super::read::{find_with_reach, known, language_or_default};
use crate::access::Caller;
use crate::ask::ask;
use crate::body::Maybe;
use crate::engine::{Engine, EngineError};
use crate::headers::AcceptLanguage;
use crate::json::CommandName;
use crate::kind::Kind;
use crate::problem::{Members, Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, Reason};

#[derive(Clone)]
pub(crate) struct CommandOrders {
    pub orders: Arc<dyn OrderBook>,
    pub feed: Feed,
    pub engine: Engine,
}

/// How long a command waits for its effect to be seen before it is answered all the same, where it is known to come.
const EFFECT_WAIT: Duration = Duration::from_secs(2);
/// How long after the engine has not answered it is asked to take the command once more.
const BRING_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How long a command waits for that to be known.
const DECIDED_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 15 });

/// What is brought to which gate of an order, and how.
struct Bringing {
    /// The invocation that runs it.
    run: String,
    gate: Gate,
    awakeable: String,
    passed: Passed,
}

refusals! {
    CommandOrder: InvalidRequest, Forbidden, NotFound, CommandNotAllowed, RequestTimeout, BodyTooLarge, UnsupportedMediaType, TryAgainLater;
}

/// What there is to say about a command.
#[derive(Default, Object)]
#[oai(deny_unknown_fields)]
struct CommandBody {
    /// Why, for those who read the order later. Kept with `cancel` and `reject`.
    #[oai(nullable)]
    reason: Option<Checked<Reason>>,
}

#[derive(ApiResponse)]
enum Commanded {
    /// The command is accepted, now or before. It takes effect when the contexts that it needs answer; the body is the
    /// order so far.
    #[oai(status = 200)]
    Done(
        Json<Order>,
        /// The order's version.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi(prefix_path = "/v1/orders", tag = "Tag::Orders")]
impl CommandOrders {
    /// Ask something of an order
    ///
    /// `cancel` calls it off while its lifecycle lets the caller; everything that was done is undone.
    /// `complete-delivery` reports that the goods were handed over. `allowed_commands` of the order says which commands
    /// it takes now. Repeating a command that was accepted changes nothing and answers 200. Of two commands that
    /// exclude each other exactly one wins. A `confirm-deposit` that comes too late is refused, and the transfer is
    /// given back.
    #[oai(path = "/:order_id/:command", method = "post", operation_id = "command_order")]
    async fn command(
        &self,
        caller: Caller,
        /// The order's id.
        order_id: Path<Checked<OrderId>>,
        /// What is asked.
        command: Path<CommandName>,
        /// The language of `status_label`: `ko` or `en`.
        #[oai(name = "Accept-Language")]
        language: Header<Option<Checked<AcceptLanguage>>>,
        body: Maybe<CommandBody>,
    ) -> Result<Commanded, Refused<CommandOrder>> {
        let Checked(id) = order_id.0;
        let reason = body.0.and_then(|body| body.reason).map(|Checked(Reason(reason))| reason);
        let order = self.carry_out(&caller, &id, command.0.into(), reason).await?;
        let order = Order::new(order, caller.role(), language_or_default(language.0));
        let tag = order.tag();
        Ok(Commanded::Done(Json(order), tag))
    }
}

impl CommandOrders {
    /// The order after the command.
    pub(super) async fn carry_out(
        &self,
        caller: &Caller,
        id: &OrderId,
        command: Command,
        reason: Option<String>,
    ) -> Result<order::Order, Problem> {
        caller.must_be(command.roles())?;
        let role = caller.role();
        // Before its effect can be written.
        let mut heard = ask("orders.last_position", self.feed.listen_to(id)).await?;
        let (order, Reach { awakeable, run }) = find_with_reach(&*self.orders, caller, id).await?;
        match rules::admit(&order, role, command) {
            Admission::CarriedOut => return Ok(order),
            Admission::NotAllowed if is_late(&order, command) => return Err(self.give_back(&order).await),
            Admission::NotAllowed => return Err(not_allowed(&order, role, command)),
            Admission::Allowed => {}
        }
        let way = awakeable.filter(|_| order.gate.is_some() && order.gate == Gate::of(command));
        if let (Some(run), Some(gate)) = (run, Gate::of(command)) {
            let awakeable = way.ok_or_else(|| unanswered(id, command, &"its gate has no way in"))?;
            let passed = Passed::By { command, by: caller.actor(), reason };
            return self.bring(caller, command, &mut heard, order, &Bringing { run, gate, awakeable, passed }).await;
        }
        self.have_decided(caller, command, reason, way, &mut heard, order).await
    }

    /// Brings a command to a gate of an order whose run decides, and tells what became of it.
    async fn bring(
        &self,
        caller: &Caller,
        command: Command,
        heard: &mut OfOrder,
        mut order: order::Order,
        Bringing { run, gate, awakeable, passed }: &Bringing,
    ) -> Result<order::Order, Problem> {
        let admission = |order: &order::Order| rules::admit(order, caller.role(), command);
        let until = Instant::now() + DECIDED_WITHIN;
        let mut is_brought = false;
        let passed = loop {
            if !is_brought {
                match self.engine.pass(awakeable, passed).await {
                    Ok(()) => is_brought = true,
                    // It may be taken all the same. An engine that starts takes its time.
                    Err(EngineError::Unanswered(_)) if Instant::now() < until => {}
                    Err(error) => return Err(unanswered(&order.id, command, &error)),
                }
            }
            let patience = if is_brought { EFFECT_WAIT } else { BRING_AGAIN_AFTER };
            order = self.after(heard, until.min(Instant::now() + patience), &order, admission).await?;
            match admission(&order) {
                Admission::Allowed => {}
                Admission::CarriedOut if caller.sees(&order) => return Ok(order),
                // Somebody else has the goods, or something else came first.
                Admission::CarriedOut | Admission::NotAllowed => break None,
            }
            if !is_brought {
                continue;
            }
            // What decides it may be there, and take long to become true.
            match self.engine.first_brought(run, *gate, order.deadline).await {
                Ok(Some(passed)) => break Some(passed),
                Ok(None) if Instant::now() < until => {}
                Ok(None) => return Err(unanswered(&order.id, command, &"it is not decided who passes the gate")),
                Err(error) if Instant::now() < until => {
                    warn!(order_id = %order.id, %error, "the engine does not say who passes the gate");
                }
                Err(error) => return Err(unanswered(&order.id, command, &error)),
            }
        };
        match passed {
            Some(Passed::By { command: first, by, .. })
                if first == command && (by == caller.actor() || caller.role() != Role::Courier) =>
            {
                Ok(order)
            }
            // The order is on its way to be cancelled, though that cannot be read yet.
            Some(_) if command == Command::ConfirmDeposit => Err(self.give_back(&order).await),
            _ if is_late(&order, command) => Err(self.give_back(&order).await),
            _ => Err(not_allowed(&order, caller.role(), command)),
        }
    }

    /// Has it decided what becomes of a cancel, or of what passes a gate of an order that was placed up to 0.1.0-rc.4, whose way may
    /// be an awakeable.
    async fn have_decided(
        &self,
        caller: &Caller,
        command: Command,
        reason: Option<String>,
        way: Option<String>,
        heard: &mut OfOrder,
        mut order: order::Order,
    ) -> Result<order::Order, Problem> {
        let (id, role) = (order.id.clone(), caller.role());
        let mut waits_until = None;
        let admission = |order: &order::Order| rules::admit(order, role, command);
        // Mostly nobody else commands the order at the same moment, and then the effect says it all.
        if let Some(awakeable) = way {
            let passed = Passed::By { command, by: caller.actor(), reason: reason.clone() };
            if self.engine.pass(&awakeable, &passed).await.is_ok() {
                let until = *waits_until.insert(Instant::now() + EFFECT_WAIT);
                order = self.after(heard, until, &order, admission).await?;
                if admission(&order) == Admission::CarriedOut && caller.sees(&order) {
                    return Ok(order);
                }
            }
        }
        let request = CommandRequest { command, by: caller.actor(), reason, follows: true };
        let verdict = self.engine.command(&id, request).await.map_err(|error| unanswered(&id, command, &error))?;
        let until = waits_until.unwrap_or_else(|| Instant::now() + EFFECT_WAIT);
        let order = match verdict {
            Verdict::Accepted => self.after(heard, until, &order, admission).await?,
            Verdict::NotAllowed => known(&*self.orders, &id).await?,
        };
        // Somebody else may have asked the same a moment earlier. Of couriers, one has the goods.
        if admission(&order) == Admission::CarriedOut && caller.sees(&order) {
            return Ok(order);
        }
        // A deposit gate that this command could not pass was shut or had its time: the order is on its way to be
        // cancelled, whether or not that can be read yet. And a cancel may overtake a command that had passed it.
        let lost = verdict == Verdict::NotAllowed && command == Command::ConfirmDeposit;
        match verdict {
            _ if lost || is_late(&order, command) => Err(self.give_back(&order).await),
            Verdict::Accepted => Ok(order),
            Verdict::NotAllowed => Err(not_allowed(&order, role, command)),
        }
    }

    /// The order once the effect of a command that it has accepted is heard, or as it is before long. Whoever saw it when they
    /// asked, and has listened since before that, may know what became of what they asked.
    async fn after(
        &self,
        heard: &mut OfOrder,
        until: Instant,
        before: &order::Order,
        admission: impl Fn(&order::Order) -> Admission,
    ) -> Result<order::Order, Problem> {
        let mut order = before.clone();
        while admission(&order) == Admission::Allowed {
            let mut events = heard.next(until).await;
            if events.is_empty() {
                return known(&*self.orders, &order.id).await;
            }
            events.retain(|event| event.number > order.version);
            order = match events.first() {
                Some(next) if next.number == order.version + 1 => {
                    events.iter().fold(Some(order), order::Order::after).ok_or_else(Problem::internal)?
                }
                // Seen when the order was read.
                None => order,
                // Something was not heard.
                Some(_) => known(&*self.orders, &order.id).await?,
            };
        }
        Ok(order)
    }

    /// Refuses a transfer that came too late, once it is certain that it goes back.
    async fn give_back(&self, order: &order::Order) -> Problem {
        match self.engine.give_back(order::due(order)).await {
            // Whatever can be read of the order yet: it is called off, and takes nothing any more.
            Ok(()) => refused(
                order,
                Vec::new(),
                "The transfer came too late: the order expects it no more. It is being given back to the customer.",
            ),
            Err(error) => {
                warn!(order_id = %order.id, %error, "late deposit not handed to the engine");
                Problem::new(
                    Kind::TryAgainLater,
                    "The transfer came too late and has to be given back, which could not be started. Please confirm it \
                     again after Retry-After.",
                )
            }
        }
    }
}

/// Nobody knows yet what becomes of a command.
fn unanswered(id: &OrderId, command: Command, why: &dyn std::fmt::Display) -> Problem {
    warn!(order_id = %id, ?command, %why, "what becomes of a command is not known");
    Problem::new(
        Kind::TryAgainLater,
        "The order did not answer in time. Asking again after Retry-After is safe: the command takes effect once only.",
    )
}

/// Whether the command confirms a deposit that was never confirmed and is expected no more.
fn is_late(order: &order::Order, command: Command) -> bool {
    command == Command::ConfirmDeposit
        && order.payment.method == PaymentMethod::Deposit
        && !order.carried_out.contains(&command)
        // One that was never asked for has nowhere to come to.
        && order.payment.state != PaymentState::None
        && matches!(order.status, Status::Cancelling | Status::Cancelled)
}

/// Says what the order takes instead. What was decided may not be readable yet, but what it has just refused it never
/// takes again: nothing that an order becomes allows more of the same.
fn not_allowed(order: &order::Order, role: Role, command: Command) -> Problem {
    let mut allowed = allowed_commands(order, role);
    allowed.retain(|allowed| *allowed != command.into());
    let detail = match allowed.as_slice() {
        [] => "The order takes no command from you now.",
        _ => "The order does not take this command now; `allowed_commands` says which it takes.",
    };
    refused(order, allowed, detail)
}

fn refused(order: &order::Order, allowed: Vec<CommandName>, detail: &'static str) -> Problem {
    Problem::new(Kind::CommandNotAllowed, detail).with(Members {
        order_id: Some(Checked(order.id.clone())),
        status: Some(order.status.into()),
        allowed_commands: Some(allowed),
        ..Members::default()
    })
}
