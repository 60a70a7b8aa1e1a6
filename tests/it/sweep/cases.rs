//! What is swept: every lifecycle, every course that an order can take under it, every step of that course, and
//! everything that can go wrong with the step. All of it follows from the lifecycles and the rules: nobody lists a step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::DateTime;
use serde_json::{Value, json};
use tests::{Fault, Place, Planned};
use workflows::lifecycle::preview::Preview;
use workflows::lifecycle::{StockTake, Window};
use workflows::order::{Customer, Event, Fact, Line, Outcome, Placement, rules};
use workflows::{
    Command, Context, Currency, Gate, Lifecycle, Money, Order, OrderId, PaymentMethod, Role, Status, Step, StepPolicy,
};

/// Combinations that no preset has.
const VARIANTS: [&str; 4] = [
    // Everything that there is, with a deposit, undone in an order of its own.
    r#"
        name = "workshop"
        coupon = "before_delivery"
        unwind = ["delivery", "coupon", "kitchen", "stock", "payment"]
        payment = { method = "deposit", deposit_window = "3days" }
        stock = { take = "on_placement" }
        acceptance = { window = "10m", on_timeout = "accept" }
        production = { start = "merchant", finish = "merchant" }
        delivery = { start = "courier", complete = "courier" }
        receipt = { window = "7days", on_timeout = "confirm" }
        cancellation = { customer = "ready" }
    "#,
    // Handed out on the spot; sold when paid.
    r#"
        name = "counter"
        payment = { method = "card" }
        stock = { take = "on_payment" }
        acceptance = { window = "10m", on_timeout = "reject" }
        receipt = { window = "1day", on_timeout = "confirm" }
        cancellation = { customer = "accepted" }
    "#,
    // Nothing but the money.
    r#"
        name = "donation"
        payment = { method = "card" }
        stock = { take = "none" }
        cancellation = { customer = "paid" }
    "#,
    // A coupon for those who have confirmed the receipt, and a kitchen that is undone before anything else.
    r#"
        name = "club"
        coupon = "after_delivery"
        unwind = ["kitchen", "payment", "delivery"]
        payment = { method = "deposit", deposit_window = "3days" }
        stock = { take = "none" }
        production = { start = "merchant", finish = "none" }
        delivery = { start = "automatic", complete = "courier" }
        receipt = { window = "7days", on_timeout = "confirm" }
        cancellation = { customer = "in_production" }
    "#,
];

/// The window of a gate at which nobody comes.
const SHORT_WINDOW: &str = "1s";
/// Longer than anything that is held.
const PATIENT_MS: u32 = 60_000;
/// How long a provider is waited for that never answers.
const IMPATIENT_MS: u32 = 1_500;
/// So many failures are more than bad luck.
const OFTEN: usize = 3;
/// More attempts than any step makes here.
const ALWAYS: usize = 10_000;

/// The course that an order takes, apart from what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// It is closed.
    Lived,
    /// An operator calls it off as soon as this step has done what it does, up to this place.
    CancelledAfter(Step, Place),
    /// The merchant turns it down.
    TurnedDown(Gate, Command),
    /// Nobody comes in time.
    RunOut(Gate),
    /// The card is declined.
    Declined,
    /// There is nothing left of what was ordered.
    OutOfStock,
    /// It is called off, and the money comes afterwards.
    PaidLate,
    /// It is closed, and the merchant's webhook is told of it.
    Told,
}

/// Who calls an order off, or tries to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canceller {
    /// An operator, by the engine's own cancel button.
    Button,
    /// The customer, by the API.
    Api,
    /// Both.
    Both,
}

impl Canceller {
    const fn role(self) -> Role {
        match self {
            Self::Button | Self::Both => Role::Operator,
            Self::Api => Role::Customer,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing.
    Nothing,
    /// So many attempts at the step go wrong.
    Fault(Place, Fault, usize),
    /// It takes effect, but never answers until it gives up.
    NeverHeard,
    /// A cancel arrives, or another one, while the step is held.
    Cancel(Place, Fault, Canceller),
    /// The process is killed while the step is held.
    Kill(Place, Fault),
}

/// One order, and what happens to it.
#[derive(Clone)]
pub struct Case {
    /// The lifecycle's name.
    pub of: String,
    pub lifecycle: Lifecycle,
    pub course: Course,
    /// The step that has the trouble.
    pub step: Option<Step>,
    pub trouble: Trouble,
    /// What it ends as.
    pub ends: Status,
    /// The steps that it takes where nothing goes wrong, without those beside the order.
    pub steps: Vec<Step>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}", self.of, self.course)?;
        match self.step {
            Some(step) => write!(f, ", {step}: {:?}", self.trouble),
            None => Ok(()),
        }
    }
}

