//! What a lifecycle would do, without an order: told by letting the rules themselves live an imaginary one.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::DateTime;
use serde::Serialize;

use super::{CouponRule, DeliveryStart, Lifecycle, ProductionFinish, StockTake, Window};
use crate::order::{Customer, Event, Fact, Gate, Outcome, Placement, rules};
use crate::{Command, Context, Currency, Money, Order, OrderId, PaymentMethod, Role, Status, Step, StepPolicy};

/// A lifecycle, told in advance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    /// The steps of an undisturbed order, in the order of doing.
    pub steps: Vec<PlannedStep>,
    /// The gates that it waits at, in the order of passing.
    pub gates: Vec<PlannedGate>,
    /// What a cancel would do, by the status at which it comes; statuses that an undisturbed order goes through.
    pub cancellation: Vec<PlannedCancel>,
    /// A Mermaid state diagram of the statuses.
    pub diagram: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlannedStep {
    pub step: Step,
    /// Whose provider it asks; `None` for the steps of the order itself.
    pub context: Option<Context>,
    /// What takes it back.
    pub undo: Option<Step>,
    /// The gate that has to be passed right before it.
    pub gate: Option<Gate>,
    /// The order's status once it is done.
    pub status: Status,
    /// How it is tried.
    pub policy: StepPolicy,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedGate {
    pub gate: Gate,
    /// The order's status while it waits here.
    pub status: Status,
    pub commands: Vec<PlannedCommand>,
    /// How long it waits; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// What the order becomes when nobody comes in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlannedCommand {
    pub command: Command,
    pub role: Role,
    /// What the order is sure to become by it.
    pub leads_to: Status,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedCancel {
    pub status: Status,
    /// Who may cancel here.
    pub by: Vec<Role>,
    /// What is undone at most, in this order. An undo that finds nothing to undo does nothing.
    pub undoes: Vec<Step>,
}

/// What comes next in an undisturbed life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A step that can be undone or refused.
    Take(Step),
    /// A gate, passed by its first command.
    Pass(Gate),
    /// A step that only records.
    Record(Step),
}

/// An undisturbed life, as `order/workflow.rs` lives it; the sweep holds the two together.
fn stages(lifecycle: &Lifecycle) -> Vec<Stage> {
    use Stage::{Pass, Record, Take};
    let mut stages = vec![Record(Step::OrderPlace)];
    let take = lifecycle.stock.take;
    if take == StockTake::OnPlacement {
        stages.push(Take(Step::StockReserve));
    }
    match lifecycle.payment.method {
        PaymentMethod::Card => stages.push(Take(Step::PaymentCharge)),
        PaymentMethod::Deposit => {
            stages.extend([Take(Step::PaymentOpenDeposit), Pass(Gate::Deposit), Take(Step::PaymentConfirmDeposit)]);
        }
    }
    match take {
        StockTake::OnPlacement => stages.push(Take(Step::StockCommit)),
        StockTake::OnPayment => stages.extend([Take(Step::StockReserve), Take(Step::StockCommit)]),
        StockTake::None => {}
    }
    if lifecycle.acceptance.is_some() {
        stages.extend([Take(Step::KitchenOffer), Pass(Gate::Acceptance), Record(Step::OrderAccept)]);
    }
    if let Some(production) = lifecycle.production {
        stages.extend([Pass(Gate::ProductionStart), Take(Step::KitchenStart)]);
        if production.finish == ProductionFinish::Merchant {
            stages.extend([Pass(Gate::ProductionFinish), Take(Step::KitchenFinish)]);
        }
    }
    if lifecycle.coupon == Some(CouponRule::BeforeDelivery) {
        stages.push(Take(Step::PromotionIssue));
    }
    if let Some(delivery) = lifecycle.delivery {
        stages.push(Take(Step::DeliveryRequest));
        if delivery.start == DeliveryStart::Courier {
            stages.push(Pass(Gate::Dispatch));
        }
        stages.extend([Take(Step::DeliveryStart), Pass(Gate::Handover), Take(Step::DeliveryComplete)]);
        if rules::ends_with_delivery(lifecycle) {
            return stages;
        }
    }
    if lifecycle.coupon == Some(CouponRule::AfterDelivery) {
        stages.push(Record(Step::PromotionIssue));
    }
    if lifecycle.receipt.is_some() {
        stages.push(Pass(Gate::Receipt));
    }
    stages.push(Record(Step::OrderClose));
    stages
}

impl Lifecycle {
    /// What an order would live through under this lifecycle, which must be one without faults.
    #[must_use]
    pub fn preview(&self) -> Preview {
        let mut order = imaginary(self);
        let mut steps = Vec::new();
        let mut gates = Vec::new();
        let mut undoes = BTreeMap::<Status, Vec<Step>>::new();
        let mut tried = Vec::new();
        let mut passed = None;
        for stage in stages(self) {
            let step = match stage {
                Stage::Pass(gate) => {
                    passed = Some(gate);
                    gates.push(self.planned_gate(gate, order.status));
                    continue;
                }
                Stage::Take(step) => {
                    tried.push(step);
                    undoes.insert(order.status, rules::unwind(self, &tried));
                    step
                }
                Stage::Record(step) => step,
            };
            live_through(&mut order, step);
            undoes.entry(order.status).or_insert_with(|| rules::unwind(self, &tried));
            steps.push(PlannedStep {
                step,
                context: step.context(),
                undo: step.undo(),
                gate: passed.take(),
                status: order.status,
                policy: self.policy(step),
            });
        }
        let cancellation = undoes
            .into_iter()
            .map(|(status, undoes)| PlannedCancel { status, by: self.may_cancel_at(status), undoes })
            .filter(|cancel| !cancel.by.is_empty())
            .collect();
        let mut preview = Preview { steps, gates, cancellation, diagram: String::new() };
        preview.diagram = self.diagram(&preview);
        preview
    }

    fn may_cancel_at(&self, status: Status) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| rules::may_cancel(&self.cancellation, status, *role)).collect()
    }

    fn planned_gate(&self, gate: Gate, status: Status) -> PlannedGate {
        let window = rules::window(self, gate).map(Window);
        PlannedGate {
            gate,
            status,
            commands: gate
                .commands()
                .iter()
                .map(|(command, role, leads_to)| PlannedCommand { command: *command, role: *role, leads_to: *leads_to })
                .collect(),
            on_timeout: window.and_then(|_| rules::beyond_deadline(self, gate)),
            window,
        }
    }

    fn diagram(&self, preview: &Preview) -> String {
        let mut lines = vec!["[*] --> placed".to_owned()];
        let mut status = Status::Placed;
        // What has moved the order since it last changed its status.
        let mut by = String::new();
        for step in &preview.steps {
            if let Some(gate) = step.gate.and_then(|gate| preview.gates.iter().find(|planned| planned.gate == gate)) {
                let onwards = gate.commands.iter().find(|command| !Self::turns_down(command.leads_to));
                by = onwards.map(|command| format!("{} ({})", command.command, command.role)).unwrap_or_default();
                if let (Some(window), Some(on_timeout)) = (gate.window, gate.on_timeout)
                    && !Self::turns_down(on_timeout)
                {
                    let _ = write!(by, " or after {window}");
                }
            }
            if step.status != status {
                let label = if by.is_empty() { step.step.name() } else { by.as_str() };
                lines.push(format!("{} --> {}: {label}", status.as_str(), step.status.as_str()));
                status = step.status;
                by.clear();
            }
        }
        lines.push(format!("{} --> [*]", status.as_str()));
        lines.extend(self.turned_down(preview));
        for cancel in &preview.cancellation {
            let by: Vec<_> = cancel.by.iter().map(|role| role.as_str()).collect();
            lines.push(format!("{} --> cancelling: cancel ({})", cancel.status.as_str(), by.join(", ")));
        }
        lines.extend(["cancelling --> cancelled: everything undone".to_owned(), "cancelled --> [*]".to_owned()]);
        lines.iter().fold("stateDiagram-v2\n".to_owned(), |text, line| text + "    " + line + "\n")
    }

    const fn turns_down(status: Status) -> bool {
        matches!(status, Status::Rejected | Status::Cancelling)
    }

    /// The ways into `rejected`, and those into `cancelling` that nobody asks for.
    fn turned_down(&self, preview: &Preview) -> Vec<String> {
        let mut lines = Vec::new();
        let card = self.payment.method == PaymentMethod::Card;
        if card || self.stock.take == StockTake::OnPlacement {
            let why = match (card, self.stock.take == StockTake::OnPlacement) {
                (true, true) => "out of stock, declined or unavailable",
                (true, false) => "declined or unavailable",
                (false, _) => "out of stock or unavailable",
            };
            lines.push(format!("placed --> rejected: {why}"));
        }
        for gate in &preview.gates {
            for command in gate.commands.iter().filter(|command| Self::turns_down(command.leads_to)) {
                let (from, to) = (gate.status.as_str(), command.leads_to.as_str());
                lines.push(format!("{from} --> {to}: {} ({})", command.command, command.role));
            }
            if let (Some(window), Some(to)) = (gate.window, gate.on_timeout)
                && Self::turns_down(to)
            {
                lines.push(format!("{} --> {}: after {window}", gate.status.as_str(), to.as_str()));
            }
        }
        if !card && self.stock.take == StockTake::OnPayment {
            lines.push("paid --> cancelling: out of stock".to_owned());
        }
        if lines.iter().any(|line| line.contains("--> rejected")) {
            lines.push("rejected --> [*]".to_owned());
        }
        lines
    }
}

