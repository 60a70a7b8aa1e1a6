//! A lifecycle's preview in JSON: what `workflows` tells of it in advance, and nothing of its own.

use poem_openapi::Object;
use workflows::lifecycle::preview;
use workflows::{Step, StepPolicy};

use crate::json::{CommandName, ContextName, GateName, RoleName, StatusName};
use crate::value::Checked;

/// What an order would live through.
#[derive(Object)]
#[oai(rename = "LifecyclePreview")]
pub(crate) struct Preview {
    /// The steps of an undisturbed order, in the order of doing.
    steps: Vec<PlannedStep>,
    /// The gates that it waits at, in the order of passing.
    gates: Vec<PlannedGate>,
    /// What a cancel would do, by the status at which it comes, for every status at which somebody may cancel.
    cancellation: Vec<PlannedCancel>,
    /// A Mermaid state diagram of the statuses.
    diagram: String,
}

/// A step that would be taken.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct PlannedStep {
    /// The step, as `context.verb`.
    step: Checked<Step>,
    /// Whose provider it asks; absent for the steps of the order itself.
    context: Option<ContextName>,
    /// What takes it back; absent where nothing does.
    undo: Option<Checked<Step>>,
    /// The gate that has to be passed right before it; absent where there is none.
    gate: Option<GateName>,
    /// The order's status once it is done.
    status: StatusName,
    /// How it is tried.
    policy: Policy,
}

/// How a step is tried.
#[derive(Object)]
#[oai(rename = "StepPolicy")]
struct Policy {
    /// How long one attempt may take.
    attempt_timeout_ms: u32,
    /// The wait before the second attempt.
    first_delay_ms: u32,
    /// By how much each wait is longer than the one before.
    factor: f32,
    /// The longest wait between two attempts.
    longest_delay_ms: u32,
    /// By when the last attempt is over; null: it never gives up.
    #[oai(nullable)]
    give_up_after_ms: Option<u32>,
}

/// A gate that would be waited at.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct PlannedGate {
    /// The gate.
    gate: GateName,
    /// The order's status while it waits here.
    status: StatusName,
    /// What passes it.
    commands: Vec<PlannedCommand>,
    /// How long it waits, as a time span; absent: for ever.
    window: Option<String>,
    /// What the order becomes when nobody comes in time.
    on_timeout: Option<StatusName>,
}

/// A command that would pass a gate.
#[derive(Object)]
struct PlannedCommand {
    /// What is asked.
    command: CommandName,
    /// Who may ask it.
    role: RoleName,
    /// What the order is sure to become by it.
    leads_to: StatusName,
}

/// What a cancel would do.
#[derive(Object)]
struct PlannedCancel {
    /// The order's status when it comes.
    status: StatusName,
    /// Who may cancel here.
    by: Vec<RoleName>,
    /// What is undone at most, in this order. An undo that finds nothing to undo does nothing.
    undoes: Vec<Checked<Step>>,
}

impl From<preview::Preview> for Preview {
    fn from(preview: preview::Preview) -> Self {
        Self {
            steps: preview.steps.into_iter().map(PlannedStep::from).collect(),
            gates: preview.gates.into_iter().map(PlannedGate::from).collect(),
            cancellation: preview.cancellation.into_iter().map(PlannedCancel::from).collect(),
            diagram: preview.diagram,
        }
    }
}

impl From<preview::PlannedStep> for PlannedStep {
    fn from(planned: preview::PlannedStep) -> Self {
        Self {
            step: Checked(planned.step),
            context: planned.context.map(Into::into),
            undo: planned.undo.map(Checked),
            gate: planned.gate.map(Into::into),
            status: planned.status.into(),
            policy: planned.policy.into(),
        }
    }
}

impl From<StepPolicy> for Policy {
    fn from(policy: StepPolicy) -> Self {
        Self {
            attempt_timeout_ms: policy.attempt_timeout_ms,
            first_delay_ms: policy.first_delay_ms,
            factor: policy.factor,
            longest_delay_ms: policy.longest_delay_ms,
            give_up_after_ms: policy.give_up_after_ms,
        }
    }
}

impl From<preview::PlannedGate> for PlannedGate {
    fn from(planned: preview::PlannedGate) -> Self {
        Self {
            gate: planned.gate.into(),
            status: planned.status.into(),
            commands: planned.commands.into_iter().map(PlannedCommand::from).collect(),
            window: planned.window.map(|window| window.to_string()),
            on_timeout: planned.on_timeout.map(Into::into),
        }
    }
}

impl From<preview::PlannedCommand> for PlannedCommand {
    fn from(planned: preview::PlannedCommand) -> Self {
        Self { command: planned.command.into(), role: planned.role.into(), leads_to: planned.leads_to.into() }
    }
}

impl From<preview::PlannedCancel> for PlannedCancel {
    fn from(planned: preview::PlannedCancel) -> Self {
        Self {
            status: planned.status.into(),
            by: planned.by.into_iter().map(Into::into).collect(),
            undoes: planned.undoes.into_iter().map(Checked).collect(),
        }
    }
}
