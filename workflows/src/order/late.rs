//! What comes for an order that cannot take it any more: money that was transferred too late.

use std::sync::Arc;

use restate_sdk::prelude::*;
use restate_sdk::serde::Json;

use crate::Step;
use crate::durable::{self, Failed};
use crate::payment::{Due, Payments};

/// Gives back what came too late. Its key is the order's id.
pub struct LateDeposit {
    pub payments: Arc<dyn Payments>,
}

#[restate_sdk::object(
    name = "late_deposit",
    invocation_retry_policy(
        initial_interval = "100ms",
        factor = 2.0,
        max_interval = "3s",
        max_attempts = 1_000_000_000,
        on_max_attempts = "pause"
    )
)]
impl LateDeposit {
    /// Books the transfer and gives it back, once, however often it is asked.
    #[handler]
    async fn give_back(&self, ctx: ObjectContext<'_>, due: Json<Due>) -> HandlerResult<()> {
        let Json(due) = due;
        let (step, payments) = (Step::PaymentReturnDeposit, &self.payments);
        let policy = step.default_policy();
        loop {
            let due = due.clone();
            let given_back = ctx
                .run(move || async move {
                    let give_back = payments.return_deposit(&due);
                    durable::attempt(step, policy.attempt_timeout(), give_back).await.map_err(Failed::into_error)?;
                    Ok(())
                })
                .name(step.name())
                .retry_policy(durable::retries(&policy))
                .await;
            // Deaf to the engine's cancel button, like every undo.
            if given_back.is_ok() {
                return Ok(());
            }
        }
    }
}
