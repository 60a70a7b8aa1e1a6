//! What happens in jumun: the vocabulary, the lifecycles, the pure rules, the ports to the contexts, and the durable
//! workflow of an order. Knows no database, no HTTP server, no clock.

pub mod audit;
mod capacity;
pub mod delivery;
mod durable;
mod ids;
pub mod kitchen;
pub mod lifecycle;
mod measures;
pub mod merchant;
mod money;
pub mod notification;
pub mod order;
pub mod payment;
pub mod promotion;
pub mod provider;
pub mod sandbox;
mod step;
pub mod stock;
mod trace;

pub use capacity::Capacity;
pub use delivery::DeliveryState;
pub use ids::{
    AuditId, CouponId, DeliveryId, InvalidId, MerchantId, MessageId, NotificationId, OrderId, PaymentId, Sku,
    WebhookName,
};
pub use lifecycle::Lifecycle;
pub use measures::{GATE_WAITS, describe as describe_measures, left_gate};
pub use money::{Currency, Money};
pub use order::{Command, Gate, Order, Role, Status};
pub use payment::{PaymentMethod, PaymentState};
pub use provider::{Context, ProviderError};
pub use step::{Step, StepPolicy};
pub use trace::{TRACEPARENT, continue_trace, traceparent};