impl Case {
    /// Where the order is held, and who does what there, in the order of meeting.
    pub fn holds(&self) -> Vec<Option<Canceller>> {
        let mut holds = Vec::new();
        if matches!(self.course, Course::CancelledAfter(..) | Course::PaidLate) {
            holds.push(Some(Canceller::Button));
        }
        match self.trouble {
            Trouble::Cancel(_, _, by) => holds.push(Some(by)),
            Trouble::Kill(..) => holds.push(None),
            Trouble::Nothing | Trouble::Fault(..) | Trouble::NeverHeard => {}
        }
        holds
    }

    /// What the order's providers do.
    pub fn script(&self) -> Vec<Planned> {
        let mut script = Vec::new();
        let cancelled_after = match self.course {
            Course::CancelledAfter(step, place) => Some((step, place)),
            Course::PaidLate => Some((Step::PaymentOpenDeposit, Place::Record)),
            _ => None,
        };
        if let Some((step, place)) = cancelled_after {
            script.push(Planned { step, place, fault: Fault::HoldAfter, times: 1 });
        }
        let planned = match self.trouble {
            Trouble::Nothing => None,
            Trouble::Fault(place, fault, times) => Some((place, fault, times)),
            Trouble::NeverHeard => Some((Place::Provider, Fault::LoseReply, ALWAYS)),
            Trouble::Cancel(place, fault, _) => Some((place, fault, 1)),
            // Also where an attempt is over before the process is killed.
            Trouble::Kill(place, fault) => Some((place, fault, ALWAYS)),
        };
        if let (Some(step), Some((place, fault, times))) = (self.step, planned) {
            script.push(Planned { step, place, fault, times });
        }
        script
    }

    /// Whether more is planned than can be met.
    pub const fn is_planned_to_the_end(&self) -> bool {
        !matches!(self.trouble, Trouble::NeverHeard | Trouble::Kill(..))
    }

    /// Whether the customer's card is declined.
    pub fn card(&self) -> &'static str {
        if self.course == Course::Declined { "tok_declined" } else { "tok_ok" }
    }

    pub fn on_hand(&self) -> i64 {
        if self.course == Course::OutOfStock { 0 } else { 5 }
    }

    /// The lifecycle, as patient as the trouble needs it.
    pub fn document(&self) -> Value {
        let mut lifecycle = self.lifecycle.clone();
        lifecycle.name = format!("swept {}", self.of);
        let window = Window(humantime(SHORT_WINDOW));
        if let Course::RunOut(gate) = self.course {
            match gate {
                Gate::Deposit => lifecycle.payment.deposit_window = Some(window),
                Gate::Acceptance => lifecycle.acceptance.iter_mut().for_each(|rule| rule.window = window),
                Gate::Receipt => lifecycle.receipt.iter_mut().for_each(|rule| rule.window = window),
                Gate::ProductionStart | Gate::ProductionFinish | Gate::Dispatch | Gate::Handover => {}
            }
        }
        // A busy machine is no reason to give up.
        for step in Step::ALL.into_iter().filter(|step| step.may_give_up()) {
            lifecycle.steps.insert(step, patient(step));
        }
        for planned in self.script().iter().filter(|planned| !planned.step.is_beside_the_order()) {
            let mut policy = patient(planned.step);
            match (planned.fault, self.trouble) {
                (Fault::Hang, _) => policy.attempt_timeout_ms = IMPATIENT_MS,
                (_, Trouble::NeverHeard) => {
                    policy.attempt_timeout_ms = IMPATIENT_MS;
                    policy.give_up_after_ms = Some(2 * IMPATIENT_MS);
                }
                _ => {}
            }
            lifecycle.steps.insert(planned.step, policy);
        }
        json!(lifecycle)
    }
}

fn patient(step: Step) -> StepPolicy {
    StepPolicy {
        attempt_timeout_ms: PATIENT_MS,
        first_delay_ms: 20,
        factor: 1.0,
        longest_delay_ms: 20,
        give_up_after_ms: step.may_give_up().then_some(5 * PATIENT_MS),
    }
}

fn humantime(span: &str) -> std::time::Duration {
    serde_json::from_value::<Window>(json!(span)).expect("a time span").0
}

