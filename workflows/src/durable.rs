//! One attempt at a step, made safe to leave to the engine: bounded in time, and with every way of failing told apart.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use restate_sdk::prelude::*;
use tracing::field::Empty;
use tracing::{Instrument, Span, error, info_span};

use crate::measures::{Ended, InFlight};
use crate::{Capacity, ProviderError, Step, StepPolicy};

/// Why an attempt brought no answer.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Failed {
    pub why: String,
    /// Trying again cannot help, and the step may end without having been done.
    pub terminal: bool,
}

impl Failed {
    /// As the engine is told.
    pub(crate) fn into_error(self) -> HandlerError {
        if self.terminal { TerminalError::new(self.why).into() } else { self.into() }
    }
}

/// One attempt, in a span of its own, as soon as there is a place for it, and bounded in time from then on. A panic is a
/// failed attempt like any other: the engine tries again.
pub(crate) async fn attempt<T>(
    capacity: &Capacity,
    step: Step,
    timeout: Duration,
    work: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, Failed> {
    let placed = async {
        // A step that gives up is given up by the engine, between two attempts: so it must not wait for its first one for ever.
        let _place = if step.may_give_up() {
            let place = tokio::time::timeout(timeout, capacity.place(step)).await;
            place.map_err(|_| again(format!("the worker had no place for it within {} ms", timeout.as_millis())))?
        } else {
            capacity.place(step).await
        };
        measured(step, timeout, work).await
    };
    placed.instrument(span(step)).await
}

/// One attempt, where there is a place for it within so much time, and bounded by as much from then on; `None` where there is
/// no place.
pub(crate) async fn attempt_soon<T>(
    capacity: &Capacity,
    step: Step,
    patience: Duration,
    work: impl Future<Output = Result<T, ProviderError>>,
) -> Option<Result<T, Failed>> {
    let _place = tokio::time::timeout(patience, capacity.place(step)).await.ok()?;
    Some(measured(step, patience, work).instrument(span(step)).await)
}

fn span(step: Step) -> Span {
    info_span!("step", "otel.name" = step.name(), step = step.name(), "otel.status_code" = Empty)
}

fn again(why: String) -> Failed {
    Failed { why, terminal: false }
}

/// In the current span.
async fn measured<T>(
    step: Step,
    timeout: Duration,
    work: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, Failed> {
    let measured = InFlight::begin(step);
    let (ended, outcome) = match tokio::time::timeout(timeout, AssertUnwindSafe(work).catch_unwind()).await {
        Err(_) => (Ended::TimedOut, Err(again(format!("no answer within {} ms", timeout.as_millis())))),
        Ok(Err(panic)) => {
            let what = panic_message(panic.as_ref());
            error!(step = step.name(), panic = what, "step panicked");
            (Ended::Failed, Err(again(format!("panicked: {what}"))))
        }
        Ok(Ok(Ok(answer))) => (Ended::Done, Ok(answer)),
        Ok(Ok(Err(ProviderError::Impossible(cause)))) => {
            error!(step = step.name(), %cause, "step is impossible");
            let failed = Failed { why: format!("impossible: {cause}"), terminal: step.may_be_impossible() };
            (Ended::Impossible, Err(failed))
        }
        Ok(Ok(Err(unavailable))) => (Ended::Failed, Err(again(unavailable.to_string()))),
    };
    if outcome.is_err() {
        Span::current().record("otel.status_code", "ERROR");
    }
    measured.end(ended);
    outcome
}

/// The policy as the engine has it.
pub(crate) fn retries(policy: &StepPolicy) -> RunRetryPolicy {
    let engine = RunRetryPolicy::new()
        .initial_delay(Duration::from_millis(policy.first_delay_ms.into()))
        .exponentiation_factor(policy.factor)
        .max_delay(Duration::from_millis(policy.longest_delay_ms.into()));
    match policy.retry_for() {
        Some(duration) => engine.max_duration(duration),
        None => engine,
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(200);
    const SHORT: Duration = Duration::from_millis(50);

    async fn long() -> Result<(), ProviderError> {
        tokio::time::timeout(LONG, std::future::pending()).await.or(Ok(()))
    }

    #[tokio::test]
    async fn waiting_for_a_place_takes_no_time_from_a_step() {
        let capacity = Capacity::new(1);
        let first = attempt(&capacity, Step::StockReserve, 10 * LONG, long());
        let second = attempt(&capacity, Step::StockCommit, SHORT, async { Ok(()) });
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_ok() && second.is_ok());
    }

    #[tokio::test]
    async fn a_slow_context_takes_no_place_from_another() {
        let capacity = Capacity::new(1);
        let slow = attempt(&capacity, Step::StockReserve, 10 * LONG, long());
        let others = async {
            for step in [Step::PaymentCharge, Step::OrderClose, Step::NotificationSend, Step::NotificationDeliver] {
                assert!(attempt(&capacity, step, LONG, async { Ok(()) }).await.is_ok());
            }
        };
        tokio::select! {
            biased;
            () = others => {}
            _ = slow => panic!("others waited"),
        }
    }

    #[tokio::test]
    async fn what_is_done_soon_or_not_at_all_waits_for_a_place_no_longer_than_it_is_told() {
        let (capacity, step) = (Capacity::new(1), Step::NotificationSend);
        let before = async || attempt(&capacity, step, 10 * LONG, long()).await;
        let soon = async |patience| attempt_soon(&capacity, step, patience, async { Ok(()) }).await;
        let (_, in_vain) = tokio::join!(before(), soon(SHORT));
        assert!(in_vain.is_none());
        let (_, in_time) = tokio::join!(before(), soon(10 * LONG));
        assert!(in_time.is_some_and(|outcome| outcome.is_ok()));
        let outcome = attempt_soon(&capacity, step, SHORT, long()).await;
        assert_eq!(outcome.and_then(Result::err).map(|failed| failed.why).as_deref(), Some("no answer within 50 ms"));
    }

    #[tokio::test]
    async fn a_place_is_free_again_however_its_attempt_ended() {
        let capacity = Capacity::new(1);
        assert!(attempt(&capacity, Step::StockReserve, SHORT, long()).await.is_err());
        let panics = async { panic!("it does") };
        assert!(attempt::<()>(&capacity, Step::StockReserve, SHORT, panics).await.is_err());
        assert!(attempt(&capacity, Step::StockReserve, SHORT, async { Ok(()) }).await.is_ok());
    }
}
