//! An order in JSON: the whole picture on one screen.

use chrono::{DateTime, Utc};
use poem_openapi::registry::MetaSchema;
use poem_openapi::{Enum, Object};
use serde_json::Value as Json;
use workflows::order::rules;
use workflows::order::{self, Event, Fact, Language};
use workflows::{CouponId, DeliveryId, MerchantId, OrderId, PaymentId, Role, Sku, Step};

use crate::json::{
    CommandName, CouponKindName, CouponStateName, DeliveryStateName, Money, PaymentMethodName, PaymentStateName,
    RoleName, StatusName,
};
use crate::value::{Address, Checked, CustomerName, Phone, Value, Written};

/// An order, as the caller sees it now.
#[derive(Object)]
pub(crate) struct Order {
    /// The order's id.
    pub id: Checked<OrderId>,
    /// Who sells.
    pub merchant_id: Checked<MerchantId>,
    /// Whom it is for.
    pub customer: Customer,
    /// What was ordered, priced when it was placed.
    pub lines: Vec<Line>,
    /// What it costs: the sum of the lines.
    pub total: Money,
    /// What the customer wants the merchant to know.
    #[oai(nullable)]
    pub note: Option<String>,
    /// Where it is in its life.
    pub status: StatusName,
    /// The status for people, in the language of `Accept-Language` (`ko` or `en`).
    pub status_label: String,
    /// Its payment.
    pub payment: Payment,
    /// Its delivery; null until one is requested.
    #[oai(nullable)]
    pub delivery: Option<Delivery>,
    /// Its coupon; null where its lifecycle has none.
    #[oai(nullable)]
    pub coupon: Option<Coupon>,
    /// Why it was rejected or cancelled, in words.
    #[oai(nullable)]
    pub reason: Option<String>,
    /// The name of the lifecycle that it was placed under.
    pub lifecycle: String,
    /// When it was placed.
    pub placed_at: Checked<DateTime<Utc>>,
    /// When something last became true of it.
    pub updated_at: Checked<DateTime<Utc>>,
    /// The number of its last event; also the `ETag`.
    pub version: u32,
    /// The commands that it takes from the caller now.
    pub allowed_commands: Vec<CommandName>,
    /// When the gate that it waits at opens by itself.
    #[oai(nullable)]
    pub deadline: Option<Checked<DateTime<Utc>>>,
}

/// Whom an order is for.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields)]
pub(crate) struct Customer {
    /// Who receives it.
    pub name: Checked<CustomerName>,
    /// How to reach them on the way.
    pub phone: Checked<Phone>,
    /// Where to bring it.
    pub address: Checked<Address>,
}

/// One line of an order.
#[derive(Object)]
#[allow(clippy::struct_field_names, reason = "`line_total` is what callers know it by")]
pub(crate) struct Line {
    /// The product.
    pub sku: Checked<Sku>,
    /// What it was called when the order was placed.
    pub name: String,
    /// What one piece cost when the order was placed.
    pub unit_price: Money,
    /// How many pieces.
    pub quantity: u32,
    /// `unit_price` times `quantity`.
    pub line_total: Money,
}

/// An order's payment.
#[derive(Object)]
#[oai(rename = "OrderPayment")]
pub(crate) struct Payment {
    /// The payment's id.
    pub id: Checked<PaymentId>,
    /// How it is paid.
    pub method: PaymentMethodName,
    /// Where the money is.
    pub state: PaymentStateName,
}

/// An order's delivery.
#[derive(Object)]
#[oai(rename = "OrderDelivery")]
pub(crate) struct Delivery {
    /// The delivery's id.
    pub id: Checked<DeliveryId>,
    /// How far it is.
    pub state: DeliveryStateName,
}

/// An order's coupon.
#[derive(Object)]
#[oai(rename = "OrderCoupon")]
pub(crate) struct Coupon {
    /// The coupon's id.
    pub id: Checked<CouponId>,
    /// When it was issued.
    pub kind: CouponKindName,
    /// Whether it can be used.
    pub state: CouponStateName,
}

impl Order {
    pub(crate) fn new(order: order::Order, role: Role, language: Language) -> Self {
        let (allowed_commands, label) = (allowed_commands(&order, role), order.label(language));
        Self {
            id: Checked(order.id),
            merchant_id: Checked(order.merchant_id),
            customer: order.customer.into(),
            lines: order.lines.into_iter().map(Line::from).collect(),
            total: order.total.into(),
            note: order.note,
            status: order.status.into(),
            status_label: label.to_owned(),
            payment: Payment {
                id: Checked(order.payment.id),
                method: order.payment.method.into(),
                state: order.payment.state.into(),
            },
            delivery: order
                .delivery
                .map(|order::OrderDelivery { id, state }| Delivery { id: Checked(id), state: state.into() }),
            coupon: order.coupon.map(|coupon| Coupon {
                id: Checked(coupon.id),
                kind: coupon.kind.into(),
                state: coupon.state.into(),
            }),
            reason: order.reason,
            lifecycle: order.lifecycle.name,
            placed_at: Checked(order.placed_at),
            updated_at: Checked(order.updated_at),
            version: order.version,
            allowed_commands,
            deadline: order.deadline.map(Checked),
        }
    }

    /// The `ETag`: it changes with every event.
    pub(crate) fn tag(&self) -> String {
        format!("\"{}\"", self.version)
    }
}

