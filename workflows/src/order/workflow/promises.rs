//! Gates and late cancels of orders that were placed up to 0.1.0-rc.4: named promises, of which everybody who competes resolves
//! one, and then reads who was first.

use restate_sdk::prelude::*;
use restate_sdk::serde::Json;
use tracing::warn;

use super::{Awakeable, Run};
use crate::order::Gate;
use crate::order::command::{CancelSlot, CancelVerdict, Passed, cancel_slot};

impl Run<'_> {
    /// What the gate's promise holds, once somebody has resolved it; `None` where that is still open.
    pub(super) async fn promised(&mut self, gate: Gate) -> Option<Passed> {
        let ctx = self.ctx;
        let mut promise = Box::pin(ctx.promise::<Json<Passed>>(gate.as_str()));
        let passed = match self.order.deadline {
            None => restate_sdk::select! {
                passed = &mut promise => passed,
                brought = &mut self.awakeable.brings => self.put(gate, brought, promise).await?,
                on_cancel => Err(TerminalError::new("interrupted"))
            },
            Some(deadline) => {
                let left = self.left_until(deadline);
                restate_sdk::select! {
                    passed = &mut promise => passed,
                    _ = ctx.sleep(left) => {
                        // The deadline competes like everybody else: it resolves, and then reads who was first.
                        ctx.resolve_promise(gate.as_str(), Json(Passed::Deadline));
                        ctx.promise::<Json<Passed>>(gate.as_str()).await
                    },
                    brought = &mut self.awakeable.brings => self.put(gate, brought, promise).await?,
                    on_cancel => Err(TerminalError::new("interrupted"))
                }
            }
        };
        self.interrupted |= passed.is_err();
        passed.ok().map(|Json(passed)| passed)
    }

    /// Puts what the awakeable brought to the gate's promise, and reads who was first there; `None` where it brought nothing.
    async fn put(
        &mut self,
        gate: Gate,
        brought: Result<Json<Passed>, TerminalError>,
        promise: impl Future<Output = Result<Json<Passed>, TerminalError>>,
    ) -> Option<Result<Json<Passed>, TerminalError>> {
        // It brings no more.
        self.awakeable = Awakeable::of(self.ctx);
        match brought {
            Ok(Json(passed)) => self.ctx.resolve_promise(gate.as_str(), Json(passed)),
            // Nobody of ours rejects it. Whoever comes after that calls `command`.
            Err(error) => {
                warn!(order_id = %self.order.id, %error, "what passes a gate was rejected");
                return None;
            }
        }
        Some(promise.await)
    }

    /// Closes the gate, and reads who was first.
    pub(super) async fn shut_promised(&mut self, gate: Gate) -> bool {
        self.ctx.resolve_promise(gate.as_str(), Json(Passed::Shut));
        loop {
            match self.ctx.promise::<Json<Passed>>(gate.as_str()).await {
                Ok(Json(passed)) => {
                    self.see_passed(gate, &passed);
                    return passed == Passed::Shut;
                }
                Err(_) => self.interrupted = true,
            }
        }
    }

    /// Closes the slot of the next cancel, so that nobody asks there any more.
    pub(super) async fn close_slot(&mut self) {
        loop {
            let slot = cancel_slot(self.cancels);
            self.ctx.resolve_promise(&slot, Json(CancelSlot::Closed));
            match self.ctx.promise::<Json<CancelSlot>>(&slot).await {
                Ok(Json(CancelSlot::Closed)) => return,
                Ok(Json(CancelSlot::Asked { .. })) => self.answer_cancel(CancelVerdict::NotAllowed),
                Err(_) => {}
            }
        }
    }
}
