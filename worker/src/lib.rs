//! Hosts the workflows as a deployment of the engine: serves them, registers them, and drains when told to stop.

mod register;
mod serve;

use restate_sdk::endpoint::Endpoint;
use workflows::notification::workflow::{MessageQueue, NotificationQueue};
use workflows::order::late::LateDeposit;
use workflows::order::{Ports, workflow::OrderWorkflow};

pub use register::{RegisterError, register};
pub use serve::serve;

/// The workflows, working through `ports`.
#[must_use]
pub fn endpoint(ports: Ports) -> Endpoint {
    let (payments, notifications) = (ports.payments.clone(), ports.notifications.clone());
    Endpoint::builder()
        .bind(OrderWorkflow { ports })
        .bind(LateDeposit { payments })
        .bind(NotificationQueue { notifications: notifications.clone() })
        .bind(MessageQueue { notifications })
        .build()
}