/// All lifecycles that are swept.
pub fn lifecycles() -> Vec<Lifecycle> {
    let variants = VARIANTS.iter().map(|text| toml::from_str::<Lifecycle>(text).expect("reads"));
    let lifecycles: Vec<_> = Lifecycle::presets().iter().cloned().chain(variants).collect();
    for lifecycle in &lifecycles {
        assert_eq!(lifecycle.faults(), Vec::<String>::new(), "{}", lifecycle.name);
    }
    lifecycles
}

/// Every case of a lifecycle. A step has its troubles in the first course that takes it, in which an undo surely has
/// something to undo.
pub fn cases(lifecycle: &Lifecycle) -> Vec<Case> {
    let life = Life::of(lifecycle);
    let mut swept = BTreeSet::new();
    let mut cases = Vec::new();
    for (course, ends, steps) in life.courses() {
        let case = |step, trouble, ends| Case {
            of: lifecycle.name.clone(),
            lifecycle: lifecycle.clone(),
            course,
            step,
            trouble,
            ends,
            steps: steps.clone(),
        };
        cases.push(case(None, Trouble::Nothing, ends));
        let beside = Life::beside(course);
        for step in steps.iter().copied().chain(beside).filter(|step| swept.insert(*step)) {
            for trouble in life.troubles(course, step) {
                cases.push(case(Some(step), trouble, life.end(course, step, trouble, ends)));
            }
        }
    }
    cases
}

/// A lifecycle, and what an order lives through under it.
struct Life<'a> {
    lifecycle: &'a Lifecycle,
    preview: Preview,
    /// The order before each step of an undisturbed life.
    before: BTreeMap<Step, Order>,
}

impl<'a> Life<'a> {
    fn of(lifecycle: &'a Lifecycle) -> Self {
        let preview = lifecycle.preview();
        let mut order = imaginary(lifecycle);
        let mut before = BTreeMap::new();
        for planned in &preview.steps {
            before.insert(planned.step, order.clone());
            let facts = rules::facts(planned.step, &Outcome::Done, &order);
            let events = events(&order, planned.step, facts);
            order = order.after_all(&events);
        }
        Self { lifecycle, preview, before }
    }

    /// The steps of an undisturbed life.
    fn lived(&self) -> Vec<Step> {
        self.preview.steps.iter().map(|planned| planned.step).collect()
    }

    /// Those before the step, those before it and itself.
    fn up_to(&self, step: Step, inclusive: bool) -> Vec<Step> {
        let lived = self.lived();
        let end = lived.iter().position(|lived| *lived == step).expect("it is lived") + usize::from(inclusive);
        lived[..end].to_vec()
    }

    /// Those before the gate.
    fn up_to_gate(&self, gate: Gate) -> Vec<Step> {
        let beyond = self.preview.steps.iter().find(|planned| planned.gate == Some(gate)).expect("it is passed");
        self.up_to(beyond.step, false)
    }

    fn undone(&self, tried: &[Step]) -> Vec<Step> {
        rules::unwind(self.lifecycle, tried)
    }

    /// Called off for a reason that is recorded first.
    fn called_off(&self, mut tried: Vec<Step>, why: Step) -> Vec<Step> {
        let undone = self.undone(&tried);
        tried.push(why);
        tried.extend(undone);
        tried.push(Step::OrderCancel);
        tried
    }

    fn rejected(&self, mut done: Vec<Step>, refused: Option<Step>) -> Vec<Step> {
        let undone = self.undone(&done);
        done.extend(refused);
        done.extend(undone);
        done.push(Step::OrderReject);
        done
    }

