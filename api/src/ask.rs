//! Asking a port. Nobody waits for one longer than a moment, and the cause of a failure is logged here and goes no
//! further.

use std::time::Duration;

use tracing::{error, warn};
use workflows::{Context, ProviderError};

use crate::problem::{Problem, Refusals, Refused};

const PATIENCE: Duration = Duration::from_secs(5);

/// Why a port brought no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    Unavailable,
    Impossible,
}

/// The answer to a question, which is called `step` in the log.
pub(crate) async fn ask<T>(
    step: &'static str,
    answer: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, Unanswered> {
    ask_within(PATIENCE, step, answer).await
}

/// The same for somebody who has at most `limit` left.
pub(crate) async fn ask_within<T>(
    limit: Duration,
    step: &'static str,
    answer: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, Unanswered> {
    let patience = PATIENCE.min(limit);
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(ProviderError::Unavailable(cause))) => {
            warn!(step, %cause, "unavailable");
            Err(Unanswered::Unavailable)
        }
        Ok(Err(ProviderError::Impossible(cause))) => {
            error!(step, %cause, "impossible");
            Err(Unanswered::Impossible)
        }
        Err(_) => {
            warn!(step, patience_ms = patience.as_millis(), "no answer in time");
            Err(Unanswered::Unavailable)
        }
    }
}

impl Unanswered {
    /// The problem where the caller asked for the context's own data.
    pub(crate) fn by(self, context: Context) -> Problem {
        match self {
            Self::Unavailable => Problem::upstream_unavailable(context),
            Self::Impossible => Problem::internal(),
        }
    }
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Unavailable => Self::try_again_later(),
            Unanswered::Impossible => Self::internal(),
        }
    }
}

impl<R: Refusals> From<Unanswered> for Refused<R> {
    fn from(unanswered: Unanswered) -> Self {
        Problem::from(unanswered).into()
    }
}
