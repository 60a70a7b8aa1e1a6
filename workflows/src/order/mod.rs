//! An order: what it is, and how its events make it so. `rules` decides, `workflow` carries the decisions out.

mod attempt;
mod book;
pub mod command;
mod event;
pub mod late;
mod news;
pub mod proof;
pub mod rules;
mod steps;
mod telling;
mod view;
pub mod workflow;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use book::{
    Dashboard, DashboardQuery, Entry, Filed, OrderBook, OrderFilter, Positioned, Reach, Recorded, Standing, Stuck,
    StuckAt, Takings, Tally, Trouble,
};
pub use event::{Event, Fact, Rejection};
pub use steps::{Outcome, Ports, due};
pub use telling::Telling;
pub use view::{Order, OrderCoupon, OrderDelivery, OrderPayment};

use crate::payment::{CardToken, SealedCard};
use crate::{Lifecycle, MerchantId, Money, PaymentMethod, Sku};

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    // In the order of an undisturbed life, which is what "may cancel up to" compares.
    Placed,
    AwaitingDeposit,
    Paid,
    Accepted,
    InProduction,
    Ready,
    InDelivery,
    Delivered,
    Closed,
    Cancelling,
    Cancelled,
    Rejected,
}

impl Status {
    pub const ALL: [Self; 12] = [
        Self::Placed,
        Self::AwaitingDeposit,
        Self::Paid,
        Self::Accepted,
        Self::InProduction,
        Self::Ready,
        Self::InDelivery,
        Self::Delivered,
        Self::Closed,
        Self::Cancelling,
        Self::Cancelled,
        Self::Rejected,
    ];

    /// Nothing leaves a final status.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Cancelled | Self::Rejected)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::AwaitingDeposit => "awaiting_deposit",
            Self::Paid => "paid",
            Self::Accepted => "accepted",
            Self::InProduction => "in_production",
            Self::Ready => "ready",
            Self::InDelivery => "in_delivery",
            Self::Delivered => "delivered",
            Self::Closed => "closed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }

    /// The label for people.
    #[must_use]
    pub const fn label(self, language: Language) -> &'static str {
        match (language, self) {
            (Language::Korean, Self::Placed) => "주문접수",
            (Language::Korean, Self::AwaitingDeposit) => "입금확인대기",
            (Language::Korean, Self::Paid) => "결제완료",
            (Language::Korean, Self::Accepted) => "주문수락",
            (Language::Korean, Self::InProduction) => "제작중",
            (Language::Korean, Self::Ready) => "상품준비완료",
            (Language::Korean, Self::InDelivery) => "배송중",
            (Language::Korean, Self::Delivered) => "배송완료",
            (Language::Korean, Self::Closed) => "수령확인",
            (Language::Korean, Self::Cancelling) => "취소중",
            (Language::Korean, Self::Cancelled) => "주문취소",
            (Language::Korean, Self::Rejected) => "주문거절",
            (Language::English, Self::Placed) => "Placed",
            (Language::English, Self::AwaitingDeposit) => "Awaiting deposit",
            (Language::English, Self::Paid) => "Paid",
            (Language::English, Self::Accepted) => "Accepted",
            (Language::English, Self::InProduction) => "In production",
            (Language::English, Self::Ready) => "Ready",
            (Language::English, Self::InDelivery) => "In delivery",
            (Language::English, Self::Delivered) => "Delivered",
            (Language::English, Self::Closed) => "Closed",
            (Language::English, Self::Cancelling) => "Cancelling",
            (Language::English, Self::Cancelled) => "Cancelled",
            (Language::English, Self::Rejected) => "Rejected",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Korean,
    English,
}

/// What a person may ask of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    ConfirmDeposit,
    Accept,
    Reject,
    StartProduction,
    FinishProduction,
    StartDelivery,
    CompleteDelivery,
    ConfirmReceipt,
    Cancel,
}

impl Command {
    pub const ALL: [Self; 9] = [
        Self::ConfirmDeposit,
        Self::Accept,
        Self::Reject,
        Self::StartProduction,
        Self::FinishProduction,
        Self::StartDelivery,
        Self::CompleteDelivery,
        Self::ConfirmReceipt,
        Self::Cancel,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmDeposit => "confirm-deposit",
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::StartProduction => "start-production",
            Self::FinishProduction => "finish-production",
            Self::StartDelivery => "start-delivery",
            Self::CompleteDelivery => "complete-delivery",
            Self::ConfirmReceipt => "confirm-receipt",
            Self::Cancel => "cancel",
        }
    }

    /// The roles that may ever ask it.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::ConfirmReceipt => &[Role::Customer],
            Self::StartDelivery | Self::CompleteDelivery => &[Role::Courier],
            Self::ConfirmDeposit | Self::Accept | Self::Reject | Self::StartProduction | Self::FinishProduction => {
                &[Role::Merchant]
            }
            Self::Cancel => &[Role::Customer, Role::Merchant, Role::Operator],
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Customer,
    Merchant,
    Courier,
    Operator,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Customer, Self::Merchant, Self::Courier, Self::Operator];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Merchant => "merchant",
            Self::Courier => "courier",
            Self::Operator => "operator",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asked for something, so that it is known who did what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    pub role: Role,
    /// Who it is among those of the role: the subject of the caller's token.
    pub subject: String,
}