/// The commands that the order takes now from a caller of that role who sees it.
pub(crate) fn allowed_commands(order: &order::Order, role: Role) -> Vec<CommandName> {
    rules::allowed_commands(order, &[role]).into_iter().map(CommandName::from).collect()
}

impl From<order::Customer> for Customer {
    fn from(customer: order::Customer) -> Self {
        Self {
            name: Checked(CustomerName(customer.name)),
            phone: Checked(Phone(customer.phone)),
            address: Checked(Address(customer.address)),
        }
    }
}

impl From<Customer> for order::Customer {
    fn from(customer: Customer) -> Self {
        Self { name: customer.name.0.0, phone: customer.phone.0.0, address: customer.address.0.0 }
    }
}

impl From<order::Line> for Line {
    fn from(line: order::Line) -> Self {
        Self {
            sku: Checked(line.sku),
            name: line.name,
            unit_price: line.unit_price.into(),
            quantity: line.quantity,
            line_total: line.line_total.into(),
        }
    }
}

/// A fact about an order.
#[derive(Object)]
#[oai(rename = "Event")]
pub(crate) struct EventJson {
    /// The event's id: the order's, a slash, and the number.
    pub id: String,
    /// The order that it is about.
    pub order_id: Checked<OrderId>,
    /// Its number among the order's events, from 1 without gaps.
    pub number: u32,
    /// What became true.
    #[oai(rename = "type")]
    pub kind: EventType,
    /// When it was recorded.
    pub at: Checked<DateTime<Utc>>,
    /// The step that made it true, as `context.verb`.
    pub step: Checked<Step>,
    /// Who asked for it; null where it came by itself.
    #[oai(nullable)]
    pub by: Option<By>,
    /// What there is to know about it; its fields depend on `type`.
    pub data: Checked<Data>,
}

/// Who asked for something.
#[derive(Object)]
#[oai(rename = "AskedBy")]
pub(crate) struct By {
    /// In which role.
    pub role: RoleName,
    /// The subject of the token. For operators and merchants; null for everybody else.
    #[oai(nullable)]
    pub subject: Option<String>,
}

/// Whether a reader of that role is told who it was that asked for something.
pub(super) const fn is_told_who(reader: Role) -> bool {
    matches!(reader, Role::Operator | Role::Merchant)
}

macro_rules! event_types {
    ($($fact:ident,)+) => {
        /// What can become true of an order.
        #[derive(Clone, Copy, Enum)]
        #[oai(rename = "EventType", rename_all = "snake_case")]
        pub(crate) enum EventType {
            $($fact,)+
        }

        impl From<&Fact> for EventType {
            fn from(fact: &Fact) -> Self {
                match fact {
                    $(Fact::$fact { .. } => Self::$fact,)+
                }
            }
        }
    };
}

event_types! {
    OrderPlaced,
    StockReserved,
    StockUnavailable,
    PaymentApproved,
    PaymentDeclined,
    DepositRequested,
    DepositConfirmed,
    DepositExpired,
    OrderPaid,
    StockCommitted,
    CouponIssued,
    CouponCancelled,
    OrderOffered,
    OrderAccepted,
    ProductionStarted,
    ProductionFinished,
    DeliveryRequested,
    DeliveryStarted,
    DeliveryCompleted,
    ReceiptConfirmed,
    OrderClosed,
    CancellationRequested,
    DeliveryCancelled,
    PaymentCancelled,
    StockReleased,
    OrderCancelled,
    OrderRejected,
}

impl Value for Step {
    const NAME: &'static str = "step";
    const FORM: &'static str = "a step, such as payment.charge";

    fn schema() -> MetaSchema {
        MetaSchema {
            enum_items: Self::ALL.iter().map(|step| step.name().into()).collect(),
            ..MetaSchema::new("string")
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == text)
    }
}

impl Written for Step {
    fn to_json(&self) -> Json {
        self.name().into()
    }
}

/// What there is to know about an event.
pub(crate) struct Data(serde_json::Map<String, Json>);

impl EventJson {
    /// The event, as a reader of that role sees it.
    pub(crate) fn new(event: Event, reader: Role) -> Self {
        let by =
            event.by.map(|by| By { role: by.role.into(), subject: Some(by.subject).filter(|_| is_told_who(reader)) });
        Self {
            by,
            id: format!("{}/{}", event.order_id, event.number),
            number: event.number,
            kind: EventType::from(&event.fact),
            at: Checked(event.at),
            step: Checked(event.step),
            data: Checked(Data::of(&event.fact, reader)),
            order_id: Checked(event.order_id),
        }
    }
}

impl Data {
    fn of(fact: &Fact, reader: Role) -> Self {
        let mut data = match serde_json::to_value(fact) {
            Ok(Json::Object(mut fact)) => match fact.remove("data") {
                Some(Json::Object(data)) => data,
                _ => serde_json::Map::new(),
            },
            _ => serde_json::Map::new(),
        };
        // How a repeated request is known again is nobody's business.
        data.remove("request_digest");
        if !is_told_who(reader) {
            data.remove("customer_id");
        }
        Self(data)
    }
}

impl Value for Data {
    const NAME: &'static str = "event data";
    const FORM: &'static str = "an object";

    fn schema() -> MetaSchema {
        MetaSchema::new("object")
    }

    fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    fn from_json(json: &Json) -> Option<Self> {
        json.as_object().cloned().map(Self)
    }
}

impl Written for Data {
    fn to_json(&self) -> Json {
        Json::Object(self.0.clone())
    }
}
