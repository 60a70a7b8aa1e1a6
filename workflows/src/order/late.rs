//! What comes for an order that cannot take it any more: money that was transferred too late.

use std::sync::Arc;

use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use tracing::Instrument;

use crate::durable::{self, Failed};
use crate::payment::{Due, Payments};
use crate::trace;
use crate::{Capacity, Step};

/// Gives back what came too late. Its key is the order's id.
pub struct LateDeposit {
    pub payments: Arc<dyn Payments>,
    pub capacity: Capacity,
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
        let span = trace::handling("late_deposit.give_back", ctx.key(), ctx.headers());
        self.return_deposit(&ctx, &due).instrument(span).await;
        Ok(())
    }
}

impl LateDeposit {
    async fn return_deposit(&self, ctx: &ObjectContext<'_>, due: &Due) {
        let (step, payments, capacity) = (Step::PaymentReturnDeposit, &self.payments, &self.capacity);
        let policy = step.default_policy();
        loop {
            let due = due.clone();
            let given_back = ctx
                .run(move || async move {
                    let asked = payments.return_deposit(&due);
                    let given_back = durable::attempt(capacity, step, policy.attempt_timeout(), asked).await;
                    given_back.map_err(Failed::into_error)?;
                    Ok(())
                })
                .name(step.name())
                .retry_policy(durable::retries(&policy))
                .await;
            // Deaf to the engine's cancel button, like every undo.
            if given_back.is_ok() {
                return;
            }
        }
    }
}