fn imaginary(lifecycle: &Lifecycle) -> Order {
    let nothing = Money::new(0, Currency::KRW);
    let placement = Placement {
        merchant_id: "imaginary".parse().expect("a merchant id"),
        customer: Customer { name: String::new(), phone: String::new(), address: String::new() },
        customer_id: None,
        lines: Vec::new(),
        total: nothing,
        payment_method: lifecycle.payment.method,
        note: None,
        lifecycle: lifecycle.clone(),
        request_digest: String::new(),
    };
    Order::placed(OrderId::from_bits(0), &placement, DateTime::UNIX_EPOCH)
}

fn live_through(order: &mut Order, step: Step) {
    let facts = match step {
        Step::OrderPlace => return,
        Step::OrderAccept => vec![Fact::OrderAccepted],
        Step::OrderClose => vec![Fact::OrderClosed],
        _ => rules::facts(step, &Outcome::Done, order),
    };
    for fact in facts {
        let (order_id, number, at) = (order.id.clone(), order.version + 1, order.updated_at);
        order.learn(&Event { order_id, number, at, step, by: None, fact });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_told_in_advance() {
        for preset in Lifecycle::presets() {
            let preview = preset.preview();
            insta::assert_snapshot!(format!("{}_diagram", preset.name), preview.diagram);
            let told = serde_json::json!({
                "steps": preview.steps.iter().map(|step| {
                    format!("{}{} -> {}", step.gate.map(|gate| format!("[{}] ", gate.as_str())).unwrap_or_default(),
                        step.step, step.status.as_str())
                }).collect::<Vec<_>>(),
                "gates": preview.gates,
                "cancellation": preview.cancellation,
            });
            insta::assert_json_snapshot!(preset.name.clone(), told);
        }
    }

    #[test]
    fn every_status_of_the_preview_is_told_once_and_the_last_is_final() {
        for preset in Lifecycle::presets() {
            let preview = preset.preview();
            let mut statuses: Vec<_> = preview.steps.iter().map(|step| step.status).collect();
            statuses.dedup();
            let mut sorted = statuses.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(statuses, sorted, "{}", preset.name);
            assert_eq!(statuses.last(), Some(&Status::Closed), "{}", preset.name);
        }
    }
}
