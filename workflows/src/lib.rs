//! What happens in jumun: the vocabulary, the lifecycles, the pure rules, the ports to the contexts, and the durable
//! workflow of an order. Knows no database, no HTTP server, no clock.

pub mod audit;
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

pub use delivery::DeliveryState;
pub use ids::{
    AuditId, CouponId, DeliveryId, InvalidId, MerchantId, MessageId, NotificationId, OrderId, PaymentId, Sku,
    WebhookName,
};
pub use lifecycle::Lifecycle;
pub use measures::describe as describe_measures;
pub use money::{Currency, Money};
pub use order::{Command, Gate, Order, Role, Status};
pub use payment::{PaymentMethod, PaymentState};
pub use provider::{Context, ProviderError};
pub use step::{Step, StepPolicy};
