//! One attempt at a step, made safe to leave to the engine: bounded in time, and with every way of failing told apart.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use restate_sdk::prelude::*;
use tracing::error;

use crate::measures::{Ended, InFlight};
use crate::{ProviderError, Step, StepPolicy};

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

/// One attempt. A panic is a failed attempt like any other: the engine tries again.
pub(crate) async fn attempt<T>(
    step: Step,
    timeout: Duration,
    work: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, Failed> {
    let again = |why| Failed { why, terminal: false };
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
