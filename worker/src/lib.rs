//! Hosts the workflows as a deployment of the engine: serves them to the engines that may ask, registers them, and drains
//! when told to stop.

mod admin;
mod deployments;
mod identity;
mod management;
mod register;
mod serve;

use restate_sdk::endpoint::Endpoint;
use workflows::Capacity;
use workflows::notification::workflow::{MessageQueue, NotificationQueue};
use workflows::order::late::LateDeposit;
use workflows::order::{Ports, Telling, workflow::OrderWorkflow};

pub use admin::AdminError;
pub use deployments::{Deployment, DeploymentId, Deployments, MoveError, NotADeploymentId, RemoveError};
pub use identity::{IdentityKey, NotAnIdentityKey};
pub use management::Management;
pub use register::register;
pub use serve::serve;

/// The workflows, working through `ports`, at so many steps at once as `capacity` has it. They answer the engines that sign with one of `keys`, and refuse everybody
/// else with 401; without any key they answer everybody. A signature is for one path and for some minutes; it does not
/// cover the body, so the network between engine and worker stays private all the same.
///
/// # Panics
/// Never: a key is well-formed.
#[must_use]
pub fn endpoint(ports: Ports, capacity: &Capacity, keys: &[IdentityKey]) -> Endpoint {
    let (payments, notifications) = (ports.payments.clone(), ports.notifications.clone());
    let capacity = || capacity.clone();
    if !keys.is_empty() {
        identity::choose_cryptography();
    }
    let with_key = |builder: restate_sdk::endpoint::Builder, key: &IdentityKey| {
        builder.identity_key(key.as_str()).expect("it was read as a key before")
    };
    keys.iter()
        .fold(Endpoint::builder(), with_key)
        .bind(OrderWorkflow { ports, capacity: capacity(), telling: Telling::default() })
        .bind(LateDeposit { payments, capacity: capacity() })
        .bind(NotificationQueue { notifications: notifications.clone(), capacity: capacity() })
        .bind(MessageQueue { notifications, capacity: capacity() })
        .build()
}