    /// Every course, what it ends as, and its steps.
    fn courses(&self) -> Vec<(Course, Status, Vec<Step>)> {
        let Self { lifecycle, preview, .. } = self;
        let by_deposit = lifecycle.payment.method == PaymentMethod::Deposit;
        let mut courses = vec![(Course::Lived, Status::Closed, self.lived())];
        for planned in preview.steps.iter().filter(|planned| self.takes_a_cancel_at(planned.status, Canceller::Button))
        {
            let steps = self.called_off(self.up_to(planned.step, true), Step::OrderRequestCancellation);
            let last = *self.places(planned.step).last().expect("a step asks or records");
            courses.push((Course::CancelledAfter(planned.step, last), Status::Cancelled, steps));
        }
        for gate in &preview.gates {
            for command in gate.commands.iter().filter(|command| command.leads_to == Status::Rejected) {
                let steps = self.rejected(self.up_to_gate(gate.gate), None);
                courses.push((Course::TurnedDown(gate.gate, command.command), Status::Rejected, steps));
            }
            let run_out = Course::RunOut(gate.gate);
            match gate.on_timeout {
                Some(Status::Cancelling) => {
                    let steps = self.called_off(self.up_to_gate(gate.gate), Step::OrderExpire);
                    courses.push((run_out, Status::Cancelled, steps));
                }
                Some(Status::Rejected) => {
                    courses.push((run_out, Status::Rejected, self.rejected(self.up_to_gate(gate.gate), None)));
                }
                Some(_) => courses.push((run_out, Status::Closed, self.lived())),
                None => {}
            }
        }
        if !by_deposit {
            let steps = self.rejected(self.up_to(Step::PaymentCharge, false), Some(Step::PaymentCharge));
            courses.push((Course::Declined, Status::Rejected, steps));
        }
        if lifecycle.stock.take != StockTake::None {
            let done = self.up_to(Step::StockReserve, false);
            courses.push(if self.before[&Step::StockReserve].decided {
                let undone = self.undone(&done);
                let steps =
                    [done, vec![Step::StockReserve, Step::OrderRequestCancellation], undone, vec![Step::OrderCancel]];
                (Course::OutOfStock, Status::Cancelled, steps.concat())
            } else {
                (Course::OutOfStock, Status::Rejected, self.rejected(done, Some(Step::StockReserve)))
            });
        }
        if by_deposit {
            let steps = self.called_off(self.up_to(Step::PaymentOpenDeposit, true), Step::OrderRequestCancellation);
            courses.push((Course::PaidLate, Status::Cancelled, steps));
        }
        courses.push((Course::Told, Status::Closed, self.lived()));
        courses
    }

    /// The steps beside the order that a course takes for certain.
    fn beside(course: Course) -> Vec<Step> {
        Step::ALL
            .into_iter()
            .filter(|step| step.is_beside_the_order())
            .filter(|step| match (step.context(), course) {
                (Some(Context::Notification), Course::Told) | (Some(Context::Payment), Course::PaidLate) => true,
                (Some(Context::Notification | Context::Payment), _) => false,
                _ => panic!("which course takes {step}?"),
            })
            .collect()
    }

    fn takes_a_cancel_at(&self, status: Status, by: Canceller) -> bool {
        rules::may_cancel(&self.lifecycle.cancellation, status, by.role())
    }

    fn places(&self, step: Step) -> Vec<Place> {
        let order = self.before.get(&step).unwrap_or(&self.before[&Step::OrderPlace]);
        let facts = rules::facts(step, &Outcome::Done, order);
        let after = order.clone().after_all(&events(order, step, facts.clone()));
        let goes_along = rules::is_recorded_along(step, &Outcome::Done, order, &after);
        let records = step.context().is_none() || !facts.is_empty() && !goes_along;
        let provider = step.context().map(|_| Place::Provider);
        provider.into_iter().chain(records.then_some(Place::Record)).collect()
    }

    /// Everything that can go wrong with a step of a course.
    fn troubles(&self, course: Course, step: Step) -> Vec<Trouble> {
        let (places, beside) = (self.places(step), step.is_beside_the_order());
        let ends_it = step.may_be_impossible();
        let mut troubles = Vec::new();
        for place in &places {
            let mut fault = |fault, times| troubles.push(Trouble::Fault(*place, fault, times));
            fault(Fault::Panic, 1);
            fault(Fault::Fail, OFTEN);
            fault(Fault::LoseReply, 1);
            fault(Fault::Twice, 1);
            if !beside {
                fault(Fault::Hang, 1);
            }
            // What was delivered cannot be taken back: a provider that says otherwise afterwards has to be asked why.
            if step != Step::DeliveryComplete || *place == Place::Provider {
                fault(Fault::Impossible, if ends_it { 1 } else { OFTEN });
            }
            if step != Step::DeliveryComplete {
                fault(Fault::ImpossibleAfter, if ends_it { 1 } else { OFTEN });
            }
        }
        for (place, hold) in Self::moments(&places) {
            troubles.push(Trouble::Kill(place, hold));
            let cancellers: &[Canceller] = match course {
                _ if beside => &[],
                Course::Lived if (step, hold) == (Step::OrderPlace, Fault::Hold) => &[Canceller::Button],
                Course::Lived => &[Canceller::Button, Canceller::Api],
                _ => &[Canceller::Both],
            };
            troubles.extend(cancellers.iter().map(|by| Trouble::Cancel(place, hold, *by)));
        }
        if course == Course::Lived && self.lifecycle.policy(step).give_up_after_ms.is_some() {
            troubles.push(Trouble::NeverHeard);
        }
        troubles
    }

