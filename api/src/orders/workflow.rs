//! `GET /v1/orders/{order_id}/workflow`: what keeps an order busy. The steps and the trouble are the read model's; what the
//! engine adds is joined to them, and nothing waits for it long.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use tracing::warn;
use workflows::order::{Event, OrderBook, Outcome, Trouble, rules};
use workflows::{Order, OrderId, Role, Status, Step};

use super::read::find;
use crate::access::Caller;
use crate::ask::ask;
use crate::engine::{Engine, Invocation};
use crate::json::{ContextName, GateName, StatusName};
use crate::problem::{Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, Value};

pub(crate) struct WorkflowApi {
    pub orders: Arc<dyn OrderBook>,
    pub engine: Engine,
}

refusals! {
    GetWorkflow: Forbidden, NotFound, TryAgainLater;
}

/// What is being done for an order, and what was.
#[derive(Object)]
struct Workflow {
    /// The order.
    order_id: Checked<OrderId>,
    /// Where the order is in its life.
    status: StatusName,
    /// What its workflow does now.
    state: WorkflowState,
    /// The step that fails, if one does.
    #[oai(nullable)]
    step: Option<Checked<Step>>,
    /// How many attempts have failed since something last succeeded; null where none has.
    #[oai(nullable)]
    attempt: Option<u64>,
    /// Why the latest attempt has failed.
    #[oai(nullable)]
    last_failure: Option<String>,
    /// When it has failed.
    #[oai(nullable)]
    last_failure_at: Option<Checked<DateTime<Utc>>>,
    /// When it is tried next, where the engine says so.
    #[oai(nullable)]
    next_try_at: Option<Checked<DateTime<Utc>>>,
    /// The gate that is open.
    #[oai(nullable)]
    gate: Option<GateName>,
    /// When the gate opens by itself.
    #[oai(nullable)]
    deadline: Option<Checked<DateTime<Utc>>>,
    /// The steps that were recorded, oldest first; undos are steps too.
    steps: Vec<RecordedStep>,
    /// What the engine says; null where it does not answer, or knows the workflow no longer.
    #[oai(nullable)]
    engine: Option<EngineView>,
}

/// What a workflow does: `waiting` for a person; `backing_off` until it tries a step again that has failed; `paused` until
/// somebody retries it; `unknown` where the engine does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum WorkflowState {
    Running,
    Waiting,
    BackingOff,
    Paused,
    Completed,
    Unknown,
}

/// A step that was taken.
#[derive(Object)]
struct RecordedStep {
    /// The step, as `context.verb`.
    step: Checked<Step>,
    /// The context whose provider was asked; null for a step of the order itself.
    #[oai(nullable)]
    context: Option<ContextName>,
    /// What became of it.
    state: StepState,
    /// When it was recorded.
    at: Checked<DateTime<Utc>>,
    /// When it was undone; null also where its undo had nothing to record.
    #[oai(nullable)]
    undone_at: Option<Checked<DateTime<Utc>>>,
    /// The step that has undone it.
    #[oai(nullable)]
    undone_by: Option<Checked<Step>>,
}

/// What became of a step: `refused` by its provider, which is an answer and not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum StepState {
    Done,
    Undone,
    Refused,
}

/// A workflow as the engine sees it.
#[derive(Object)]
struct EngineView {
    /// What the engine calls it.
    invocation_id: String,
    /// What it does, in the engine's words.
    status: String,
    /// The version of the worker that it stays on.
    #[oai(nullable)]
    deployment_id: Option<String>,
    /// Where the engine's own UI shows it.
    link: String,
}

#[OpenApi(prefix_path = "/v1/orders", tag = "Tag::Orders")]
impl WorkflowApi {
    /// Read an order's workflow
    ///
    /// What is being done for the order: whether it waits for a person or tries a failing step again, which steps were
    /// done and undone and when, and where the engine's UI shows the rest. Answers without the engine, too.
    #[oai(path = "/:order_id/workflow", method = "get", operation_id = "get_order_workflow")]
    async fn get(
        &self,
        caller: Caller,
        /// The order's id.
        order_id: Path<Checked<OrderId>>,
    ) -> Result<Json<Workflow>, Refused<GetWorkflow>> {
        caller.must_be(&[Role::Merchant, Role::Operator])?;
        let Checked(id) = order_id.0;
        // It costs the engine a look at all workflows, so nobody has it look for another's order.
        let order = find(&*self.orders, &caller, &id).await?;
        let seen = self.engine.invocation(&id).await.map_or_else(
            |error| {
                warn!(order_id = %id, %error, "the engine does not tell of a workflow");
                Seen::NotAnswered
            },
            |invocation| invocation.map_or(Seen::Nothing, Seen::Invocation),
        );
        let trouble = ask("orders.trouble", self.orders.trouble(&id)).await?;
        let events = ask("orders.events", self.orders.events(&id, 0, u32::MAX)).await?;
        Ok(Json(Workflow::new(order, &events, trouble, seen)))
    }
}

