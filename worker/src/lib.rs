//! Hosts the workflows as a deployment of the engine: serves them, registers them, and drains when told to stop.

mod register;
mod serve;

use restate_sdk::endpoint::Endpoint;
use workflows::order::{Ports, workflow::OrderWorkflow};

pub use register::{RegisterError, register};
pub use serve::serve;

/// The workflows, working through `ports`.
#[must_use]
pub fn endpoint(ports: Ports) -> Endpoint {
    Endpoint::builder().bind(OrderWorkflow { ports }).build()
}