    /// Before a step, inside it, and after it.
    fn moments(places: &[Place]) -> Vec<(Place, Fault)> {
        let (first, last) = (places[0], places[places.len() - 1]);
        let mut moments = vec![(first, Fault::Hold), (first, Fault::HoldAfter), (last, Fault::HoldAfter)];
        moments.dedup();
        moments
    }

    /// What an order ends as that would otherwise end as `undisturbed`.
    fn end(&self, course: Course, step: Step, trouble: Trouble, undisturbed: Status) -> Status {
        if course != Course::Lived {
            return undisturbed;
        }
        let status = || self.preview.steps.iter().find(|planned| planned.step == step).expect("it is lived").status;
        match trouble {
            Trouble::Fault(place, fault @ (Fault::Impossible | Fault::ImpossibleAfter), _)
                if step.may_be_impossible() && (place, fault) != (Place::Record, Fault::ImpossibleAfter) =>
            {
                if self.before[&step].decided { Status::Cancelled } else { Status::Rejected }
            }
            Trouble::NeverHeard => Status::Rejected,
            Trouble::Cancel(_, _, by) if self.takes_a_cancel_at(status(), by) => Status::Cancelled,
            _ => undisturbed,
        }
    }
}

fn events(order: &Order, step: Step, facts: Vec<Fact>) -> Vec<Event> {
    let event =
        |(number, fact)| Event { order_id: order.id.clone(), number, at: order.updated_at, step, by: None, fact };
    (order.version + 1..).zip(facts).map(event).collect()
}

fn imaginary(lifecycle: &Lifecycle) -> Order {
    let price = Money::new(9_000, Currency::KRW);
    let placement = Placement {
        merchant_id: "imaginary".parse().expect("a merchant id"),
        customer: Customer { name: String::new(), phone: String::new(), address: String::new() },
        customer_id: None,
        lines: vec![Line {
            sku: "chili".parse().expect("a SKU"),
            name: String::new(),
            unit_price: price,
            quantity: 1,
            line_total: price,
        }],
        total: price,
        payment_method: lifecycle.payment.method,
        note: None,
        lifecycle: lifecycle.clone(),
        request_digest: String::new(),
    };
    Order::placed(OrderId::from_bits(0), &placement, DateTime::UNIX_EPOCH)
}

/// One case for each step and trouble, spread over the lifecycles and courses that have it.
pub fn spread(cases: Vec<Case>) -> Vec<Case> {
    let mut alike = BTreeMap::<_, Vec<Case>>::new();
    for case in cases {
        let course = if case.step.is_some() { None } else { Some(case.course) };
        alike.entry((case.step, case.trouble, course)).or_default().push(case);
    }
    alike.into_values().enumerate().map(|(number, mut alike)| alike.swap_remove(number % alike.len())).collect()
}

/// What is recorded along with the step after it is not left to a time that may never come.
#[test]
fn a_step_follows_at_once_what_is_recorded_along() {
    let mut along = BTreeSet::new();
    for lifecycle in lifecycles() {
        let life = Life::of(&lifecycle);
        for (n, planned) in life.preview.steps.iter().enumerate() {
            if planned.step.context().is_some() && !life.places(planned.step).contains(&Place::Record) {
                let next = life.preview.steps.get(n + 1).expect("something follows");
                assert_eq!(next.gate, None, "{}: {} after {}", lifecycle.name, next.step, planned.step);
                along.insert(planned.step);
            }
        }
    }
    assert!(along.contains(&Step::StockReserve) && along.contains(&Step::PromotionIssue), "{along:?}");
}

/// Every step is taken by some lifecycle, or nobody sweeps it.
#[test]
fn every_step_is_swept() {
    let swept: BTreeSet<Step> = lifecycles().iter().flat_map(cases).filter_map(|case| case.step).collect();
    let missing: Vec<_> = Step::ALL.into_iter().filter(|step| !swept.contains(step)).map(Step::name).collect();
    assert_eq!(missing, Vec::<&str>::new(), "no lifecycle takes them");
}