/// A point where the order waits for a person. Each is passed at most once in an order's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The customer transfers the money, and the merchant confirms it.
    Deposit,
    /// The merchant accepts or rejects.
    Acceptance,
    /// The merchant begins to make what was ordered.
    ProductionStart,
    /// The merchant has made it.
    ProductionFinish,
    /// The courier takes the goods.
    Dispatch,
    /// The courier brings the goods to the customer.
    Handover,
    /// The customer confirms to have it.
    Receipt,
}

impl Gate {
    pub const ALL: [Self; 7] = [
        Self::Deposit,
        Self::Receipt,
        Self::Acceptance,
        Self::ProductionStart,
        Self::ProductionFinish,
        Self::Dispatch,
        Self::Handover,
    ];

    /// The commands that pass the gate, and what the order is sure to become by each.
    #[must_use]
    pub const fn commands(self) -> &'static [(Command, Role, Status)] {
        match self {
            Self::Deposit => &[(Command::ConfirmDeposit, Role::Merchant, Status::Paid)],
            Self::Receipt => &[(Command::ConfirmReceipt, Role::Customer, Status::Closed)],
            Self::Acceptance => &[
                (Command::Accept, Role::Merchant, Status::Accepted),
                (Command::Reject, Role::Merchant, Status::Rejected),
            ],
            Self::ProductionStart => &[(Command::StartProduction, Role::Merchant, Status::InProduction)],
            Self::ProductionFinish => &[(Command::FinishProduction, Role::Merchant, Status::Ready)],
            Self::Dispatch => &[(Command::StartDelivery, Role::Courier, Status::InDelivery)],
            Self::Handover => &[(Command::CompleteDelivery, Role::Courier, Status::Delivered)],
        }
    }

    /// Whether it is a courier who passes it.
    #[must_use]
    pub fn is_couriers(self) -> bool {
        self.commands().iter().any(|(_, role, _)| *role == Role::Courier)
    }

    /// The gate that `command` passes; `None` for one that belongs to no gate.
    #[must_use]
    pub fn of(command: Command) -> Option<Self> {
        Self::ALL.into_iter().find(|gate| gate.commands().iter().any(|(passes, _, _)| *passes == command))
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Receipt => "receipt",
            Self::Acceptance => "acceptance",
            Self::ProductionStart => "production_start",
            Self::ProductionFinish => "production_finish",
            Self::Dispatch => "dispatch",
            Self::Handover => "handover",
        }
    }
}

/// Whom the order is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    pub name: String,
    pub phone: String,
    pub address: String,
}

/// One line of an order, priced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub sku: Sku,
    pub name: String,
    pub unit_price: Money,
    pub quantity: u32,
    pub line_total: Money,
}

/// Everything that is settled when an order is placed, and never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    pub merchant_id: MerchantId,
    pub customer: Customer,
    /// Who placed it, where callers are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    pub lines: Vec<Line>,
    pub total: Money,
    pub payment_method: PaymentMethod,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// A snapshot: later changes of the merchant do not touch this order.
    pub lifecycle: Lifecycle,
    /// A digest of the request, so that a reused Idempotency-Key with another body is seen: the vault's, since the
    /// request may name a card.
    pub request_digest: String,
}

/// What starts an order's workflow, whose key is the order's id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlaceOrder {
    pub placement: Placement,
    /// Who places it, which may be an operator for a customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// For an order that is paid by card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<SealedCard>,
    /// The card in clear, as it came before cards were sealed. Only ever read.
    #[serde(default, skip_serializing)]
    pub card_token: Option<CardToken>,
    /// Whoever waits for something of the order follows its events. Otherwise they are told by promises, as they were up to
    /// 0.1.0-rc.1.
    #[serde(default)]
    pub followed: bool,
    /// The run alone decides who passes the order's gates, in the order in which its awakeables bring that; whoever commands it
    /// reads what became of it. Otherwise, and where the order begins on a version that does not know it, promises decide, as they
    /// did up to 0.1.0-rc.4.
    #[serde(default)]
    pub decides: bool,
}

/// Per role, the last status at which it may cancel.
pub type CancelWindows = BTreeMap<Role, Status>;