/// What the engine says.
enum Seen {
    Invocation(Invocation),
    /// It answers, and knows of no such workflow.
    Nothing,
    NotAnswered,
}

impl Workflow {
    fn new(order: Order, events: &[Event], trouble: Option<Trouble>, seen: Seen) -> Self {
        let state = WorkflowState::of(&order, trouble.is_some(), &seen);
        // A note of a failure may come late.
        let trouble = trouble.filter(|_| state != WorkflowState::Completed);
        let invocation = match seen {
            Seen::Invocation(invocation) => Some(invocation),
            Seen::Nothing | Seen::NotAnswered => None,
        };
        // What was noted with the order goes before what the engine counts in its own way.
        let failing =
            invocation.as_ref().filter(|_| matches!(state, WorkflowState::BackingOff | WorkflowState::Paused));
        let failing_step = failing.and_then(|engine| Step::from_text(engine.failing_step.as_deref()?));
        Self {
            status: order.status.into(),
            state,
            step: trouble.as_ref().map(|trouble| trouble.step).or(failing_step).map(Checked),
            attempt: trouble
                .as_ref()
                .map(|trouble| trouble.failures.into())
                .or_else(|| failing.and_then(|engine| engine.attempts)),
            last_failure: trouble
                .as_ref()
                .map(|trouble| trouble.why.clone())
                .or_else(|| failing.and_then(|engine| engine.last_failure.clone())),
            last_failure_at: trouble.map(|trouble| Checked(trouble.at)),
            next_try_at: failing
                .filter(|_| state == WorkflowState::BackingOff)
                .and_then(|engine| engine.next_try_at.map(Checked)),
            gate: order.gate.map(Into::into),
            deadline: order.deadline.map(Checked),
            steps: recorded(order.status, events),
            engine: invocation.map(EngineView::from),
            order_id: Checked(order.id),
        }
    }
}

impl WorkflowState {
    fn of(order: &Order, in_trouble: bool, seen: &Seen) -> Self {
        let status = match seen {
            Seen::Invocation(invocation) => Some(invocation.status.as_str()),
            Seen::Nothing | Seen::NotAnswered => None,
        };
        let known = matches!(seen, Seen::Invocation(_) | Seen::NotAnswered);
        match status {
            Some("completed") => Self::Completed,
            Some("paused") => Self::Paused,
            Some("backing-off") => Self::BackingOff,
            _ if in_trouble => Self::BackingOff,
            // Whether the engine keeps a waiting workflow in memory or not is all the same.
            _ if order.gate.is_some() && known => Self::Waiting,
            Some(_) => Self::Running,
            // The engine forgets what has ended.
            None if order.status.is_final() => Self::Completed,
            None => Self::Unknown,
        }
    }
}

/// The steps that events tell of, in the order of their first events.
fn recorded(status: Status, events: &[Event]) -> Vec<RecordedStep> {
    let mut first: BTreeMap<Step, &Event> = BTreeMap::new();
    for event in events {
        first.entry(event.step).or_insert(event);
    }
    // The unwind of an order is never cut short: once it has ended, whatever can be undone is, also where the undo had
    // nothing to record.
    let unwound = matches!(status, Status::Cancelled | Status::Rejected);
    let of_step = |(step, event): (&Step, &&Event)| {
        let refused =
            matches!(rules::recorded(*step, events), Some(Outcome::Declined { .. } | Outcome::OutOfStock { .. }));
        let undone_by = step.undo().filter(|undo| !refused && (unwound || first.contains_key(undo)));
        let undone_at = undone_by.and_then(|undo| first.get(&undo)).map(|event| Checked(event.at));
        let state = match undone_by {
            _ if refused => StepState::Refused,
            Some(_) => StepState::Undone,
            None => StepState::Done,
        };
        let recorded = RecordedStep {
            step: Checked(*step),
            context: step.context().map(Into::into),
            state,
            at: Checked(event.at),
            undone_at,
            undone_by: undone_by.map(Checked),
        };
        (event.number, recorded)
    };
    let mut steps: Vec<_> = first.iter().map(of_step).collect();
    steps.sort_by_key(|(number, _)| *number);
    steps.into_iter().map(|(_, step)| step).collect()
}

impl From<Invocation> for EngineView {
    fn from(invocation: Invocation) -> Self {
        let Invocation { id, status, deployment_id, link, .. } = invocation;
        Self { invocation_id: id, status, deployment_id, link }
    }
}
