//! What the API answers, as far as the console shows it. Unknown members are left alone, so that the API can grow.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use workflows::lifecycle::CouponRule;
use workflows::payment::EntryKind;
use workflows::promotion::CouponState;
use workflows::{
    Command, Context, Currency, DeliveryState, Gate, Lifecycle, Money, PaymentMethod, PaymentState, Role, Status, Step,
};

/// A list that comes as a whole.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct List<T> {
    pub items: Vec<T>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Order {
    pub id: String,
    pub merchant_id: String,
    pub customer: Customer,
    pub lines: Vec<Line>,
    pub total: Money,
    pub note: Option<String>,
    pub status: Status,
    pub status_label: String,
    pub payment: OrderPayment,
    pub delivery: Option<OrderDelivery>,
    pub coupon: Option<OrderCoupon>,
    pub reason: Option<String>,
    pub lifecycle: String,
    pub placed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub allowed_commands: Vec<Command>,
    pub deadline: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Customer {
    pub name: String,
    pub phone: String,
    pub address: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Line {
    pub sku: String,
    pub name: String,
    pub unit_price: Money,
    pub quantity: u32,
    #[serde(rename = "line_total")]
    pub total: Money,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct OrderPayment {
    pub id: String,
    pub method: PaymentMethod,
    pub state: PaymentState,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct OrderDelivery {
    pub id: String,
    pub state: DeliveryState,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct OrderCoupon {
    pub id: String,
    pub kind: CouponRule,
    pub state: CouponState,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Events {
    pub items: Vec<Event>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    pub number: u32,
    #[serde(rename = "type")]
    pub kind: String,
    pub at: DateTime<Utc>,
    pub step: Step,
    pub by: Option<By>,
    pub data: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct By {
    pub role: Role,
    pub subject: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Workflow {
    pub state: WorkflowState,
    pub step: Option<Step>,
    pub attempt: Option<u64>,
    pub last_failure: Option<String>,
    pub last_failure_at: Option<DateTime<Utc>>,
    pub next_try_at: Option<DateTime<Utc>>,
    pub gate: Option<Gate>,
    pub steps: Vec<RecordedStep>,
    pub engine: Option<EngineView>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorkflowState {
    Running,
    Waiting,
    BackingOff,
    Paused,
    Completed,
    Unknown,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RecordedStep {
    pub step: Step,
    pub state: StepState,
    pub undone_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepState {
    Done,
    Undone,
    Refused,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct EngineView {
    pub link: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Payment {
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Entry {
    pub kind: EntryKind,
    pub at: DateTime<Utc>,
    pub postings: Vec<Posting>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Posting {
    pub account: String,
    pub amount: Money,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Delivery {
    pub recipient: String,
    pub phone: String,
    pub address: String,
    pub state: DeliveryState,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Coupon {
    pub id: String,
    pub kind: CouponRule,
    pub state: CouponState,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Notification {
    pub status: Status,
    pub at: DateTime<Utc>,
    pub messages: Vec<Message>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Message {
    pub channel: String,
    pub state: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Merchant {
    pub id: String,
    pub name: String,
    pub currency: Currency,
    pub lifecycle: String,
    pub lifecycle_document: Lifecycle,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Product {
    pub sku: String,
    pub name: String,
    pub unit_price: Money,
    pub on_hand: Option<i64>,
    pub reserved: i64,
    pub available: Option<i64>,
}

/// What a lifecycle would do.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Preview {
    pub steps: Vec<PlannedStep>,
    pub gates: Vec<PlannedGate>,
    pub cancellation: Vec<PlannedCancel>,
    /// In Mermaid's words: one line for each way from one status to another.
    pub diagram: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PlannedStep {
    pub step: Step,
    #[serde(default)]
    pub undo: Option<Step>,
    pub status: Status,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PlannedGate {
    pub gate: Gate,
    pub status: Status,
    pub commands: Vec<PlannedCommand>,
    #[serde(default)]
    pub window: Option<String>,
    #[serde(default)]
    pub on_timeout: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PlannedCommand {
    pub command: Command,
    pub role: Role,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PlannedCancel {
    pub status: Status,
    pub by: Vec<Role>,
    pub undoes: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dashboard {
    pub statuses: Vec<Tally>,
    pub stuck: u64,
    pub stuck_at: Vec<StuckAt>,
    pub breaker: Breaker,
    pub today: Vec<Takings>,
    pub hours: Vec<HourlyTakings>,
    pub since: DateTime<Utc>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct StuckAt {
    pub step: Option<Step>,
    pub orders: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Tally {
    pub status: Status,
    pub orders: i64,
    pub value: Money,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Breaker {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Takings {
    pub placed: i64,
    pub revenue: Money,
    pub refunds: Money,
    pub paid: i64,
    pub time_to_paid_ms: Option<i64>,
    pub delivered: i64,
    pub time_to_delivered_ms: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct HourlyTakings {
    pub hour: DateTime<Utc>,
    #[serde(flatten)]
    pub takings: Takings,
}

/// A version of the worker.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Deployment {
    pub id: String,
    pub url: String,
    pub created_at: DateTime<Utc>,
    pub state: DeploymentState,
    pub open: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeploymentState {
    Current,
    Draining,
    Drained,
}

/// How many orders a command to many is about, and what it came to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Bulk {
    pub matched: u32,
    pub more: bool,
    #[serde(default)]
    pub outcomes: Option<Outcomes>,
    pub failures: Vec<Failure>,
}

/// An order that did not take a command to many.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Failure {
    pub order_id: String,
    pub detail: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Outcomes {
    pub accepted: u32,
    pub carried_out: u32,
    pub not_allowed: u32,
    pub failed: u32,
    pub not_tried: u32,
}

/// How the built-in providers behave.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Mode {
    pub mode: String,
}

pub(super) type Modes = std::collections::BTreeMap<Context, Mode>;
